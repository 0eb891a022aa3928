"""Check an installed package: the kernel, a training step, and the command. Exits with an error if one is missing.

Used on wheels: `python benchmarks/installed.py --native` where the wheel has the kernel, without the option where it is
the pure one.
"""

import subprocess
import sys

import torch

from lightning_ntm import NTM, __version__
from lightning_ntm.kernels.cpu import library


def main() -> None:
    native = "--native" in sys.argv
    if library.LIBRARY.is_file() != native:
        sys.exit(f"{library.LIBRARY} is {'missing' if native else 'there'}")
    inputs, logits = torch.rand(2, 12, 9), []
    weights = NTM(9, 8, memory_slots=16).state_dict()
    for backend in ("reference", "cpu") if native else ("reference", "auto"):
        network = NTM(9, 8, memory_slots=16, backend=backend)
        network.load_state_dict(weights)
        logits.append(network(inputs)[0])
        logits[-1].square().mean().backward()
    torch.testing.assert_close(*logits, rtol=1e-4, atol=1e-4)
    subprocess.run([sys.executable, "-m", "lightning_ntm", "--help"], check=True, stdout=subprocess.DEVNULL)
    print(f"lightning-ntm {__version__}: works {'with' if native else 'without'} the kernel")


if __name__ == "__main__":
    main()
