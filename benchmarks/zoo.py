"""Puts trained runs into the package, as networks that come with it.

Of each run folder this keeps what it takes to use the network, to judge it and to train it again: configuration,
weights, declarations of the measures, the results of `ntm evaluate`, a thinned log of the training, and the command.
Weights are rounded, so that they take a quarter less room in the wheel. The results are those of the rounded weights,
measured again; a network whose results the rounding changes is refused.

    ntm train --task Copy --seed 1 --name copy
    ntm evaluate runs/copy --lengths 20,120
    python benchmarks/zoo.py runs/copy
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor

from lightning_ntm import open_run, zoo
from lightning_ntm.evaluation.episodes import EVALUATION_VERSION
from lightning_ntm.evaluation.evaluate import evaluate
from lightning_ntm.evaluation.weights import as_safetensors
from lightning_ntm.records import RunFolder, as_json, difficulty_of, write_whole

#: Rows of training in the log, at most; all validations are kept.
MOST_ROWS = 60
#: Bits of a weight's significand that are kept, of 24, unless `--bits` says more. The others are zeros, which a wheel
#: compresses.
SIGNIFICANT_BITS = 14
#: How far the rounding may move a mean, as a share of half its 95 % confidence interval.
LARGEST_CHANGE = 0.25
#: What is kept of the record of a training; not the name of the machine.
KEPT = (
    "id",
    "started",
    "command",
    "versions",
    "own_commit",
    "machine",
    "threads",
    "backend",
    "parameters",
    "task_version",
)


def ship(run: RunFolder, target: Path, bits: int = SIGNIFICANT_BITS) -> None:
    """Write the folder of a network of the package, with weights of so many significant bits.

    Raises:
        ValueError: The run has not ended, its kept weights were not evaluated, or rounding changes what they reach.
    """
    if not run.done():
        raise ValueError(f"{run.path} has not ended: ntm train --resume {run.path}")
    kept = run.results()
    if (kept.step, kept.version) != (run.kept_step(), EVALUATION_VERSION) or not kept.rows:
        raise ValueError(f"the weights of {run.path} were not evaluated: ntm evaluate {run.path}")
    with tempfile.TemporaryDirectory() as folder:
        made = RunFolder(Path(folder) / target.name)
        made.path.mkdir()
        for file in (run.config, run.measures, run.result):
            shutil.copyfile(file, made.path / file.name)
        made.best.write_bytes(rounded_file(run.best, bits))
        made.keep_evaluation(run.kept_step(), measured_again(made.path, kept.rows), EVALUATION_VERSION)
        write_whole(made.metrics, "".join(f"{as_json(row)}\n" for row in thinned(run.rows())))
        note = run.notes()[0]
        about = {name: note[name] for name in KEPT if name in note}
        write_whole(made.about, as_json({**about, "command": ["ntm", *note["command"][1:]]}) + "\n")
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(made.path, target)


def rounded(weights: Tensor, bits: int) -> Tensor:
    """Return weights in float32 with so many significant bits, and other tensors as they are."""
    if weights.dtype != torch.float32:
        return weights
    significand, exponent = torch.frexp(weights)
    scale = 2.0**bits
    return torch.ldexp((significand * scale).round() / scale, exponent)


def rounded_file(path: Path, bits: int) -> bytes:
    """Return a file of weights with rounded weights and the same metadata."""
    with safetensors.safe_open(path, framework="pt") as file:
        tensors = {name: rounded(file.get_tensor(name), bits) for name in file.keys()}  # noqa: SIM118
        return as_safetensors(tensors, file.metadata())


def measured_again(folder: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of an evaluation, measured with the weights in a folder.

    Raises:
        ValueError: A result is another one.
    """
    run, found = open_run(folder), []
    for row in rows:
        difficulty = difficulty_of(row)
        slots = {name: difficulty.pop(name) for name in ("memory_slots",) if name in difficulty}
        options = {"sequences": row["sequences"], "seed": run.seed, **slots}
        found.append({**slots, **evaluate(run.model, run.task, difficulty, **options)})
        for name in (*run.task.answer.measures.names, "perfect"):
            allowed = LARGEST_CHANGE * (row.get(f"{name}_margin") or 0)
            if not abs(found[-1][name] - row[name]) <= max(allowed, 1e-3 * abs(row[name])):
                raise ValueError(
                    f"rounding changes {name} of {folder.name} from {row[name]} to {found[-1][name]}: raise --bits"
                )
    return found


def thinned(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return all validations, and evenly spaced rows of training with the last one."""
    trained = [number for number, row in enumerate(rows) if "train_loss" in row]
    every = -(-len(trained) // MOST_ROWS)
    kept = set(trained[::-1][::every])
    return [row for number, row in enumerate(rows) if number in kept or "train_loss" not in row]


def main() -> int:
    """Ship the runs of the command line under the names of their folders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders; their names become the names")
    parser.add_argument("--bits", type=int, default=SIGNIFICANT_BITS, help="significant bits of the weights (14)")
    arguments = parser.parse_args()
    for path in arguments.runs:
        target = Path(zoo.__file__).parent / path.name
        try:
            ship(RunFolder(path), target, arguments.bits)
        except (OSError, ValueError) as error:
            print(f"zoo: {error}", file=sys.stderr)
            return 2
        print(f"{target}: {sum(file.stat().st_size for file in target.iterdir()):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
