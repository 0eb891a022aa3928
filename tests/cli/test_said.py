"""However a user says something, in words or in files, it resolves to the same configuration."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hostile import BOMB
from runs import write_run

from lightning_ntm.cli import main
from lightning_ntm.cli.classes import short_names
from lightning_ntm.cli.parser import parsed, saved
from lightning_ntm.cli.said import read
from lightning_ntm.cli.words import UsageError
from lightning_ntm.recipes import resolve

#: Tasks that need no file.
TASKS = [name for name in short_names("task") if name != "FileTask"]
#: Those that have a recipe of their own, and one that has none: the others resolve as that one does.
RECIPES = ["Copy", "RepeatCopy", "AssociativeRecall", "DynamicNGrams", "PrioritySort", "ParityCheck"]
NETWORKS = list(short_names("model"))
#: Every network with a task that has a recipe and with one that has none, and every task with some network.
PAIRS = sorted(
    {(task, NETWORKS[number % len(NETWORKS)]) for number, task in enumerate(TASKS)}
    | {(task, network) for task in ("RepeatCopy", "ParityCheck") for network in NETWORKS}
)
PATHS = {
    "model": lambda name: f"lightning_ntm.{name}",
    "task": lambda name: f"lightning_ntm.{name}",
    "optimizer": lambda name: f"torch.optim.{name}",
    "scheduler": lambda name: f"torch.optim.lr_scheduler.{name}",
}
DEFINED = {
    "model": lambda name: f"lightning_ntm.models.{name}",
    "task": lambda name: f"lightning_ntm.tasks.{name}",
    "optimizer": lambda name: f"torch.optim.{name.lower()}.{name}",
    "scheduler": lambda name: f"torch.optim.lr_scheduler.{name}",
}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def resolved(*words):
    """Return the config.yaml of a run."""
    parser, _, config = parsed(list(words))
    return saved(parser, config)


def configured(*words):
    """Return what the parser is given."""
    said = read(words)
    return resolve(said.mapping, whole=said.whole)


def in_file(name, **said):
    Path(name).write_text(yaml.safe_dump(said))
    return "--config", name


def spellings(option, name):
    """Return every way to name a class for an option."""
    path, defined = PATHS[option](name), DEFINED[option](name)
    names = (name, name.lower(), path, defined)
    yield from ((f"--{option}={one}",) for one in names)
    yield from ((f"--{option}", one) for one in names)
    yield from ((f"--{option}.class_path={one}",) for one in names)
    yield from ((f"--{option}.class_path", one) for one in names)
    yield (f"--{option}", f"{{class_path: {name}}}")
    for number, one in enumerate(names):
        yield in_file(f"{option}-{number}.yaml", **{option: one})
        yield in_file(f"{option}-class-{number}.yaml", **{option: {"class_path": one}})


@pytest.mark.parametrize(("task", "network"), PAIRS)
def test_all_spellings_of_a_task_and_a_network_are_one_configuration(task, network):
    expected = configured("--model", network, "--task", task)
    for words in spellings("model", network):
        assert configured(*words, "--task", task) == expected, words
    for words in spellings("task", task):
        assert configured("--model", network, *words) == expected, words
    assert configured(*in_file("both.yaml", model=network, task=task)) == expected


@pytest.mark.parametrize(("task", "network"), PAIRS)
def test_arguments_of_a_network_are_said_alike_in_words_and_in_a_file(task, network):
    larger = resolved("--model", network, "--task", task, "--model.hidden_size=300")
    spec = {"class_path": network, "init_args": {"hidden_size": 300}}
    assert resolved("--task", task, *in_file("larger.yaml", model=spec)) == larger
    assert resolved("--model.init_args.hidden_size=300", "--model", network, "--task", task) == larger


@pytest.mark.parametrize(
    ("option", "name", "arguments"),
    [
        ("optimizer", "Adam", {"lr": 0.01}),
        ("optimizer", "RMSprop", {"lr": 0.01}),  # of the recipe, whose arguments it replaces
        ("scheduler", "StepLR", {"step_size": 3}),
    ],
)
@pytest.mark.parametrize("task", ["Copy", "RepeatCopy"])
def test_all_spellings_of_an_optimizer_and_a_scheduler_are_one_configuration(option, name, arguments, task):
    words = [f"--{option}.{argument}={value}" for argument, value in arguments.items()]
    expected = configured("--task", task, f"--{option}", name, *words)
    for spelling in spellings(option, name):
        assert configured("--task", task, *spelling, *words) == expected, spelling
    expected = resolved("--task", task, f"--{option}", name, *words)
    spec = {"class_path": name, "init_args": arguments}
    assert resolved("--task", task, *in_file("spec.yaml", **{option: spec})) == expected
    assert resolved("--task", task, f"--{option}", yaml.safe_dump(spec, default_flow_style=True)) == expected


@pytest.mark.parametrize("task", RECIPES)
def test_a_file_that_names_neither_task_nor_network_lies_on_top_of_the_recipe(task):
    file = in_file("trainer.yaml", trainer={"max_steps": 7}, optimizer={"class_path": "SGD", "init_args": {"lr": 0.5}})
    words = ("--trainer.max_steps=7", "--optimizer=SGD", "--optimizer.lr=0.5")
    assert resolved("--task", task, *file) == resolved("--task", task, *words)
    assert resolved(*file, "--task", task) == resolved("--task", task, *words)


@pytest.mark.parametrize("preset", ["paper-copy", "ten-seeds", "demo"])
def test_a_configuration_of_its_own_lies_on_the_default_alone(preset):
    config = yaml.safe_load(resolved("--config", preset, *in_file("steps.yaml", trainer={"max_steps": 7})))
    assert config["trainer"]["max_steps"] == 7
    assert config["min_memory_slots"] == (24 if preset == "demo" else 0)
    assert config["model"]["init_args"]["gradient_limit"] == 0


def test_files_and_words_override_in_the_order_in_which_they_are_given():
    first, second = in_file("first.yaml", seed=5, loss="sum"), in_file("second.yaml", seed=6)
    seeds = {
        (*first, "--seed=7"): 7,
        ("--seed=7", *first): 5,
        (*first, *second): 6,
        (*second, *first): 5,
        ("--seed=7", *first, "--seed=8", *second): 6,
    }
    for words, seed in seeds.items():
        config = yaml.safe_load(resolved(*words))
        assert (config["seed"], config["loss"]) == (seed, "sum")


def test_another_class_keeps_the_arguments_that_it_has_as_well():
    file = in_file("ntm.yaml", model={"class_path": "NTM", "init_args": {"hidden_size": 7, "memory_slots": 9}})
    config = yaml.safe_load(resolved(*file, "--model", "LSTM"))
    assert config["model"] == yaml.safe_load(resolved("--model", "LSTM", "--model.hidden_size=7"))["model"]


def test_files_within_files_and_texts_are_read():
    Path("sub").mkdir()
    Path("sub/network.yaml").write_text("class_path: LSTM\ninit_args: {hidden_size: 9}\n")
    Path("sub/data.yaml").write_text("batch_size: 3\n")
    Path("sub/all.yaml").write_text("model: network.yaml\ndata: data.yaml\n")
    expected = resolved("--model=LSTM", "--model.hidden_size=9", "--data.batch_size=3")
    assert resolved("--config", "sub/all.yaml") == expected
    assert resolved("--model=sub/network.yaml", "--data", "sub/data.yaml") == expected
    assert resolved("--model", "{class_path: LSTM, init_args: {hidden_size: 9}}", "--data={batch_size: 3}") == expected


def refused(*words):
    """Return what is said of a command line that is refused."""
    with pytest.raises(UsageError) as refusal:
        resolved(*words)
    return str(refusal.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
@pytest.mark.parametrize("group", ["model", "task", "data", "trainer", "optimizer", "scheduler"])
def test_a_file_within_a_file_is_read_with_bounds(group):
    os.mkfifo("pipe.yaml")
    Path("bomb.yaml").write_text(BOMB)
    for name, why in {"pipe.yaml": "no regular file", "bomb.yaml": "too large", "lost.yaml": "No such file"}.items():
        in_words, in_a_file = refused(f"--{group}={name}"), refused(*in_file("a.yaml", **{group: name}))
        assert in_words.startswith(f"--{group} {name}: not readable as YAML (")
        assert why in in_words
        assert in_a_file.startswith(f"--config a.yaml: {group} {name}: not readable as YAML (")
        assert why in in_a_file


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
@pytest.mark.parametrize("part", ["controller", "memory"])
def test_no_argument_of_a_class_is_read_as_a_file(part):
    os.mkfifo("pipe.yaml")
    assert refused(f"--model.{part}=pipe.yaml").startswith(f"--model.{part}")
    assert refused(*in_file("a.yaml", model={"class_path": "NTM", "init_args": {part: "pipe.yaml"}}))


@pytest.mark.parametrize("name", ["config", "resume"])
def test_a_file_names_no_other_configuration(name):
    said = refused(*in_file("a.yaml", **{name: "b.yaml"}))
    assert said == f"--config a.yaml: {name} (=b.yaml) must be given on the command line, not in a file."
    assert resolved(*in_file("null.yaml", **{name: None})) == resolved()


def test_options_of_a_class_of_the_trainer_are_found_in_lists_and_texts():
    monitor = {"class_path": "EarlyStopping", "init_args": {"monitor": "a", "patience": 4}}
    listed = resolved(*in_file("list.yaml", trainer={"callbacks": [monitor]}))
    words = ("--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=a", "--trainer.callbacks.patience=4")
    assert resolved(*words) == listed
    text = "[{class_path: EarlyStopping, init_args: {monitor: a}}]"
    assert resolved("--trainer.callbacks", text, "--trainer.callbacks.patience=4") == listed
    more = {**monitor, "init_args": {**monitor["init_args"], "patience": 3}}
    file = in_file("more.yaml", trainer={"callbacks": [more]})
    assert resolved(*file, "--trainer.callbacks.patience", "4") == listed


def test_arguments_may_stand_beside_the_name_of_their_class():
    words = ("--model=LSTM", "--model.hidden_size=9", "--optimizer.lr=0.5")
    file = in_file("a.yaml", model={"class_path": "LSTM", "hidden_size": 9}, optimizer={"lr": 0.5})
    assert resolved(*file) == resolved(*words)
    both = in_file("b.yaml", model={"class_path": "LSTM", "hidden_size": 8, "init_args": {"hidden_size": 9}})
    assert resolved(*both, "--optimizer.lr=0.5") == resolved(*words)


def test_what_is_said_is_a_plain_mapping():
    said = read(["--model=lstm", "--model.hidden_size", "7", *in_file("a.yaml", seed=3)])
    assert said.mapping == {
        "model": {"class_path": "lightning_ntm.LSTM", "init_args": {"hidden_size": "7"}},
        "seed": 3,
    }
    assert said.own == {"model", "seed"}
    assert not said.whole


@pytest.mark.parametrize("module", ["lightning_ntm", "lightning_ntm.cli"])
def test_the_package_is_the_command(module):
    done = subprocess.run([sys.executable, "-m", module, "--lost"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("ntm: error: unknown verb '--lost'; known: train, ")


@pytest.mark.parametrize("name", ["input_size", "output_size"])
def test_sizes_that_the_task_sets_are_refused(name):
    said = f"--model.{name} (=3) cannot be given: the task sets it."
    assert refused(f"--model.{name}=3") == said
    assert refused(f"--model.init_args.{name}=3") == said
    assert refused(*in_file("a.yaml", model={"class_path": "LSTM", "init_args": {name: 3}})) == said


def test_a_wrong_variable_of_jsonargparse_is_one_line(monkeypatch):
    monkeypatch.setenv("JSONARGPARSE_DEBUG", "1")
    assert refused() == "Invalid boolean value for environment variable JSONARGPARSE_DEBUG: 1"


HUGE = 2**63


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--threads", HUGE], f"--threads (={HUGE}) must be between 1 and 1024."),
        (["--model.num_layers", HUGE], f"--model.num_layers (={HUGE}) must be between 1 and 1000."),
        (["--model", "LSTM", "--model.num_layers", 10**6], "--model.num_layers (=1000000) must be between 1 and 1000."),
    ],
)
def test_a_size_beyond_any_machine_is_one_line(words, said, capsys):
    assert main(["train", *map(str, words), "--trainer.max_steps=2"]) == 2
    assert capsys.readouterr().err == f"ntm: error: {said}\n"


def test_pieces_may_be_longer_than_any_sequence():
    words = "--model.hidden_size 4 --task.max_length 3 --trainer.max_steps 2 --trainer.val_check_interval 2"
    assert main(["train", *words.split(), "--name=a", f"--model.checkpoint_every={HUGE}"]) == 0


@pytest.mark.parametrize("verb", ["train --resume", "evaluate", "figure"])
def test_layers_without_number_in_a_foreign_folder_are_not_made(verb, capsys):
    folder = write_run(Path("foreign"))
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["model"]["init_args"]["num_layers"] = 10**9
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    assert main([*verb.split(), "foreign"]) == 2
    assert "num_layers (=1000000000) must be between 1 and 1000." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (
            ("--model=NTM", "--model.init_args.memory_slots=20", "--model.class_path=LSTM"),
            "--model.init_args.memory_slots",
        ),
        (("--model", "NTM", "--model.memory_slots", "20", "--model", "LSTM"), "--model.memory_slots"),
        (("--task=RepeatCopy", "--task.max_repeats=3", "--task=Copy"), "--task.max_repeats"),
        (("--optimizer=RMSprop", "--optimizer.alpha=0.5", "--optimizer=SGD"), "--optimizer.alpha"),
    ],
)
def test_an_argument_that_another_class_replaces_is_not_dropped_without_a_word(words, option):
    assert refused(*words).startswith(f"unknown option {option.replace('.init_args', '')}")


@pytest.mark.parametrize("task", ["Copy", "PrioritySort"])
def test_options_of_a_recipe_give_way_to_a_part_of_ones_own(task):
    words = ("--model.memory=NTMMemory", "--model.memory.memory_slots=30", "--min_memory_slots=0")
    arguments = yaml.safe_load(resolved("--task", task, *words))["model"]["init_args"]
    recipe = yaml.safe_load(resolved("--task", task))["model"]["init_args"]
    assert arguments["controller"] == recipe["controller"]
    assert (arguments["gradient_limit"], arguments["stay_bias"]) == (0, 2)
    assert arguments["memory"]["init_args"]["memory_slots"] == 30
    spec = {"class_path": "lightning_ntm.models.NTMMemory", "init_args": {"memory_slots": 30}}
    file = in_file("memory.yaml", model={"init_args": {"memory": spec}}, min_memory_slots=0)
    assert resolved("--task", task, *file) == resolved("--task", task, *words)
    own = ("--model.controller=FeedForwardController", "--model.controller.input_size=29")
    arguments = yaml.safe_load(resolved(*own, "--model.controller.hidden_size=9"))["model"]["init_args"]
    assert arguments["stay_bias"] == 0


def test_parts_of_ones_own_are_trained_from_the_command_line(capsys):
    quick = ("--trainer.fast_dev_run=1", "--data.validation_sequences=2", "--task.max_length=3")
    controller = ("--model.controller=LSTMController", "--model.controller.input_size=29")
    for words in (
        ("--model.memory=StackMemory", "--model.memory.memory_width=4"),
        (*controller, "--model.controller.hidden_size=9"),
    ):
        assert main(["train", *words, *quick]) == 0, capsys.readouterr().err
    assert main(["train", "--model.memory=StackMemory", "--model.stay_bias=3", *quick]) == 2
    assert (
        capsys.readouterr().err == "ntm: error: --model.stay_bias (=3.0) cannot be given with a memory of your own.\n"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 3\nloss: sum\nseed: 5\n", "line 3 repeats the key 'seed' of line 1"),
        ("model:\n  memory_slots: 8\n  'memory_slots': 9\n", "line 3 repeats the key 'memory_slots' of line 2"),
        ("trainer: {callbacks: [{class_path: A, class_path: B}]}\n", "line 1 repeats the key 'class_path' of line 1"),
    ],
)
@pytest.mark.parametrize("verb", ["train --config", "sweep --configs", "sweep"])
def test_a_key_that_is_given_twice_in_a_file_is_told_with_its_line(tmp_path, monkeypatch, capsys, verb, text, message):
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text(text)
    assert main([*verb.split(), "a.yaml"]) == 2
    said = capsys.readouterr().err
    assert "a.yaml" in said
    assert f"(ambiguous: {message})" in said
    assert said.count("\n") == 1
    assert os.listdir(tmp_path) == ["a.yaml"]


def test_a_key_may_replace_one_that_a_merge_brings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text(
        "task: {class_path: Copy, init_args: &a {max_length: 3, bits: 2}}\n"
        "model: &b {hidden_size: 4}\n"
        "data: {<<: *a, <<: *b, bits: 5, c: [{d: 1}, {d: 2}], e: c, f: c}\n"
    )
    assert read(["--config", "a.yaml"]).mapping["data"] == {
        "max_length": 3, "hidden_size": 4, "bits": 5, "c": [{"d": 1}, {"d": 2}], "e": "c", "f": "c"
    }  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="has no named pipes in folders")
@pytest.mark.parametrize(
    ("verb", "rest"), [("train --config", "or a preset"), ("sweep --configs", "or a preset"), ("sweep", "a plan")]
)
def test_a_pipe_in_the_place_of_a_file_is_told(tmp_path, capsys, verb, rest):
    os.mkfifo(tmp_path / "pipe")
    assert main([*verb.split(), str(tmp_path / "pipe")]) == 2
    said = capsys.readouterr().err
    assert f"{tmp_path / 'pipe'} is a pipe or a device, which is not read" in said
    assert rest in said
    assert said.count("\n") == 1


def test_a_folder_in_the_place_of_a_configuration_is_told(tmp_path):
    with pytest.raises(UsageError, match=r"is a folder; it must be a regular file or a preset\.$"):
        read(["--config", str(tmp_path)])
