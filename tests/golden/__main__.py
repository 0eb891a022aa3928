"""Train all recipes and print what they give: python -m tests.golden > before.json.

Run it before and after a change on one machine: the two files are equal, but for a change of numbers made on purpose.
On another machine rounding, and so the weights, may differ.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.golden.trainings import NETWORKS, TASKS, result, words

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--steps", type=int, default=300, help="steps of each training with a kernel (300)")
parser.add_argument("--reference-steps", type=int, default=300, help="steps of each training with the loop (300)")
arguments = parser.parse_args()
results = {}
with tempfile.TemporaryDirectory() as folder:
    for task in TASKS:
        for network in NETWORKS:
            for backend, steps in (("auto", arguments.steps), ("reference", arguments.reference_steps)):
                told = words(task, network, backend, steps, Path(folder))
                command = [sys.executable, "-m", "lightning_ntm.cli", *told]
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder)
                name = f"{task}-{network}-{backend}"
                results[name] = result(Path(folder) / name)
                print(f"{name}: {results[name]['weights'][:16]}", file=sys.stderr)
json.dump(results, sys.stdout, indent=1)
