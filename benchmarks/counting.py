"""How networks count repeats: python benchmarks/counting.py RUN... [--length 10] [--repeats 20] [--sequences 100].

For runs on repeat copy, by number of repeats: the share of episodes with exactly one end marker, in the right place,
and the number of repeats before the first end marker (the median). Then the count itself:

- LSTM controller: the cell that changes most evenly from repeat to repeat, for lists of --length and of twice that.
  Episodes have the training maximum of repeats, or --repeats if the number is in unary.
- feed-forward controller: the count is in the memory. Of the numbers read at the end of each repeat, the one that
  changes most (in the median) from repeat to repeat.
- number of repeats as one value: also the value after the first repeat, in episodes with fewer and with more repeats.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from lightning_ntm import NTM, Batch
from lightning_ntm.evaluation import TrainedRun, open_run
from lightning_ntm.tasks.randomness import batch_generator
from lightning_ntm.tasks.repeat_copy import RepeatCopy


def _episodes(run: TrainedRun, sequences: int, **difficulty: int) -> Batch:
    return run.task.sample(batch_generator(run.seed, "evaluation", 0, difficulty), sequences, **difficulty)


@torch.inference_mode()
def markers(run: TrainedRun, length: int, repeats: int, sequences: int) -> tuple[float, float]:
    """Return the share of episodes that end in the right place, and the repeats before the first end marker."""
    batch = _episodes(run, sequences, length=length, repeats=repeats)
    logits, _ = run.model(batch.inputs)
    ends = logits[..., -1][batch.mask].view(sequences, -1) > 0
    first = torch.where(ends.any(1), ends.int().argmax(1) / length, torch.nan)
    right = (ends.sum(1) == 1) & (first == repeats)
    return float(right.float().mean()), float(first.nanmedian())


@torch.inference_mode()
def at_ends(run: TrainedRun, what: str, length: int, repeats: int) -> tuple[Tensor, Tensor]:
    """Return a field of the trace of one episode: at each step before the answer, and at the end of each repeat."""
    batch = _episodes(run, 1, length=length, repeats=repeats)
    seen = run.model.trace(batch.inputs)[what][0].flatten(1)
    answered = batch.mask[0].nonzero()[:, 0]
    return seen[: answered[0]], seen[answered[length - 1 : length * repeats : length]]


def tell_begins(run: TrainedRun, what: str, length: int, most: int, place: int) -> None:
    """Print the value of the count after the first repeat, by the number of repeats."""
    numbers = (*range(2, most + 3, 2), 2 * most)
    begins = {repeats: at_ends(run, what, length, repeats)[1][0, place] for repeats in numbers}
    print(
        "  value after the first repeat:",
        ", ".join(f"{number:.2f} for {repeats}" for repeats, number in begins.items()),
    )


def tell_count(run: TrainedRun, length: int, most: int) -> None:
    """Print the read number that changes most from repeat to repeat, and its start by the number of repeats."""
    read = at_ends(run, "reads", length, most)[1]
    place = read.diff(dim=0).abs().median(0).values.argmax()
    print(f"  the count, {most} repeats:", *(f"{number:.2f}" for number in read[:, place]))
    tell_begins(run, "reads", length, most, int(place))


def tell_cell(run: TrainedRun, length: int, repeats: int) -> None:
    """Print the cell that changes most evenly from repeat to repeat, for lists of this length and of twice that."""
    seen = {size: at_ends(run, "cell", size, repeats) for size in (length, 2 * length)}
    steps = torch.cat([after.diff(dim=0) for _, after in seen.values()])
    place = (steps.median(0).values.abs() / (steps.std(0) + 1e-6)).argmax()  # a cell may be constant
    if run.task.number == "unary":
        before = seen[length][0]
        print(f"  a cell, while {repeats} is shown:", *(f"{number:.1f}" for number in before[-repeats:, place]))
    for size, (_, after) in seen.items():
        print(f"  a cell after each of {repeats} repeats of {size}:", *(f"{number:.1f}" for number in after[:, place]))
    if run.task.number == "scalar":
        tell_begins(run, "cell", length, repeats, int(place))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--length", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=20, help="largest number of repeats (20)")
    parser.add_argument("--sequences", type=int, default=100)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for path in arguments.runs:
        run = open_run(path)
        if not isinstance(run.task, RepeatCopy):
            parser.error(f"{path} is not a run on repeat copy")
        most = run.task.max_repeats
        print(Path(path).name)
        for repeats in sorted({max(1, most - 1), *range(most, most + 4), arguments.repeats}):
            right, first = markers(run, arguments.length, repeats, arguments.sequences)
            print(f"  {repeats} repeats: end marker correct {right:.0%}, first one after {first:.1f}")
        if not isinstance(run.model, NTM) or most < 2:
            continue  # no memory that could hold the count, or nothing to count
        counted = arguments.repeats if run.task.number == "unary" else most
        if run.model.controller.num_layers and counted > 1:
            tell_cell(run, arguments.length, counted)
        elif run.task.number == "scalar":  # in unary the slot of a head is the count: see ntm figure
            tell_count(run, arguments.length, most)


if __name__ == "__main__":
    main()
