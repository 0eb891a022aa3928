"""Cost of the optimal predictor on dynamic n-grams: python benchmarks/optimum.py [--sequences 20000].

Figure 13 of the NTM paper shows about 133 bits per sequence. Prints the mean over sequences of 200 bits with its 95 %
confidence interval: bits per sequence for all bits and for those with a context, and wrong bits. Then the standard
deviation between sequences. It is large, so a network is compared with the optimum on the same sequences.
"""

import argparse

import torch

from lightning_ntm import DynamicNGrams
from lightning_ntm.evaluation.episodes import chunks
from lightning_ntm.evaluation.evaluate import margin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequences", type=int, default=20000, help="number of sequences (20000)")
    arguments = parser.parse_args()
    task, bits, wrong = DynamicNGrams(), [], []
    for batch in chunks(task, 1, "evaluation", arguments.sequences, task.difficulty, chunk=1000):
        optimal = task.optimal_logits(batch)
        measured = task.answer.measure(optimal, batch)
        bits.append(measured["bits_per_sequence"])
        wrong.append(measured["wrong_bits"])
    cost, coins = torch.cat(bits), task.n - 1
    print(f"all {task.length} bits       {cost.mean():7.2f} ± {margin(cost):.2f} bits, the first {coins} random")
    print(f"the {task.length - coins} after them {cost.mean() - coins:7.2f} ± {margin(cost):.2f} bits")
    print(f"wrong bits         {torch.cat(wrong).mean():7.2f} ± {margin(torch.cat(wrong)):.2f}")
    print(f"standard deviation {cost.std():7.2f} bits, between sequences")


if __name__ == "__main__":
    main()
