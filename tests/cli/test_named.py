"""A configuration may come from anybody: nothing that it names is called unless it is of the kind asked for."""

import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings, strategies as st
from runs import write_run

from lightning_ntm.cli import main

MARK = "mark"
PAYLOADS = {
    "os.system": {"command": f"touch {MARK}"},
    "subprocess.Popen": {"args": ["touch", MARK]},
    "builtins.eval": {"source": f"open('{MARK}', 'w')"},
    "pathlib.Path.touch": {"self": MARK},
    "torch.os.system": {"command": f"touch {MARK}"},  # by another way
    "torch.save": {"obj": 1, "f": MARK},  # a function that is not Python's own
    "numpy.savetxt": {"fname": MARK, "X": "1"},
    "numpy.memmap": {"filename": MARK, "mode": "w+", "shape": [1]},  # a class, but of no kind that is asked for
    "hostile.leave": {},
    "hostile.Leaves": {},
}
HOSTILE = f"""
from pathlib import Path
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
def leave(*_, **__) -> Optimizer:
    Path("{MARK}").touch()
class Leaves:
    def __init__(self, *_, **__):
        Path("{MARK}").touch()
    def __call__(self, *_, **__):
        Path("{MARK}").touch()
"""
FORMS = {
    "arguments": lambda path, arguments: {"class_path": path, "init_args": arguments},
    "keywords": lambda path, arguments: {"class_path": path, "dict_kwargs": arguments},
    "name": lambda path, _: path,
    "text": lambda path, arguments: yaml.safe_dump({"class_path": path, "init_args": arguments}),
    "list": lambda path, arguments: [{"class_path": path, "init_args": arguments}],
}
NTM, SGD = "lightning_ntm.NTM", "torch.optim.SGD"
LAMBDA = "lightning.pytorch.callbacks.LambdaCallback"
PLACES = {
    "model": lambda bad: {"model": bad},
    "part of the model": lambda bad: {"model": {"class_path": NTM, "init_args": {"controller": bad}}},
    "size of the model": lambda bad: {"model": {"class_path": NTM, "init_args": {"memory_slots": bad}}},
    "keyword of the model": lambda bad: {"model": {"class_path": NTM, "dict_kwargs": {"more": bad}}},
    "own model": lambda bad: {"model": {"class_path": "mine.Mine", "init_args": {"anything": bad}}},
    "activation": lambda bad: {"model": {"class_path": "mine.Mine", "init_args": {"activation": bad}}},
    "task": lambda bad: {"task": bad},
    "bits": lambda bad: {"task": {"class_path": "lightning_ntm.Copy", "init_args": {"bits": bad}}},
    "curriculum": lambda bad: {"data": {"curriculum": bad}},
    "optimizer": lambda bad: {"optimizer": bad},
    "rate": lambda bad: {"optimizer": {"class_path": SGD, "init_args": {"lr": bad}}},
    "scheduler": lambda bad: {"scheduler": bad},
    "schedule": lambda bad: {
        "scheduler": {"class_path": "torch.optim.lr_scheduler.LambdaLR", "init_args": {"lr_lambda": bad}}
    },
    "seed": lambda bad: {"seed": bad},
    "data": lambda bad: {"data": {"batch_size": bad}},
    "callback": lambda bad: {"trainer": {"callbacks": bad}},
    "one of callbacks": lambda bad: {"trainer": {"callbacks": [bad]}},
    "hook": lambda bad: {
        "trainer": {"callbacks": [{"class_path": LAMBDA, "init_args": {"on_fit_start": bad, "teardown": bad}}]}
    },
    "logger": lambda bad: {"trainer": {"logger": bad}},
    "profiler": lambda bad: {"trainer": {"profiler": bad}},
    "strategy": lambda bad: {"trainer": {"strategy": bad}},
    "accelerator": lambda bad: {"trainer": {"accelerator": bad}},
    "plugin": lambda bad: {"trainer": {"plugins": [bad]}},
    "steps": lambda bad: {"trainer": {"max_steps": bad}},
}
MINE = """
import typing, torch
from collections.abc import Callable
from lightning_ntm import LSTM
class Mine(LSTM):
    def __init__(self, input_size, output_size, anything: typing.Any = 1, activation: Callable = torch.tanh):
        super().__init__(input_size, output_size, hidden_size=4)
"""


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    for name, text in (("hostile", HOSTILE), ("mine", MINE)):
        Path(f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)


def tried(place, path, form):
    """Meet a hostile configuration; return the exit code."""
    bad = FORMS[form](path, PAYLOADS[path])
    Path("foreign.yaml").write_text(yaml.safe_dump(PLACES[place](bad)))
    quick = ("--trainer.fast_dev_run", "1", "--data.validation_sequences", "1")
    code = main(["train", "--config", "foreign.yaml", *quick])
    assert not Path(MARK).exists(), (place, path, form)
    return code


@pytest.mark.parametrize("path", PAYLOADS)
@pytest.mark.parametrize("place", ["optimizer", "hook"])
def test_no_function_that_a_configuration_names_is_called(place, path, capsys):
    assert tried(place, path, "arguments") == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert path.rpartition(".")[2] in said or place == "hook"


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(PLACES)), st.sampled_from(sorted(PAYLOADS)), st.sampled_from(sorted(FORMS)))
def test_nothing_is_called_wherever_it_stands(place, path, form):
    assert tried(place, path, form) in (0, 2)


@pytest.mark.parametrize("group", ["optimizer", "scheduler", "model", "task"])
def test_resuming_or_opening_a_foreign_folder_calls_nothing(group, capsys):
    folder = write_run(Path("foreign"))
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config[group] = {"class_path": "os.system", "init_args": {"command": f"touch {MARK}"}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    for verb in (["train", "--resume"], ["evaluate"], ["figure"]):
        assert main([*verb, "foreign"]) == 2
        assert capsys.readouterr().err.count("\n") == 1
        assert not Path(MARK).exists()
    for verb in (["report"], ["sweep", "--status"]):
        main([*verb, "foreign"])
        assert not Path(MARK).exists()


def test_a_module_of_pythons_own_is_not_even_imported():
    for name in ("antigravity", "this"):
        sys.modules.pop(name, None)
        Path("foreign.yaml").write_text(f"optimizer: {{class_path: {name}.thing}}")
        assert main(["train", "--config", "foreign.yaml"]) == 2
        folder = write_run(Path(f"foreign-{name}"), model=f"{name}.thing")
        assert main(["evaluate", str(folder)]) == 2
        assert name not in sys.modules


OURS = "from torch.optim import SGD, Optimizer\ndef sgd(parameters) -> Optimizer:\n    return SGD(parameters, 0.5)\n"


def test_a_function_is_called_where_the_user_names_it_and_only_there(capsys):
    Path("ours.py").write_text(OURS)
    brief = ["--model", "LSTM", "--task.max_length", "3", "--trainer.val_check_interval", "2", "--trainer.max_steps"]
    assert main(["train", "--name", "a", "--optimizer", "ours.sgd", *brief, "2"]) == 0
    capsys.readouterr()
    assert main(["train", "--resume", "runs/a", "--trainer.max_steps", "4"]) == 2
    assert "--optimizer (=sgd) is no class of the kind asked for" in capsys.readouterr().err
    assert main(["train", "--resume", "runs/a", "--trainer.max_steps", "4", "--optimizer", "ours.sgd"]) == 0


def test_a_sweep_goes_on_with_a_function_of_its_plan():
    from lightning_ntm.sweep.engine import _factories

    words = ("--model=NTM", "--optimizer=ours.sgd", "--optimizer.lr=0.5", "--scheduler=StepLR", "--seed=1")
    assert _factories(words) == ["--optimizer=ours.sgd"]


def test_a_function_that_is_the_default_of_a_class_is_its_own(capsys):
    words = [
        "train",
        "--model",
        "mine.Mine",
        "--name",
        "a",
        "--task.max_length",
        "3",
        "--trainer.val_check_interval",
        "2",
    ]
    assert main([*words, "--trainer.max_steps", "2"]) == 0
    assert main(["train", "--resume", "runs/a", "--trainer.max_steps", "4"]) == 0, capsys.readouterr().err


HOLDS = """
from lightning_ntm import LSTM
from torch import nn
class Holds(LSTM):
    def __init__(self, input_size, output_size, inner: nn.Module | None = None):
        super().__init__(input_size, output_size, hidden_size=4)
"""


def test_no_module_but_a_part_of_a_network_is_made(capsys):
    Path("holds.py").write_text(HOLDS)
    huge = {"class_path": "torch.nn.Linear", "init_args": {"in_features": 10**6, "out_features": 10**6}}
    Path("foreign.yaml").write_text(
        yaml.safe_dump({"model": {"class_path": "holds.Holds", "init_args": {"inner": huge}}})
    )
    assert main(["train", "--config", "foreign.yaml"]) == 2
    assert "--model.inner (=torch.nn.Linear) is no class of the kind asked for" in capsys.readouterr().err
    small = ("--model.inner=torch.nn.Linear", "--model.inner.in_features=2", "--model.inner.out_features=2")
    assert main(["train", "--model=holds.Holds", *small, "--trainer.fast_dev_run=1", "--task.max_length=2"]) == 0
