"""Every recipe still trains as it did: the first batch bit by bit, the first losses as closely as rounding allows."""

import hashlib
import json
from pathlib import Path

import pytest
from tests.golden.trainings import losses, words

from lightning_ntm import Task, tasks
from lightning_ntm.cli import main
from lightning_ntm.tasks.randomness import batch_generator

GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text())

#: Weights that differ by 1e-7 give losses that differ by 1e-3 after so many steps; other trainings need more than 20.
COMPARED = {"dynamic-ngrams-NTM": 7}


def first_batch(task):
    made = getattr(tasks, "".join(part.capitalize() for part in task.split("-")).replace("Ngrams", "NGrams"))()
    batch = made.sample(batch_generator(11, "train", 0), 8)
    return hashlib.sha256(b"".join(part.numpy().tobytes() for part in batch)).hexdigest()


def test_every_task_that_draws_has_a_first_batch():
    names = {name.replace("-", "") for name in GOLDEN["first batch"]}
    drawn = {name.casefold() for name, made in vars(tasks).items() if isinstance(made, type) and issubclass(made, Task)}
    assert names == drawn - {"task", "filetask"}


@pytest.mark.parametrize("task", GOLDEN["first batch"])
def test_the_first_batch_is_the_same_bits(task):
    assert first_batch(task) == GOLDEN["first batch"][task]


@pytest.mark.parametrize("name", GOLDEN["losses"])
def test_the_first_losses_are_the_same(name, tmp_path, capsys):
    task, _, network = name.rpartition("-")
    assert main(words(task, network, "auto", 20, tmp_path)) in (0, None)
    # Another instruction set rounds differently, and each step adds to that.
    compared = COMPARED.get(name, 20)
    found = losses(tmp_path / f"{task}-{network}-auto")[:compared]
    assert found == pytest.approx(GOLDEN["losses"][name][:compared], rel=1e-3)
