"""The tables of a sparse memory, of which a step reads and replaces a few rows."""

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

from jaxtyping import Int64, Shaped
from torch import Tensor

from lightning_ntm import functional as fn


@runtime_checkable
class Rows(Protocol):
    """A table with a row for each slot."""

    @property
    def tensor(self) -> Tensor:
        """All rows, `(*batch, slots, width)`."""
        ...

    @property
    def detached(self) -> Tensor:
        """All rows without their gradient, as they are until the next replacement."""
        ...

    def take(self, places: Int64[Tensor, "*batch entries"]) -> Shaped[Tensor, "*batch entries width"]:
        """Return the rows at `places`."""
        ...

    def replace(self, erased: Tensor, places: Tensor, rows: Tensor) -> "Rows":
        """Return the table with the rows at `erased` set to 0, then `rows` added at `places`."""
        ...

    def overwrite(self, places: Tensor, rows: Tensor) -> "Rows":
        """Return the table with other rows at `places`, without gradients; rows of equal places are equal."""
        ...


class PureRows(NamedTuple):
    """A table that is never changed: each replacement makes another."""

    tensor: Tensor

    @property
    def detached(self) -> Tensor:
        """All rows without their gradient."""
        return self.tensor.detach()

    def take(self, places: Int64[Tensor, "*batch entries"]) -> Shaped[Tensor, "*batch entries width"]:
        """Return the rows at `places`."""
        return fn.take_rows(self.tensor, places)

    def replace(self, erased: Tensor, places: Tensor, rows: Tensor) -> "PureRows":
        """Return another table."""
        return PureRows(fn.replace_rows(self.tensor, erased, places, rows))

    def overwrite(self, places: Tensor, rows: Tensor) -> "PureRows":
        """Return another table."""
        return PureRows(self.tensor.scatter(-2, places.unsqueeze(-1).expand_as(rows), rows))


#: Makes a table of a tensor.
MakeRows = Callable[[Tensor], Rows]
