"""The pages on a Trainer and a network of your own are run as they stand."""

import importlib.util
import shlex
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path

import pages
import pytest
import torch
import yaml
from lightning.pytorch.cli import LightningCLI
from runs import write_run

from lightning_ntm import NTM
from lightning_ntm.cli import main
from lightning_ntm.evaluation.weights import kept_config, save_weights
from lightning_ntm.training import EpisodeData, SequenceLearner

TRAINER = "your-own-trainer.md"
of_network = partial(pages.blocks, "your-own-network.md")
#: Packages that a script needs beside those of the tests.
MORE = {"TensorBoardLogger": "tensorboard", "WandbLogger": "wandb"}
QUIET = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
QUIET += ["--trainer.logger=CSVLogger", "--trainer.logger.save_dir=."]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setenv("WANDB_SILENT", "true")
    yield tmp_path
    sys.modules.pop("gated_trace", None)
    if "wandb" in sys.modules:
        sys.modules["wandb"].finish()


@pytest.mark.parametrize("script", pages.blocks(TRAINER, "python"))
@pytest.mark.filterwarnings("ignore:You defined a `validation_step`", "ignore:.*GPU.*")
def test_every_script_runs(script, folder, capsys):
    for name, package in MORE.items():
        if name in script and importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    script = script.replace("5000", "2").replace("batches_per_epoch=500", "batches_per_epoch=1")
    if "best.safetensors" in script:
        write_run(run := folder / "runs" / "copy" / "ntm-copy-seed1")
        config = kept_config((run / "config.yaml").read_text())
        save_weights(NTM(9, 8), run / "best.safetensors", step=1, config=config)
    if "torch.export" in script:  # whose sizes are no `int`, of which annotations are checked here
        subprocess.run([sys.executable, "-c", script], check=True)
    else:
        exec(compile(script, TRAINER, "exec"), {"__name__": TRAINER})


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The dirpath has changed")
def test_its_lightning_commands_run(folder, monkeypatch, capsys):
    (config,) = pages.blocks(TRAINER, "yaml")
    Path("config.yaml").write_text(config.replace("5000", "1"))
    assert yaml.safe_load(config)["trainer"]["max_steps"] == 5000
    commands = [shlex.split(line) for block in pages.blocks(TRAINER, "sh") for line in block.splitlines()]
    assert [command[:2] for command in commands] == [["python", "train.py"]] * 3
    for _, _, *words in commands:
        words = [word.replace("epoch=9-step=5000", "epoch=0-step=1") for word in words]
        monkeypatch.setattr(sys, "argv", ["train.py", *words, *QUIET])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            ran = LightningCLI(SequenceLearner, EpisodeData)
        (saved,) = Path("lightning_logs").rglob("*.ckpt")
        trained = torch.load(saved, weights_only=False)["state_dict"]
        measured = ran.model.state_dict()
        assert all(torch.equal(measured[name], weights) for name, weights in trained.items())


def test_its_network_keeps_its_promises_and_trains(folder, capsys):
    Path("gated_trace.py").write_text(of_network("python")[0])
    for script in of_network("python")[1:]:
        exec(compile(script, "your-own-network.md", "exec"), {})
    brief = ["--trainer.max_steps=2", "--trainer.val_check_interval=1", "--data.validation_sequences=2"]
    commands = [shlex.split(line) for block in of_network("sh") for line in block.splitlines()]
    assert [command[:2] for command in commands] == [["ntm", "train"], ["ntm", "evaluate"], ["ntm", "figure"]]
    for _, verb, *words in commands:
        assert main([verb, *words, *(brief if verb == "train" else [])]) == 0, capsys.readouterr().err
