"""Time to sample a batch, beside the training step on it: python benchmarks/drawing.py [--turns 10].

For each of the paper's tasks, at the training maximum, with the NTM of its preset (LSTM controller), the fastest
backend and one thread: sample eight batches as `ntm train` does, then run forward, backward, clipping and optimizer on
each. Prints medians per batch. The two measurements alternate, so that both see the same load of the machine.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import yaml

from lightning_ntm import NTM, Batch, Task
from lightning_ntm.evaluation.build import build
from lightning_ntm.recipes import presets
from lightning_ntm.tasks.answer import Answer
from lightning_ntm.tasks.randomness import batch_generator
from lightning_ntm.training.optimizer import default_optimizer, prefer_fused

#: Batches that `ntm train` samples at once.
AHEAD = 8
TASKS = ("copy", "repeat-copy", "associative-recall", "dynamic-ngrams", "priority-sort")


def parts(name: str) -> tuple[Task, NTM]:
    """Return a task of the paper and the paper's NTM for it."""
    config = yaml.safe_load(presets()[f"paper-{name}"].read_text())
    task = build(config["task"], Task)
    return task, build(config["model"], NTM, input_size=task.input_size, output_size=task.output_size)


def training_step(model: NTM, answer: Answer) -> Callable[[Batch], None]:
    optimizer = default_optimizer(model.parameters())
    prefer_fused(optimizer)

    def step(batch: Batch) -> None:
        optimizer.zero_grad()
        costs = answer.cost(model(batch.inputs)[0], batch)
        (costs.sum() / answer.units(batch).sum()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def medians(name: str, batch_size: int, turns: int) -> tuple[float, float]:
    """Return milliseconds for sampling a batch and for the step on it."""
    task, model = parts(name)
    step, drawing, stepping = training_step(model, task.answer), [], []
    for turn in range(turns + 1):  # one to warm up
        numbers = range(AHEAD * turn, AHEAD * (turn + 1))
        start = time.perf_counter()
        batches = [task.sample(batch_generator(1, "train", n), batch_size, **task.difficulty) for n in numbers]
        drawn = time.perf_counter()
        for batch in batches:
            step(batch)
        drawing.append(1000 * (drawn - start) / AHEAD)
        stepping.append(1000 * (time.perf_counter() - drawn) / AHEAD)
    return statistics.median(drawing[1:]), statistics.median(stepping[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=10, help="number of measurements for the median (10)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in TASKS:
        for batch_size in (8, 64):
            draw, step = medians(name, batch_size, arguments.turns)
            print(
                f"{name:<19} batch {batch_size:2}  {draw:5.2f} ms to sample  {step:7.2f} ms per step  {draw / step:.1%}"
            )


if __name__ == "__main__":
    main()
