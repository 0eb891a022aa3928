"""Networks saved and loaded as files; files that come from anybody."""

import inspect
import json
import os

import numpy as np
import pytest
import torch
from runs import write_run
from safetensors.torch import load_file, save_file
from torch import nn

from lightning_ntm import DNC, LSTM, NTM, Copy, MemoryModel, models
from lightning_ntm.evaluation.build import build, open_run
from lightning_ntm.evaluation.weights import save_weights
from lightning_ntm.exchange import open_network
from lightning_ntm.models import Controller, DNCMemory, LSTMController
from lightning_ntm.tasks import EvenPairs, FileTask

NETWORKS = [
    kind
    for _, kind in inspect.getmembers(models, inspect.isclass)
    if issubclass(kind, MemoryModel) and not inspect.isabstract(kind)
]
SMALL = {"hidden_size": 5, "memory_slots": 6, "memory_width": 4}


class Plain(Controller):
    """A controller of a user's own."""

    def __init__(self):
        super().__init__()
        self.input_size, self.output_size = 3 + 4, 2
        self.layer = nn.Linear(7, 2)

    def initial_state(self, *batch):
        return models.FeedForwardControllerState()

    def step(self, x, state):
        return self.layer(x), state


class Mine(MemoryModel):
    """A network of a user's own."""

    def __init__(self, input_size, output_size, units=3):
        super().__init__(input_size, output_size)
        self.units = units
        self.inner = LSTM(input_size, output_size, hidden_size=units)

    def initial_state(self, *batch):
        return self.inner.initial_state(*batch)

    def step(self, x, state):
        return self.inner.step(x, state)


def same(one, other):
    inputs = torch.randn(2, 4, one.input_size)
    return type(one) is type(other) and torch.equal(one(inputs)[0], other(inputs)[0])


@pytest.mark.parametrize("kind", NETWORKS)
def test_every_network_of_the_package_comes_back(kind, tmp_path):
    network = kind(3, 2).eval()
    network.save_pretrained(tmp_path / "a" / "b")
    for loader in (kind, MemoryModel):
        found = loader.from_pretrained(tmp_path / "a" / "b")
        assert same(network, found)
        assert not found.training


@pytest.mark.parametrize(
    "network",
    [
        NTM(3, 2, **SMALL, controller="feedforward", num_layers=2, num_read_heads=2, max_shift=2, head_init="learned"),
        NTM(
            3,
            2,
            **SMALL,
            memory_init="random",
            num_write_heads=3,
            append_bias=1.5,
            gradient_limit=0.1,
            min_sharpening=2,
        ),
        DNC.mds(3, 2, **SMALL, num_read_heads=2, mask_floor=0.25),
        LSTM(3, 2, hidden_size=4, num_layers=2),
    ],
)
def test_arguments_come_back(network, tmp_path):
    network.save_pretrained(tmp_path)
    found = MemoryModel.from_pretrained(tmp_path)
    assert found.arguments() == network.arguments()
    assert same(network, found)


def test_networks_and_parts_of_ones_own(tmp_path):
    mine = Mine(3, 2, units=4)
    mine.save_pretrained(tmp_path / "mine")
    assert same(mine, Mine.from_pretrained(tmp_path / "mine"))
    with pytest.raises(ValueError, match="class Mine, which is not of the package"):
        MemoryModel.from_pretrained(tmp_path / "mine")
    network = NTM(3, 2, controller=Plain(), memory=DNCMemory(5, 4))
    network.save_pretrained(tmp_path / "parts")
    with pytest.raises(ValueError, match=r"controller is a part of one's own \('test_pretrained.Plain'"):
        NTM.from_pretrained(tmp_path / "parts")
    assert same(network, NTM.from_pretrained(tmp_path / "parts", controller=Plain(), memory=DNCMemory(5, 4)))
    inner = LSTMController(3 + 4, 5, skip=True)
    NTM(3, 2, controller=inner, **{**SMALL, "hidden_size": 100}).save_pretrained(tmp_path / "inner")
    assert json.loads((tmp_path / "inner" / "config.json").read_text())["controller"]["class_path"].endswith(
        "LSTMController"
    )


def changed(network, **values):
    """Set attributes by their dotted names, with underscores for the dots."""
    for path, value in values.items():
        *parts, name = path.split("__")
        setattr(network.get_submodule(".".join(parts)), name, value)
    return network


class Relu(LSTMController):
    """A controller that computes something else than its base class."""

    def step(self, x, state):
        hidden, state = super().step(x, state)
        return hidden.relu(), state


class Scaled(Mine):
    """A network of a user's own with an argument that its loading must know, and what it counts."""

    def __init__(self, input_size, output_size, scale=2.0, half=3):
        super().__init__(input_size, output_size)
        self.scale, self.half, self.calls = scale, half / 2, 0

    def step(self, x, state):
        logits, state = super().step(x, state)
        self.calls += 1
        return self.scale * logits, state


@pytest.mark.parametrize(
    ("network", "values"),
    [
        (lambda: models.Transformer(3, 2, memory_slots=2, num_layers=1), {"memory_slots": 3}),
        (lambda: models.Transformer(3, 2, num_layers=1), {"checkpoint_every": 2}),
        (lambda: NTM(3, 2, **SMALL), {"memory__memory_slots": np.int64(9)}),
        (lambda: NTM(3, 2, **SMALL), {"memory__gradient_limit": 1e-4, "memory__min_sharpening": 2.0}),
        (lambda: NTM(3, 2, **SMALL), {"backend": "reference"}),
        (lambda: Scaled(3, 2), {"scale": -3.0}),
        (lambda: Scaled(3, 2), {"calls": 7}),
    ],
)
def test_a_network_changed_after_it_was_made_is_saved_as_it_is(network, values, tmp_path):
    made = changed(network(), **values).eval()
    made.save_pretrained(tmp_path)
    found = type(made).from_pretrained(tmp_path)
    for path, value in values.items():
        *parts, name = path.split("__")
        assert name in ("backend", "calls") or getattr(found.get_submodule(".".join(parts)), name) == value
    torch.testing.assert_close(found(torch.ones(2, 5, 3))[0], made(torch.ones(2, 5, 3))[0])


@pytest.mark.parametrize(
    ("network", "values", "says"),
    [
        (lambda: NTM(3, 2, **SMALL), {"controller": Relu(7, 5)}, "controller is a Relu, not the LSTMController that"),
        (lambda: NTM(3, 2, **SMALL), {"controller": LSTMController(7, 5, skip=True)}, "controller.skip has another"),
        (lambda: NTM(3, 2, **SMALL), {"memory__max_shift": 2}, "memory.max_shift has another value"),
        (lambda: NTM(3, 2, **SMALL), {"memory__step": abs}, "memory.step has another value"),
        (lambda: NTM(3, 2, **SMALL), {"output": nn.Linear(9, 2, bias=False)}, "output.bias has another shape"),
        (lambda: NTM(3, 2, **SMALL), {"output__added": nn.ReLU()}, "output.added is new"),
        (lambda: NTM(3, 2, **SMALL, memory_init="learned"), {"memory__memory_slots": 9}, "memory.memory_slots has"),
        (
            lambda: NTM(3, 2, controller=Plain(), memory=DNCMemory(5, 4)),
            {"memory__masking": True},
            "memory.masking has",
        ),
        (
            lambda: NTM(3, 2, controller=Plain(), memory=DNCMemory(5, 4)),
            {"memory": DNCMemory(6, 4)},
            "memory is a part other than the one that was given",
        ),
        (lambda: models.Transformer(3, 2), {"layers__1__output_norm__eps": 0.1}, "layers.1.output_norm.eps has"),
        (lambda: Scaled(3, 2), {"half": 7.0}, "half has another value"),
        (lambda: Scaled(3, 2), {"inner__controller": Relu(3, 3, skip=True)}, "inner.controller is a Relu"),
    ],
)
def test_a_network_that_its_arguments_do_not_describe_is_not_saved(network, values, says, tmp_path):
    made = changed(network(), **values)
    before = torch.get_rng_state()
    with pytest.raises(ValueError, match=f"^{type(made).__name__} cannot be described by its arguments, .*: {says}"):
        made.save_pretrained(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    assert list(tmp_path.iterdir()) == []


class Tied(Mine):
    """A network whose constructor lets two layers have one weight."""

    def __init__(self, input_size, output_size):
        super().__init__(input_size, output_size)
        self.more = nn.Linear(3, 2)
        self.more.weight = self.inner.output.weight


def test_tied_parameters_come_back_if_the_constructor_ties_them(tmp_path):
    made = Tied(3, 2)
    made.save_pretrained(tmp_path)
    found = Tied.from_pretrained(tmp_path)
    assert same(made.eval(), found)
    assert found.more.weight is found.inner.output.weight
    views = {"whole": torch.arange(6.0)}
    views["part"] = views["whole"][2:4]
    save_weights(views, tmp_path / "views.safetensors", network="any", step=1)
    assert load_file(tmp_path / "views.safetensors")["part"].tolist() == [2, 3]


def test_parameters_that_were_tied_later_are_named(tmp_path):
    network = NTM(3, 2, **SMALL, num_layers=3)
    network.controller.layers[2].weight = network.controller.layers[1].weight
    with pytest.raises(
        ValueError, match=r"controller.layers.1.weight and controller.layers.2.weight are one parameter"
    ):
        network.save_pretrained(tmp_path)


def test_parameters_that_are_no_longer_tied_are_named(tmp_path):
    network = Tied(3, 2)
    network.more.weight = nn.Parameter(network.more.weight.detach().clone())
    network.save_pretrained(tmp_path)
    network.more.weight.data += 1
    with pytest.raises(ValueError, match=r"inner.output.weight and more.weight are no longer one parameter"):
        network.save_pretrained(tmp_path)


def test_a_network_that_cannot_be_made_again_is_saved_as_it_was_made(tmp_path):
    class Once(Mine):
        def __init__(self, input_size, output_size):
            super().__init__(input_size, output_size)
            if (tmp_path / "made").exists():
                raise OSError("it was made")
            (tmp_path / "made").touch()

    Once(3, 2).save_pretrained(tmp_path / "saved")
    assert (tmp_path / "saved" / "config.json").exists()


def test_an_argument_that_cannot_be_written_is_an_error(tmp_path):
    class Unclear(Mine):
        def __init__(self, input_size, output_size, function):
            super().__init__(input_size, output_size)

    with pytest.raises(ValueError, match="Unclear has an argument that is no number, text, list or part of a network"):
        Unclear(3, 2, abs).save_pretrained(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_precision_is_that_of_the_file(dtype, tmp_path):
    network = NTM(3, 2, **SMALL).to(dtype)
    network.save_pretrained(tmp_path)
    found = NTM.from_pretrained(tmp_path)
    assert {parameter.dtype for parameter in found.parameters()} == {dtype}
    inputs = torch.randn(1, 3, 3, dtype=dtype)
    assert torch.equal(found(inputs)[0], network(inputs)[0])


def test_equal_networks_give_equal_files(tmp_path):
    network = NTM(3, 2, **SMALL)
    for name in ("a", "b"):
        network.save_pretrained(tmp_path / name, task=Copy(bits=2))
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_the_task_comes_back(tmp_path):
    NTM(3, 2, **SMALL).save_pretrained(tmp_path, task=Copy(bits=2, max_length=5))
    assert open_network(tmp_path).task == Copy(bits=2, max_length=5)
    arrays = {"inputs": torch.zeros(2, 3, 1).numpy(), "targets": torch.zeros(2, 3, 1).numpy()}
    with pytest.raises(ValueError, match=r"task \(=FileTask\) must be a dataclass without files"):
        NTM(3, 2).save_pretrained(tmp_path, task=FileTask.from_arrays(arrays, arrays))


def trained(folder, **options):
    run = write_run(folder, **options)
    config = {"class_path": "lightning_ntm.NTM", "init_args": {"hidden_size": 100}}
    network = build(config, MemoryModel, input_size=9, output_size=8).eval()
    save_weights(network, run / "best.safetensors", step=3)
    return run, network


def test_a_run_folder_is_loaded_too(tmp_path):
    run, network = trained(tmp_path / "run")
    assert same(network, NTM.from_pretrained(run))
    assert same(network, MemoryModel.from_pretrained(run))
    opened = open_network(run)
    assert (type(opened.task), opened.seed) == (Copy, 1)
    with pytest.raises(ValueError, match=r"class lightning_ntm.NTM, not LSTM: call NTM.from_pretrained"):
        LSTM.from_pretrained(run)


def test_nothing_that_a_run_names_is_imported(tmp_path, monkeypatch):
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    run, network = trained(tmp_path / "run")
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace("lightning_ntm.Copy", "evil.Copy"))
    with pytest.raises(ValueError, match=r"input_size and output_size must be given: .*\(evil.Copy\)"):
        NTM.from_pretrained(run)
    assert same(network, NTM.from_pretrained(run, input_size=9, output_size=8))
    (run / "config.yaml").write_text(config.replace("lightning_ntm.NTM", "evil.NTM"))
    with pytest.raises(ValueError, match=r"class evil\.NTM, which is not of the package"):
        MemoryModel.from_pretrained(run)


def config(**changes):
    def change(folder):
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


def weights(change):
    def changed(folder):
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors")

    return changed


def sparse(folder):
    with (folder / "config.json").open("wb") as file:
        file.truncate(2**40)


def pipe(folder):
    (folder / "model.safetensors").unlink()
    os.mkfifo(folder / "model.safetensors")


SPOILED = {
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "there are no weights"),
    "a pipe": (pipe, "there are no weights"),
    "no config": (lambda folder: (folder / "config.json").unlink(), "has no network: neither config.json"),
    "no JSON": (lambda folder: (folder / "config.json").write_text("{"), "config.json is damaged"),
    "deep JSON": (lambda folder: (folder / "config.json").write_text("[" * 10**5), "config.json is damaged"),
    "endless config": (sparse, "larger than"),
    "cut weights": (lambda folder: os.truncate(folder / "model.safetensors", 500), "damaged or not a safetensors"),
    "a newer format": (config(format=2), "has format 2; this lightning-ntm reads 1"),
    "a format of words": (config(format="x"), "has format 'x'"),
    "a class of Python": (config(architectures=["os.system"]), "class os.system"),
    "another class": (config(architectures=["LSTM"]), "takes no argument 'memory_slots'|is of class LSTM"),
    "two classes": (config(architectures=["NTM", "DNC"]), "architectures must be a list of one name"),
    "an unknown argument": (config(hidden=3), "takes no argument 'hidden'; it takes input_size"),
    "another size": (config(hidden_size=6), "is of another network: controller.layers.0.bias has shape"),
    "a huge size": (config(hidden_size=10**6), "is of another network"),
    "an endless size": (config(hidden_size=10**400), "cannot be made from it|is of another network"),
    "a size of words": (config(hidden_size="many"), "NTM cannot be made from it"),
    "a negative size": (config(memory_slots=-1), r"memory_slots \(=-1\) must be at least 1"),
    "another tensor": (weights(lambda tensors: tensors.pop("output.bias")), "output.bias has shape nothing there"),
    "whole numbers": (
        weights(lambda tensors: tensors.update({"output.bias": tensors["output.bias"].long()})),
        "output.bias is of torch.int64 there",
    ),
}  # fmt: skip


#: Values that JSON can hold, and the arguments that cannot have them.
WRONG_KINDS = [
    *(("hidden_size", value) for value in (5.0, "5", True, None, [5], {"a": 5})),
    *(("memory_slots", value) for value in (6.0, True, [6])),
    *(("gradient_limit", value) for value in ("0", True, None, [0.1], 10**400, float("inf"), float("nan"))),
    *(("min_sharpening", value) for value in ("1", True, None, [1.5])),
    *(("checkpoint_every", value) for value in (0.5, "0", False)),
    *(("memory_init", value) for value in (1, None, ["constant"], True)),
    *(("controller", value) for value in (3, None, ["lstm"], {"lstm": 1})),
    ("memory", "mine"),
]


@pytest.mark.parametrize(("argument", "value"), WRONG_KINDS, ids=str)
@pytest.mark.parametrize("kind", [NTM, MemoryModel])
def test_a_value_of_another_kind_is_not_taken_for_an_argument(kind, argument, value, tmp_path):
    network = NTM(3, 2, **SMALL)
    network.save_pretrained(tmp_path)
    config(**{argument: value})(tmp_path)
    with pytest.raises(ValueError, match=rf"NTM cannot be made from it: {argument} \(=.*must be of type") as raised:
        kind.from_pretrained(tmp_path)
    assert "\n" not in str(raised.value)
    said = network.made_with[argument]
    assert same(network, NTM.from_pretrained(tmp_path, **{argument: said}))  # what the user says goes first


def test_whole_numbers_are_numbers(tmp_path):
    NTM(3, 2, **SMALL).save_pretrained(tmp_path)
    config(gradient_limit=1, stay_bias=2)(tmp_path)
    assert NTM.from_pretrained(tmp_path).gradient_limit == 1


def test_a_task_with_a_value_of_another_kind_is_not_made(tmp_path):
    NTM(3, 2, **SMALL).save_pretrained(tmp_path, task=Copy(bits=2))
    for changes in ({"bits": 2.0}, {"bits": "2"}, {"max_length": True}, {"same_length": 1}):
        config(task={"class_path": "lightning_ntm.Copy", "init_args": changes})(tmp_path)
        with pytest.raises(ValueError, match=r"lightning_ntm.Copy cannot be made from it: .* must be of type"):
            open_network(tmp_path)


def test_weights_of_save_pretrained_are_no_run(tmp_path):
    NTM(3, 2, **SMALL).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"\(its format is 'pt'\); a file of save_pretrained is loaded by from_pretr"):
        open_run(tmp_path / "model.safetensors")


@pytest.mark.parametrize("name", SPOILED)
@pytest.mark.parametrize("kind", [NTM, MemoryModel])
def test_a_spoiled_folder_is_one_clear_line(name, kind, tmp_path):
    spoil, says = SPOILED[name]
    NTM(3, 2, **SMALL).save_pretrained(tmp_path)
    spoil(tmp_path)
    with pytest.raises(ValueError, match=says) as raised:
        kind.from_pretrained(tmp_path)
    assert "\n" not in str(raised.value)


def test_a_task_of_a_file_is_one_of_the_package_or_none(tmp_path):
    NTM(3, 2, **SMALL).save_pretrained(tmp_path, task=EvenPairs())
    for path, says in (("os.Copy", None), ("lightning_ntm.FileTask", None), ("lightning_ntm.Copy", "cannot be made")):
        config(task={"class_path": path, "init_args": {"min_length": 3, "max_length": 1}})(tmp_path)
        if says is None:
            assert open_network(tmp_path).task is None
        else:
            with pytest.raises(ValueError, match=says):
                open_network(tmp_path)
