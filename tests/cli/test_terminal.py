"""Names and messages from files have no effect on a terminal."""

import json
import sys
from pathlib import Path

import pytest
import yaml
from runs import write_run

from lightning_ntm.cli import main
from lightning_ntm.cli.terminal import Terminal

#: Clears the screen, writes the title, goes back, and says so in one byte.
EVIL = "\x1b[2J\x1b]0;owned\x07\b\r\x9b31m"


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])


def said(capsys, *words):
    """Return the exit code and what was said, without effects on a terminal."""
    code = main([str(word) for word in words])
    captured = capsys.readouterr()
    both = captured.out + captured.err
    assert not {char for char in both if not char.isprintable()} - {"\n"}, ascii(both)
    return code, both


def test_the_state_of_a_sweep(capsys):
    run = write_run(Path("sweep/one"), result=False)
    (run / "failed.json").write_text(json.dumps({"message": f"it {EVIL} [bold]failed[/bold]"}))
    Path("sweep/plan.yaml").write_text(yaml.safe_dump({"name": EVIL, "runs": {"one": ["--seed=1"]}}))
    code, text = said(capsys, "sweep", "--status", "sweep")
    assert code == 0
    assert "x1b" in text
    assert "[bold]" in "".join(text.split())
    Path("sweep/plan.yaml").write_text(yaml.safe_dump({"runs": {f"one{EVIL}": []}}))
    assert said(capsys, "sweep", "--status", "sweep")[0] == 2


@pytest.mark.parametrize("verb", [["report"], ["evaluate"], ["figure"], ["train", "--resume"]])
def test_names_and_messages_of_a_run(verb, capsys):
    run = write_run(Path(f"runs{EVIL}/run{EVIL}"))
    (run / "metrics.jsonl").write_text("rubbish\n")
    (run / "config.yaml").write_text(f"seed: 1\ntask: {{class_path: {json.dumps(EVIL)}}}\nmodel: {{class_path: a}}\n")
    assert said(capsys, *verb, run)[0] == 2


def test_a_terminal_takes_texts_as_they_are(capsys):
    Terminal(force_terminal=True).print(f"[red]a[/red] :smile: {EVIL}")
    out = capsys.readouterr().out
    assert out.startswith("[red]a[/red] :smile: \\x1b[2J")
    assert not set(out) & set("\x1b\x07\b\r\x9b")
