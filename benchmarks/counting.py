"""How networks count repeats: python benchmarks/counting.py RUN... [--length 10] [--repeats 20] [--sequences 100].

For runs on repeat copy, by number of repeats: the share of episodes whose only end marker stands where it belongs, and
after how many repeats the first one stands (the median). Then the count itself, in an episode with the most repeats of
training: of all that is read at the end of a repeat, the number that moves most from repeat to repeat (the median).
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from lightning_ntm.tasks.repeat_copy import RepeatCopy
from lightning_ntm.training import TrainedRun, open_run
from lightning_ntm.training.episodes import batch_generator


@torch.inference_mode()
def markers(run: TrainedRun, length: int, repeats: int, sequences: int) -> tuple[float, float]:
    """Return the share of episodes that end where they should, and the repeats before the first end marker."""
    batch = run.task.sample(batch_generator(run.seed, "evaluation", 0), sequences, length=length, repeats=repeats)
    logits, _ = run.model(batch.inputs)
    ends = logits[..., -1][batch.mask].view(sequences, -1) > 0
    first = torch.where(ends.any(1), ends.int().argmax(1) / length, torch.nan)
    right = (ends.sum(1) == 1) & (first == repeats)
    return float(right.float().mean()), float(first.nanmedian())


@torch.inference_mode()
def count(run: TrainedRun, length: int, repeats: int) -> np.ndarray:
    """Return, of all that is read at the end of each repeat, the number that moves most from repeat to repeat."""
    batch = run.task.sample(batch_generator(run.seed, "evaluation", 0), 1, length=length, repeats=repeats)
    reads = run.model.trace(batch.inputs)["reads"][0].flatten(1)  # time numbers
    ends = batch.mask[0].nonzero()[length - 1 : length * repeats : length, 0]
    moves = reads[ends].diff(dim=0).abs().median(0).values
    return reads[ends][:, moves.argmax()].numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--length", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=20, help="most repeats (20)")
    parser.add_argument("--sequences", type=int, default=100)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for path in arguments.runs:
        run = open_run(path)
        assert isinstance(run.task, RepeatCopy), f"{path} is not a run on repeat copy"
        most = run.task.max_repeats
        print(Path(path).name)
        for repeats in sorted({most - 1, *range(most, most + 4), arguments.repeats}):
            right, first = markers(run, arguments.length, repeats, arguments.sequences)
            print(f"  {repeats} repeats: end marker right {right:.0%}, the first after {first:.1f}")
        print("  the count:", " ".join(f"{number:.2f}" for number in count(run, arguments.length, most)))


if __name__ == "__main__":
    main()
