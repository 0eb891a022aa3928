"""Equations of sparse memories, one function each.

They are those of Rae et al., "Scaling Memory-Augmented Neural Networks with Sparse Reads and Writes" (NIPS 2016, arXiv
1610.09027): SAM, and the sparse DNC of its supplement. A weighting with few entries is a pair: `places`, the numbers of
slots, and `weights`, one for each. A slot may be in several entries; its weight is then their sum.

Shapes: any number of leading `*batch` axes. `slots` is the paper's N, `width` its M, `entries` the entries of a
weighting (K for content), `links` its K_L. Which slots are chosen is constant in the gradient.
"""

import torch
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor
from torch.nn import functional as F

from lightning_ntm.functional.ntm import EPSILON

#: Delta of the paper: an access counts if its weight is above this.
LEAST_ACCESS = 0.005
#: Similarities are compared after they are rounded to steps of this size.
SIMILARITY_STEP = 2.0**-14
#: Weights are compared after they are rounded to steps of this size.
WEIGHT_STEP = 2.0**-20


def nearest_slots(
    memory: Float[Tensor, "*batch slots width"], key: Float[Tensor, "*batch heads width"], count: int
) -> Int64[Tensor, "*batch heads entries"]:
    """The `count` slots of the largest cosine similarity to each key, the nearest first. Section 3.1.

    An exact search of all slots. Similarities are compared in steps of `SIMILARITY_STEP`; among equal ones the first
    slots come first. Otherwise rounding would choose among empty slots, and among slots that were written with the same
    vector, and the same sequence in another batch would end in another state.
    """
    memory, key = memory.detach(), key.detach()
    slots = memory.shape[-2]
    norms = (torch.linalg.vector_norm(memory, dim=-1).square() + EPSILON).sqrt().unsqueeze(-2)
    directions = key / (key.square().sum(-1, keepdim=True) + EPSILON).sqrt()
    steps = (directions @ memory.mT / (norms * SIMILARITY_STEP)).round().long()
    return (steps * slots - torch.arange(slots, device=memory.device)).topk(count, dim=-1).indices


def sparse_content_weights(
    rows: Float[Tensor, "*batch heads entries width"],
    key: Float[Tensor, "*batch heads width"],
    strength: Float[Tensor, "*batch heads"],
) -> Float[Tensor, "*batch heads entries"]:
    """Content weighting among the nearest slots: a softmax over their similarities alone. Section 3.1.

    Args:
        rows: Contents of the nearest slots of each head.
        strength: Beta of the NTM, at least 0.
    """
    key_norm = (key.square().sum(-1, keepdim=True) + EPSILON).sqrt()
    row_norm = (rows.square().sum(-1) + EPSILON).sqrt()
    similarity = (rows @ (key / key_norm).unsqueeze(-1)).squeeze(-1) / row_norm
    return F.softmax(strength.unsqueeze(-1) * similarity, dim=-1)


def least_recently_accessed(accessed: Int64[Tensor, "*batch slots"]) -> Int64[Tensor, "*batch"]:
    """The slot whose last access is the longest ago; of several such slots the first. Section 3.2."""
    return accessed.argmin(dim=-1)


def last_access(
    accessed: Int64[Tensor, "*batch entries"],
    time: Int64[Tensor, "*batch"],
    places: Int64[Tensor, "*batch entries"],
    weights: Float[Tensor, "*batch entries"],
) -> Int64[Tensor, "*batch entries"]:
    """Time of the last access of the slots at `places`: now, if their weight is above `LEAST_ACCESS`. Section 3.2.

    Args:
        accessed: Their last access before.
        time: Now.
        places: The slots that are read or written.
        weights: Weights with which they are read or written; all entries of a slot are summed.
    """
    totals, _ = merged(places, weights.detach())
    return torch.where(totals > LEAST_ACCESS, time.unsqueeze(-1), accessed)


def sparse_write_weights(
    read_places: Int64[Tensor, "*batch heads entries"],
    read_weights: Float[Tensor, "*batch heads entries"],
    unused: Int64[Tensor, "*batch"],
    write_gate: Float[Tensor, "*batch"],
    reuse_gate: Float[Tensor, "*batch"],
) -> tuple[Int64[Tensor, "*batch written"], Float[Tensor, "*batch written"]]:
    """The write weighting: the slots read in the step before, and the least recently accessed slot. Section 3.2.

    With several read heads, the mean of their weightings. The last entry is that of the least recently accessed slot.

    Args:
        read_places: Entries of the read weightings of the step before.
        read_weights: Their weights.
        unused: The least recently accessed slot.
        write_gate: The paper's alpha, in [0, 1]. 0 writes nothing.
        reuse_gate: The paper's gamma, in [0, 1]. 1 writes to the slots read in the step before, 0 to the least recently
            accessed slot.
    """
    before = read_weights.flatten(-2) * (reuse_gate / read_weights.shape[-2]).unsqueeze(-1)
    places = torch.cat([read_places.flatten(-2), unused.unsqueeze(-1)], dim=-1)
    weights = torch.cat([before, (1 - reuse_gate).unsqueeze(-1)], dim=-1)
    return places, write_gate.unsqueeze(-1) * weights


def take_rows(
    table: Shaped[Tensor, "*batch slots width"], places: Int64[Tensor, "*batch entries"]
) -> Shaped[Tensor, "*batch entries width"]:
    """The rows of a table at `places`."""
    return table.gather(-2, places.unsqueeze(-1).expand(*places.shape, table.shape[-1]))


def replace_rows(
    table: Shaped[Tensor, "*batch slots width"],
    erased: Int64[Tensor, "*batch erased"],
    places: Int64[Tensor, "*batch entries"],
    rows: Shaped[Tensor, "*batch entries width"],
) -> Shaped[Tensor, "*batch slots width"]:
    """Return a table with the rows at `erased` set to 0, then `rows` added at `places`."""
    width = table.shape[-1]
    table = table.scatter(-2, erased.unsqueeze(-1).expand(*erased.shape, width), 0)
    return table.scatter_add(-2, places.unsqueeze(-1).expand(*places.shape, width), rows)


def merged(
    places: Int64[Tensor, "*batch entries"], weights: Float[Tensor, "*batch entries"]
) -> tuple[Float[Tensor, "*batch entries"], Bool[Tensor, "*batch entries"]]:
    """Return the total weight of the slot of each entry, and whether each entry is the first of its slot."""
    same = places.unsqueeze(-1) == places.unsqueeze(-2)
    totals = (same.to(weights.dtype) @ weights.unsqueeze(-1)).squeeze(-1)
    return totals, ~same.tril(-1).any(dim=-1)


def by_weight(
    weights: Float[Tensor, "*batch entries"], first: Bool[Tensor, "*batch entries"]
) -> Int64[Tensor, "*batch entries"]:
    """The order of entries from the largest weight to the smallest, then those that are not the first of their slot.

    Weights are compared in steps of `WEIGHT_STEP`; of equal ones the first entries come first.
    """
    steps = (weights.detach() / WEIGHT_STEP).round().long()
    return torch.where(first, steps, -1).sort(dim=-1, descending=True, stable=True).indices


def largest_entries(
    places: Int64[Tensor, "*batch entries"], weights: Float[Tensor, "*batch entries"], count: int
) -> tuple[Int64[Tensor, "*batch largest"], Float[Tensor, "*batch largest"]]:
    """The `count` slots with the largest weights. If there are fewer slots, some are repeated with weight 0."""
    totals, first = merged(places, weights)
    order = by_weight(totals, first)[..., :count]
    return places.gather(-1, order), torch.where(first, totals, 0).gather(-1, order)


def update_sparse_precedence(
    places: Int64[Tensor, "*batch links"],
    weights: Float[Tensor, "*batch links"],
    write_places: Int64[Tensor, "*batch written"],
    write_weights: Float[Tensor, "*batch written"],
) -> tuple[Int64[Tensor, "*batch links"], Float[Tensor, "*batch links"]]:
    """The largest entries of the precedence: how far each slot was the last one written. Supplement, sparse DNC."""
    before = (1 - write_weights.sum(dim=-1, keepdim=True)) * weights
    entries = torch.cat([places, write_places], dim=-1), torch.cat([before, write_weights], dim=-1)
    return largest_entries(*entries, places.shape[-1])


def update_sparse_links(
    link_places: Int64[Tensor, "*batch written links"],
    link_weights: Float[Tensor, "*batch written links"],
    write_places: Int64[Tensor, "*batch written"],
    write_weights: Float[Tensor, "*batch written"],
    precedence_places: Int64[Tensor, "*batch links"],
    precedence_weights: Float[Tensor, "*batch links"],
) -> tuple[Int64[Tensor, "*batch written links"], Float[Tensor, "*batch written links"]]:
    """Rows of the link matrix of slots that are written: N_ij = (1 - w_i) N_ij + w_i p_j, the largest entries of each.

    Supplement, sparse DNC. In the DNC a link also fades when slot j, from which it leads, is written: (1 - w_i - w_j).

    Args:
        link_places: The slots j that each written slot i was written after.
        link_weights: N_ij.
        write_places: The written slots, i.
        write_weights: The total weight of each written slot.
        precedence_places: Of the step before, j.
        precedence_weights: Of the step before, p.
    """
    written = write_weights.unsqueeze(-1)
    shape = (*write_places.shape, precedence_places.shape[-1])
    places = torch.cat([link_places, precedence_places.unsqueeze(-2).expand(shape)], dim=-1)
    weights = torch.cat([(1 - written) * link_weights, written * precedence_weights.unsqueeze(-2)], dim=-1)
    itself = places == write_places.unsqueeze(-1)
    return largest_entries(places, weights.masked_fill(itself, 0), link_places.shape[-1])


def link_between(
    link_places: Int64[Tensor, "*batch entries links"],
    link_weights: Float[Tensor, "*batch entries links"],
    source: Int64[Tensor, "*batch entries"],
) -> Float[Tensor, "*batch entries"]:
    """Entry i, j of the link matrix: how far slot i was written after slot j, from the row of i.

    Args:
        link_places: The row of slot i.
        link_weights: The row of slot i.
        source: Slot j.
    """
    return torch.where(link_places == source.unsqueeze(-1), link_weights, 0).sum(dim=-1)
