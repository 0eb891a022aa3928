"""Time of a training step of each recipe: python benchmarks/recipes.py [--steps 500] [--repeats 3] [TASK[:NETWORK]].

Each recipe is trained by `ntm train` for 250 steps and then for `--steps` more. The difference of the processor times,
divided by the steps, is the time of a step with all that belongs to it: batches, validations, logs, files. Prints the
least of the repetitions. Run it on one idle core (`taskset -c 1`). To compare another version of the package, set
`PYTHONPATH` to its `src`.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile

RECIPES = ("Copy", "Copy:LSTM", "RepeatCopy", "AssociativeRecall", "DynamicNGrams", "PrioritySort")
FIRST = 250
NTM = "import sys; from lightning_ntm.cli import main; sys.exit(main(sys.argv[1:]))"


def seconds(recipe: str, steps: int) -> float:
    """Return the processor time of a training, with the start of its process."""
    task, _, network = recipe.partition(":")
    words = ["train", "--task", task, *(["--model", network] if network else []), "--seed", "11"]
    with tempfile.TemporaryDirectory() as folder:
        more = ["--runs", folder, "--trainer.max_steps", str(steps), "--trainer.enable_progress_bar", "false"]
        before = _processor_time()
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        subprocess.run([sys.executable, "-c", NTM, *words, *more], check=True, capture_output=True, env=environment)
        return _processor_time() - before


def _processor_time() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", default=RECIPES, help="tasks, or tasks with networks as Copy:LSTM")
    parser.add_argument("--steps", type=int, default=500, help="steps that are timed (500)")
    parser.add_argument("--repeats", type=int, default=3, help="repetitions (3)")
    arguments = parser.parse_args()
    for recipe in arguments.recipes:
        long = min(seconds(recipe, FIRST + arguments.steps) for _ in range(arguments.repeats))
        short = min(seconds(recipe, FIRST) for _ in range(arguments.repeats))
        print(f"{recipe:20} {1e3 * (long - short) / arguments.steps:6.2f} ms a step", flush=True)


if __name__ == "__main__":
    main()
