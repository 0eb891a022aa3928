"""A word that a verb does not know: the line names the option or the verb that was meant, and nothing is written."""

import shlex
import subprocess
import sys

import pytest

from lightning_ntm.cli import main
from lightning_ntm.cli.completion import of_verb
from lightning_ntm.cli.hints import OPTIONS
from lightning_ntm.cli.verbs import _VERBS, _run

OWNERS = {
    "--lengths": ("evaluate", "figure"),
    "--html": ("explore",),
    "--device": ("evaluate", "figure", "bench"),
    "--seeds": ("train", "sweep"),
}

MEANT = {
    "train Copy": "'Copy' is one word too many; did you mean '--task Copy'?",
    "train --task Copy dnc": "did you mean '--model DNC'?",
    "train paper-copy": "did you mean '--config paper-copy'?",
    "train my.yaml": "did you mean '--config my.yaml'?",
    "train nothing": "'nothing' is one word too many\n",
    "train --task Copy --device cuda": "did you mean '--trainer.accelerator gpu'?",
    "train --task Copy --memory_slot 64": "did you mean '--model.memory_slots'?",
    "train --task Copy --memory_slots=64": "did you mean '--model.memory_slots'?",
    "train --model LSTM --memory_slots 64": "did you mean '--min_memory_slots'?",
    "train --task RepeatCopy --max_repeats 3": "did you mean '--task.max_repeats'?",
    "train --optimizer Adam --amsgrad true": "did you mean '--optimizer.amsgrad'?",
    "train --batch_size 8": "did you mean '--data.batch_size'?",
    "train --html x.html": "unknown option --html; it is an option of ntm explore\n",
    "train --trainer.max_step 3": "unknown option --trainer.max_step; did you mean '--trainer.max_steps'?\n",
    "train --model LSTM --model.memory_slots 3": "unknown option --model.memory_slots\n",
    "train --lengths 10": "it is an option of ntm evaluate, ntm figure",
    "sweep Copy": "did you mean '--tasks Copy'?",
    "sweep --tasks Copy --device cuda": "did you mean '--trainer.accelerator gpu'?",
    "evaluate copy --model.memory_slots 3": "did you mean '--memory_slots'?",
    "evaluate copy --trainer.accelerator gpu": "--trainer.* are options of ntm train",
    "zoo --model.memory_slots 3": "--model.* are options of ntm train",
    "zoo --nothing.at_all 3": "unknown option --nothing.at_all\n",
    "figure copy --html x.html": "it is an option of ntm explore",
    "explore copy --output x.html": "did you mean '--html'?",
}
#: A file whose name says something else than what would be written.
CONTRADICTED = {
    "explore copy --html x.png": "--html: 'x.png' must end in .html or .htm.",
    "figure copy --output x.png": "--output: 'x.png' is the name of a file; give a folder",
    "figure copy --animate x.png": "must end in .gif or .mp4",
    "export copy --format onnx --output x.pt2": "--format onnx: --output 'x.pt2' must end in .onnx.",
    "export copy --format torch --output x.onnx": "--format torch: --output 'x.onnx' must end in .pt2.",
    "export copy --format safetensors --output x.safetensors": "'x.safetensors' is the name of a file; give a folder",
    "report . --output x.pdf": "--output: 'x.pdf' is the name of a file; give a folder",
}


@pytest.mark.parametrize(("line", "says"), [*MEANT.items(), *CONTRADICTED.items()])
def test_one_line_says_what_was_meant(line, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(line)) == 2
    told = capsys.readouterr().err
    assert says in told
    assert told.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_run_folder_alone_is_to_be_resumed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.yaml").write_text("seed: 1")
    assert main(["train", "mine"]) == 2
    assert "did you mean '--resume mine'?" in capsys.readouterr().err


@pytest.mark.parametrize("option", OWNERS)
def test_an_option_is_named_with_all_verbs_that_have_it(option, capsys):
    assert main(["zoo", option]) == 2
    having = ", ".join(f"ntm {verb}" for verb in OWNERS[option])
    assert capsys.readouterr().err == f"ntm: error: unknown option {option}; it is an option of {having}\n"


@pytest.mark.parametrize("verb", _VERBS)
def test_the_options_of_each_verb_are_known(verb):
    options = of_verb(verb, _run).options()
    assert sorted(OPTIONS[verb].split()) == sorted(
        option[2:] for option in options if option.startswith("--") and "." not in option and option != "--help"
    )


@pytest.mark.parametrize("verb", ["train --model LSTM", "sweep --models LSTM"])
def test_an_argument_of_another_network_is_not_said_to_be_an_option(verb, capsys):
    assert main([*verb.split(), "--model.nothing_like_it=3"]) == 2
    assert capsys.readouterr().err == "ntm: error: unknown option --model.nothing_like_it\n"
    assert main([*verb.split(), "--model.stay_bias=3"]) == 2
    assert capsys.readouterr().err == "ntm: error: unknown option --model.stay_bias\n"


def test_looking_for_the_verb_that_has_an_option_prints_nothing_else():
    words = [sys.executable, "-m", "lightning_ntm", "evaluate", "copy", "--nothing-like-it"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "ntm: error: unknown option --nothing-like-it\n")


#: Runs and plans between options, and what is said of the last of them.
MIXED = {
    "evaluate --sequences 2 none --lengths 3 none2": "(and 1 more cannot be evaluated)",
    "explore copy --no-browser none": "run folder none does not exist",
    "figure --sequence 2 none --lengths 3": "run folder none does not exist",
    "export --format onnx none --output x.onnx": "run folder none does not exist",
    "report none --task Copy none2": "folder none does not exist",
    "report --watch .": ". is not a run folder and has none in it.",
    "sweep --seeds 1-2 none --processes 1": "there is no plan or folder 'none'",
    "sweep --seeds 1-2 none --trainer.max_steps 2": "there is no plan or folder 'none'",
    "sweep --trainer.max_steps 2 none": "there is no plan or folder 'none'",
    "sweep --trainer.max_steps=2 none --seeds 1": "there is no plan or folder 'none'",
    "sweep --trainer.max_steps 2 chomsky-smoke more": "'more' is one word too many",
    "sweep none more": "'more' is one word too many.",
}


@pytest.mark.parametrize(("line", "says"), MIXED.items())
def test_options_may_stand_before_between_and_after_runs(line, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(line)) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert says in told
