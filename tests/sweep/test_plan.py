"""Which runs a plan stands for."""

import re
from datetime import date
from importlib.resources import files
from pathlib import Path

import pytest
import yaml
from hypothesis import given, strategies as st

from lightning_ntm.cli.said import read
from lightning_ntm.cli.sweep import _parser, _said
from lightning_ntm.cli.train import check
from lightning_ntm.cli.words import UsageError
from lightning_ntm.records import RunFolder
from lightning_ntm.report.published import SCORES
from lightning_ntm.sweep import Plan, numbers
from lightning_ntm.sweep.axes import with_named_networks
from lightning_ntm.sweep.plan import PlannedRun, read_plan

PLANS = Path(str(files("lightning_ntm") / "recipes" / "plans"))


def test_every_combination_the_first_seed_of_all_first():
    said = {"models": ["NTM", "LSTM"], "tasks": "Copy", "seeds": "1-2", "grid": {"data.batch_size": [4, 8]}}
    plan = Plan.of({**said, "options": {"trainer.max_steps": 5}}, ["--loss", "sum"])
    assert plan.name == "ntm-lstm-copy-batch_size4-batch_size8"
    assert [run.name for run in plan.runs] == [
        f"{model}-copy-batch_size{size}-seed{seed}" for seed in (1, 2) for model in ("ntm", "lstm") for size in (4, 8)
    ]
    assert plan.runs[1].words == (
        "--model=NTM", "--task=Copy", "--data.batch_size=8", "--trainer.max_steps=5", "--seed=1", "--loss", "sum",
    )  # fmt: skip


def test_configurations_bring_their_networks_and_tasks():
    plan = Plan.of({"configs": ["ten-seeds", "my/own.yaml"], "seeds": [3]})
    assert [run.name for run in plan.runs] == ["ten-seeds-seed3", "own-seed3"]
    assert plan.runs[1].words == ("--config=my/own.yaml", "--seed=3")


def test_a_network_may_be_options_under_a_name_of_their_own():
    feedforward = {"model": "NTM", "model.controller": "feedforward"}
    plan = Plan.of({"models": ["NTM", {"ntm-feedforward": feedforward}, "LSTM"], "tasks": "RepeatCopy"})
    assert [run.name for run in plan.runs] == [
        "ntm-repeatcopy-seed1", "ntm-feedforward-repeatcopy-seed1", "lstm-repeatcopy-seed1",
    ]  # fmt: skip
    assert plan.runs[1].words == ("--model=NTM", "--model.controller=feedforward", "--task=RepeatCopy", "--seed=1")
    alone = Plan.of({"configs": "repeat-copy", "models": [{"small": {"model.hidden_size": 20}}]})
    assert alone.runs[0].words == ("--config=repeat-copy", "--model.hidden_size=20", "--seed=1")


def test_without_lists_it_is_the_default_recipe():
    (run,) = Plan.of({}).runs
    assert run.words == ("--model=NTM", "--task=Copy", "--seed=1")


def test_values_that_look_alike_when_shortened_keep_their_whole_name():
    plan = Plan.of({"grid": {"model.init_args.lr": [1], "optimizer.init_args.lr": ["a/b", [1, None]]}})
    names = [run.name for run in plan.runs]
    assert names[0] == "ntm-copy-model.init_args.lr1-optimizer.init_args.lra_b-seed1"
    assert plan.runs[1].words[3] == "--optimizer.init_args.lr=[1, null]"
    assert all("/" not in name for name in names)


#: Words of plans that were checked.
CHECKED = set()


@pytest.mark.parametrize("path", sorted(PLANS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_run_of_a_plan_that_comes_along_can_be_made(path):
    plan = Plan.of({**read_plan(path), "seeds": 1})
    for run in plan.runs:
        if not CHECKED.issuperset(run.words):  # every value of every option, without every combination
            check(list(run.words))
        CHECKED.update(run.words)


@pytest.mark.parametrize(("name", "runs"), [("chomsky", 1350), ("chomsky-paper", 4050), ("chomsky-smoke", 30)])
def test_the_plans_of_formal_languages_have_all_fifteen_tasks(name, runs):
    plan = Plan.of({"name": name, **read_plan(PLANS / f"{name}.yaml")})
    assert len(plan.runs) == runs
    tasks = {word.removeprefix("--task=") for run in plan.runs for word in run.words if word.startswith("--task=")}
    assert tasks == set(SCORES)


def test_the_paper_s_budget_is_that_of_the_paper():
    plan = read_plan(PLANS / "chomsky-paper.yaml")
    assert plan["seeds"] == "1-10"
    assert plan["grid"] == {"optimizer.init_args.lr": [1e-4, 3e-4, 5e-4]}
    options = plan["options"]
    assert (options["trainer.max_steps"], options["data.batch_size"]) == (1_000_000, 128)
    assert (options["optimizer"], options["trainer.gradient_clip_val"], options["decay_after"]) == ("Adam", 1, 1)


@given(st.lists(st.integers(0, 500), min_size=1, max_size=20, unique=True))
def test_seeds_are_numbers_and_ranges(seeds):
    assert numbers(",".join(map(str, seeds))) == seeds == numbers(seeds)
    low, high = min(seeds), max(seeds)
    assert numbers(f" {low} - {high} ") == list(range(low, high + 1))


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"seeds": "3-1"}, "backwards: 3-1"),
        ({"seeds": "1,2,1-3"}, "seed 1 is given twice"),
        ({"seeds": []}, "seeds is empty"),
        ({"seeds": "x"}, "must be numbers and ranges"),
        ({"seeds": True}, "must be numbers and ranges"),
        ({"seeds": "-1"}, "must be numbers and ranges"),
        ({"seeds": "1-999999999"}, "more than 100,000"),
        ({"models": []}, "models is empty"),
        ({"models": [{"small": {}}]}, "models.small must map options of ntm train to values"),
        ({"models": [{"small": "NTM"}]}, "models.small must map options of ntm train to values"),
        ({"models": ["NTM", 3]}, "must be names"),
        ({"models": ["NTM", None, {"a": {"model": "NTM"}}]}, "must be names"),
        ({"models": [{"a": {"seed": 9}}]}, "models.a: seed is for a single run: use --seeds"),
        ({"models": [{"a": {"task": "RepeatCopy"}}]}, "models.a: task is for a single run: use --tasks"),
        ({"models": [{"a": {"x": 9}}], "options": {"x": 1}}, "models.a: x is also set in options or in the grid"),
        ({"models": [{"a": {"x": 9}}], "grid": {"x": [1]}}, "models.a: x is also set in options or in the grid"),
        ({"models": [{"a": {"o.lr": 9, "o.init_args.lr": 9}}]}, r"^models\.a: o\.lr is given twice\.$"),
        ({"options": {"o.lr": 9, "o.init_args.lr": 9}}, r"^options: o\.lr is given twice\.$"),
        ({"models": ["NTM", {"ntm": {"model": "NTM"}}]}, "ntm-copy-seed1 is given twice"),
        ({"models": "NTM,"}, "models is empty"),
        ({"tasks": ["Copy", "Copy"]}, "task Copy is given twice"),
        ({"seed": 1}, "unknown key 'seed' in a plan; known: name, configs"),
        ({"grid": {"data.batch_size": []}}, "grid.data.batch_size is empty"),
        ({"grid": {"data.batch_size": [4, 4]}}, "run ntm-copy-batch_size4-seed1 is given twice"),
        ({"grid": [1]}, "grid must map options"),
        ({"grid": {"seed": [1, 2]}}, "grid.seed is for a single run: use --seeds"),
        ({"options": {"name": "a"}}, "options.name is for a single run"),
    ],
)
def test_a_plan_that_is_none_is_told_in_a_line(said, message):
    with pytest.raises(ValueError, match=message) as told:
        Plan.of(said)
    assert "\n" not in str(told.value)


def test_shards_share_the_runs_out():
    plan = Plan.of({"seeds": "1-7"})
    parts = [plan.shard(number, 3).runs for number in (1, 2, 3)]
    assert sorted(len(part) for part in parts) == [2, 2, 3]
    assert {run for part in parts for run in part} == set(plan.runs)


def test_a_kept_plan_may_grow_but_not_change(tmp_path):
    Plan.of({"seeds": "1-2"}).save(tmp_path)
    Plan.of({"seeds": "2-3"}).save(tmp_path)
    assert [run.name for run in Plan.load(tmp_path).runs] == [f"ntm-copy-seed{seed}" for seed in (1, 2, 3)]
    with pytest.raises(ValueError, match="holds another plan: its ntm-copy-seed3 is `--model=NTM"):
        Plan.of({"seeds": 3}, ["--loss", "sum"]).save(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a", "must be a plan, which is a mapping, but is a list"),
        ("3", "but is a whole number"),
        ("3.5", "but is a number"),
        ("text", "but is a text"),
        ("true", "but is true or false"),
        ("2026-11-28", "but is of another kind"),
        ("", "but is empty"),
        ("{", "not readable as YAML"),
        ("name: a", "has no valid runs"),
        ("runs: {../a: []}", "must be a plain folder name"),
    ],
)
def test_a_damaged_plan_is_told(tmp_path, text, message):
    (tmp_path / "plan.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        Plan.load(tmp_path)


def test_what_is_in_the_grid_is_not_the_same_for_every_run():
    grid = {"grid": {"data.batch_size": [4, 8]}}
    for said, more in (({"options": {"data.batch_size": 2}}, []), ({}, ["--data.batch_size", "2"])):
        with pytest.raises(ValueError, match="batch_size is in the grid"):
            Plan.of({**grid, **said}, more)


def test_a_configuration_file_is_found_again_from_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("seed: 1")
    (run,) = Plan.of({"configs": "mine.yaml"}).runs
    assert run.words[0] == f"--config={tmp_path / 'mine.yaml'}"


def test_a_file_for_a_network_names_the_run():
    (run,) = Plan.of({"models": "sub/small.yaml"}).runs
    assert run.name == "small-copy-seed1"


def test_a_file_that_names_itself_is_inserted_once(tmp_path):
    (tmp_path / "self.yaml").write_text("model: self.yaml\n")
    _, copies = Plan.of({"configs": str(tmp_path / "self.yaml")}).kept_in(tmp_path)
    assert list(copies.values()) == ["model:\n  model: self.yaml\n"]


def test_a_sweep_keeps_its_own_copy_of_files_that_a_plan_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "mine.yaml").write_text("seed: 1\nmodel: model.yaml\n")
    (tmp_path / "sub" / "model.yaml").write_text("class_path: lightning_ntm.LSTM\n")
    (tmp_path / "data.yaml").write_text("batch_size: 3\n")
    (tmp_path / "mean").write_text("not meant by --loss mean\n")
    said = {"configs": "sub/mine.yaml", "seeds": "1-2", "options": {"loss": "mean"}}
    Plan.of(said, ["--data", "data.yaml"]).save(Path("runs/a"))
    kept = Plan.load(Path("runs/a"))
    for word, (path, text) in zip(kept.runs[1].words[::4], {
        "config-mine.yaml": "model:\n  class_path: lightning_ntm.LSTM\nseed: 1\n", "data-data.yaml": "batch_size: 3\n",
    }.items(), strict=True):  # fmt: skip
        assert Path(word.rpartition("=")[2]) == tmp_path / "runs/a/files" / path
        assert (tmp_path / "runs/a/files" / path).read_text() == text
    assert kept.runs[1].words[1:4] == ("--loss=mean", "--seed=2", "--data")
    Plan.of({**said, "seeds": 3}, ["--data", "data.yaml"]).save(Path("runs/a"))  # the files are as they were
    kept.save(Path("runs/a"))
    assert Plan.load(Path("runs/a")).runs[:2] == kept.runs
    (tmp_path / "sub" / "mine.yaml").write_text("seed: 2\n")
    with pytest.raises(
        ValueError, match=r"another plan: mine.yaml has changed since it was copied to runs/a/files/con"
    ):
        Plan.of({**said, "seeds": 4}, ["--data", "data.yaml"]).save(Path("runs/a"))
    (tmp_path / "runs").rename(tmp_path / "moved")
    assert Plan.load(Path("moved/a")).runs[2].words[0] == f"--config={tmp_path}/moved/a/files/config-mine.yaml"


def written(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def copies_of(run):
    """The texts of the copies that the words of a run name."""
    values = [word.rpartition("=")[2] for word in run.words]
    return [Path(value).read_text() for value in values if "/files/" in value]


def test_files_of_one_name_in_several_folders_are_copied_beside_each_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written(
        tmp_path, {"a/opt.yaml": "lr: 1\n", "b/opt.yaml": "lr: 2\n", "c/opt.yaml": "lr: 1\n", "d/opt.yaml": "lr: 4\n"}
    )
    grid, folder = {"optimizer": ["a/opt.yaml", "b/opt.yaml", "c/opt.yaml"]}, Path("runs/a")
    Plan.of({"grid": grid}).save(folder)
    assert [copies_of(run) for run in Plan.load(folder).runs] == [["lr: 1\n"], ["lr: 2\n"], ["lr: 1\n"]]
    Plan.of({"grid": {"optimizer": ["b/opt.yaml", "d/opt.yaml", "a/opt.yaml"]}}).save(folder)
    assert [copies_of(run) for run in Plan.load(folder).runs] == [["lr: 1\n"], ["lr: 2\n"], ["lr: 1\n"], ["lr: 4\n"]]
    assert [path.name for path in sorted(folder.glob("files/*"))] == [f"optimizer{n}-opt.yaml" for n in ("", 2, 3)]
    written(tmp_path, {"b/opt.yaml": "lr: 3\n"})
    with pytest.raises(ValueError, match=r"another plan: opt\.yaml has changed since it was copied"):
        Plan.of({"grid": grid}).save(folder)


def test_two_configurations_of_one_name_are_both_in_force(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written(tmp_path, {"a/x.yaml": "seed: 1\n", "b/x.yaml": "loss: sum\n"})
    words = ("--config", "a/x.yaml", "-c=b/x.yaml")
    Plan("a", (PlannedRun("r", words),)).save(Path("runs/a"))
    assert copies_of(Plan.load(Path("runs/a")).runs[0]) == ["seed: 1\n", "loss: sum\n"]


def test_a_file_of_a_curriculum_is_inserted_into_the_copy(tmp_path):
    written(tmp_path, {"x.yaml": "data: {curriculum: c.yaml}\n", "c.yaml": "class_path: Uniform\n"})
    _, copies = Plan.of({"configs": str(tmp_path / "x.yaml")}).kept_in(tmp_path)
    assert [yaml.safe_load(text) for text in copies.values()] == [{"data": {"curriculum": {"class_path": "Uniform"}}}]


def test_a_text_that_is_too_long_for_a_path_is_no_file(tmp_path):
    words = ("--trainer", f"{{logger: false, a: {'x' * 300}}}", "--task.train", "y" * 300)
    plan = Plan("a", (PlannedRun("r", words),))
    assert plan.kept_in(tmp_path) == (plan, {})


def grid_of(*axes):
    """The grid of a command line."""
    words = [word for axis in axes for word in ("--grid", axis)]
    return _said(_parser().parse_known_args(words)[0])["grid"]


def test_commas_within_brackets_do_not_end_a_value():
    assert grid_of("optimizer.betas=[0.9,0.99],[0.8,0.9]") == {"optimizer.betas": ["[0.9,0.99]", "[0.8,0.9]"]}
    assert grid_of("a={b: [1,2], c: (3,4)},d,", "a=5") == {"a": ["{b: [1,2], c: (3,4)}", "d", "", "5"]}


@pytest.mark.parametrize("axis", ["a=[1,2", "a=1],2", "a=]1,2["])
def test_brackets_of_the_grid_must_match(axis):
    with pytest.raises(UsageError, match=rf"^--grid {re.escape(axis)}: its brackets do not match\.$"):
        grid_of(axis)


def test_null_is_as_good_as_nothing():
    assert Plan.of({"models": None, "configs": None, "seeds": None, "grid": None, "options": None}) == Plan.of({})


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"models": {"a": 1}}, r"models \(=\{'a': 1\}\) must be names"),
        ({"tasks": [3]}, r"tasks \(=\[3\]\) must be names"),
        ({"models": "a/b"}, "must be a plain folder name"),
        ({"grid": {"data.batch_size": ["4" * 300]}}, "of at most 200 bytes"),
        ({"options": {"a": {1, 2}}}, "cannot be an argument of ntm train"),
        ({"grid": {"a": date(2026, 11, 28)}}, r"^2026-11-28 cannot be an argument of ntm train; put it in quotes, as"),
        ({"name": ["a"]}, "name must be a text, but is a list"),
        ({"name": True}, "name must be a text, but is true or false"),
    ],
)
def test_odd_values_are_told_in_a_line(said, message):
    with pytest.raises(ValueError, match=message):
        Plan.of(said)


def test_a_listed_name_of_a_network_in_a_plan_stands_for_it_with_its_options():
    small = {"small": {"model": "NTM", "model.hidden_size": 20}}
    assert with_named_networks("Small, LSTM", ["GRU", small]) == [small, " LSTM"]
    assert with_named_networks("NTM,LSTM", "NTM") == with_named_networks("NTM,LSTM", None) == ["NTM", "LSTM"]


def test_a_sweep_is_not_put_into_the_folder_of_a_run(tmp_path):
    (tmp_path / "config.yaml").write_text("seed: 1\n")
    with pytest.raises(ValueError, match=r"is a run, not a sweep; choose another --name\.$"):
        Plan.of({"seeds": 1}).save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_a_run_is_not_put_into_the_folder_of_a_sweep(tmp_path):
    Plan.of({"seeds": 1}).save(tmp_path)
    with pytest.raises(ValueError, match=rf"^sweep folder {tmp_path} exists; .* with ntm sweep {tmp_path}\.$"):
        RunFolder(tmp_path).create()


@pytest.mark.parametrize(
    "task",
    [
        "{class_path: FileTask, init_args: {train: tr.jsonl, validation: ../v.jsonl, names: names}}",
        "{class_path: FileTask, train: tr.jsonl, validation: ../v.jsonl, names: names}",
    ],
)
@pytest.mark.parametrize("how", ["configs", "tasks", "task", "words"])
def test_data_files_are_found_again_from_another_folder(tmp_path, monkeypatch, task, how):
    written(tmp_path, {"p/tr.jsonl": "", "v.jsonl": "", "p/names": "", "q/tr.jsonl": "", "q/names": ""})
    written(tmp_path / "p", {"c.yaml": f"task: {task}\n", "t.yaml": task})
    monkeypatch.chdir(tmp_path / "p")
    args = {"train": "tr.jsonl", "validation": "../v.jsonl", "names": "names"}
    words = {
        "configs": ["--config=c.yaml"],
        "tasks": ["--task=t.yaml"],
        "task": ["--task", task],
        "words": ["--task=FileTask", "--task.init_args.train=tr.jsonl", "--task.validation=../v.jsonl"],
    }[how]
    words += ["--task.names", "names"] * (how == "words")
    Plan("r", (PlannedRun("r-seed1", tuple(words)),)).save(Path("runs/r"))
    monkeypatch.chdir(tmp_path / "q")
    init_args = read(Plan.load(tmp_path / "p/runs/r").runs[0].words).mapping["task"]["init_args"]
    assert init_args == {name: str(tmp_path / "p" / path) for name, path in args.items()}


def test_a_sweep_of_an_earlier_version_goes_on_with_its_relative_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = "task: {class_path: FileTask, init_args: {train: tr.jsonl, validation: tr.jsonl}}\n"
    written(tmp_path, {"tr.jsonl": "", "names": "", "c.yaml": config, "runs/r/files/config-c.yaml": config})
    words = ["--config=files/config-c.yaml", "--seed=1", "--task.names", "names"]
    (tmp_path / "runs/r/plan.yaml").write_text(yaml.safe_dump({"name": "r", "runs": {"c-seed1": words}}))
    Plan.of({"name": "r", "configs": "c.yaml", "seeds": "1-2"}, ["--task.names", "names"]).save(Path("runs/r"))
    assert [run.words[0] for run in Plan.load(Path("runs/r")).runs] == [
        f"--config={tmp_path}/runs/r/files/config-c.yaml"
    ] * 2
    assert (tmp_path / "runs/r/files/config-c.yaml").read_text() == config
