"""Converts the tensors of public NTM implementations into networks of this package."""

import difflib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lightning_ntm.exchange.sequential import SequentialNTM
from lightning_ntm.models.base import MemoryModel
from lightning_ntm.models.lstm import LSTM

#: Added to the erase bias of a write head that erases all it writes over: its sigmoid is 1 in any precision.
_WHOLE = 100.0


class Converted(NamedTuple):
    """A network, and what a user should know of it; `notes` are sentences."""

    network: MemoryModel[Any]
    notes: tuple[str, ...] = ()


class _Tensors:
    """The tensors of a checkpoint in float64, by the names that follow a prefix."""

    def __init__(self, tensors: Mapping[str, Tensor], prefix: str):
        self.tensors, self.prefix, self.taken = tensors, prefix, set[str]()

    def has(self, name: str) -> bool:
        return self.prefix + name in self.tensors

    def take(self, name: str, *shape: int | None) -> Tensor:
        """Return a tensor of a shape; `None` is any size.

        Raises:
            ValueError: It is missing, or of another shape.
        """
        full = self.prefix + name
        if full not in self.tensors:
            raise ValueError(f"it has no tensor {full!r}.")
        found = self.tensors[full]
        fits = len(shape) == found.ndim and all(
            asked in (None, size) for asked, size in zip(shape, found.shape, strict=True)
        )
        if not fits or not found.numel():
            expected = ", ".join("any" if size is None else str(size) for size in shape)
            raise ValueError(f"its tensor {full!r} has shape {tuple(found.shape)}, not ({expected}).")
        self.taken.add(full)
        return found.double()

    def left(self) -> tuple[str, ...]:
        """Return a sentence on the tensors that were not taken, if there are any."""
        names = [name for name in self.tensors if name not in self.taken]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        return (f"Not in the network: {', '.join(names[:3])}{more}, tensors of the file.",) if names else ()

    def linear(self, name: str, rows: int | None, columns: int) -> Tensor:
        """Return weight and bias of a linear layer as one matrix, the bias in its last column."""
        weight = self.take(f"{name}.weight", rows, columns)
        return torch.cat([weight, self.take(f"{name}.bias", len(weight)).unsqueeze(1)], dim=1)


class _Layer(NamedTuple):
    """The tensors of an LSTM layer, as PyTorch names them."""

    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor
    bias_hh: Tensor


def _layer(tensors: _Tensors, prefix: str, suffix: str, columns: int, hidden: int) -> _Layer:
    shapes = {"weight_ih": (columns,), "weight_hh": (hidden,), "bias_ih": (), "bias_hh": ()}
    return _Layer(*(tensors.take(f"{prefix}{name}{suffix}", 4 * hidden, *more) for name, more in shapes.items()))


def _lstm_layers(tensors: _Tensors, prefix: str) -> tuple[list[_Layer], int]:
    """Return the layers of a `torch.nn.LSTM`, and the number of its units."""
    units = tensors.take(f"{prefix}weight_hh_l0", None, None).shape[1]
    inputs = tensors.take(f"{prefix}weight_ih_l0", 4 * units, None).shape[1]
    layers: list[_Layer] = []
    while tensors.has(f"{prefix}weight_ih_l{len(layers)}"):
        layers.append(_layer(tensors, prefix, f"_l{len(layers)}", units if layers else inputs, units))
    return layers, units


def _turned(rows: Tensor) -> Tensor:
    """Return the rows of the shifts in our order: the first of theirs moves a head up."""
    return rows.flip(0)


def _assembled(
    layers: list[_Layer],
    heads: list[Tensor],
    output: Tensor,
    starts: Mapping[str, Tensor],
    **options: Any,
) -> Converted:
    """Return the network of controller layers, heads (read and write in turn) and output layer."""
    slots, width = starts["memory.start_memory"].shape
    (hidden, columns), pairs = (layers[0].weight_hh.shape[1], layers[0].weight_ih.shape[1]), len(heads) // 2
    network = SequentialNTM(
        columns - pairs * width,
        len(output),
        hidden_size=hidden,
        num_layers=len(layers),
        memory_slots=slots,
        memory_width=width,
        num_pairs=pairs,
        **options,
    )
    interface = torch.cat(heads)
    state = {"heads.weight": interface[:, :-1], "heads.bias": interface[:, -1]}
    state |= {"output.weight": output[:, :-1], "output.bias": output[:, -1], **starts}
    for number, layer in enumerate(layers):
        names = [f"controller.{group}.{number}." for group in ("layers", "recurrent")]
        state |= {f"{names[0]}weight": layer.weight_ih, f"{names[1]}weight": layer.weight_hh}
        state |= {f"{names[0]}bias": layer.bias_ih, f"{names[1]}bias": layer.bias_hh}
    return Converted(_filled(network, state))


def _filled(network: MemoryModel[Any], state: Mapping[str, Tensor]) -> MemoryModel[Any]:
    network.load_state_dict(state)
    if not all(bool(torch.isfinite(tensor).all()) for tensor in network.state_dict().values()):  # as they are kept
        raise ValueError("it has weights that are not finite, or too large for their precision.")
    return network.eval()


def _pytorch_ntm(tensors: _Tensors, _: dict[str, Any]) -> Converted:
    layers, hidden = _lstm_layers(tensors, "controller.lstm.")
    slots, width = tensors.take("memory.mem_bias", None, None).shape
    heads: list[Tensor] = []
    while tensors.has(f"heads.{len(heads)}.fc_{('read', 'write')[len(heads) % 2]}.weight"):
        number, writes = len(heads), len(heads) % 2
        rows = width + 6 + 2 * width * writes
        found = tensors.linear(f"heads.{number}.fc_{('read', 'write')[writes]}", rows, hidden)
        before, moves, after = found.split([width + 2, 3, rows - width - 5])
        heads.append(torch.cat([before, _turned(moves), after]))
    if not heads or len(heads) % 2:
        raise ValueError("its heads are not pairs of a read head and a write head.")
    pairs, depth = len(heads) // 2, len(layers)
    starts = {
        "memory.start_memory": tensors.take("memory.mem_bias", slots, width),
        "memory.start_reads": torch.cat([tensors.take(f"read{pair}_bias", 1, width) for pair in range(pairs)]),
        "memory.start_weights": torch.zeros(2 * pairs, slots),
        "controller.start_hidden": tensors.take("controller.lstm_h_bias", depth, 1, hidden).squeeze(1),
        "controller.start_cell": tensors.take("controller.lstm_c_bias", depth, 1, hidden).squeeze(1),
    }
    return _assembled(layers, heads, tensors.linear("fc", None, hidden + pairs * width), starts)


def _lightning_lstm(tensors: _Tensors) -> Converted:
    """The LSTM of lightning-ntm: only the last of its layers is part of the output."""
    layers, hidden = _lstm_layers(tensors, "lstm.")
    output = tensors.linear("fc", None, hidden)
    network = LSTM(layers[0].weight_ih.shape[1], len(output), hidden_size=hidden, num_layers=len(layers))
    state = {name: torch.zeros_like(tensor) for name, tensor in network.state_dict().items()}
    for number, layer in enumerate(layers):
        weight = torch.cat([layer.weight_ih, layer.weight_hh], dim=1)
        state[f"controller.layers.{number}.weight"][:, -weight.shape[1] :] = weight
        state[f"controller.layers.{number}.bias"] = layer.bias_ih + layer.bias_hh
    state["output.weight"][:, -hidden:] = output[:, :-1]
    state["output.bias"] = output[:, -1]
    note = "lightning-ntm does not save the state with which its LSTM starts a sequence: it is 0 here."
    return Converted(_filled(network, state), (note,))


def _lightning_ntm(tensors: _Tensors, options: dict[str, Any]) -> Converted:
    return _pytorch_ntm(tensors, options) if tensors.has("controller.lstm.weight_ih_l0") else _lightning_lstm(tensors)


def _clemkoa_ntm(tensors: _Tensors, options: dict[str, Any]) -> Converted:
    layers, hidden = _lstm_layers(tensors, "controller._controller.layer.")
    slots, width = tensors.take("memory.initial_state", None, None).shape
    names = {"k": width, "beta": 1, "g": 1, "s": 3, "gamma": 1, "e": width, "a": width}
    heads, starts = [], []
    for head, parts in (("read_head", 5), ("write_head", 7)):
        rows = [tensors.linear(f"{head}.{name}_layer", names[name], hidden) for name in list(names)[:parts]]
        rows[3] = _turned(rows[3])
        heads.append(torch.cat(rows))
        starts.append(tensors.take(f"{head}._initial_state", 1, slots))
    return _assembled(
        layers,
        heads,
        tensors.linear("fc", None, hidden + width),
        {
            "memory.start_memory": tensors.take("memory.initial_state", slots, width),
            "memory.start_reads": tensors.take("memory.initial_read", 1, width),
            "memory.start_weights": torch.cat(starts),
            "controller.start_hidden": tensors.take("controller._controller.lstm_h_state", 1, 1, hidden).squeeze(1),
            "controller.start_cell": tensors.take("controller._controller.lstm_c_state", 1, 1, hidden).squeeze(1),
        },
        softmax_heads=True,
        **options,
    )


def _vlgiitr_ntm(tensors: _Tensors, _: dict[str, Any]) -> Converted:
    cell = "controller.controller_net."
    hidden = tensors.take(f"{cell}weight_hh", None, None).shape[1]
    columns = tensors.take(f"{cell}weight_ih", 4 * hidden, None).shape[1]
    width = tensors.take("heads.0.key_fc.weight", None, hidden).shape[0]
    names = {"key": width, "key_strength": 1, "interpolation_gate": 1, "shift_weighting": 3, "sharpen_factor": 1}
    heads: list[Tensor] = []
    while tensors.has(f"heads.{len(heads)}.key_fc.weight"):
        prefix = f"heads.{len(heads)}."
        rows = [tensors.linear(f"{prefix}{name}_fc", size, hidden) for name, size in names.items()]
        rows[3] = _turned(rows[3])
        if len(heads) % 2:
            erase = torch.zeros(width, hidden + 1, dtype=torch.float64)
            erase[:, -1] = _WHOLE
            rows += [erase, tensors.linear(f"{prefix}write_data_fc", width, hidden)]
        heads.append(torch.cat(rows))
    bias = tensors.take("memory.memory_bias_fc.bias", None)
    if len(heads) % 2 or len(bias) % width:
        raise ValueError("its heads are not pairs, or its memory is not of their width.")
    pairs, slots = len(heads) // 2, len(bias) // width
    starts = {
        "memory.start_memory": bias.view(slots, width),
        "memory.start_reads": torch.zeros(pairs, width),
        "memory.start_weights": torch.zeros(2 * pairs, slots),
        "controller.start_hidden": tensors.take("controller.h_bias_fc.bias", hidden).unsqueeze(0),
        "controller.start_cell": tensors.take("controller.c_bias_fc.bias", hidden).unsqueeze(0),
    }
    output = tensors.linear("controller.out_net", None, hidden + pairs * width)
    layers = [_layer(tensors, cell, "", columns, hidden)]
    made = _assembled(layers, heads, output, starts, heads_see_cell=True, sigmoid_memory=True)
    note = "ntm-pytorch draws the reads before the first step at random for each sequence: they are 0 here."
    return made._replace(notes=(note,))


class _Format(NamedTuple):
    """A public implementation: names of tensors by which it is known, and what converts them."""

    anchors: tuple[str, ...]
    convert: Callable[[_Tensors, dict[str, Any]], Converted]


FORMATS = {
    "pytorch-ntm": _Format(("controller.lstm.weight_ih_l0",), _pytorch_ntm),
    "lightning-ntm": _Format(("controller.lstm.weight_ih_l0", "lstm.weight_ih_l0"), _lightning_ntm),
    "clemkoa-ntm": _Format(("controller._controller.layer.weight_ih_l0",), _clemkoa_ntm),
    "vlgiitr-ntm": _Format(("controller.controller_net.weight_ih",), _vlgiitr_ntm),
}


def convert(tensors: Mapping[str, Tensor], kind: str, options: dict[str, Any]) -> Converted:
    """Return the network of a checkpoint.

    Args:
        tensors: By the names of the checkpoint.
        kind: A name in `FORMATS`.
        options: Arguments of `SequentialNTM` that the checkpoint does not tell.

    Raises:
        ValueError: The tensors are not those of this implementation.
    """
    if kind not in FORMATS:
        near = difflib.get_close_matches(kind, FORMATS, n=1)
        more = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"unknown format {kind!r}{more or '; known: ' + ', '.join(FORMATS) + '.'}")
    prefix = _prefix(tensors, kind)
    if prefix is None:
        others = [name for name in FORMATS if _prefix(tensors, name) is not None]
        more = f"its names are those of {others[0]}." if others else f"it has no tensor {FORMATS[kind].anchors[0]!r}."
        raise ValueError(f"it is not of {kind}: {more}")
    try:
        of_network = _Tensors(tensors, prefix)
        network, notes = FORMATS[kind].convert(of_network, options)
        return Converted(network, (*notes, *of_network.left()))
    except ValueError as error:
        raise ValueError(f"it is not of {kind}: {error}") from None


def _prefix(tensors: Mapping[str, Tensor], kind: str) -> str | None:
    """Return what stands before the names of an implementation in a checkpoint, as `ntm.`; `None` if none is there."""
    for anchor in FORMATS[kind].anchors:
        for name in tensors:
            if name == anchor or name.endswith(f".{anchor}"):
                return name.removesuffix(anchor)
    return None
