"""Help texts, shell completion, and commands as they are printed."""

import re
import shlex
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest
import yaml

from lightning_ntm import NTM, Copy
from lightning_ntm.cli import main, words
from lightning_ntm.cli.classes import arguments, short_names
from lightning_ntm.cli.help import train_help
from lightning_ntm.cli.parser import parsed, saved
from lightning_ntm.cli.verbs import _VERBS
from lightning_ntm.sweep.axes import RESERVED


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])


def printed(capsys, *argv):
    """Return what a help option prints."""
    try:
        code = main(list(argv))
    except SystemExit as end:
        code = end.code
    assert code == 0
    return capsys.readouterr().out


def test_the_help_of_sweeps_names_the_options_of_single_runs(capsys):
    refused = printed(capsys, "sweep", "--help").partition("Not allowed: ")[2]
    named = set(re.findall(r"--\w+|-c", refused))
    others = {"--name", "--runs", "--model.class_path", "--task.class_path"}  # of the sweep, and other spellings
    assert named == RESERVED.keys() - others


def test_the_short_help_names_options_that_exist_with_their_values():
    text = train_help()
    parser, _, config = parsed([])
    values = yaml.safe_load(saved(parser, config))
    described = re.findall(r"^  (?:-c, )?--([\w.]+)((?:.*\n)(?: {20,}.*\n)*)", text, flags=re.MULTILINE)
    assert len(described) >= 20
    for name, told in described:
        value = values
        if name in ("config", "resume", "seeds", "print_config", "name", "help") or name.endswith(
            (".help", "help-all")
        ):
            continue
        for part in name.replace("optimizer.lr", "optimizer.init_args.lr").split("."):
            value = value[part]
        stated = re.search(r"\(([^()]*)\)\s*$", told)
        if isinstance(value, dict):
            value = value["class_path"].rpartition(".")[2]
        value = value or {"trainer.precision": "32-true"}.get(name, value)
        assert (stated[1] if stated else "None") == str(value), name
    assert all(len(line) <= 80 for line in text.splitlines())
    for option in ("task", "model"):
        (named,) = re.findall(rf"^  --{option} [A-Z]+ +((?:.*\n)(?: {{20,}}.*\n)*)", text, flags=re.MULTILINE)
        names = re.findall(r"\b[A-Z]\w+", named)
        assert set(names) <= set(short_names(option))
        assert len(names) > 5


def test_the_short_help_comes_first_and_shows_examples_that_can_be_parsed(capsys):
    for asked in (["--help"], ["-h"], ["--task", "Copy", "--help"]):
        assert printed(capsys, "train", *asked) == train_help()
    examples = re.findall(r"^  ntm train (.*?)   ", train_help(), flags=re.MULTILINE)
    assert len(examples) == 5
    for example in examples:
        if not {"--seeds", "--resume"} & set(shlex.split(example)):
            parsed(shlex.split(example))


def test_all_options_have_headings_that_name_things(capsys):
    text = printed(capsys, "train", "--help-all")
    headings = re.findall(r"^(\w.*):$", text, flags=re.MULTILINE)
    assert headings == ["options", "run", "optimization", "data", "Trainer of Lightning", "Linked arguments"]
    assert "--trainer.sync_batchnorm" in text


@pytest.mark.parametrize("name", ["model NTM", "task Copy"])
def test_the_help_of_a_class_without_a_docstring_has_none_of_other_classes(capsys, monkeypatch, name):
    monkeypatch.setattr(NTM, "__doc__", None)
    monkeypatch.setattr(Copy, "__doc__", "Copy(bits: int = 8)")  # as `dataclass` makes it
    group, made = name.split()
    assert printed(capsys, "train", f"--{group}.help", made).startswith(f"lightning_ntm.{made}\n\noptions of")


def test_the_help_of_a_network_has_the_values_of_the_recipe_and_no_linked_sizes(capsys):
    text = printed(capsys, "train", "--model.help", "NTM")
    assert "options of NTM:" in text
    assert "input_size INPUT_SIZE" not in text
    for name in arguments("lightning_ntm.NTM"):
        assert name in ("input_size", "output_size") or f"--model.{name}" in text
    assert re.search(r"default:\s+feedforward", text)
    text = printed(capsys, "train", "--task", "PrioritySort", "--model.help")
    assert re.search(r"default:\s+lstm", text)
    text = printed(capsys, "train", "--model.memory_slots", "77", "--model.help", "NTM")
    assert re.search(r"default:\s+77", text)
    assert re.search(r"--optimizer.lr.*\n(?:.*\n)*?.*default:\s+0.0003", printed(capsys, "train", "--optimizer.help"))
    assert "--scheduler.step_size" in printed(capsys, "train", "--scheduler.help", "StepLR")
    assert main(["train", "--scheduler.help"]) == 2
    assert capsys.readouterr().err == "ntm: error: --scheduler.help needs a value.\n"


def test_completion_knows_the_options_of_every_verb(capsys, monkeypatch):
    made = {}

    def keep(root, shell):
        made["help"] = root.format_help()
        return f"script for {shell}"

    stand_in = types.ModuleType("shtab")
    vars(stand_in).update(complete=keep, FILE="file", DIRECTORY="folder")
    monkeypatch.setitem(sys.modules, "shtab", stand_in)
    assert printed(capsys, "--print-completion", "zsh") == "script for zsh\n"
    assert f"{{{','.join(_VERBS)}}}" in made["help"]


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_bash_completes_verbs_options_and_names(capsys, tmp_path):
    pytest.importorskip("shtab")
    (tmp_path / "ntm").write_text(printed(capsys, "--print-completion", "bash"))
    ask = 'COMP_WORDS=("$@"); COMP_CWORD=$(($#-1)); _shtab_ntm; echo "${COMPREPLY[*]}"'

    def completed(*typed):
        done = subprocess.run(["bash", "-c", f"source ./ntm; {ask}", "bash", *typed], capture_output=True, text=True)
        return done.stdout.split()

    assert completed("ntm", "") == [*_VERBS]
    assert completed("ntm", "train", "--model.memory_sl") == ["--model.memory_slots"]
    assert completed("ntm", "train", "--model", "") == [*short_names("model")]
    assert "--trainer.max_steps" in completed("ntm", "train", "--trainer")
    assert completed("ntm", "evaluate", "--pi") == ["--pieces"]


def test_completion_says_what_it_needs(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["--print-completion", "bash"]) == 2
    assert capsys.readouterr().err == "ntm: error: --print-completion needs shtab: pip install shtab\n"
    for wrong in ([], ["csh"]):
        assert main(["--print-completion", *wrong]) == 2
        assert "must be one of bash, zsh, tcsh." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("called", "found", "shown"),
    [
        (".venv/bin/ntm", None, ".venv/bin/ntm evaluate 'a run'"),
        (".venv/bin/ntm", "/usr/bin/ntm", "ntm evaluate 'a run'"),
        ("/x/lightning_ntm/__main__.py", None, "python -m lightning_ntm evaluate 'a run'"),
        ("/x/pytest", None, "ntm evaluate 'a run'"),
    ],
)
def test_a_command_is_shown_as_the_shell_finds_it(called, found, shown, monkeypatch):
    monkeypatch.setattr(sys, "argv", [called])
    monkeypatch.setattr(words.shutil, "which", lambda _: found)
    assert words.command("evaluate", "a run") == shown


def test_the_example_learns(monkeypatch, capsys):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "examples")
    options = "--task my_task.Reverse --model my_network.ShiftRegister --task.max_length 5 --trainer.max_steps 500 "
    options += "--trainer.val_check_interval 500 --optimizer.lr 1e-3 --name a --trainer.enable_progress_bar false"
    assert main(["train", *options.split()]) == 0
    # Lists of five vectors: 40 bits, of which chance has 20 wrong.
    assert float(re.search(r"([\d.]+) wrong bits", capsys.readouterr().out)[1]) < 4


@pytest.mark.parametrize(
    ("verb", "said"),
    [("figure", "The .npz file beside the pictures"), ("bench", '"of peak" is'), ("bench", '"of floor" is')],
)
def test_help_explains_what_is_printed_or_written(verb, said, capsys):
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    assert said in " ".join(capsys.readouterr().out.split())
