"""Trainings of all recipes, and what is compared of them."""

import hashlib
import json
from pathlib import Path
from typing import Any

import safetensors

TASKS = ("copy", "repeat-copy", "associative-recall", "dynamic-ngrams", "priority-sort")
NETWORKS = ("NTM", "LSTM")
#: Losses of the first steps that are kept.
LOSSES = 50


def words(task: str, network: str, backend: str, steps: int, runs: Path) -> list[str]:
    """The arguments of `ntm` for a training of the default recipe, in a folder of its own."""
    name = f"{task}-{network}-{backend}"
    options = {
        "task": task, "model": network, "model.backend": backend, "seed": 11, "runs": runs, "name": name,
        "data.validation_sequences": 20, "trainer.max_steps": steps, "trainer.val_check_interval": steps,
        "trainer.log_every_n_steps": 1, "trainer.enable_progress_bar": "false",
    }  # fmt: skip
    return ["train", *(word for option, value in options.items() for word in (f"--{option}", str(value)))]


def losses(run: Path) -> list[float]:
    """The loss of each of the first steps."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row["train_loss"] for row in rows if "train_loss" in row][:LOSSES]


def weights(run: Path) -> str:
    """A hash of the names and bits of the kept weights, whatever else the file says."""
    found = hashlib.sha256()
    with safetensors.safe_open(run / "best.safetensors", "numpy") as file:
        for name in sorted(file.keys()):
            found.update(name.encode() + file.get_tensor(name).tobytes())
    return found.hexdigest()


def result(run: Path) -> dict[str, Any]:
    """All that is compared of a run."""
    return {"losses": losses(run), "weights": weights(run)}
