"""Time of a Stack-RNN and a Tape-RNN, also with the length oracle: taskset -c 1 python benchmarks/cells.py.

Networks of the default sizes, float32, one thread, forward and backward of sequences of 80 steps, of which the first 40
are the string. Prints the lowest CPU time of
- the plain loop over `step`, in which every memory has all of its slots from the first step;
- the reference, which begins with few slots and adds further ones, except with the length oracle;
- the native program.
"""

import argparse
from functools import partial
from typing import Any

import torch
from timing import milliseconds
from torch import Tensor

from lightning_ntm import StackRNN, TapeRNN

STEPS, STRING = 80, 40
NETWORKS: dict[str, Any] = {
    "StackRNN": StackRNN,
    "TapeRNN": TapeRNN,
    "TapeRNN with the length oracle": partial(TapeRNN, length_oracle=True),
}


def plain(model: Any, inputs: Tensor) -> Tensor:
    """Return the logits of a loop over `step`."""
    length = {"length": STRING} if model.reads_ahead else {}
    state, logits = model.initial_state(len(inputs), **length), []
    for x in inputs.unbind(dim=1):
        answered, state = model.step(x, state)
        logits.append(answered)
    return torch.stack(logits, dim=1)


def compare(name: str, make: Any, batch: int, repeats: int) -> None:
    """Print the times of one network."""
    torch.manual_seed(1)
    inputs, reference, native = torch.randn(batch, STEPS, 3), make(3, 2, backend="reference"), make(3, 2, backend="cpu")
    inputs[:, :STRING, -1] = 0
    found = milliseconds(
        {
            "plain loop": lambda: plain(reference, inputs),
            "reference": lambda: reference(inputs)[0],
            "native": lambda: native(inputs)[0],
        },
        repeats,
    )
    times = ", ".join(f"{kind} {took:.1f} ms ({took / found['native']:.1f})" for kind, took in found.items())
    print(f"{name}, batch {batch:>3}: {times}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="how often each is timed (5)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for network, make in NETWORKS.items():
        for size in (8, 32):
            compare(network, make, size, arguments.repeats)
