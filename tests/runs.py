"""Run folders as a training writes them, made without training."""

import json

from lightning_ntm.tasks.answers import Numbers, Symbols

CONFIG = """\
name: {name}
runs: runs
seed: {seed}
model:
  class_path: {model}
  init_args:
    hidden_size: {hidden}
    backend: auto
task:
  class_path: lightning_ntm.{task}
  init_args:
    bits: 8
optimizer:
  class_path: torch.optim.Adam
  init_args:
    lr: 0.001
"""


def write_run(
    folder, *, model="NTM", task="Copy", seed=1, costs=(4.0, 2.0, 0.0), hidden=100, version=1, result=True, optimum=None
):
    """Write a run that measured these wrong bits, in training twice as many, every 100 batches in 2 seconds.

    Bits per sequence are three times as many; with an optimum the regret is what they are above it.
    """
    path = model if "." in model else f"lightning_ntm.{model}"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(
        CONFIG.format(name=folder.name, seed=seed, model=path, task=task, hidden=hidden)
    )
    about = {
        "id": folder.as_posix(),
        "versions": {"torch": "2.13.0"},
        "machine": "a machine",
        "task_version": version,
        "parameters": 17162,
    }
    (folder / "about.jsonl").write_text(json.dumps(about) + "\n")
    with (folder / "metrics.jsonl").open("w") as file:
        for number, cost in enumerate(costs, start=1):
            counted = {"step": 100 * number, "sequences": 800 * number, "seconds": 2.0 * number}
            for split, factor in (("train", 2), ("validation", 1)):
                value = None if cost is None else factor * cost
                bits = None if cost is None else 3 * factor * cost
                row = {
                    **counted,
                    f"{split}_loss": 0.5,
                    f"{split}_wrong_bits": value,
                    f"{split}_bits_per_sequence": bits,
                }
                if optimum is not None and split == "validation":
                    row |= {"validation_optimal_bits": optimum, "validation_regret_bits": bits and bits - optimum}
                file.write(json.dumps(row) + "\n")
    if result:
        (folder / "result.json").write_text(json.dumps({"step": 100 * len(costs), "best": {}}))
    return folder


#: Answers of other kinds than bits.
ANSWERED = {"symbols": Symbols(4), "numbers": Numbers(1)}


def write_answered(folder, kind, costs, **more):
    """Write a run that declares its measures. The first has the values `costs` in validation, twice that in training.

    An answer has ten symbols or numbers, so a share is 1 minus a tenth of the first measure. The rows of training lack
    the last measure.
    """
    measures = ANSWERED[kind].measures
    write_run(folder, costs=costs, **more)
    (folder / "measures.json").write_text(json.dumps(measures.as_object()))
    rows = []
    for number, cost in enumerate(costs, start=1):
        counted = {"step": 100 * number, "sequences": 800 * number, "seconds": 2.0 * number}
        values = [cost if place == 0 else 1 - cost / 10 if one.better == "higher" else 3 * cost
                  for place, one in enumerate(measures.each)]  # fmt: skip
        trained = {f"train_{name}": 2 * value for name, value in zip(measures.names[:-1], values, strict=False)}
        validated = {f"validation_{name}": value for name, value in zip(measures.names, values, strict=True)}
        rows += [{**counted, **trained}, {**counted, **validated}]
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return folder
