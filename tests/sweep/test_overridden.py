"""Options of all runs that would override what tells the runs of a sweep apart."""

import pytest

from lightning_ntm.cli import main
from lightning_ntm.cli.overridden import check_in_force
from lightning_ntm.cli.words import UsageError
from lightning_ntm.sweep import Plan

FILES = {
    "opt.yaml": "{class_path: torch.optim.Adam, init_args: {lr: 0.01}}",
    "class.yaml": "{class_path: torch.optim.Adam}",
    "net.yaml": "{class_path: NTM, hidden_size: 9}",
    "base.yaml": "{task: Copy, model: NTM, optimizer: {class_path: Adam, lr: 3, weight_decay: 1}}",
}
RATES, STEPS = {"optimizer.lr": ["1e-3", "3e-4"]}, {"trainer.max_steps": [30, 60]}
SETS = [{"big": {"model.hidden_size": 20}}, {"small": {"model.hidden_size": 5}}]


@pytest.fixture(autouse=True)
def _files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        tmp_path.joinpath(name).write_text(text)


@pytest.mark.parametrize(
    ("keys", "more", "message"),
    [
        (
            {"grid": {"optimizer.init_args.lr": [1, 2]}},
            "--optimizer.lr 3",
            r"optimizer\.init_args\.lr is in the grid, so",
        ),
        ({"grid": RATES}, "--optimizer.init_args.lr 3", r"for every run: --optimizer\.init_args\.lr=3\.$"),
        (
            {"grid": {"model.init_args.hidden_size": [6]}, "options": {"model.hidden_size": 4}},
            "",
            "is in the grid, so it",
        ),
        (
            {"grid": {"model.controller": ["lstm"]}},
            "--model.init_args.controller rnn",
            r"^model\.controller is in the grid",
        ),
        (
            {"models": SETS},
            "--model.init_args.hidden_size 9",
            r"^models\.big: model\.hidden_size is also set in options",
        ),
        (
            {"models": SETS, "grid": {"model.init_args.hidden_size": [9]}},
            "",
            r"^models\.big: model\.hidden_size is also",
        ),
        ({"models": [{"a": {"model": "net.yaml"}}]}, "--model.hidden_size 4", r"^models\.a: model \(=net\.yaml\) sets"),
        ({"grid": RATES}, "--optimizer opt.yaml", r"is in the grid, so it .* for every run: --optimizer=opt\.yaml\.$"),
        ({"grid": STEPS, "options": {"trainer": {"max_steps": 20}}}, "", r"^trainer\.max_steps is in the grid, so it"),
        (
            {"grid": {"data.batch_size": [3]}},
            "--data {batch_size:16}".replace(":", ": "),
            "is in the grid, so it cannot",
        ),
        ({"grid": {"scheduler.gamma": [0.5]}}, "--scheduler null", r"^scheduler\.gamma is in the grid, so it cannot"),
        (
            {"grid": {"model.hidden_size": [4], "model.init_args.hidden_size": [6]}},
            "",
            "two options of the grid: --model",
        ),
        (
            {"grid": {**RATES, "optimizer": ["opt.yaml"]}},
            "",
            r"two options of the grid: --optimizer\.lr and --optimizer\.",
        ),
        (
            {"grid": {"optimizer": ["opt.yaml"]}},
            "--optimizer.lr 3",
            r"\(=opt\.yaml\) is in the grid and sets optimizer\.lr",
        ),
    ],
)
def test_an_option_cannot_override_the_grid_or_a_named_set_in_any_spelling(keys, more, message):
    run = Plan.of(keys, more.split(" ", 1) if more else []).runs[0]
    with pytest.raises(UsageError, match=message):
        check_in_force(run)


@pytest.mark.parametrize(
    ("keys", "more"),
    [
        ({"grid": RATES}, ["--optimizer", "RMSprop"]),
        ({"grid": RATES, "configs": "base.yaml"}, ["--optimizer", "class.yaml"]),
        ({"grid": RATES, "configs": "base.yaml", "models": "net.yaml"}, ["--model.hidden_size", "3"]),
        ({"grid": STEPS}, ["--trainer", "{logger: false}"]),
        ({"grid": {"optimizer": ["Adam", "SGD"]}, "configs": "base.yaml"}, ["--optimizer.weight_decay", "2"]),
        ({"grid": {"optimizer": ["opt.yaml"], "optimizer.lr": [4, 5]}}, []),
        ({"grid": {"model.hidden_size": [5]}, "models": ["LSTM", {"a": {"model": "net.yaml"}}]}, []),
        ({"models": [{"a": {"model": "net.yaml", "model.hidden_size": 5}}]}, ["--model.memory_slots", "9"]),
    ],
)
def test_options_that_set_other_parts_may_be_given(keys, more):
    for run in Plan.of(keys, more).runs:
        check_in_force(run)


@pytest.mark.parametrize(("option", "hint"), [("model", "models"), ("task", "tasks")])
def test_the_class_of_every_run_is_not_given_in_another_spelling(option, hint):
    with pytest.raises(ValueError, match=rf"--{option}\.class_path is for a single run: use --{hint}\.$"):
        Plan.of({}, [f"--{option}.class_path", "LSTM"])


def test_nothing_is_trained_if_the_grid_is_overridden(tmp_path, capfd):
    assert main(["sweep", "--grid", "optimizer.init_args.lr=1e-3,3e-4", "--optimizer.lr", "0.01"]) == 2
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert "ntm: error: optimizer.init_args.lr is in the grid, so it cannot also have one value for every run" in said
    assert not (tmp_path / "runs").exists()
