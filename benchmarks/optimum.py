"""What dynamic n-grams cost the optimal estimator: python benchmarks/optimum.py [--sequences 20000].

The NTM paper draws it at about 133 bits a sequence (figure 13). Prints the mean over that many sequences of
200 bits, with its 95 % confidence interval, of all bits and of those that have a context; its wrong bits; and
how far two sequences are apart, which is why a network is compared with it sequence by sequence.
"""

import argparse

import torch

from lightning_ntm import DynamicNGrams
from lightning_ntm.evaluation.episodes import chunks
from lightning_ntm.evaluation.evaluate import margin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequences", type=int, default=20000, help="sequences to take the mean of (20000)")
    arguments = parser.parse_args()
    task, bits, wrong = DynamicNGrams(), [], []
    for batch in chunks(task, 1, "evaluation", arguments.sequences, task.difficulty, chunk=1000):
        optimal = task.optimal_logits(batch)
        measured = task.answer.measure(optimal, batch)
        bits.append(measured["bits_per_sequence"])
        wrong.append(measured["wrong_bits"])
    cost, coins = torch.cat(bits), task.n - 1
    print(f"all {task.length} bits       {cost.mean():7.2f} ± {margin(cost):.2f} bits, with the {coins} fair coins")
    print(f"the {task.length - coins} foretold   {cost.mean() - coins:7.2f} ± {margin(cost):.2f} bits")
    print(f"wrong bits         {torch.cat(wrong).mean():7.2f} ± {margin(torch.cat(wrong)):.2f}")
    print(f"one sequence       {cost.std():7.2f} bits of standard deviation")


if __name__ == "__main__":
    main()
