"""What was meant by a word that a verb does not know: the option that takes it, or the verb that has the option."""

import difflib
from collections.abc import Collection, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from lightning_ntm.recipes import presets
from lightning_ntm.records import RunFolder

#: What an option of another name is called in `ntm train`.
_MEANT = {
    "--device": "--trainer.accelerator gpu",
    "--gpus": "--trainer.devices",
    "--epochs": "--trainer.max_epochs",
    "--steps": "--trainer.max_steps",
    "--learning_rate": "--optimizer.lr",
}
#: Verbs that have an option which others do not.
OWNERS = {
    **dict.fromkeys(("--lengths", "--vary", "--on", "--memory_slots"), ("evaluate", "figure")),
    **dict.fromkeys(("--range", "--missing", "--sequences", "--include_training"), ("evaluate",)),
    **dict.fromkeys(("--show", "--animate", "--over", "--input", "--sequence"), ("figure",)),
    **dict.fromkeys(("--html", "--no-browser"), ("explore",)),
    **dict.fromkeys(("--format", "--push_to_hub"), ("export",)),
    **dict.fromkeys(("--models", "--tasks", "--configs", "--grid", "--shard", "--processes", "--status"), ("sweep",)),
    **dict.fromkeys(("--model", "--optimizer", "--scheduler", "--resume", "--config", "--seed"), ("train",)),
    "--device": ("evaluate", "figure", "bench"),
    "--repeats": ("bench",),
    "--seeds": ("train", "sweep"),
    "--task": ("train", "import", "report"),
    "--from": ("import",),
    "--watch": ("report",),
}
#: Options of other verbs by what one would call them after those of some verbs.
_ALIKE = {"--output": "--html", "--out": "--output", "--slots": "--memory_slots"}
#: Options of `ntm train` alone, by their first name.
_GROUPS = ("--trainer.", "--model.", "--task.", "--data.", "--optimizer.", "--scheduler.")


def of_option(option: str, known: Collection[str]) -> str:
    """Return which of the options of a verb was meant, or which verbs have the option, or nothing."""
    if (short := f"--{option.rpartition('.')[2]}") in known or (short := _ALIKE.get(option, "")) in known:
        return f"; did you mean {short!r}?"
    return _of_verbs(["train"]) if option.startswith(_GROUPS) else of_others(option)


def of_others(option: str) -> str:
    """Return which verbs have an option that others do not, or nothing."""
    return _of_verbs(OWNERS.get(option, ()))


def _of_verbs(verbs: Sequence[str]) -> str:
    return f"; it is an option of {', '.join(f'ntm {verb}' for verb in verbs)}" if verbs else ""


def of_train(option: str, known: Collection[str], words: Sequence[str]) -> str:
    """Return which option of `ntm train` was meant by one without its group, or nothing.

    Args:
        option: As the user wrote it.
        known: Names of options, those in groups with a dot.
        words: The command line, which may name network, task and optimizer.
    """
    from lightning_ntm.cli.classes import arguments, class_path
    from lightning_ntm.cli.words import UsageError

    if option in _MEANT:
        return f"; did you mean {_MEANT[option]!r}?"
    whole = {one.rpartition(".")[2]: one for one in known}
    said = dict(pairwise(words))
    for group, default in (("model", "NTM"), ("task", "Copy"), ("optimizer", "RMSprop")):
        with suppress(UsageError):
            names = arguments(class_path(group, said.get(f"--{group}", default)))
            whole = {**{name: f"{group}.{name}" for name in names}, **whole}
    found = difflib.get_close_matches(option.removeprefix("--"), whole, n=1, cutoff=0.8)
    return f"; did you mean '--{whole[found[0]]}'?" if found else ""


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
