"""Puts trained runs into the package, as networks that come with it.

Of each run folder this keeps what it takes to use the network, to judge it and to train it again: configuration,
weights, declarations of the measures, the results of `ntm evaluate`, a thinned log of the training, and the command.

    ntm train --task Copy --seed 1 --name copy
    ntm evaluate runs/copy --lengths 20,120
    python benchmarks/zoo.py runs/copy
"""

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

from lightning_ntm import zoo
from lightning_ntm.evaluation.episodes import EVALUATION_VERSION
from lightning_ntm.records import RunFolder, as_json, write_whole

#: Rows of training in the log, at most; all validations are kept.
MOST_ROWS = 60
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


def ship(run: RunFolder, target: Path) -> None:
    """Write the folder of a network of the package.

    Raises:
        ValueError: The run has not ended, or its kept weights were not evaluated.
    """
    if not run.done():
        raise ValueError(f"{run.path} has not ended: ntm train --resume {run.path}")
    kept = run.results()
    if (kept.step, kept.version) != (run.kept_step(), EVALUATION_VERSION) or not kept.rows:
        raise ValueError(f"the weights of {run.path} were not evaluated: ntm evaluate {run.path}")
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for file in (run.config, run.measures, run.best, run.evaluation, run.result):
        shutil.copyfile(file, target / file.name)
    rows = thinned(run.rows())
    write_whole(target / run.metrics.name, "".join(f"{as_json(row)}\n" for row in rows))
    note = run.notes()[0]
    about = {name: note[name] for name in KEPT if name in note}
    write_whole(target / run.about.name, as_json({**about, "command": ["ntm", *note["command"][1:]]}) + "\n")


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
    for path in parser.parse_args().runs:
        target = Path(zoo.__file__).parent / path.name
        try:
            ship(RunFolder(path), target)
        except (OSError, ValueError) as error:
            print(f"zoo: {error}", file=sys.stderr)
            return 2
        print(f"{target}: {sum(file.stat().st_size for file in target.iterdir()):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
