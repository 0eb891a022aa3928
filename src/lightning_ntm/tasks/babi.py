"""The bAbI tasks (Weston et al. 2015, arXiv 1502.05698), from a copy of the data that the user has.

    python -m lightning_ntm.tasks.babi tasks_1-20_v1-2/en-10k babi

writes the stories of all tasks as files for `FileTask`, and prints the command that trains on them jointly. A story is
a sequence of words, one in each step, with punctuation as words. After a question there is a step for each word of its
answer, in which the network sees symbol 0 and the answer counts. A network is told neither the task nor which
sentences matter.
"""

import argparse
import re
import shlex
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lightning_ntm.checks import message_of

#: The file with the word of each symbol.
WORDS = "words.txt"
#: What the network sees while it answers; symbol 0.
ANSWERING = "-"
#: Without a file of validation stories, each story of this number in a training file is one.
_HELD_OUT = 10
_FILE = re.compile(r"qa(\d+)_(?:.*_)?(train|valid|test)\.txt")

Story = list[tuple[list[str], list[str]]]


class Split(NamedTuple):
    """Stories of a task, by what they are for."""

    train: list[Story]
    validation: list[Story]
    test: list[Story]


def stories(path: Path) -> list[Story]:
    """Return the stories of a file: sentences, each with the words of its answer, which a statement does not have.

    Raises:
        ValueError: The file cannot be read, or a line is not as it should be; the message names the line.
    """
    if not path.is_file():  # a device has no end
        raise ValueError(f"{path} is no regular file.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read ({message_of(error)}).") from None
    found: list[Story] = []
    for number, line in enumerate(text.splitlines(), start=1):
        parts = line.split("\t")
        place, _, sentence = parts[0].partition(" ")
        if not place.isdecimal() or not (words := _words(sentence)):
            raise ValueError(f"{path}, line {number}: expected a number and a sentence, got {line[:60]!r}.")
        answer = _words(parts[1].replace(",", " ")) if len(parts) > 1 else []
        if len(parts) > 1 and not answer:
            raise ValueError(f"{path}, line {number}: the question has no answer.")
        if ANSWERING in answer:
            raise ValueError(f"{path}, line {number}: no answer may have the word {ANSWERING!r}.")
        if int(place) == 1 or not found:
            found.append([])
        found[-1].append((words, answer))
    return [story for story in found if any(answer for _, answer in story)]


def read(folder: Path, tasks: Iterable[int] | None = None) -> dict[int, Split]:
    """Return the stories of each task in a folder such as `en-10k`.

    Where a task has no file of validation stories, every tenth story of its training file is one.

    Args:
        folder: Has files such as `qa1_single-supporting-fact_train.txt`.
        tasks: Numbers of tasks; by default all that the folder has.

    Raises:
        ValueError: A file is missing, or is not as it should be.
    """
    paths: dict[int, dict[str, Path]] = {}
    for path in sorted(folder.glob("qa*.txt")):
        if match := _FILE.fullmatch(path.name):
            of_task = paths.setdefault(int(match[1]), {})
            if match[2] in of_task:
                raise ValueError(f"{of_task[match[2]]} and {path} are of the same stories; leave one of them.")
            of_task[match[2]] = path
    if not paths:
        raise ValueError(f"{folder} has no files such as qa1_single-supporting-fact_train.txt.")
    return {task: _split(folder, task, paths.get(task, {})) for task in sorted(set(tasks or paths))}


def convert(folder: Path, out: Path, tasks: Iterable[int] | None = None, longest: int | None = None) -> list[str]:
    """Write the stories of a folder as files for `FileTask`, and return the words by their symbols.

    `train.npz` and `validation.npz` have the stories of all tasks, `test-qa1.npz` and so on those of one, and
    `words.txt` has a word in each line, that of symbol 0 first.

    Args:
        folder: As for `read`.
        out: Folder of the files, which is made.
        tasks: As for `read`.
        longest: Training stories with more steps are left out; by default none.

    Raises:
        ValueError: The data are not as they should be, no training story is short enough, or `out` has files already.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} exists already; nothing is written over.")
    splits = read(folder, tasks)
    every = [story for split in splits.values() for part in split for story in part]
    seen = {word for story in every for pair in story for part in pair for word in part}
    words = [ANSWERING, *sorted(seen - {ANSWERING})]
    symbols = {word: symbol for symbol, word in enumerate(words)}
    train = [_arrays(story, symbols) for split in splits.values() for story in split.train]
    train = [one for one in train if longest is None or len(one[0]) <= longest]
    if not train:
        raise ValueError(f"longest (={longest}) leaves no training story.")
    validation = [_arrays(story, symbols) for split in splits.values() for story in split.validation]
    out.mkdir(parents=True, exist_ok=True)
    _write(out / "train.npz", train)
    _write(out / "validation.npz", validation)
    for task, split in splits.items():
        _write(out / file_of(task), [_arrays(story, symbols) for story in split.test])
    (out / WORDS).write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
    return words


def file_of(task: int) -> str:
    """Return the name of the file of a task's test stories."""
    return f"test-qa{task}.npz"


def _words(sentence: str) -> list[str]:
    return re.findall(r"[^\s.?!]+|[.?!]", sentence.lower())


def _split(folder: Path, task: int, paths: dict[str, Path]) -> Split:
    for name in ("train", "test"):
        if name not in paths:
            raise ValueError(f"{folder} has no file qa{task}_..._{name}.txt.")
    train, test = stories(paths["train"]), stories(paths["test"])
    if "valid" in paths:
        validation = stories(paths["valid"])
    else:
        validation = train[_HELD_OUT - 1 :: _HELD_OUT]
        train = [story for number, story in enumerate(train) if number % _HELD_OUT != _HELD_OUT - 1]
    for name, part in (("training", train), ("validation", validation), ("test", test)):
        if not part:
            raise ValueError(f"{folder}: task {task} has no {name} stories with a question (one in {_HELD_OUT} of the "
                             "training file is for validation).")  # fmt: skip
    return Split(train, validation, test)


def _arrays(story: Story, symbols: dict[str, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return inputs, targets and mask of a story, a symbol in each step."""
    steps = [step for words, answer in story for step in _steps(words, answer)]
    shown, asked = zip(*steps, strict=True)
    inputs, targets = (np.array([symbols[word] for word in part]) for part in (shown, asked))
    return inputs, targets, targets > 0


def _steps(words: list[str], answer: list[str]) -> Iterator[tuple[str, str]]:
    """Yield what is seen and what is to be answered in each step of a sentence."""
    yield from ((word, ANSWERING) for word in words)
    yield from ((ANSWERING, word) for word in answer)


def _write(path: Path, sequences: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> None:
    inputs, targets, mask = (np.concatenate(parts) for parts in zip(*sequences, strict=True))
    np.savez_compressed(path, inputs=inputs, targets=targets, mask=mask, lengths=[len(one[0]) for one in sequences])


def main(argv: list[str]) -> int:
    """Convert a folder, and print the command that trains on it."""
    parser = argparse.ArgumentParser(prog="python -m lightning_ntm.tasks.babi", description="Convert the bAbI tasks.")
    parser.add_argument("folder", type=Path, help="your copy of the data, such as tasks_1-20_v1-2/en-10k")
    parser.add_argument("out", type=Path, help="folder of the converted files, which is made")
    parser.add_argument("--tasks", type=int, nargs="+", metavar="N", help="numbers of tasks (all that the folder has)")
    parser.add_argument("--longest", type=int, help="leave out training stories of more steps")
    given = parser.parse_args(argv)
    try:
        words = convert(given.folder, given.out, given.tasks, given.longest)
    except (ValueError, OSError) as error:
        parser.exit(2, f"{parser.prog}: error: {message_of(error)}\n")
    options: dict[str, object] = {name: given.out / f"{name}.npz" for name in ("train", "validation")}
    options |= dict.fromkeys(("input_symbols", "answer_size"), len(words))
    options["names"] = given.out / WORDS
    said = " ".join(f"--task.{name} {shlex.quote(str(value))}" for name, value in options.items())
    print(f"ntm train --model DNC --task files {said}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
