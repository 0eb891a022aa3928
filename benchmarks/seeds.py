"""What several seeds reach: python benchmarks/seeds.py FOLDER --seeds 1-10 [any option of ntm train].

Trains each seed into FOLDER, as many at once as there are cores, each on one thread; a run that is there
already is not trained again. Prints, for each, the first validation without a wrong bit, the wrong bits in
the validation that was kept, and what `ntm evaluate` measures on episodes never seen.
"""

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

NTM = [sys.executable, "-m", "lightning_ntm.cli"]


def train(folder: Path, seed: int, options: list[str]) -> Path:
    run = folder / f"seed{seed}"
    if not (run / "result.json").exists():
        names = ["--runs", str(folder), "--name", run.name, "--seed", str(seed)]
        subprocess.run([*NTM, "train", *options, *names], check=True, stdout=subprocess.DEVNULL)
    return run


def line(run: Path) -> str:
    rows = [json.loads(row) for row in (run / "metrics.jsonl").read_text().splitlines()]
    solved = [row["step"] for row in rows if row.get("validation_wrong_bits") == 0]
    best = json.loads((run / "result.json").read_text())["best"]
    printed = subprocess.run([*NTM, "evaluate", str(run), "--json"], check=True, capture_output=True, text=True).stdout
    measured = []
    for result in json.loads(printed)["results"]:
        at = "x".join(str(value) for name, value in result.items() if name in ("length", "repeats", "items"))
        measured.append(f"{at}: {result['wrong_bits']:.2f} ({result['perfect']:.0%})")
    first = solved[0] if solved else "never"
    return f"{run.name:>7}  {first!s:>6}  {best['wrong_bits']:6.2f}  {'  '.join(measured)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", default="1-10", help="as 1-10")
    arguments, options = parser.parse_known_args()
    low, high = (int(word) for word in arguments.seeds.split("-"))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = list(pool.map(lambda seed: train(arguments.folder, seed, options), range(low, high + 1)))
    print("   seed  solved    kept  wrong bits at each length (share of episodes without any)")
    for run in runs:
        print(line(run))


if __name__ == "__main__":
    main()
