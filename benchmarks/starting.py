"""How long the commands take that train nothing, beside the import of PyTorch alone.

Usage: `python benchmarks/starting.py [--repeats N]`, with `ntm` on the path. All are started in turn; the shortest
processor time of each counts.
"""

import argparse
import resource
import subprocess
import sys
import tempfile

_TRAINED = "train --task Copy --trainer.max_steps 200 --trainer.val_check_interval 100 --name run"
_COMMANDS = {
    "import torch": [sys.executable, "-c", "import torch"],
    "import matplotlib.figure": [sys.executable, "-c", "import matplotlib.figure"],
    "ntm evaluate": ["ntm", "evaluate", "runs/run", "--lengths", "5", "--sequences", "5"],
    "ntm figure": ["ntm", "figure", "runs/run", "--lengths", "5"],
    "ntm report": ["ntm", "report", "runs/run"],
    "ntm zoo": ["ntm", "zoo"],
    "ntm train --help": ["ntm", "train", "--help"],
}


def seconds(words: list[str], folder: str) -> float:
    """Return the processor time of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(words, cwd=folder, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print a line for each command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as folder:
        seconds(["ntm", *_TRAINED.split()], folder)
        taken = [{name: seconds(words, folder) for name, words in _COMMANDS.items()} for _ in range(repeats)]
    best = {name: min(one[name] for one in taken) for name in _COMMANDS}
    for name, shortest in best.items():
        print(f"{name:<25} {shortest:5.2f} s  {shortest / best['import torch']:5.2f} times import torch")


if __name__ == "__main__":
    main()
