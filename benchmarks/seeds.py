"""Results of each seed of a sweep: python benchmarks/seeds.py FOLDER [--measure bits_per_sequence] [--sequences 1000].

Prints for each run of the folder the first validation without a wrong bit (by regret: within one bit), the measure in
the validation whose weights were kept, and the measure of these weights on new episodes, at the default difficulties of
the task. Then prints the median and the worst of the seeds, in every available measure.
"""

import argparse
import statistics
from collections.abc import Callable

import torch

from lightning_ntm.evaluation import evaluate, open_run
from lightning_ntm.records import RunFolder, find

MEASURES = ("wrong_bits", "bits_per_sequence", "regret_bits")

#: The measures by name, for each difficulty.
Results = dict[str, dict[str, float]]


def measured(folder: RunFolder, measure: str, sequences: int) -> tuple[str, Results]:
    """Return the line of a run, and its measures."""
    judge, within = ("validation_regret_bits", 1) if measure == "regret_bits" else ("validation_wrong_bits", 0)
    rows, run = folder.rows(), open_run(folder.path)
    solved = [row["step"] for row in rows if (cost := row.get(judge)) is not None and cost <= within]
    best = [row for row in rows if row["step"] == run.step]
    values: Results = {}
    shown = []
    for difficulty in run.task.evaluations:
        result = evaluate.evaluate(run.model, run.task, difficulty, sequences=sequences, seed=run.seed)
        at = "x".join(map(str, difficulty.values()))
        values[at] = result
        if measure not in result:
            raise SystemExit(f"--measure (={measure}) is not a measure of {type(run.task).__name__}: its optimum is 0.")
        shown.append(f"{at}: {result[measure]:.2f}" + ("" if within else f" ({result['perfect']:.0%})"))
    kept = "".join(f"{cost:.2f}" for row in best if (cost := row.get(f"validation_{measure}")) is not None)
    first = solved[0] if solved else "never" if any(judge in row for row in rows) else "-"
    return f"{folder.path.name:<34}{first!s:>6}  {kept:>6}  {'  '.join(shown)}", values


def over_seeds(name: str, of: Callable[[list[float]], float], runs: list[Results], measure: str) -> str:
    """Return one number over all runs, at each difficulty."""
    shown = [f"{at}: {of([values[at][measure] for values in runs]):.2f}" for at in runs[0]]
    return f"{f'{name}, {words(measure)}':<48}  {'  '.join(shown)}"


def words(measure: str) -> str:
    """Return a measure's name in words."""
    return measure.replace("_", " ")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--measure", default="wrong_bits", choices=MEASURES)
    parser.add_argument("--sequences", type=int, default=100)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    measure = arguments.measure
    share = "" if measure == "regret_bits" else " (share of episodes without an error)"
    print(f"{'run':<34}solved    kept  {words(measure)} at each difficulty{share}")
    runs: dict[str, list[Results]] = {}
    for run in find(arguments.folder).values():
        line, values = measured(run, measure, arguments.sequences)
        runs.setdefault(run.path.name.rpartition("-seed")[0], []).append(values)
        print(line)
    for network, found in runs.items():
        of = f" of {network}" if len(runs) > 1 else ""
        for each in sorted(MEASURES, key=lambda name: name != measure):
            if all(each in values for run in found for values in run.values()):
                print(over_seeds(f"median{of}", statistics.median, found, each))
                print(over_seeds(f"worst{of}", max, found, each))
