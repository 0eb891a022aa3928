"""Files of a run that load, but are not what they say: refused in a line before anything is changed."""

import io
import json
import os
import resource
import zipfile

import pytest
import safetensors.torch
import torch
from training.test_run import network, run

from lightning_ntm.evaluation import open_run
from lightning_ntm.evaluation.weights import holds_weights, kept_config, save_weights
from lightning_ntm.records import RunFolder
from lightning_ntm.training import SequenceLearner
from lightning_ntm.training.recorded import check_settings_of
from lightning_ntm.training.states import training_state


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "a"
    run(folder, steps=4).fit()
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def folder(tmp_path, trained):
    (tmp_path / "a").mkdir()
    for name, data in trained.items():
        (tmp_path / "a" / name).write_bytes(data)
    return RunFolder(tmp_path / "a")


def weights_as(change):
    def spoil(folder):
        with safetensors.safe_open(folder.best, "pt") as file:
            about = file.metadata()
        tensors, about = change(safetensors.torch.load_file(folder.best), about)
        safetensors.torch.save_file(tensors, folder.best, about)

    return spoil


WEIGHTS = {
    "whole numbers": (weights_as(lambda t, a: ({n: v.to(torch.int8) for n, v in t.items()}, a)), "is of torch.int8"),
    "booleans": (weights_as(lambda t, a: ({n: v.bool() for n, v in t.items()}, a)), "is of torch.bool"),
    "8 bits": (weights_as(lambda t, a: ({n: v.to(torch.float8_e4m3fn) for n, v in t.items()}, a)), "is of torch.float"),
    "no step": (weights_as(lambda t, a: (t, {"format": a["format"]})), "has no valid step"),
    "a step of words": (weights_as(lambda t, a: (t, {**a, "step": "last"})), "has no valid step"),
    "odd keys": (weights_as(lambda t, a: ({**t, "../\x1b[31m": torch.zeros(1)}, a)), "of another network"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WEIGHTS)
def test_weights_that_are_not_what_they_say_are_refused(folder, kind):
    spoil, says = WEIGHTS[kind]
    spoil(folder)
    with pytest.raises(ValueError, match=says):
        open_run(folder.path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_are_read(folder, dtype):
    weights_as(lambda tensors, about: ({name: value.to(dtype) for name, value in tensors.items()}, about))(folder)
    assert open_run(folder.path).step == 4


@pytest.fixture
def alone(folder, tmp_path):
    """A copy of the weights without their folder."""
    path = tmp_path / "copied.safetensors"
    path.write_bytes(folder.best.read_bytes())
    return path


def test_the_file_of_weights_alone_is_a_run(folder, alone):
    one, other = open_run(folder.path), open_run(alone)
    assert (one.task, one.seed, one.step) == (other.task, other.seed, other.step)
    inputs = torch.rand(2, 5, 4)
    assert torch.equal(one.model(inputs)[0], other.model(inputs)[0])
    assert open_run(alone, memory_slots=9).memory_slots == 9


def config_as(text):
    return weights_as(lambda tensors, about: (tensors, {**about, "config": text}))


DEEP = "[" * 10_000 + "]" * 10_000
CONFIGS = {
    "none": (weights_as(lambda t, a: (t, {k: v for k, v in a.items() if k != "config"})), "does not hold the conf"),
    "no json": (config_as("model: {"), "is not the configuration of a run"),
    "a list": (config_as("[1]"), "is not the configuration of a run"),
    "no task": (config_as('{"model": {"class_path": "lightning_ntm.NTM"}, "seed": 1}'), "lacks model, task or seed"),
    "too deep": (config_as(DEEP), "is not the configuration of a run"),
    "too long": (config_as(f'"{"x" * 2**18}"'), "larger than 256 KiB"),
    "a program": (config_as(json.dumps({"seed": 1, "task": {"class_path": "os.system", "init_args": {"command": "x"}},
                                        "model": {"class_path": "lightning_ntm.NTM"}})), "Python's own"),
    "a huge network": (config_as(json.dumps({
        "seed": 1, "task": {"class_path": "lightning_ntm.Copy", "init_args": {"bits": 3}},
        "model": {"class_path": "lightning_ntm.NTM", "init_args": {"hidden_size": 10**7}}})), "is of another network"),
}  # fmt: skip


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_configuration_in_a_file_of_weights_is_checked_as_that_of_a_folder(folder, kind):
    spoil, says = CONFIGS[kind]
    spoil(folder)
    with pytest.raises(ValueError, match=says) as caught:
        open_run(folder.best)
    assert "\n" not in str(caught.value)


def test_a_run_without_a_configuration_keeps_none(tmp_path):
    model = network()
    assert kept_config("") == kept_config("seed: 1") == kept_config("[") == kept_config("a: !!python/object:x {}") == ""
    save_weights(model, tmp_path / "a", step=7, config=kept_config(""))
    with pytest.raises(ValueError, match="does not hold the configuration of its run; open the run folder instead"):
        open_run(tmp_path / "a")


def test_a_file_of_weights_is_known_by_its_ending_or_its_first_bytes(tmp_path):
    save_weights(network(), tmp_path / "renamed.weights", step=7)
    (tmp_path / "damaged.safetensors").write_bytes(b"")
    texts = {"empty": "", "short": "a", "config.yaml": "seed: 1\n" * 9, "result.json": '{"step":{"a": 1}}'}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    found = {path.name for path in (*tmp_path.iterdir(), tmp_path, tmp_path / "missing") if holds_weights(path)}
    assert found == {"renamed.weights", "damaged.safetensors"}


def test_equal_weights_give_equal_files(tmp_path):
    model = network()
    for number in range(20):
        save_weights(model, tmp_path / str(number), step=7)
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
    reordered = dict(reversed(model.state_dict().items()))
    save_weights(reordered, tmp_path / "other", network="NTM", step=7)
    assert (tmp_path / "other").read_bytes() == (tmp_path / "0").read_bytes()
    header = (tmp_path / "0").read_bytes()
    assert list(json.loads(header[8 : 8 + int.from_bytes(header[:8], "little")])["__metadata__"]) == [
        "format", "network", "step"
    ]  # fmt: skip


def at(path, value):
    """Set what is at a path in a training state; a function is given what is there."""

    def spoil(state):
        *above, last = path
        for key in above:
            state = state[key]
        if value is None:
            del state[last]
        else:
            state[last] = value(state[last]) if callable(value) else value

    return spoil


OPTIMIZER = ("optimizer_states", 0)
RANDOM = ("callbacks", "RandomStates")
STATES = {
    "int8 weights": at(("state_dict",), lambda d: {name: value.to(torch.int8) for name, value in d.items()}),
    "weights of words": at(("state_dict",), lambda d: dict.fromkeys(d, "none")),
    "no optimizer": at(("optimizer_states",), []),
    "no state of the optimizer": at((*OPTIMIZER, "state"), {}),
    "empty states": at((*OPTIMIZER, "state"), lambda d: {number: {} for number in d}),
    "a shape of the optimizer": at((*OPTIMIZER, "state", 0, "exp_avg"), torch.zeros(3)),
    "a kind of the optimizer": at((*OPTIMIZER, "state", 0, "exp_avg"), lambda t: t.to(torch.int8)),
    "words for the optimizer": at((*OPTIMIZER, "state", 0, "exp_avg"), "none"),
    "a missing average": at((*OPTIMIZER, "state", 0, "exp_avg"), None),
    "other parameters": at((*OPTIMIZER, "param_groups", 0, "params"), [0]),
    "odd parameters": at((*OPTIMIZER, "state", "x"), {}),
    "no schedulers": at(("lr_schedulers",), {}),
    "a step of words": at(("global_step",), "last"),
    "no callbacks": at(("callbacks",), {}),
    "no random states": at(RANDOM, None),
    "random states of words": at((*RANDOM, "python", 1), "none"),
    "too few random numbers": at((*RANDOM, "numpy", 1), torch.zeros(3)),
    "no torch": at((*RANDOM, "torch"), None),
    "a shape for torch": at((*RANDOM, "torch"), torch.zeros(3, dtype=torch.uint8)),
    "words for devices": at((*RANDOM, "cuda"), ["none"]),
    "a method for a measure": at(("callbacks", "Recorder", "on_train_batch_end"), 3),
    "words for measures": at(("callbacks", "Recorder", "sums", "loss"), "none"),
    "a best without a measure": at(("callbacks", "Keeper", "best", "wrong_bits"), None),
    "gradients of another network": at(("callbacks", "PartialGradients"), {"model.x": torch.zeros(3)}),
    "gradients of words": at(("callbacks", "PartialGradients"), {"model.heads.bias": "none"}),
    "a best of words": at(("callbacks", "Keeper", "best"), "none"),
}


@pytest.mark.parametrize("kind", STATES)
def test_a_training_state_that_is_not_what_it_says_is_refused_before_anything_is_changed(folder, kind):
    state = torch.load(folder.last, weights_only=True)
    STATES[kind](state)
    torch.save(state, folder.last)
    before = {path.name: path.read_bytes() for path in folder.path.iterdir() if path.name != ".lock"}
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        run(folder.path, steps=6, resume=True).fit()
    assert "\n" not in str(refused.value)
    assert {path.name: path.read_bytes() for path in folder.path.iterdir() if path.name != ".lock"} == before


def test_the_state_of_a_run_is_what_it_says(folder):
    run(folder.path, steps=6, resume=True).fit()


@pytest.mark.parametrize("kind", ["Adafactor", "LBFGS", "SGD", "RMSprop", "NAdam", "Rprop"])
def test_the_states_of_all_kinds_of_optimizers_are_taken(tmp_path, kind):
    learner = SequenceLearner(network(), lambda p: getattr(torch.optim, kind)(p, lr=1e-3), decay_after=1.0)
    made = run(tmp_path / "a", steps=4, gradient_clip_val=None, learner=learner)
    made.fit()
    check_settings_of(learner, training_state(network(), made.folder.last), made.folder.last)


def test_a_refused_pickle_is_not_told_how_to_be_run(folder):
    class Payload:
        def __reduce__(self):
            return os.system, ("true",)

    torch.save({**torch.load(folder.last, weights_only=True), "more": Payload()}, folder.last)
    with pytest.raises(ValueError, match="holds more than tensors and numbers") as refused:
        run(folder.path, resume=True)
    assert not {"weights_only", "trust", "safe_globals"} & set(str(refused.value).replace("=", " ").split())


def test_a_state_that_would_fill_the_memory_is_refused_unread(folder):
    packed = io.BytesIO()
    with zipfile.ZipFile(folder.last) as before, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as after:
        for entry in before.infolist():
            after.writestr(entry.filename, before.read(entry))
    folder.last.write_bytes(packed.getvalue())
    with pytest.raises(ValueError, match="larger than one of this network can be"):
        run(folder.path, resume=True)


def test_a_network_of_another_size_is_refused_before_it_is_made(folder):
    text = folder.config.read_text()
    folder.config.write_text(text.replace("hidden_size: 8", "hidden_size: 8000, controller: lstm"))
    assert folder.config.read_text() != text
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="of another network"):
        open_run(folder.path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 200_000, "the network has a gigabyte"
