"""A word that a verb does not know: the line names the option or the verb that was meant, and nothing is written."""

import shlex

import pytest

from lightning_ntm.cli import main
from lightning_ntm.cli.completion import _of, _of_train
from lightning_ntm.cli.hints import OWNERS
from lightning_ntm.cli.verbs import _VERBS, _run

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
    "train --lengths 10": "it is an option of ntm evaluate, ntm figure",
    "sweep Copy": "did you mean '--tasks Copy'?",
    "sweep --tasks Copy --device cuda": "did you mean '--trainer.accelerator gpu'?",
    "evaluate copy --model.memory_slots 3": "did you mean '--memory_slots'?",
    "evaluate copy --trainer.accelerator gpu": "it is an option of ntm train",
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


def test_verbs_have_the_options_that_are_said_to_be_theirs():
    known = {}
    for verb in _VERBS:
        parser = _of_train() if verb == "train" else _of(verb, _run)
        known[verb] = {name for action in parser.added for name in action.option_strings}
    for option, verbs in OWNERS.items():
        assert {verb for verb in _VERBS if option in known[verb]} == {*verbs}, option
