"""Wrong bits over the training lengths, for docs/ten-seeds.md: python benchmarks/ten_seeds.py FOLDER.

For each network of a sweep on copy: the mean wrong bits of its kept weights over 100 lists of each training length, and
their mean, population standard deviation, median and maximum over the seeds.
"""

import statistics
import sys
from collections import defaultdict

import torch

from lightning_ntm.evaluation import TrainedRun, evaluate, open_run
from lightning_ntm.records import find


def wrong_bits(run: TrainedRun) -> float:
    lengths = range(run.task.min_length, run.task.max_length + 1)
    results = [evaluate.evaluate(run.model, run.task, {"length": length}, seed=run.seed) for length in lengths]
    return statistics.mean(result["wrong_bits"] for result in results)


def main() -> None:
    torch.set_num_threads(1)
    costs = defaultdict(list)
    for folder in find(sys.argv[1]).values():
        run = open_run(folder.path)
        costs[type(run.model).__name__].append(wrong_bits(run))
    for network, seeds in costs.items():
        mean, deviation = statistics.mean(seeds), statistics.pstdev(seeds)
        print(
            f"{network:<5} {len(seeds)} seeds  {mean:.2f} ± {deviation:.2f}, median {statistics.median(seeds):.2f}, "
            f"worst {max(seeds):.2f}"
        )


if __name__ == "__main__":
    main()
