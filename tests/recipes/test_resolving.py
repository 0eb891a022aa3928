"""Which recipe lies beneath what a user says."""

import pytest
import yaml

from lightning_ntm.recipes import overlay, plans, presets, resolve as resolve_said
from lightning_ntm.recipes.presets import networks

DEFAULT = yaml.safe_load(presets()["default"].read_text())
NTM, LSTM = "lightning_ntm.NTM", "lightning_ntm.LSTM"


def resolve(task, network, said, **more):
    """Resolve what is said, with a task and a network named besides."""
    named = {"task": task, "model": network}
    return resolve_said({**{group: {"class_path": path} for group, path in named.items() if path}, **said}, **more)


def recipe(name):
    return yaml.safe_load(presets()[name].read_text())


def test_without_a_word_it_is_the_recipe_of_the_default_task():
    found = resolve(None, None, {})
    assert found["model"] == recipe("copy")["model"]
    assert found["min_memory_slots"] == 24
    assert found["trainer"] == DEFAULT["trainer"]


def test_a_task_brings_its_recipe_and_another_network_drops_what_belongs_to_the_recipe_s():
    found = resolve("lightning_ntm.RepeatCopy", None, {})
    assert found["model"] == recipe("repeat-copy")["model"]
    assert found["trainer"] == {**DEFAULT["trainer"], "max_steps": 20000}
    said = {"model": {"class_path": LSTM, "init_args": {"hidden_size": 9}}}
    other = resolve("lightning_ntm.RepeatCopy", LSTM, said)
    assert other["model"] == said["model"]
    assert other.keys() == found.keys() - {"min_memory_slots", "weight_noise"}
    assert other["trainer"] == found["trainer"]


def test_another_network_has_no_curriculum_of_the_recipe_s():
    found = resolve("lightning_ntm.StackManipulation", None, {})
    assert found["data"]["curriculum"]["class_path"] == "lightning_ntm.tasks.curricula.RegularIncrease"
    other = resolve("lightning_ntm.StackManipulation", LSTM, {"model": {"class_path": LSTM}})
    assert other["data"] == {name: value for name, value in found["data"].items() if name != "curriculum"}


def test_the_tasks_of_csordas_and_schmidhuber_bring_their_dnc():
    for task, name in (("KeyValue", "key-value"), ("CopySeries", "copy-series")):
        found = resolve(f"lightning_ntm.{task}", None, {})
        assert found["model"] == recipe(name)["model"]
        assert found["model"]["class_path"] == "lightning_ntm.DNC"
        arguments = found["model"]["init_args"]
        assert all(arguments[option] for option in ("masking", "deallocation", "sharpening"))
        assert resolve(f"lightning_ntm.{task}", NTM, {"model": {"class_path": NTM}})["model"] == {"class_path": NTM}


def test_our_recall_by_a_dnc_has_the_network_and_the_items_of_csordas_and_schmidhuber():
    ours, theirs = recipe("dnc-associative-recall"), recipe("csordas-associative-recall")
    assert (ours["model"], ours["task"]) == (theirs["model"], theirs["task"])
    assert resolve("lightning_ntm.AssociativeRecall", None, {})["model"]["class_path"] == NTM


def test_a_network_brings_its_own_recipe_to_a_task_of_another():
    dnc = yaml.safe_load(networks()["DNC"].read_text())
    said = {"model": {"class_path": "lightning_ntm.DNC", "init_args": {"memory_slots": 9}}}
    found = resolve("lightning_ntm.RepeatCopy", "lightning_ntm.DNC", said)
    assert found["model"]["init_args"] == {**dnc["model"]["init_args"], "memory_slots": 9}
    assert found["optimizer"] == dnc["optimizer"]
    assert found["loss"] == recipe("repeat-copy")["loss"]
    assert found.keys() & {"min_memory_slots", "weight_noise", "noise_warmup"} == set()
    own = {"class_path": "torch.optim.SGD", "init_args": {"lr": 1}}
    assert resolve(None, "lightning_ntm.DNC", {**said, "optimizer": own})["optimizer"] == own
    assert resolve(None, "mine.DNC", {"model": {"class_path": "mine.DNC"}})["model"] == {"class_path": "mine.DNC"}
    whole = resolve("lightning_ntm.Copy", "lightning_ntm.DNC", said, whole=True)
    assert whole["model"] == said["model"]
    assert whole["optimizer"] == DEFAULT["optimizer"]


def test_the_recipe_s_network_keeps_its_arguments():
    said = {"model": {"class_path": NTM, "init_args": {"hidden_size": "9"}}}
    arguments = recipe("repeat-copy")["model"]["init_args"]
    found = resolve("lightning_ntm.RepeatCopy", NTM, said)
    assert found["model"]["init_args"] == {**arguments, "hidden_size": "9"}
    assert found["weight_noise"] == recipe("repeat-copy")["weight_noise"]


def test_a_task_of_ones_own_lies_on_the_default():
    for task in ("mine.Copy", "mine.tasks.RepeatCopy"):
        said = {"task": {"class_path": task}}
        assert resolve(task, None, said) == {**DEFAULT, **said}


def test_a_configuration_of_its_own_lies_on_the_default_without_its_network():
    said = {"model": {"class_path": NTM, "init_args": {"hidden_size": 9}}, "task": {"class_path": "lightning_ntm.Copy"}}
    assert resolve("lightning_ntm.Copy", NTM, said, whole=True) == {**DEFAULT, **said}


def test_steps_give_way_to_epochs_and_to_time_but_not_to_null():
    for said, left in (
        ({"max_epochs": 3}, False), ({"max_time": "00:01:00:00"}, False), ({"max_epochs": None}, True),
        ({"max_epochs": "null"}, True),
    ):  # fmt: skip
        assert ("max_steps" in resolve(None, None, {"trainer": said})["trainer"]) == left
    assert "val_check_interval" not in resolve(None, None, {"trainer": {"check_val_every_n_epoch": 1}})["trainer"]


def test_arguments_do_not_pass_to_another_class():
    under = {"a": {"class_path": "x.A", "init_args": {"one": 1, "two": 2}}, "b": 1}
    assert overlay(under, {"a": {"init_args": {"one": 3}}})["a"]["init_args"] == {"one": 3, "two": 2}
    assert overlay(under, {"a": {"class_path": "x.B", "init_args": {"one": 3}}}) == {
        "a": {"class_path": "x.B", "init_args": {"one": 3}}, "b": 1
    }  # fmt: skip
    assert overlay(under, {"a": None}) == {"a": None, "b": 1}


def test_files_are_found_by_name():
    assert "paper-copy" in presets()
    assert "ten-seeds" in plans()


@pytest.mark.parametrize(
    ("under", "over", "result"),
    [
        ("A", {"one": 1}, {"class_path": "A", "init_args": {"one": 1}}),
        ("{class_path: A, init_args: {two: 2}}", {"one": 1}, {"class_path": "A", "init_args": {"two": 2, "one": 1}}),
        (["A", "B"], {"one": 1}, ["A", {"class_path": "B", "init_args": {"one": 1}}]),
        ("[A]", {"init_args": {"one": 1}}, [{"class_path": "A", "init_args": {"one": 1}}]),
        (["A"], {"class_path": "B"}, {"class_path": "B"}),
        ("A", {"class_path": "B"}, {"class_path": "B"}),
        (3, {"one": 1}, {"one": 1}),
        (None, {"one+": "A"}, {"one": ["A"]}),
        ({"one": "A"}, {"one+": "B"}, {"one": ["A", "B"]}),
        ({"one": ["A"]}, {"one+": "B"}, {"one": ["A", "B"]}),
        ({"one": 1}, None, None),
    ],
)
def test_options_without_a_class_are_those_of_the_class_beneath(under, over, result):
    assert overlay({"a": under}, {"a": over}) == {"a": result}


def test_a_text_that_is_no_yaml_is_refused():
    with pytest.raises(ValueError, match="not YAML"):
        overlay({"a": "{"}, {"a": {"one": 1}})
