"""What a training step of SAM, SDNC and DNC costs with more and more memory slots, on one CPU core.

python benchmarks/sparse.py                     # all sizes
python benchmarks/sparse.py --slots 1024 65536  # some

For each network and number of slots: milliseconds of CPU time per time step, forward with backward; of which the search
for the nearest slots and the choice of the least recently accessed one; and what is saved for the backward per time
step. The state itself and one buffer for its gradient, which every sequence has once, are not counted.
"""

import argparse
import time

import torch
from torch.autograd.graph import saved_tensors_hooks

from lightning_ntm import DNC, SAM, SDNC, MemoryModel
from lightning_ntm.functional import least_recently_accessed, nearest_slots

STEPS, WIDTH, BITS = 20, 32, 8


def saved(model: MemoryModel, inputs: torch.Tensor) -> float:
    """KiB per step that autograd saves, each storage once, without the parameters."""
    own = {parameter.data_ptr() for parameter in model.parameters()}
    sizes, alive = {}, []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        alive.append(tensor)
        if tensor.data_ptr() not in own:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        model(inputs)
    return sum(sizes.values()) / 1024 / STEPS


def step_milliseconds(model: MemoryModel, inputs: torch.Tensor, repeats: int) -> float:
    """CPU time of a time step, the best of several sequences."""
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        model(inputs)[0].sum().backward()
        best = min(best, time.process_time() - start)
    return best / STEPS * 1e3


def search_milliseconds(slots: int, count: int) -> float:
    """CPU time of what grows with the slots in a step of a sparse memory."""
    memory, key, accessed = torch.randn(1, slots, WIDTH), torch.randn(1, 1, WIDTH), torch.arange(slots)[None]
    best = float("inf")
    for _ in range(5):
        start = time.process_time()
        for _ in range(10):
            nearest_slots(memory, key, count)
            least_recently_accessed(accessed)
        best = min(best, time.process_time() - start)
    return best / 10 * 1e3


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slots", type=int, nargs="+", default=[64, 256, 1024, 4096, 16384, 65536])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--largest-dnc", type=int, default=1024, help="most slots of the dense DNC")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    inputs = torch.randn(1, STEPS, BITS)
    print("network   slots   ms/step   of it search   KiB/step saved")
    for kind in (SAM, SDNC, DNC):
        for slots in arguments.slots:
            if kind is DNC and slots > arguments.largest_dnc:
                continue
            options = {"backend": "reference"} if kind is DNC else {}
            model = kind(BITS, BITS, memory_slots=slots, memory_width=WIDTH, **options)
            spent, search = step_milliseconds(model, inputs, arguments.repeats), search_milliseconds(slots, 4)
            search = f"{search:14.2f}" if kind is not DNC else " " * 14
            print(f"{kind.__name__:7} {slots:7} {spent:9.2f} {search} {saved(model, inputs):16.1f}", flush=True)


if __name__ == "__main__":
    main()
