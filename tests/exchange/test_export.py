"""Networks as programs of ONNX and of torch.export, and what keeps a wrong one from being written."""

import os
import signal
import subprocess
import sys
from time import sleep

import jaxtyping
import pytest
import torch
from runs import write_run
from torch import nn

from lightning_ntm import DNC, LSTM, NTM, Copy, MemoryModel, Transformer, open_run
from lightning_ntm.cli import main
from lightning_ntm.evaluation.build import build
from lightning_ntm.evaluation.weights import save_weights
from lightning_ntm.exchange import exporting
from lightning_ntm.exchange.exporting import export

SMALL = {"hidden_size": 5, "memory_slots": 6, "memory_width": 4}


@pytest.fixture
def _unchecked():
    """Sizes are symbols while a network is exported, which the checks of annotations take for wrong."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def network():
    """With weights large enough that an initial memory of 1e-6 matters."""
    return shaken(NTM(3, 2, **SMALL, num_read_heads=2))


def shaken(made):
    for parameter in made.parameters():
        parameter.data.add_(torch.randn(parameter.shape) / 2)
    return made.eval()


def transformer(positions):
    sizes = {"hidden_size": 12, "num_heads": 3, "num_layers": 1, "memory_slots": 4, "feedforward_size": 5}
    return Transformer(3, 2, **sizes, positions=positions).eval()


def of_torch(path):
    return torch.export.load(path).module()


def of_onnx(path):
    session = pytest.importorskip("onnxruntime").InferenceSession(path)
    return lambda inputs: torch.from_numpy(session.run(["logits"], {"inputs": inputs.numpy()})[0])


@pytest.mark.usefixtures("_unchecked")
@pytest.mark.parametrize(
    ("kind", "load", "made"),
    [
        ("torch", of_torch, lambda: shaken(LSTM(3, 2, hidden_size=4, num_layers=2))),
        ("onnx", of_onnx, network),
        ("onnx", of_onnx, lambda: shaken(DNC(3, 2, **SMALL))),
        ("torch", of_torch, lambda: transformer("alibi")),
        ("onnx", of_onnx, lambda: transformer("alibi")),
        ("onnx", of_onnx, lambda: transformer("rope")),
    ],
)
def test_a_program_runs_any_number_of_sequences_of_any_length(kind, load, made, tmp_path):
    if kind == "onnx":
        for name in exporting._OF_ONNX:
            pytest.importorskip(name, reason=f"{name} is not installed")
    model, path = made(), tmp_path / "new" / "folder" / "model"
    assert export(model, path, kind) < 1e-5
    program = load(path)
    for batch, time in ((1, 1), (2, 13), (7, 3)):
        inputs = torch.rand(batch, time, 3)
        with torch.no_grad():
            torch.testing.assert_close(program(inputs), model(inputs)[0], rtol=1e-5, atol=1e-5)
    assert {parameter.grad for parameter in model.parameters()} == {None}


def test_a_sparse_memory_runs_alike_in_onnx(tmp_path):
    # Its rows are nearly 0 where they were erased, so that any inexact operation decides what it finds.
    for name in exporting._OF_ONNX:
        pytest.importorskip(name, reason=f"{name} is not installed")
    words = [sys.executable, "-m", "lightning_ntm", "export", "copy-sdnc", "--format", "onnx", "--output", "model.onnx"]
    subprocess.run(words, cwd=tmp_path, check=True)  # annotations are checked in this process
    run = open_run("copy-sdnc")
    inputs = run.task.batch(1, "evaluation", 1, 300, length=12).inputs
    with torch.no_grad():
        expected = run.model(inputs)[0]
    torch.testing.assert_close(of_onnx(tmp_path / "model.onnx")(inputs), expected, rtol=0, atol=1e-3)


class Sorting(nn.Module):
    """The order of a sparse memory: of equal numbers the first first."""

    def forward(self, numbers):
        return numbers.long().sort(dim=-1, descending=True, stable=True).indices, numbers.argsort(dim=1, stable=True)


def test_a_stable_order_is_one_in_onnx(tmp_path):
    for name in exporting._OF_ONNX:
        session = pytest.importorskip(name, reason=f"{name} is not installed")
    numbers, table = torch.randint(4, (3, 40)).float(), {torch.ops.aten.sort.stable: exporting._stable_sort}
    with exporting._quiet():
        made = torch.onnx.export(
            Sorting(), (numbers,), dynamo=True, optimize=False, verbose=False, custom_translation_table=table
        )
    found = session.InferenceSession(made.model_proto.SerializeToString()).run(None, {"numbers": numbers.numpy()})
    for mine, expected in zip(found, Sorting()(numbers), strict=True):
        assert mine.tolist() == expected.tolist()


def wrong(times):
    def make(sequence):
        network = sequence.network
        return b"", lambda inputs: times * network.unroll(inputs, network.initial_state(len(inputs)))[0]

    return make


@pytest.mark.parametrize(("times", "written"), [(1 + 1e-6, True), (1 + 3e-4, False), (float("nan"), False)])
def test_a_program_with_other_numbers_is_not_written(times, written, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "_torch", wrong(times))
    path = tmp_path / "model"
    if written:
        export(network(), path, "torch")
    else:
        with pytest.raises(ValueError, match=r"model is not written: its logits would differ .*; allowed is 1\.0e-04"):
            export(network(), path, "torch")
    assert path.exists() == written
    assert list(tmp_path.iterdir()) == [path] * written


class Deciding(NTM):
    """What it does depends on numbers, which a program cannot follow."""

    def step(self, x, state):
        return super().step(x if x.sum() > 0 else -x, state)


@pytest.mark.usefixtures("_unchecked")
def test_a_network_that_cannot_be_exported_is_one_line(tmp_path):
    with pytest.raises(ValueError, match="Deciding cannot be exported: ") as raised:
        export(Deciding(3, 2, **SMALL), tmp_path / "model", "torch")
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_missing_packages_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "find_spec", lambda name: None if name == "onnxscript" else object())
    with pytest.raises(ValueError, match=r"^ONNX needs onnxscript: pip install 'lightning-ntm\[onnx\]'\.$"):
        export(network(), tmp_path / "model", "onnx")


def test_the_command_writes_into_the_run_or_elsewhere(tmp_path, capsys, monkeypatch):
    run = write_run(tmp_path / "run")
    config = {"class_path": "lightning_ntm.NTM", "init_args": {"hidden_size": 100}}
    kept = build(config, MemoryModel, input_size=9, output_size=8).eval()
    save_weights(kept, run / "best.safetensors", step=3)
    assert main(["export", str(run), "--format", "safetensors"]) == 0
    found = MemoryModel.from_pretrained(run / "exported")
    inputs = torch.rand(2, 3, 9)
    assert torch.equal(found(inputs)[0], kept(inputs)[0])
    monkeypatch.setattr(exporting, "_torch", wrong(1.0))
    assert main(["export", str(run / "exported"), "--format", "torch", "--output", str(tmp_path / "a.pt2")]) == 0
    assert "Largest difference from PyTorch: none." in capsys.readouterr().out
    assert (tmp_path / "a.pt2").exists()
    assert main(["export", str(run), "--format", "onx"]) == 2
    said = "argument --format: unknown 'onx'; did you mean 'onnx'? It must be onnx, torch or safetensors."
    assert capsys.readouterr().err == f"ntm: error: {said}\n"


def test_nothing_is_left_of_an_export_that_fails(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(exporting, "_torch", wrong(2))
    assert main(["export", "copy", "--format", "torch"]) == 2
    assert "model.pt2 is not written" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "copy-exported").mkdir()
    assert main(["export", "copy", "--format", "torch"]) == 2
    assert list(tmp_path.iterdir()) == [tmp_path / "copy-exported"]


def test_a_folder_of_exported_files_names_the_task(tmp_path):
    network().save_pretrained(tmp_path / "a", task=Copy(bits=2))
    assert main(["export", str(tmp_path / "a"), "--format", "safetensors", "--output", str(tmp_path / "b")]) == 0
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_signal_that_ends_an_export_leaves_no_folder(tmp_path, monkeypatch):
    NTM(3, 2, memory_slots=5, memory_width=3).save_pretrained(tmp_path / "network")
    monkeypatch.setattr(
        "lightning_ntm.exchange.exporting.export", lambda *_: os.kill(os.getpid(), signal.SIGTERM) or sleep(9)
    )
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit, match="143"):
        main(["export", str(tmp_path / "network"), "--format", "torch"])
    assert not (tmp_path / "network" / "exported").exists()
    assert signal.getsignal(signal.SIGTERM) is handler


@pytest.mark.usefixtures("_unchecked")
def test_a_network_in_float64_is_exported(tmp_path):
    pytest.importorskip("onnxruntime")
    network = NTM(3, 2, memory_slots=5, memory_width=3).double()  # onnxruntime has no Softplus for it
    assert export(network, tmp_path / "a.onnx", "onnx") < 1e-9
