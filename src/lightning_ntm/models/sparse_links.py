"""Sparse links of a memory: after which slots each slot was written, and before which (Rae et al. 2016, supplement)."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lightning_ntm import functional as fn
from lightning_ntm.models.exported import exportable
from lightning_ntm.models.sparse_rows import MakeRows, Rows


@exportable
class NoLinks(NamedTuple):
    """The links of a memory without links."""


@exportable
class SparseLinks(NamedTuple):
    """The link matrix, row by row, and the last write. Each slot is at most once in a row.

    Row i of `places` and `weights` has the slots after which slot i was written, and how far. Row j of `following` has
    the slots that were written after slot j; their weights are those of their own rows.
    """

    places: Int64[Tensor, "*batch slots links"]
    weights: Float[Tensor, "*batch slots links"]
    following: Int64[Tensor, "*batch slots links"]
    precedence_places: Int64[Tensor, "*batch links"]
    precedence_weights: Float[Tensor, "*batch links"]


class LinkTables(NamedTuple):
    """Links as tables, and the last write."""

    places: Rows
    weights: Rows
    following: Rows
    precedence: tuple[Tensor, Tensor]

    @classmethod
    def of(cls, links: SparseLinks, make: MakeRows) -> "LinkTables":
        """Return the tables of links."""
        tables = make(links.places), make(links.weights), make(links.following)
        return cls(*tables, (links.precedence_places, links.precedence_weights))

    def links(self) -> SparseLinks:
        """Return the links of the tables."""
        return SparseLinks(self.places.tensor, self.weights.tensor, self.following.tensor, *self.precedence)

    def written(self, places: Tensor, weights: Tensor) -> "LinkTables":
        """Return the links after a write."""
        totals, first = fn.merged(places, weights)
        rows = self.places.take(places), self.weights.take(places)
        link_places, link_weights = fn.update_sparse_links(*rows, places, totals, *self.precedence)
        # A slot of several entries has several equal rows, of which one counts.
        of_weights = self.weights.replace(places, places, link_weights * first.unsqueeze(-1))
        tables = self._replace(places=self.places.overwrite(places, link_places), weights=of_weights)
        tables = tables._replace(following=tables._followed(places))
        return tables._replace(precedence=fn.update_sparse_precedence(*self.precedence, places, weights))

    def _followed(self, written: Tensor) -> Rows:
        """Return the slots that follow each slot, after those that were written last have new followers."""
        sources = self.precedence[0]
        before = self.following.take(sources)  # *batch links links
        new = written.unsqueeze(-2).expand(*before.shape[:-1], written.shape[-1])
        slots = torch.cat([before, new], dim=-1)
        with torch.no_grad():
            found = self._between(slots, sources.unsqueeze(-1).expand_as(slots))
            _, first = fn.merged(slots, found)
            order = fn.by_weight(found, first)
        return self.following.overwrite(sources, slots.gather(-1, order[..., : before.shape[-1]]))

    def _between(self, slots: Tensor, sources: Tensor) -> Tensor:
        """Return how far each slot was written after its source; both `(*batch, rows, entries)`."""
        flat, shape = slots.flatten(-2), slots.shape[-2:]
        places, weights = (table.take(flat).unflatten(-2, shape) for table in (self.places, self.weights))
        return fn.link_between(places, weights, sources)

    def backward(self, places: Tensor, weights: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Return slots written right before those that each head read: b = L^T w, the largest entries."""
        flat, shape = places.flatten(-2), places.shape[-2:]
        before, links = (table.take(flat).unflatten(-2, shape) for table in (self.places, self.weights))
        return fn.largest_entries(before.flatten(-2), (links * weights.unsqueeze(-1)).flatten(-2), count)

    def forward(self, places: Tensor, weights: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Return slots written right after those that each head read: f = L w, the largest entries."""
        # *batch heads entries links
        after = self.following.take(places.flatten(-2)).unflatten(-2, places.shape[-2:])
        sources = places.unsqueeze(-1).expand_as(after)
        found = self._between(after.flatten(-2), sources.flatten(-2)) * weights.repeat_interleave(after.shape[-1], -1)
        return fn.largest_entries(after.flatten(-2), found, count)
