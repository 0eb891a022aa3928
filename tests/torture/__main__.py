"""What a run survives: python -m tests.torture [--kills 100] [--faults 50] [--configurations 2000] ...

Each part prints what it did and ends with an error at the first thing that is not as promised.
"""

import argparse
import time

from tests.torture import disks, folders, inputs, runs

PARTS = {
    "kills": (runs.kills, 100, "processes killed at random instants of one training"),
    "sweeps": (runs.sweeps, 24, "sweeps killed, told to end, left without a terminal"),
    "operations": (
        disks.operations,
        1000,
        "kills at operations on files of a fresh and a resumed run, each once at most",
    ),
    "faults": (disks.faults, 50, "operations on files that fail"),
    "configurations": (inputs.configurations, 2000, "mutated configurations"),
    "files": (inputs.files, 500, "mutated files of a run folder"),
    "folders": (folders.folders, 500, "folders of which some files are not what they should be, met by every verb"),
    "soak": (runs.soak, 200_000, "steps of a tiny network"),
}

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
for part, (_, number, what) in PARTS.items():
    parser.add_argument(f"--{part}", type=int, default=number, help=f"{what} ({number}); 0 leaves the part out")
parser.add_argument("--seed", type=int, default=0, help="of what is random (0)")
arguments = parser.parse_args()
for part, (torture, _, _) in PARTS.items():
    if number := getattr(arguments, part):
        start = time.perf_counter()
        print(f"{part}: {torture(number, arguments.seed)} ({time.perf_counter() - start:.0f} s)", flush=True)
