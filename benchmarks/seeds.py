"""What the seeds of a sweep reach: python benchmarks/seeds.py FOLDER.

Prints, for each run of the folder, the first validation without a wrong bit, the wrong bits of the validation
that was kept, and what its kept weights reach on episodes never seen, at the difficulties its task is measured at.
"""

import sys

import torch

from lightning_ntm.records import RunFolder, find, read_json
from lightning_ntm.training import evaluate, open_run


def line(folder: RunFolder) -> str:
    solved = [row["step"] for row in folder.rows() if row.get("validation_wrong_bits") == 0]
    best, run = read_json(folder.result)["best"], open_run(folder.path)
    measured = []
    for difficulty in run.task.evaluations:
        result = evaluate.evaluate(run.model, run.task, difficulty, seed=run.seed)
        at = "x".join(map(str, difficulty.values()))
        measured.append(f"{at}: {result['wrong_bits']:.2f} ({result['perfect']:.0%})")
    first = solved[0] if solved else "never"
    return f"{run.seed:>7}  {first!s:>6}  {best['wrong_bits']:6.2f}  {'  '.join(measured)}"


if __name__ == "__main__":
    torch.set_num_threads(1)
    print("   seed  solved    kept  wrong bits at each difficulty (share of episodes without any)")
    for run in find(sys.argv[1]).values():
        print(line(run))
