"""What the seeds of a sweep reach: python benchmarks/seeds.py FOLDER [--measure bits_per_sequence] [--sequences 1000].

Prints, for each run of the folder, the first validation without a wrong bit (measured in regret: with at most one
bit), the measure in the validation that was kept, and what its kept weights reach on episodes never seen, at the
difficulties its task is measured at; then the median and the worst of the seeds.
"""

import argparse
import statistics
from collections.abc import Callable

import torch

from lightning_ntm.records import RunFolder, find
from lightning_ntm.training import evaluate, open_run


def measured(folder: RunFolder, measure: str, sequences: int) -> tuple[str, dict[str, float]]:
    """Return the line of a run, and its measure at each difficulty."""
    told, within = ("validation_regret_bits", 1) if measure == "regret_bits" else ("validation_wrong_bits", 0)
    rows, run = folder.rows(), open_run(folder.path)
    solved = [row["step"] for row in rows if (cost := row.get(told)) is not None and cost <= within]
    best = [row for row in rows if row["step"] == run.step]
    values, shown = {}, []
    for difficulty in run.task.evaluations:
        result = evaluate.evaluate(run.model, run.task, difficulty, sequences=sequences, seed=run.seed)
        at = "x".join(map(str, difficulty.values()))
        values[at] = result[measure]
        shown.append(f"{at}: {result[measure]:.2f}" + ("" if within else f" ({result['perfect']:.0%})"))
    kept = "".join(f"{row[name]:.2f}" for row in best if (name := f"validation_{measure}") in row)
    first = solved[0] if solved else "never"
    return f"{folder.path.name:<34}{first!s:>6}  {kept:>6}  {'  '.join(shown)}", values


def over_seeds(name: str, of: Callable[[list[float]], float], runs: list[dict[str, float]]) -> str:
    """Return one number of all runs, at each difficulty."""
    shown = [f"{at}: {of([values[at] for values in runs]):.2f}" for at in runs[0]]
    return f"{name:<50}{'  '.join(shown)}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--measure", default="wrong_bits", choices=("wrong_bits", "bits_per_sequence", "regret_bits"))
    parser.add_argument("--sequences", type=int, default=100)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    measure = arguments.measure
    named = measure.replace("_", " ")
    share = "" if measure == "regret_bits" else " (share of episodes without an error)"
    print(f"{'run':<34}solved    kept  {named} at each difficulty{share}")
    runs: dict[str, list[dict[str, float]]] = {}
    for run in find(arguments.folder).values():
        line, values = measured(run, measure, arguments.sequences)
        runs.setdefault(run.path.name.rpartition("-seed")[0], []).append(values)
        print(line)
    for network, found in runs.items():
        of = f" of {network}" if len(runs) > 1 else ""
        print(over_seeds(f"median{of}", statistics.median, found), over_seeds(f"worst{of}", max, found), sep="\n")
