"""Where the time of a training goes, for one seed and for several in one loop.

    python benchmarks/together.py [--seeds 0,5,8] [--steps 1000] [OPTIONS OF ntm train]

Trains with the recipe of copy, or other options, for 200 steps and then for `--steps` more, in a process that has
imported everything. Prints, for a step of one network: the processor time, how much of it is in the native program,
and how much longer the step is than the native program. Run it on one idle core (`taskset -c 1`).
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from lightning_ntm.cli import main
from lightning_ntm.cli.together import train_together
from lightning_ntm.kernels.cpu import native

FIRST = 200


class Clock:
    """Adds up the processor time of functions."""

    seconds = 0.0

    def around(self, function):
        """Return a function whose time is added up."""

        def timed(*arguments, **options):
            before = time.process_time()
            try:
                return function(*arguments, **options)
            finally:
                self.seconds += time.process_time() - before

        return timed


def seconds(seeds: int, steps: int, options: list[str]) -> tuple[float, float]:
    """Return the processor time of a training, and that in the native program; 0 seeds is a run alone."""
    clock = Clock()
    native._call, native.call_loss = (clock.around(function) for function in NATIVE)
    with tempfile.TemporaryDirectory() as folder:
        runs = [
            [
                *("--runs", folder, "--name", f"seed{seed}", "--seed", str(seed)),
                *("--trainer.max_steps", str(steps), "--trainer.enable_progress_bar", "false", *options),
            ]
            for seed in range(11, 11 + max(1, seeds))
        ]
        before = time.process_time()
        if seeds:
            code = train_together(json.dumps([[str(Path(folder, "log")), *words] for words in runs]))
        else:
            code = main(["train", *runs[0]])
        if code:
            sys.exit(code)
        return time.process_time() - before, clock.seconds


def report(seeds: int, steps: int, options: list[str]) -> None:
    """Print the times of a step of one network."""
    short, long = (seconds(seeds, number, options) for number in (FIRST, FIRST + steps))
    whole, inside = (1e3 * (after - before) / steps / max(1, seeds) for before, after in zip(short, long, strict=True))
    what = f"{seeds} seeds in one loop" if seeds else "one run alone"
    times = f", {whole / inside:.2f} times the native program" if inside else ""
    print(f"{what:20} {whole:6.2f} ms a step of a network, {inside:.2f} native ({inside / whole:.0%}){times}")


NATIVE = native._call, native.call_loss

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,5,8", help="seeds in one loop; 0 is a run alone (0,5,8)")
    parser.add_argument("--steps", type=int, default=1000, help="steps that are timed (1000)")
    arguments, more = parser.parse_known_args()
    sys.stdout.reconfigure(line_buffering=True)
    for number in arguments.seeds.split(","):
        report(int(number), arguments.steps, more)
