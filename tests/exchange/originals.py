"""One step of each implementation that `ntm import` reads, written down from its published code, in plain PyTorch.

Tensors are in dictionaries under the names of the implementation; a batch is one sequence.
"""

import math

import torch


def _lstm(x, hidden, cell, weights):
    """The gates of `torch.nn.LSTM`, one layer."""
    w_ih, w_hh, b_ih, b_hh = weights
    i, f, g, o = (w_ih @ x + b_ih + w_hh @ hidden + b_hh).chunk(4)
    cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(cell), cell


def _address(memory, previous, k, beta, g, s, gamma):
    softplus = torch.nn.functional.softplus
    norms = memory.norm(dim=1).clamp(min=1e-8) * k.norm().clamp(min=1e-8)
    content = torch.softmax(softplus(beta) * (memory @ k / norms), 0)
    gate, moves = torch.sigmoid(g), torch.softmax(s, 0)
    mixed = gate * content + (1 - gate) * previous
    slots = len(mixed)
    # A correlation: entry 0 of the shifts takes the weight of the slot below.
    shifted = torch.stack([sum(mixed[(i + j - 1) % slots] * moves[j] for j in range(3)) for i in range(slots)])
    powers = shifted ** (1 + softplus(gamma))
    return powers / (powers.sum() + 1e-16)


def _written(memory, w, erase, add):
    return memory * (1 - torch.outer(w, erase)) + torch.outer(w, add)


def _linear(t, name, x):
    return t[f"{name}.weight"] @ x + t[f"{name}.bias"]


def pytorch_ntm(t, inputs, layers, pairs):
    """loudinthecloud/pytorch-ntm; lightning-ntm has the same equations."""
    memory, width = t["memory.mem_bias"], t["memory.mem_bias"].shape[1]
    hidden, cell = t["controller.lstm_h_bias"][:, 0].clone(), t["controller.lstm_c_bias"][:, 0].clone()
    reads = [t[f"read{pair}_bias"][0] for pair in range(pairs)]
    weights = [torch.zeros(len(memory)).double() for _ in range(2 * pairs)]
    outputs = []
    for x in inputs:
        below = torch.cat([x, *reads])
        for n in range(layers):
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            hidden[n], cell[n] = _lstm(
                below, hidden[n].clone(), cell[n].clone(), [t[f"controller.lstm.{name}_l{n}"] for name in names]
            )
            below = hidden[n]
        for n in range(2 * pairs):
            o = _linear(t, f"heads.{n}.fc_{'write' if n % 2 else 'read'}", below)
            k, beta, g, s, gamma, *written = o.split([width, 1, 1, 3, 1, *([width, width] if n % 2 else [])])
            weights[n] = _address(memory, weights[n], k, beta, g, s, gamma)
            if n % 2:
                memory = _written(memory, weights[n], torch.sigmoid(written[0]), written[1])
            else:
                reads[n // 2] = weights[n] @ memory
        outputs.append(torch.sigmoid(_linear(t, "fc", torch.cat([below, *reads]))))
    return torch.stack(outputs)


def clemkoa_ntm(t, inputs, follows):
    """clemkoa/ntm; before its commit 723d4eb the write head `follows` the read head."""
    memory, read = t["memory.initial_state"], t["memory.initial_read"][0]
    prefix = "controller._controller."
    hidden, cell = t[f"{prefix}lstm_h_state"][0, 0], t[f"{prefix}lstm_c_state"][0, 0]
    previous = {head: torch.softmax(t[f"{head}._initial_state"][0], 0) for head in ("read_head", "write_head")}
    outputs = []
    for x in inputs:
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        layer = [t[f"{prefix}layer.{name}_l0"] for name in names]
        hidden, cell = _lstm(torch.cat([x, read]), hidden, cell, layer)
        before = dict(previous)
        for head in ("read_head", "write_head"):
            emitted = [_linear(t, f"{head}.{name}_layer", hidden) for name in ("k", "beta", "g", "s", "gamma")]
            start = before["read_head" if follows else head]
            previous[head] = w = _address(memory, start, *emitted)
            if head == "read_head":
                read = w @ memory
            else:
                erase, add = torch.sigmoid(_linear(t, f"{head}.e_layer", hidden)), _linear(t, f"{head}.a_layer", hidden)
                memory = _written(memory, w, erase, add)
        outputs.append(torch.sigmoid(_linear(t, "fc", torch.cat([hidden, read]))))
    return torch.stack(outputs)


def vlgiitr_ntm(t, inputs, pairs):
    """vlgiitr/ntm-pytorch, with reads of 0 before the first step, which it draws at random."""
    width = t["heads.0.key_fc.weight"].shape[0]
    memory = torch.sigmoid(t["memory.memory_bias_fc.bias"]).view(-1, width)
    hidden, cell = t["controller.h_bias_fc.bias"], t["controller.c_bias_fc.bias"]
    reads = [torch.zeros(width).double()] * pairs
    weights = [torch.zeros(len(memory)).double() for _ in range(2 * pairs)]
    outputs = []
    for x in inputs:
        layer = [t[f"controller.controller_net.{name}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        hidden, cell = _lstm(torch.cat([x, *reads]), hidden, cell, layer)
        for n in range(2 * pairs):
            names = ("key", "key_strength", "interpolation_gate", "shift_weighting", "sharpen_factor")
            emitted = [_linear(t, f"heads.{n}.{name}_fc", cell) for name in names]
            weights[n] = w = _address(memory, weights[n], *emitted)
            if n % 2:
                data = _linear(t, f"heads.{n}.write_data_fc", cell)
                memory = torch.outer(w, data) + (1 - w).unsqueeze(1) * memory
            else:
                reads[n // 2] = w @ memory
        outputs.append(torch.sigmoid(_linear(t, "controller.out_net", torch.cat([hidden, *reads]))))
    return torch.stack(outputs)


def lightning_lstm(t, inputs, layers):
    """The LSTM of lightning-ntm, from a state of 0."""
    units = t["lstm.weight_hh_l0"].shape[1]
    hidden, cell = torch.zeros(layers, units).double(), torch.zeros(layers, units).double()
    outputs = []
    for x in inputs:
        for n in range(layers):
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            hidden[n], cell[n] = _lstm(
                x, hidden[n].clone(), cell[n].clone(), [t[f"lstm.{name}_l{n}"] for name in names]
            )
            x = hidden[n]
        outputs.append(torch.sigmoid(_linear(t, "fc", x)))
    return torch.stack(outputs)


class Drawn(dict):
    """Random tensors under the names of an implementation."""

    def put(self, name, *shape):
        self[name] = 2 * torch.randn(shape) / math.sqrt(shape[-1] if len(shape) > 1 else 4)

    def linear(self, name, rows, columns):
        self.put(f"{name}.weight", rows, columns)
        self.put(f"{name}.bias", rows)

    def lstm(self, name, inputs, units, suffix=""):
        for part, columns in (("ih", inputs), ("hh", units)):
            self.put(f"{name}weight_{part}{suffix}", 4 * units, columns)
            self.put(f"{name}bias_{part}{suffix}", 4 * units)


def drawn_pytorch_ntm(inputs, outputs, units=7, layers=1, pairs=1, slots=6, width=4):
    t = Drawn()
    for n in range(layers):
        t.lstm("controller.lstm.", units if n else inputs + pairs * width, units, f"_l{n}")
    for name in ("lstm_h_bias", "lstm_c_bias"):
        t.put(f"controller.{name}", layers, 1, units)
    t.put("memory.mem_bias", slots, width)
    for pair in range(pairs):
        t.put(f"read{pair}_bias", 1, width)
        t.linear(f"heads.{2 * pair}.fc_read", width + 6, units)
        t.linear(f"heads.{2 * pair + 1}.fc_write", 3 * width + 6, units)
        t[f"heads.{2 * pair}.memory.mem_bias"] = t["memory.mem_bias"]
    t.linear("fc", outputs, units + pairs * width)
    return dict(t)


def drawn_clemkoa_ntm(inputs, outputs, units=7, slots=6, width=4):
    t = Drawn()
    t.lstm("controller._controller.layer.", inputs + width, units, "_l0")
    for name in ("lstm_h_state", "lstm_c_state"):
        t.put(f"controller._controller.{name}", 1, 1, units)
    t["memory.initial_state"] = torch.full((slots, width), 1e-6)
    t.put("memory.initial_read", 1, width)
    for head in ("read_head", "write_head"):
        t.put(f"{head}._initial_state", 1, slots)
        for name, rows in {"k": width, "beta": 1, "g": 1, "s": 3, "gamma": 1}.items():
            t.linear(f"{head}.{name}_layer", rows, units)
    for name in "ea":
        t.linear(f"write_head.{name}_layer", width, units)
    t.linear("fc", outputs, units + width)
    return dict(t)


def drawn_vlgiitr_ntm(inputs, outputs, units=7, pairs=1, slots=6, width=4):
    t = Drawn()
    t.lstm("controller.controller_net.", inputs + pairs * width, units)
    t.linear("controller.out_net", outputs, units + pairs * width)
    for name in ("h_bias_fc", "c_bias_fc"):
        t.linear(f"controller.{name}", units, 1)
    t.linear("memory.memory_bias_fc", slots * width, 1)
    names = {"key": width, "key_strength": 1, "interpolation_gate": 1, "shift_weighting": 3, "sharpen_factor": 1}
    for n in range(2 * pairs):
        for name, rows in {**names, "write_data": width}.items():
            t.linear(f"heads.{n}.{name}_fc", rows, units)
    return dict(t)


def drawn_lightning_lstm(inputs, outputs, units=7, layers=2):
    t = Drawn()
    for n in range(layers):
        t.lstm("lstm.", units if n else inputs, units, f"_l{n}")
    t.linear("fc", outputs, units)
    return dict(t)
