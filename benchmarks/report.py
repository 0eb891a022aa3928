"""Time to load and to report many runs: python benchmarks/report.py.

Writes run folders with 200 measurements each, with the same number of seeds for two networks. Times
`lightning_ntm.records.load` on 1,000 of them and `ntm report` on 100.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROWS = 100  # rows of training, and the same number of validation
CONFIG = """\
name: {name}
runs: runs
seed: {seed}
threads: 1
model:
  class_path: lightning_ntm.{model}
  init_args:
    hidden_size: 100
    backend: auto
task:
  class_path: lightning_ntm.Copy
  init_args:
    bits: 8
    max_length: 20
optimizer:
  class_path: torch.optim.Adam
  init_args:
    lr: 0.001
trainer:
  max_steps: 10000
"""


def write_run(folder: Path, model: str, seed: int) -> None:
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(CONFIG.format(name=folder.name, model=model, seed=seed))
    random = np.random.default_rng(seed)
    fall = 80 / (1 + np.exp((np.arange(1, ROWS + 1) - random.integers(20, 60)) / 4)) * (model == "NTM" or 1.4)
    with (folder / "metrics.jsonl").open("w") as file:
        for number, cost in enumerate(fall * random.lognormal(0, 0.2, ROWS), start=1):
            row = {"step": 100 * number, "sequences": 800 * number, "seconds": round(0.5 * number, 3)}
            for split in ("train", "validation"):
                measured = {"loss": cost / 160, "wrong_bits": cost, "bits_per_sequence": 2 * cost + 0.1, "perfect": 0.0}
                named = {f"{split}_{name}": float(value) for name, value in measured.items()}
                file.write(json.dumps({**row, **named, "gradient_norm": 0.3, "learning_rate": 0.001}) + "\n")
    about = {"versions": {"torch": "2.13.0"}, "machine": "Linux", "seed": seed, "task_version": 1, "parameters": 17000}
    (folder / "about.jsonl").write_text(json.dumps(about) + "\n")
    (folder / "result.json").write_text(json.dumps({"step": 100 * ROWS, "best": {"step": 100 * ROWS}}) + "\n")


def write_runs(folder: Path, runs: int) -> Path:
    for number in range(runs):
        model, seed = ("NTM", "LSTM")[number % 2], number // 2 + 1
        write_run(folder / f"{model.lower()}-copy-seed{seed}", model, seed)
    return folder


def seconds(*command: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    with tempfile.TemporaryDirectory() as kept:
        thousand, hundred = write_runs(Path(kept, "thousand"), 1000), write_runs(Path(kept, "hundred"), 100)
        load = "import sys, lightning_ntm.records as r; {}; assert len(r.load(sys.argv[1])) == 200 * 1000"
        program = min(seconds("-c", load.format("0"), str(thousand)) for _ in range(3))
        imports = min(seconds("-c", "import lightning_ntm.records, pandas") for _ in range(3))
        print(f"load, 1,000 runs of 200 rows   {program - imports:.2f} s; {program:.2f} s with the start of Python")
        report = min(seconds("-m", "lightning_ntm.cli", "report", str(hundred)) for _ in range(2))
        size = (hundred / "report.html").stat().st_size / 1e6
        print(f"report, 100 runs of 200 rows   {report:.2f} s, {size:.2f} MB")


if __name__ == "__main__":
    main()
