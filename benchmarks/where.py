"""Where the time of a training step goes: python benchmarks/where.py [--seeds 0] [--steps 2000] [OPTIONS OF ntm train].

Trains with the recipe of copy, or other options, with short steps and with general ones, which give the same bits, and
looks every millisecond of processor time at what the training does. `--seeds 10` trains ten seeds in one loop, 0 one
run alone. Prints the time of each part for a step of one network. Run it on one idle core (`taskset -c 1`).
"""

import argparse
import signal
import sys
from collections import Counter
from types import FrameType

import together

from lightning_ntm.training import SequenceLearner

#: Parts of a step, and what a frame of one has in its file and name; the first that matches a frame counts, from the
#: innermost frame outwards.
PARTS = {
    "native program": ("native.py:call_loss", "native.py:_call"),
    "validation": ("evaluation_loop.py",),
    "batches": ("training/data.py", "lightning_ntm/tasks/"),
    "norm and clipping": ("configure_gradient_clipping",),
    "what is measured, callbacks": (
        "training/recorder.py",
        "training/callbacks.py",
        "training/safety.py",
        "side_by_side/member.py",
    ),
    "initial states": (".initial_state", ".kernel_start", "short_step.py:_Start"),
    "autograd": ("torch/autograd/graph.py", "torch/autograd/function.py", "Tensor.backward"),
    "arguments of the native program": ("lightning_ntm/kernels/", "lightning_ntm/models/", "short_step.py:ShortStep"),
    "our training step": ("lightning_ntm/training/learner.py", "side_by_side/module.py"),
    "loop of Lightning": ("site-packages/lightning/", "site-packages/lightning_utilities/"),
    "optimizer": ("torch/optim/",),
}


def part_of(frame: FrameType | None) -> str:
    """Return the part that a frame belongs to; what is before and after the steps is `outside of steps`."""
    found = ""
    while frame is not None:
        name = f"{frame.f_code.co_filename}:{frame.f_code.co_qualname}"
        match = next((part for part, marks in PARTS.items() if any(mark in name for mark in marks)), "")
        if match == "validation":
            return match
        found = found or match
        if "_TrainingEpochLoop.run" in name:
            return found
        frame = frame.f_back
    return "outside of steps"


def sampled(seeds: int, steps: int, options: list[str]) -> dict[str, float]:
    """Return the milliseconds of each part in a step of one network."""
    together.seconds(seeds, together.FIRST, options)  # imports, and fills caches
    seen: Counter[str] = Counter()
    before = signal.signal(signal.SIGPROF, lambda number, frame: seen.update([part_of(frame)]))
    signal.setitimer(signal.ITIMER_PROF, 1e-3, 1e-3)
    try:
        whole, _ = together.seconds(seeds, steps, options)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    one = 1e3 * whole / seen.total() / steps / max(1, seeds)
    return {part: one * count for part, count in seen.items() if part != "outside of steps"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=0, help="seeds in one loop; 0 is a run alone (0)")
    parser.add_argument("--steps", type=int, default=2000, help="steps (2000)")
    arguments, more = parser.parse_known_args()
    sys.stdout.reconfigure(line_buffering=True)
    short = sampled(arguments.seeds, arguments.steps, more)
    SequenceLearner.step_refusal = lambda learner: "general steps were asked for."
    general = sampled(arguments.seeds, arguments.steps, more)
    print(f"{'ms a step of a network':34} general   short")
    for part in sorted(PARTS, key=lambda part: -general.get(part, 0)):
        print(f"{part:34} {general.get(part, 0):7.2f} {short.get(part, 0):7.2f}")
    print(f"{'together':34} {sum(general.values()):7.2f} {sum(short.values()):7.2f}")


if __name__ == "__main__":
    main()
