"""Networks of other implementations: their answers, their files, and files that do harm."""

import io
import os
import pickle
import re
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import originals
import pytest
import torch
from torch import nn

from lightning_ntm import MemoryModel, open_run
from lightning_ntm.cli import main
from lightning_ntm.exchange import (
    ColumnSort,
    FlaggedCopy,
    ScaledRepeatCopy,
    SequentialNTM,
    import_run,
    open_network,
    pickles,
)
from lightning_ntm.exchange.checkpoints import read
from lightning_ntm.testing import check_model, check_task

STEPS = 100


def prefixed(tensors, prefix):
    return {prefix + name: tensor for name, tensor in tensors.items()}


def lightning(tensors):
    return {"state_dict": prefixed(tensors, "model."), "global_step": 700, "hyper_parameters": {"task": "copy"}}


def doubles(tensors):
    return {name: tensor.double() for name, tensor in tensors.items()}


#: By name: format, tensors, what is saved of them, the original, and options of the import.
CASES = {
    "pytorch-ntm": lambda: (
        *("pytorch-ntm", t := originals.drawn_pytorch_ntm(9, 8), prefixed(t, "ntm.")),
        lambda x: originals.pytorch_ntm(doubles(t), x, 1, 1),
        {},
    ),
    "pytorch-ntm, 3 pairs, 2 layers": lambda: (
        *("pytorch-ntm", t := originals.drawn_pytorch_ntm(10, 9, layers=2, pairs=3), prefixed(t, "ntm.")),
        lambda x: originals.pytorch_ntm(doubles(t), x, 2, 3),
        {},
    ),
    "lightning-ntm": lambda: (
        *("lightning-ntm", t := originals.drawn_pytorch_ntm(9, 8, pairs=2), lightning(prefixed(t, "ntm."))),
        lambda x: originals.pytorch_ntm(doubles(t), x, 1, 2),
        {},
    ),
    "lightning-ntm, LSTM": lambda: (
        *("lightning-ntm", t := originals.drawn_lightning_lstm(9, 8), lightning(t)),
        lambda x: originals.lightning_lstm(doubles(t), x, 2),
        {},
    ),
    **{
        f"clemkoa-ntm, follows {follows}": lambda follows=follows: (
            *("clemkoa-ntm", t := originals.drawn_clemkoa_ntm(9, 8), t),
            lambda x: originals.clemkoa_ntm(doubles(t), x, follows),
            {"write_follows_read": follows},
        )
        for follows in (False, True)
    },
    "vlgiitr-ntm": lambda: (
        *("vlgiitr-ntm", t := originals.drawn_vlgiitr_ntm(10, 8, pairs=2), t),
        lambda x: originals.vlgiitr_ntm(doubles(t), x, 2),
        {},
    ),
}


def imported(case, folder, **more):
    torch.manual_seed(1)
    kind, _, saved, original, options = CASES[case]()
    torch.save(saved, folder / "file.pt")
    return import_run(folder / "file.pt", kind, folder / "runs" / "a", **options, **more), original


@pytest.mark.parametrize("case", CASES)
def test_the_network_of_the_run_folder_answers_as_the_original(case, tmp_path):
    made, original = imported(case, tmp_path)
    model = open_run(made.folder).model.double()
    inputs = torch.randint(2, (STEPS, model.input_size)).double()
    with torch.no_grad():
        mine, theirs = model(inputs.unsqueeze(0))[0][0].sigmoid(), original(inputs)
    assert theirs.std() > 0.01
    torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-6)


def test_the_write_head_follows_the_read_head_or_itself(tmp_path):
    answers = []
    for case in ("clemkoa-ntm, follows False", "clemkoa-ntm, follows True"):
        folder = tmp_path / case
        folder.mkdir()
        answers.append(open_run(imported(case, folder)[0].folder).model(torch.ones(1, 20, 9))[0])
    assert (answers[0] - answers[1]).abs().max() > 1e-5


@pytest.mark.parametrize(
    "options", [{}, {"num_pairs": 2, "num_layers": 2, "heads_see_cell": True, "softmax_heads": True}]
)
def test_the_network_keeps_the_promises(options):
    check_model(SequentialNTM(3, 2, hidden_size=5, memory_slots=6, memory_width=4, **options))


@pytest.mark.parametrize(
    "task", [FlaggedCopy(), ScaledRepeatCopy(), ScaledRepeatCopy(flag_first=True, offset=4.5, scale=2.0), ColumnSort()]
)
def test_the_tasks_keep_the_promises(task):
    check_task(task)


def text(batch, episode=0):
    return [["".join(f"{value:g}" for value in row) for row in part[episode].tolist()] for part in batch[:2]]


def test_the_encodings_are_those_of_the_originals():
    generator = np.random.default_rng(1)
    inputs, targets = text(FlaggedCopy(2).sample(generator, 1, length=2))
    assert (inputs[0], inputs[3:]) == ("0010", ["0001", "0000", "0000"])
    assert [row[:2] for row in inputs[1:3]] == targets[4:]
    batch = ScaledRepeatCopy(2).sample(generator, 1, length=1, repeats=2)
    inputs, targets = text(batch)
    assert inputs[1:] == ["0010", "0000.2", "0000", "0000", "0000"]
    assert targets[3:] == [inputs[0][:2] + "0"] * 2 + ["001"]
    first = ScaledRepeatCopy(2, offset=4.0, scale=2.0, flag_first=True).sample(generator, 1, length=1, repeats=2)
    inputs, targets = text(first)
    assert (inputs[0], inputs[2:]) == ("0010", ["000-1", "0000", "0000", "0000"])
    assert targets[3:] == [inputs[1][:2] + "0"] * 2 + ["001"]
    batch = ColumnSort(2, items=3, highest=2).sample(generator, 4)
    shown = batch.inputs[:, :3, :2]
    assert torch.equal(batch.targets[:, 3], shown.amax(1))
    assert torch.equal(batch.targets[:, 4], shown.sum(1).ge(2).float())


def test_the_run_folder_is_one_for_every_verb(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(1)
    torch.save(originals.drawn_vlgiitr_ntm(10, 8), "copy.pt")
    assert main(["import", "copy.pt", "--from", "vlgiitr-ntm"]) == 0
    run = "runs/vlgiitr-ntm-copy"
    assert run in capsys.readouterr().out
    assert main(["evaluate", run, "--lengths", "3", "--sequences", "2"]) == 0
    assert main(["figure", run, "--lengths", "3"]) == 0
    assert main(["explore", run, "--html", "page.html"]) == 0
    assert "recorded" in (tmp_path / "page.html").read_text()
    assert main(["report", run, "--output", "report"]) == 0
    assert main(["export", run, "--format", "safetensors", "--output", "shared"]) == 0
    for path in (run, "shared"):
        opened = open_network(path)
        assert (type(opened.model), opened.task) == (SequentialNTM, FlaggedCopy())
    x = torch.ones(1, 5, 10)
    for kind in (SequentialNTM, MemoryModel):
        assert torch.equal(kind.from_pretrained("shared")(x)[0], open_run(run).model(x)[0])


def test_the_task_is_that_of_the_options_or_of_the_sizes_or_asked_for(tmp_path):
    known = imported("lightning-ntm", tmp_path)[0]
    assert (type(known.task).__name__, known.task.bits) == ("Copy", 8)
    assert open_run(known.folder).step == 700
    torch.save(originals.drawn_pytorch_ntm(6, 5), tmp_path / "other.pt")
    with pytest.raises(
        ValueError, match=r"6 inputs and 5 outputs, which no task of pytorch-ntm .* give --task, Copy, Rep"
    ):
        import_run(tmp_path / "other.pt", "pytorch-ntm", tmp_path / "b")
    with pytest.raises(ValueError, match=r"--task \(=AssociativeRecall'?\)|must be one of Copy, RepeatCopy"):
        import_run(tmp_path / "other.pt", "pytorch-ntm", tmp_path / "b", task="AssociativeRecall")
    with pytest.raises(
        ValueError, match=r"--task \(=lightning_ntm.Copy\) has 9 inputs and 8 outputs; the network has 6"
    ):
        import_run(tmp_path / "other.pt", "pytorch-ntm", tmp_path / "b", task="lightning_ntm.Copy")
    assert not (tmp_path / "b").exists()
    made = import_run(tmp_path / "other.pt", "pytorch-ntm", tmp_path / "b", task="RepeatCopy")
    assert made.task.bits == 4


class Ran(Exception):  # noqa: N818
    """Raised by what a malicious file would run."""


class Malicious:
    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


def module_of(tensors):
    """Return a module with these tensors, as a program pickles its network."""
    root = nn.Module()
    for name, tensor in tensors.items():
        *path, last = name.split(".")
        module = root
        for part in path:
            if part not in module._modules:
                module.add_module(part, nn.Module())
            module = module._modules[part]
        module.register_parameter(last, nn.Parameter(tensor))
    return root


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("whole", [True, False])
def test_both_formats_of_pytorch_are_read(zipped, whole, tmp_path):
    tensors = originals.drawn_vlgiitr_ntm(10, 8)
    tensors["extra"] = torch.arange(6.0).view(2, 3).t()  # a view of a storage
    tensors["halves"] = torch.ones(2).half()
    saved = module_of(tensors) if whole else tensors
    torch.save(saved, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    found = read(tmp_path / "a.pt").tensors
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(found[name], tensor)
        assert found[name].dtype == tensor.dtype


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "call",
    [(os.mkdir, ("ran",)), (exec, ("open('ran', 'w')",)), (getattr, (os, "system")), (__import__, ("antigravity",))],
)
def test_nothing_in_a_file_is_run(zipped, call, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tensors = originals.drawn_vlgiitr_ntm(10, 8)
    try:
        torch.save({**tensors, "a": Malicious(*call)}, "a.pt", _use_new_zipfile_serialization=zipped)
    except TypeError:
        torch.save({**tensors, "a": Malicious(os.mkdir, ("ran",))}, "a.pt", _use_new_zipfile_serialization=zipped)
    assert main(["import", "a.pt", "--from", "vlgiitr-ntm"]) == 0  # what is named is left out
    assert not (tmp_path / "ran").exists()
    assert capsys.readouterr().err == ""


def test_a_damaged_file_is_one_line_and_nothing_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(2)
    for zipped in (True, False):
        torch.save(originals.drawn_vlgiitr_ntm(10, 8), "a.pt", _use_new_zipfile_serialization=zipped)
        data = (tmp_path / "a.pt").read_bytes()
        for end in [0, 1, 20, *range(100, len(data) - 20, len(data) // 12)]:
            (tmp_path / "b.pt").write_bytes(data[:end])
            assert main(["import", "b.pt", "--from", "vlgiitr-ntm"]) == 2
            error = capsys.readouterr().err
            assert error.startswith(
                ("ntm: error: b.pt is damaged or not a file of torch.save: ", "ntm: error: b.pt is not a")
            )
            assert error.count("\n") == 1
    assert sorted(os.listdir()) == ["a.pt", "b.pt"]


def test_changed_bytes_are_an_error_or_numbers(tmp_path):
    torch.save(originals.drawn_clemkoa_ntm(9, 8, units=2), tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    data, generator = (tmp_path / "a.pt").read_bytes(), np.random.default_rng(1)
    for _ in range(100):
        changed = bytearray(data)
        for place in generator.integers(len(data) // 2, size=3):
            changed[place] = generator.integers(256)
        (tmp_path / "b.pt").write_bytes(changed)
        with suppress(ValueError):  # any other error, and tensors of an impossible shape, fail the test
            found = read(tmp_path / "b.pt").tensors
            assert all(tensor.numel() <= len(data) for tensor in found.values())


def archive(path, value, **entries):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a/data.pkl", value if isinstance(value, bytes) else pickle.dumps(value, 2))
        for name, data in entries.items():
            file.writestr(f"a/{name}", data)


def test_files_that_are_no_checkpoints(tmp_path):
    def refused(match):
        with pytest.raises(ValueError, match=match):
            read(tmp_path / "a.pt")

    (tmp_path / "a.pt").write_bytes(pickle.dumps({"a": 1}))
    refused("a.pt is not a file of torch.save")
    archive(tmp_path / "a.pt", {"a": 1})
    refused("a.pt has no weights")
    archive(tmp_path / "a.pt", b"\x80\x02}q\x00.", byteorder="big")
    refused("big-endian")
    archive(tmp_path / "a.pt", b"\x80\x02r\xff\xff\xff\x7f.")  # the memo is no table of that many places
    refused("its pickle is damaged")
    archive(tmp_path / "a.pt", b"(" * 10**4 + b".")
    refused("has no weights")
    with zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a/data.pkl", bytes(10**6))
    refused("compressed")
    (tmp_path / "a.pt").write_bytes(b"PK\x03\x04" + bytes(99))
    refused("not a file of torch.save")
    os.remove(tmp_path / "a.pt")
    os.mkdir(tmp_path / "a.pt")
    with pytest.raises((ValueError, OSError)):
        read(tmp_path / "a.pt")


def test_a_tensor_that_claims_more_than_its_storage_is_an_error(tmp_path):
    buffer = io.BytesIO()
    torch.save({"a": torch.ones(4)}, buffer, _use_new_zipfile_serialization=False)
    data = buffer.getvalue()
    for stride, size in ((b"K\x01", b"K\x05"), (b"K\x00", b"J\xff\xff\xff\x7f")):
        changed = data.replace(b"K\x00K\x04\x85", b"K\x00" + size + b"\x85").replace(b"K\x01\x85", stride + b"\x85")
        assert changed != data
        (tmp_path / "a.pt").write_bytes(changed)
        with pytest.raises(ValueError, match=r"fewer numbers than its shape says|too many numbers"):
            read(tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["a.pt", "--from", "pytorch-ntn"], "--from: unknown format 'pytorch-ntn'; did you mean 'pytorch-ntm'?"),
        (["a.pt", "--from", "onnx"], "known: pytorch-ntm, lightning-ntm, clemkoa-ntm, vlgiitr-ntm."),
        (["a.pt"], "--from"),
        (["b.pt", "--from", "pytorch-ntm"], "error: checkpoint b.pt does not exist."),
        (["a.pt", "--from", "pytorch-ntm"], "it is not of pytorch-ntm: its names are those of clemkoa-ntm."),
        (["a.pt", "--from", "clemkoa-ntm"], "give --write_follows read for code before its commit 723d4eb"),
        (["a.pt", "--from", "vlgiitr-ntm", "--write_follows", "read"], "--write_follows is for clemkoa-ntm only"),
        (["a.pt", "--from", "clemkoa-ntm", "--write_follows", "read", "--name", "there"], "runs/there exists"),
        (["c.pt", "--from", "pytorch-ntm"], "has no tensor 'ntm.memory.mem_bias'"),
        (["d.pt", "--from", "clemkoa-ntm", "--write_follows", "read"], "'fc.bias' has shape (3,), not (8)"),
        (["e.pt", "--from", "clemkoa-ntm", "--write_follows", "read"], "weights that are not finite"),
    ],
)
def test_what_cannot_be_imported_is_one_line(words, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tensors = originals.drawn_clemkoa_ntm(9, 8)
    torch.save(tensors, "a.pt")
    torch.save(
        prefixed({k: t for k, t in originals.drawn_pytorch_ntm(9, 8).items() if k != "memory.mem_bias"}, "ntm."), "c.pt"
    )
    torch.save({**tensors, "fc.bias": torch.ones(3)}, "d.pt")
    torch.save({**tensors, "fc.bias": torch.full((8,), float("nan"))}, "e.pt")
    os.makedirs("runs/there")
    assert main(["import", *words]) == 2
    error = capsys.readouterr().err
    assert says in error.replace("\\", "/")
    assert error.count("\n") == 1
    assert os.listdir("runs") == ["there"]
    assert os.listdir("runs/there") == []


def test_tensors_that_are_not_in_the_network_are_named(tmp_path):
    saved = {**originals.drawn_clemkoa_ntm(9, 8), "mask": torch.ones(3).bool(), "other.a": torch.ones(2)}
    torch.save(saved, tmp_path / "a.pt")
    made = import_run(tmp_path / "a.pt", "clemkoa-ntm", tmp_path / "a", write_follows_read=True)
    assert made.notes[-1] == "Not in the network: other.a, tensors of the file."


def test_weights_beyond_the_precision_in_which_they_are_kept_are_refused(tmp_path):
    saved = {name: tensor.double() for name, tensor in originals.drawn_clemkoa_ntm(9, 8).items()}
    saved["fc.weight"][0, 0] = 1e300
    torch.save(saved, tmp_path / "a.pt")
    with pytest.raises(ValueError, match="not finite, or too large for their precision"):
        import_run(tmp_path / "a.pt", "clemkoa-ntm", tmp_path / "a", write_follows_read=True)
    assert not (tmp_path / "a").exists()


def test_a_value_that_doubles_in_each_step_is_never_a_text():
    doubled = b"\x80\x02X\x01\x00\x00\x00a" + b"q\x01h\x01\x86" * 40 + b"."
    assert isinstance(pickles.load(io.BytesIO(doubled)), tuple)
    for code in (b"\x8c\x01b\x93.", b"\x86."):  # as a part of a name; with what is not there
        with pytest.raises(ValueError, match="damaged"):
            pickles.load(io.BytesIO(doubled[:-1] + code))


@pytest.mark.parametrize("content", [b"", b"hello", bytes(range(200, 256)), b"PK\x03\x04xx", b"\x80\x02}q\x00."])
def test_a_file_of_something_else_is_refused_without_internals(content, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.pt").write_bytes(content)
    assert main(["import", "a.pt", "--from", "clemkoa-ntm"]) == 2  # the file comes before --write_follows
    said = capsys.readouterr().err
    assert said.startswith("ntm: error: a.pt is ")
    assert "not a file of torch.save" in said
    assert not re.search("opcode|STOP|KeyError|write_follows", said)


def test_a_run_folder_needs_no_import(tmp_path, capsys):
    (tmp_path / "config.yaml").touch()
    assert main(["import", str(tmp_path), "--from", "lightning-ntm"]) == 2
    assert "is a folder of this package: ntm evaluate" in capsys.readouterr().err
    assert main(["import", str(tmp_path.parent), "--from", "lightning-ntm"]) == 2
    assert "give a file of lightning-ntm" in capsys.readouterr().err
