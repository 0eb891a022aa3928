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

#: The options of each verb, but for those of `ntm train` with a dot: to make the parsers takes seconds.
OPTIONS = {
    "train": "config resume seed seeds help-all print_config model task optimizer scheduler name runs threads "
    "stop_when_solved keep_weights_every decay_after loss on_nonfinite min_memory_slots weight_noise head_noise "
    "noise_warmup",
    "sweep": "models tasks configs seeds grid name runs processes side-by-side retries shard engine ray-address "
    "ray-cpus ray-gpus quiet status",
    "evaluate": "lengths vary on memory_slots device sequences pieces range include_training missing json",
    "figure": "lengths vary on memory_slots device output sequence show input animate over",
    "explore": "html no-browser",
    "zoo": "json",
    "export": "format output push_to_hub",
    "import": "from task name runs write_follows",
    "report": "output task watch",
    "bench": "repeats json device",
}
_OF_TRAIN = ("model", "task", "optimizer", "scheduler", "data", "trainer")


def owners(option: str | None, verb: str) -> str:
    """Return which verbs have an option that a verb does not have, in words, or nothing."""
    name = (option or "").removeprefix("--")
    group, dot, _ = name.partition(".")
    others = {other: names.split() for other, names in OPTIONS.items() if other != "train" or verb != "sweep"}
    if dot and group in _OF_TRAIN and verb not in ("train", "sweep"):
        return f"; --{group}.* are options of ntm train"
    having = [f"ntm {other}" for other, names in others.items() if name in names and other != verb]
    return f"; it is an option of {', '.join(having)}" if having else ""


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
