"""The quantities in a trace that are known by name: their titles, what their numbers are, and their place."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

#: `weighting` and `slots`: a number for each memory slot, weightings so that diffuse ones can be seen;
#: `contents`: numbers of a slot, in the colours of the memory; `vector` and `share`: other numbers, signed and from 0
#: to 1; `number`: one, drawn as a line; `modes` and `shift`: shares with names; `matrices`: rows and columns.
Kind = Literal["weighting", "slots", "contents", "vector", "share", "number", "modes", "shift", "matrices"]
#: `heads`: of all heads of an NTM, those that read first.
Side = Literal["left", "right", "heads", "whole"]


class Quantity(NamedTuple):
    """How a quantity is drawn; what writes is on the left, what reads on the right."""

    title: str
    kind: Kind
    side: Side


#: In the order in which they are drawn, which is that in which a step computes them.
QUANTITIES = {
    "add": Quantity("Adds", "contents", "left"),
    "erase": Quantity("Erases", "share", "left"),
    "reads": Quantity("Reads", "contents", "right"),
    "key": Quantity("Key", "vector", "heads"),
    "write_key": Quantity("Write key", "vector", "left"),
    "read_key": Quantity("Read key", "vector", "right"),
    "write_mask": Quantity("Write mask", "share", "left"),
    "read_mask": Quantity("Read mask", "share", "right"),
    "strength": Quantity("Key strength", "number", "heads"),
    "write_strength": Quantity("Write strength", "number", "left"),
    "read_strength": Quantity("Read strength", "number", "right"),
    "content_weights": Quantity("Content weighting", "weighting", "heads"),
    "write_content_weights": Quantity("Content weighting", "weighting", "left"),
    "gate": Quantity("Gate (1: content)", "number", "heads"),
    "gated_weights": Quantity("Gated weighting", "weighting", "heads"),
    "shift": Quantity("Shift", "shift", "heads"),
    "shifted_weights": Quantity("Shifted weighting", "weighting", "heads"),
    "sharpening": Quantity("Sharpening", "number", "heads"),
    "free_gates": Quantity("Free gates", "number", "right"),
    "retention": Quantity("Retention", "slots", "left"),
    "usage": Quantity("Usage", "slots", "left"),
    "allocation_weights": Quantity("Allocation weighting", "weighting", "left"),
    "allocation_gate": Quantity("Allocation gate (0: content)", "number", "left"),
    "write_gate": Quantity("Write gate", "number", "left"),
    "reuse_gate": Quantity("Reuse gate (1: where was read)", "number", "left"),
    "write_weights": Quantity("Write weightings", "weighting", "left"),
    "precedence": Quantity("Precedence", "weighting", "left"),
    "backward_sharpness": Quantity("Backward sharpness", "number", "right"),
    "backward_weights": Quantity("Backward weighting", "weighting", "right"),
    "forward_sharpness": Quantity("Forward sharpness", "number", "right"),
    "forward_weights": Quantity("Forward weighting", "weighting", "right"),
    "read_modes": Quantity("Read modes", "modes", "right"),
    "read_weights": Quantity("Read weightings", "weighting", "right"),
    "hidden": Quantity("Hidden units", "vector", "left"),
    "cell": Quantity("Cells", "vector", "right"),
    "memory": Quantity("Memory", "matrices", "whole"),
    "link": Quantity("Links", "matrices", "whole"),
}
#: Of stacks and tapes, which have pictures of their own.
CELLS = ("stacks", "stack_actions", "tapes", "tape_actions")
#: Part of other quantities, or never drawn without being asked for.
ASIDE = {"weights", "pushed", "written", "moves", "accessed", "time", "read_places", "read_entries"}
_DEFAULT = (
    *("add", "reuse_gate", "write_weights", "usage", "allocation_weights", "reads", "read_weights", "read_modes"),
    *CELLS,
    *("memory", "link"),
)
#: Groups of names: `addressing` is how heads find a slot.
_ADDRESSING = [name for name, quantity in QUANTITIES.items() if quantity.kind not in ("contents", "matrices")]
GROUPS = {"addressing": [name for name in _ADDRESSING if name not in ("erase", "hidden", "cell", "precedence")]}
_DRAWN = {"addressing": "how heads find a slot", "all": "everything"}
_OF_EPISODE = {"inputs", "targets", "mask", "outputs", "errors", "measured", "optimal", "placed_by"}


def answered(trace: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the steps of the answer, up to its end symbol where the targets are known, as `(time, 1)`."""
    return trace.get("measured", trace["mask"])[:, None]


def observed(trace: Mapping[str, np.ndarray]) -> list[str]:
    """Return the names of what a network's `observe` returned, those that are known first."""
    found = [name for name in trace if name not in _OF_EPISODE and ": " not in name and trace[name].ndim]
    return [name for name in (*QUANTITIES, *CELLS) if name in found] + [
        name for name in found if name not in QUANTITIES and name not in CELLS
    ]


def chosen(trace: Mapping[str, np.ndarray], show: Sequence[str]) -> list[str]:
    """Return the names of what to draw.

    Args:
        trace: The trace.
        show: Names in it, `addressing`, or `all`. Nothing chooses for the network: adds, reads, weightings, the memory
            and what is only known to the network itself; hidden units of one without these.

    Raises:
        ValueError: A name is not in the trace.
    """
    known = observed(trace)
    if not show:
        own = [name for name in known if name not in QUANTITIES and name not in CELLS and name not in ASIDE]
        return [*(name for name in _DEFAULT if name in known), *own] or [name for name in known if name == "hidden"]
    names: dict[str, None] = {}
    for word in show:
        found = known if word == "all" else [name for name in GROUPS.get(word, [word]) if name in known]
        if not found:
            raise ValueError(_unknown(word, known))
        names |= dict.fromkeys(found)
    return list(names)


def _unknown(word: str, known: list[str]) -> str:
    if not known:
        return f"{word!r} cannot be chosen: this network has nothing to show."
    groups = [*(group for group in GROUPS if {*GROUPS[group]} & {*known}), "all"]
    near = difflib.get_close_matches(word, [*known, *groups], n=1)
    hint = f"; did you mean {near[0]!r}? This" if near else ": this"
    several = ", ".join(f"{group} draws {_DRAWN[group]}" for group in groups)
    return f"{word!r} cannot be chosen{hint} network has {', '.join(known)}; {several}."
