"""The arguments of the native program for stacks and tapes, as in arrays.hpp."""

import ctypes

from lightning_ntm.kernels.cpu.layout import padded

#: Version of the structs; `layout` in arrays.hpp.
LAYOUT = 2

#: Push, pop and no-op; stay, left and right. Then with the two jumps of a tape.
ACTIONS, ACTIONS_WITH_JUMPS = 3, 5
#: Layers of the writer of a tape, and those that have hidden units.
WRITERS, HIDDEN = 3, 2

_SIZES = ("batch", "time", "hidden", "memories", "slots", "width", "tape", "actions", "writer", "keep")
#: Pointers in `Arrays`: each of `Weight` is its weight, the transpose and the bias.
POINTERS = 3 + 3 * (1 + WRITERS) + 4 + HIDDEN + 3 + HIDDEN + 2


class Sizes(ctypes.Structure):
    """As `Sizes` in arrays.hpp."""

    _fields_ = [(name, ctypes.c_int64) for name in _SIZES]

    @property
    def reads(self) -> int:
        """Numbers at the tops or the heads of all memories."""
        return int(self.memories * self.width)

    @property
    def of_heads(self) -> int:
        """Numbers that the layer `heads` computes."""
        return int(self.actions * self.memories) + (0 if self.writer else self.reads)

    @property
    def vectors(self) -> int:
        """Where the vectors to write begin in an interface."""
        return padded(self.of_heads) if self.writer else int(self.actions * self.memories)

    @property
    def interface(self) -> int:
        """Numbers of an interface, with padding."""
        return padded(self.of_heads) + (padded(self.reads) if self.writer else 0)


def structs() -> tuple[int, ...]:
    """Return the version of the layout and the sizes of the structs, as the library tells its own."""
    return LAYOUT, ctypes.sizeof(Sizes), POINTERS * ctypes.sizeof(ctypes.c_void_p)
