"""What stacks and tapes hold over time, as numbers that a picture can show."""

from typing import NamedTuple

import numpy as np

#: A cell whose numbers are all below this share of the largest one of an episode counts as empty.
_EMPTY = 0.01
#: What the actions of a stack and of a tape are called, in the order of a trace.
STACK_ACTIONS = np.array(["push", "pop", "no-op"])
TAPE_ACTIONS = np.array(["stay", "left", "right", "jump left", "jump right"])


class Cells(NamedTuple):
    """Cells over time.

    Args:
        shades: `(time, shown)`, a number for each cell.
        slots: `(shown,)`, the slots that are shown.
        heads: `(time,)`, the row of the cell at the head, NaN where it is not shown; `None` for a stack.
    """

    shades: np.ndarray
    slots: np.ndarray
    heads: np.ndarray | None = None


def stack_cells(stack: np.ndarray, margin: int = 2) -> Cells:
    """Return the slots of a stack down to the deepest one that is used.

    Shape:
        - stack: `(time, slots, width)`, the top first
    """
    used = np.flatnonzero(_used(stack))
    depth = min(stack.shape[1], (int(used[-1]) if used.size else 0) + 1 + margin)
    return Cells(_shades(stack)[:, :depth], np.arange(depth))


def tape_cells(tape: np.ndarray, actions: np.ndarray, moves: np.ndarray) -> Cells:
    """Return the cells of a tape at fixed places, and where the head is. It begins at cell 0.

    The head is where the actions moved it on average, rounded to a cell.

    Shape:
        - tape: `(time, slots, width)`, that of the head first
        - actions: `(time, actions)`, their weights
        - moves: `(time, actions)`, by how many cells each moves the head to the right
    """
    heads = np.rint(np.cumsum((actions * moves).sum(axis=1))).astype(int) % tape.shape[1]
    placed = np.array([np.roll(cells, head, axis=0) for cells, head in zip(tape, heads, strict=True)])
    slots = around(_used(placed) | np.isin(np.arange(tape.shape[1]), heads))
    row = {int(slot): row for row, slot in enumerate(slots)}
    return Cells(_shades(placed)[:, slots], slots, np.array([row.get(int(head), np.nan) for head in heads], float))


def around(used: np.ndarray, margin: int = 2) -> np.ndarray:
    """Return the slots that are used, `(slots,)`, as one run around the circle of slots."""
    slots, places = len(used), np.flatnonzero(used)
    gaps = np.diff(np.append(places, places[:1] + slots))
    if not places.size or gaps.max() <= 2 * margin:
        return np.arange(slots)
    widest = int(gaps.argmax())
    first = places[(widest + 1) % len(places)] - margin
    return (first + np.arange(slots - gaps[widest] + 1 + 2 * margin)) % slots


def _used(cells: np.ndarray) -> np.ndarray:
    largest = np.abs(cells).max(axis=(0, 2))
    return largest > _EMPTY * max(1e-12, float(largest.max()))


def _shades(cells: np.ndarray) -> np.ndarray:
    """Return one number for each cell: its projection on the direction in which all cells have most, 0 for zeros."""
    rows = cells.reshape(-1, cells.shape[-1]).astype(float)
    _, directions = np.linalg.eigh(rows.T @ rows)
    direction = directions[:, -1]
    return cells @ (direction * np.sign(direction[np.abs(direction).argmax()]))
