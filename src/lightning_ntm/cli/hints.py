"""What was meant by a word that a verb does not know: the option that takes it, or an option of another name."""

import difflib
from collections.abc import Sequence
from pathlib import Path

from lightning_ntm.recipes import presets
from lightning_ntm.records import RunFolder

#: What an option of another name is called, in a verb that has the option.
_MEANT = {
    "--device": "--trainer.accelerator gpu",
    "--gpus": "--trainer.devices",
    "--epochs": "--trainer.max_epochs",
    "--steps": "--trainer.max_steps",
    "--learning_rate": "--optimizer.lr",
    "--output": "--html",
    "--out": "--output",
    "--slots": "--memory_slots",
}


def meant(option: str, known: Sequence[str]) -> str:
    """Return which of the known options was meant, or nothing. Of two the first is taken.

    An option of another group is meant only if it has the same name.
    """
    other = _MEANT.get(option, "")
    if other.partition(" ")[0] in known:
        return f"; did you mean {other!r}?"
    group, _, name = option.removeprefix("--").rpartition(".")
    parts = [(one.removeprefix("--").rpartition("."), one) for one in reversed(known)]
    names = {last: one for (_, _, last), one in parts} | {
        last: one for (above, _, last), one in parts if above == group
    }
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.75)
    if not near or (group and near[0] != name and not names[near[0]].startswith(f"--{group}.")):
        return ""
    return f"; did you mean {names[near[0]]!r}?"


def of_word(word: str, *, several: bool = False) -> str:
    """Return which option takes a word that stands alone, or nothing.

    Args:
        word: As the user wrote it.
        several: Whether the options are those of `ntm sweep`.
    """
    from lightning_ntm.cli.classes import short_names

    ending = "s" if several else ""
    for group in ("task", "model"):
        if names := [name for name in short_names(group) if name.casefold() == word.casefold()]:
            return f"; did you mean '--{group}{ending} {names[0]}'?"
    if word in presets() or Path(word).suffix in (".yaml", ".yml"):
        return f"; did you mean '--config{ending} {word}'?"
    if not several and RunFolder(Path(word)).config.is_file():
        return f"; did you mean '--resume {word}'?"
    return ""
