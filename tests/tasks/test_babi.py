"""The bAbI tasks: files in the published form become sequences, and what is wrong with them is one line."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pages
import pytest
import torch

from lightning_ntm import LSTM, FileTask
from lightning_ntm.cli import main as cli
from lightning_ntm.evaluation import word_errors
from lightning_ntm.tasks import babi

#: Two stories, as in the published files: numbered sentences, and questions with an answer and the numbers of facts.
WHERE = """1 Mary moved to the bathroom.
2 John went to the hallway.
3 Where is Mary? \tbathroom\t1
4 Daniel went back to the hallway.
5 Where is Daniel? \thallway\t4
1 Mary got the milk there.
2 Where is Mary? \tbathroom\t1
"""
LISTS = """1 Daniel took the apple.
2 Daniel took the milk.
3 What is Daniel carrying? \tapple,milk\t1 2
"""


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "en"
    folder.mkdir()
    for task, text in ((1, WHERE), (8, LISTS)):
        (folder / f"qa{task}_some-name_train.txt").write_text(text * 10)
        (folder / f"qa{task}_some-name_test.txt").write_text(text)
    return folder


def test_a_story_is_its_words_and_a_step_for_each_word_of_an_answer(data):
    first, second = babi.stories(data / "qa1_some-name_test.txt")
    assert first[0] == (["mary", "moved", "to", "the", "bathroom", "."], [])
    assert first[2] == (["where", "is", "mary", "?"], ["bathroom"])
    assert (len(first), len(second)) == (5, 2)
    ((*_, (asked, answer)),) = babi.stories(data / "qa8_some-name_test.txt")
    assert (asked[-1], answer) == ("?", ["apple", "milk"])


def test_a_tenth_of_the_training_stories_validates_unless_there_is_a_file(data):
    splits = babi.read(data)
    assert {task: [len(part) for part in split] for task, split in splits.items()} == {1: [18, 2, 2], 8: [9, 1, 1]}
    (data / "qa8_some-name_valid.txt").write_text(LISTS * 3)
    assert [len(part) for part in babi.read(data, [8])[8]] == [10, 3, 1]


def test_the_files_are_a_task_with_the_words_as_symbols(data, tmp_path, capsys):
    out = tmp_path / "out folder"
    assert babi.main([str(data), str(out)]) == 0
    words = (out / "words.txt").read_text().split()
    assert words[0] == "-"
    assert words[1:] == sorted(words[1:])
    options = shlex.split(capsys.readouterr().out)
    sizes = {name: len(words) for name in ("input_symbols", "answer_size")}
    assert [f"--task.{name}" in options for name in sizes] == [True, True]
    assert options.count(str(len(words))) == 2
    task = FileTask(str(out / "train.npz"), str(out / "validation.npz"), answer="symbols", **sizes)
    assert (task.stored("train"), task.stored("validation")) == (27, 3)
    batch = task.on(str(out / "test-qa8.npz")).batch(1, "evaluation", 0, 1)
    shown = [words[symbol] for symbol in batch.inputs[0].argmax(-1)]
    assert " ".join(shown) == "daniel took the apple . daniel took the milk . what is daniel carrying ? - -"
    assert [words[symbol] for symbol in batch.targets[batch.mask]] == ["apple", "milk"]


class Always(LSTM):
    """Answers with one word."""

    def __init__(self, size, word):
        super().__init__(size, size, hidden_size=2, num_layers=1)
        self.logits = torch.zeros(size).scatter(0, torch.tensor(word), 1.0)

    def forward(self, inputs):
        return self.logits.expand(*inputs.shape[:2], -1), None


def test_word_errors_are_shares_of_words_by_task_and_their_mean(data, tmp_path):
    words = babi.convert(data, tmp_path / "out")
    sizes = {"answer": "symbols", "answer_size": len(words), "input_symbols": len(words)}
    task = FileTask(str(tmp_path / "out" / "train.npz"), str(tmp_path / "out" / "validation.npz"), **sizes)
    found = word_errors(Always(len(words), words.index("bathroom")), task, tmp_path / "out")
    assert found == {"qa1": 1 / 3, "qa8": 1.0, "mean": pytest.approx(2 / 3)}
    network = LSTM(len(words), len(words), hidden_size=4, num_layers=1)
    assert word_errors(network, task, tmp_path / "out").keys() == {"qa1", "qa8", "mean"}
    with pytest.raises(ValueError, match="no files such as test-qa1"):
        word_errors(Always(3, 0), task, tmp_path)


def test_the_word_of_the_steps_of_an_answer_and_a_mark_at_the_start_change_nothing(data, tmp_path):
    path = data / "qa1_some-name_train.txt"
    path.write_text("\ufeff" + path.read_text().replace("Mary moved to", "Mary moved - to"))
    words = babi.convert(data, tmp_path / "out")
    assert words.count("-") == 1
    found = np.load(tmp_path / "out" / "train.npz")
    assert (found["mask"] == (found["targets"] > 0)).all()
    assert found["mask"].mean() < 0.2


def test_files_of_the_same_stories_are_refused_and_others_left(data, tmp_path):
    (data / "qa1_some-name_pretrain.txt").write_text("no stories")
    babi.convert(data, tmp_path / "out")
    (data / "qa01_train.txt").write_text(WHERE)
    with pytest.raises(ValueError, match=r"qa01_train.txt and .*qa1_some-name_train.txt are of the same stories"):
        babi.convert(data, tmp_path / "other")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_a_pipe_is_not_waited_for(data, tmp_path):
    os.mkfifo(data / "qa2_some-name_train.txt")
    (data / "qa2_some-name_test.txt").write_text(WHERE)
    with pytest.raises(ValueError, match="is no regular file"):
        babi.convert(data, tmp_path / "out")


def test_long_training_stories_are_left_out_but_no_others(data, tmp_path):
    babi.convert(data, tmp_path / "out", longest=12)
    lengths = {name: np.load(tmp_path / "out" / f"{name}.npz")["lengths"] for name in ("train", "validation")}
    assert lengths["train"].max() <= 12 < lengths["validation"].max()
    with pytest.raises(ValueError, match=r"longest \(=3\) leaves no training story"):
        babi.convert(data, tmp_path / "other", longest=3)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Mary moved.\n", "line 1: expected a number and a sentence, got 'Mary moved.'"),
        ("1 Mary moved.\n2\n", "line 2: expected a number"),
        ("1 Where is Mary?\t\t1\n", "line 1: the question has no answer"),
        ("1 Where is Mary?\t-\t1\n", "line 1: no answer may have the word '-'"),
        ("1 Mary moved.\n", "task 1 has no test stories with a question"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(text, says, data, tmp_path):
    (data / "qa1_some-name_test.txt").write_text(text)
    with pytest.raises(ValueError, match="test") as caught:
        babi.convert(data, tmp_path / "out")
    assert says in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_wrong_folders_end_the_command_with_one_line(data, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (data / "qa8_some-name_test.txt").unlink()
    for words, says in (
        ([tmp_path / "empty", tmp_path / "out"], "has no files such as qa1_single-supporting-fact_train.txt"),
        ([data, tmp_path / "out"], "has no file qa8_..._test.txt"),
        ([data, tmp_path / "out", "--tasks", "3"], "has no file qa3_..._train.txt"),
        ([data, data], "exists already; nothing is written over"),
    ):
        with pytest.raises(SystemExit) as caught:
            babi.main([str(word) for word in words])
        assert caught.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert says in line


def test_the_page_runs_as_it_stands(data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("tasks_1-20_v1-2").mkdir()
    data.rename("tasks_1-20_v1-2/en-10k")
    (convert,) = (shlex.split(block) for block in pages.blocks("babi.md", "sh"))
    assert convert[:3] == ["python", "-m", "lightning_ntm.tasks.babi"]
    assert babi.main(convert[3:]) == 0
    said, printed = (shlex.split(text) for text in (capsys.readouterr().out, pages.blocks("babi.md", "text")[0]))
    assert [word for word in printed if word != "160"] == [word for word in said if not word.isdecimal()]
    brief = ["--trainer.max_steps=2", "--trainer.val_check_interval=1", "--model.memory_slots=8"]
    assert cli([*said[1:], *brief]) == 0
    capsys.readouterr()
    exec(compile(pages.blocks("babi.md", "python")[0], "babi.md", "exec"), {})
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["qa1", "qa8", "mean"]


def test_it_is_a_command_of_its_own():
    said = subprocess.run(
        [sys.executable, "-m", "lightning_ntm.tasks.babi", "--help"], capture_output=True, text=True, check=True
    )
    assert "your copy of the data" in said.stdout
