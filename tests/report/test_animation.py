"""Animations of the memory: one picture a step, whole or absent."""

import shutil
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from lightning_ntm.cli import main
from lightning_ntm.report import save_animation


def frames(path):
    with Image.open(path) as image:
        found = []
        for number in range(image.n_frames):
            image.seek(number)
            found.append(np.asarray(image.convert("RGB")))
        return found


def test_an_animation_has_a_picture_for_each_step(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["figure", "copy", "--lengths", "2", "--animate", "talk/memory.gif"]) == 0
    assert capsys.readouterr().out == "talk/memory.gif\n"
    pictures = frames(tmp_path / "talk" / "memory.gif")
    assert len(pictures) == 5
    assert all((one != other).any() for one, other in pairwise(pictures))
    assert [path.name for path in tmp_path.rglob("*")] == ["talk", "memory.gif"]


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_an_mp4_is_a_film(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["figure", "copy", "--lengths", "2", "--animate", "memory.mp4"]) == 0
    assert (tmp_path / "memory.mp4").read_bytes()[4:8] == b"ftyp"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["copy", "--animate", "a.png"], "--animate: an animation (=a.png) must end in .gif or .mp4."),
        (["copy", "--animate", "a.gif", "--lengths", "2,3"], "--animate writes one episode; 2 difficulties are given."),
        (["copy", "--animate", "a.gif", "--output", "b"], "--output cannot be combined with --animate"),
        (["copy-lstm", "--animate", "a.gif", "--lengths", "2"], "only a network whose heads write and read a memory"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["figure", *arguments]) == 2
    told = capsys.readouterr().err
    assert says in told
    assert told.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_without_ffmpeg_there_is_no_mp4(tmp_path, monkeypatch):
    monkeypatch.setattr("matplotlib.animation.FFMpegWriter.isAvailable", lambda: False)
    with pytest.raises(ValueError, match=r"a.mp4 needs ffmpeg, which is not installed; a .gif needs nothing\."):
        save_animation({}, "", tmp_path / "a.mp4")
