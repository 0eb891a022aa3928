"""Ways to spoil a run folder so that reading it would hang, crash, fill the memory or go wrong."""

import json
import os

from lightning_ntm.measures import BITS

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
DEEP_JSON = "[" * 900 + "]" * 900


def add_to_config(text):
    return lambda run: (run / "config.yaml").write_text((run / "config.yaml").read_text() + text)


def change_row(**changes):
    def change(run):
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        text = "".join(json.dumps({**row, **{key: value for key, value in changes.items() if key in row}}) + "\n"
                       for row in rows)  # fmt: skip
        (run / "metrics.jsonl").write_text(text)

    return change


def put(name, data):
    return lambda run: (run / name).write_bytes(data.encode() if isinstance(data, str) else data)


def sparse(name, size):
    def make(run):
        with (run / name).open("wb") as file:
            file.truncate(size)

    return make


def pipe(name):
    def make(run):
        (run / name).unlink(missing_ok=True)
        os.mkfifo(run / name)

    return make


def folder(name):
    def make(run):
        (run / name).unlink(missing_ok=True)
        (run / name).mkdir()

    return make


def device(name):
    def link(run):
        (run / name).unlink(missing_ok=True)
        (run / name).symlink_to("/dev/zero")

    return link


def declare(**fields):
    """Declare the measures of bits, with other fields of the first one."""
    first, second = BITS.as_object()["measures"]
    return put("measures.json", json.dumps({**BITS.as_object(), "measures": [{**first, **fields}, second]}))


MEASURED = {"length": 3, "wrong_bits": 1.0, "bits_per_sequence": 2.0, "perfect": 0.5, "sequences": 9}
#: By name, what spoils a run folder, and what a reader says of it; nothing where it is read all the same.
SPOILED = {
    "anchor bomb": (add_to_config(BOMB), "config.yaml is damaged: it is too large"),
    "cyclic alias": (add_to_config("a: &a [*a]\n"), "config.yaml is damaged: it is not YAML"),
    "deep flow": (add_to_config("a: " + "[" * 100_000), "config.yaml is damaged: it is nested deeper"),
    "deep block": (add_to_config("a:\n  " + "- " * 5000 + "x\n"), "config.yaml is damaged: it is nested deeper"),
    "deep model": (put("config.yaml", "seed: 1\ntask: {class_path: a}\nmodel: " + "{a: " * 100_000), "damaged"),
    "wrong tag": (add_to_config("a: !!bool never\n"), "config.yaml is damaged: it is not YAML"),
    "merged bomb": (add_to_config(BOMB.replace("[", "{<<: [").replace("]", "]}")), "config.yaml is damaged"),
    "mixed keys": (add_to_config("a: [{1: 2, b: 3, null: 4}]\n"), None),
    "number of digits": (add_to_config("a: " + "9" * 5000 + "\n"), "config.yaml is damaged"),
    "huge config": (sparse("config.yaml", 2**40), "config.yaml is damaged: it is larger than"),
    "control characters": (add_to_config('"a\\e[31m": "\\0\\e]0;x\\a"\n'), None),
    "formula": (add_to_config('model2: "$\\\\frac{$"\n'), None),
    "seed of words": (lambda run: _replace(run, "seed: 1", "seed: one"), "does not name a model, a task and a seed"),
    "endless seed": (lambda run: _replace(run, "seed: 1", "seed: " + "9" * 4000), "does not name a model"),
    "class of numbers": (lambda run: _replace(run, "lightning_ntm.NTM", "[1]"), "does not name a model"),
    "text for a measure": (change_row(validation_wrong_bits="1.5"), "metrics.jsonl is damaged"),
    "true for a measure": (change_row(validation_wrong_bits=True), "metrics.jsonl is damaged"),
    "huge measure": (change_row(validation_wrong_bits=1e308), "metrics.jsonl is damaged"),
    "infinite measure": (change_row(validation_wrong_bits=float("inf")), "metrics.jsonl is damaged"),
    "text for a step": (change_row(step="1"), "is damaged"),
    "huge step": (change_row(step=10**400), "is damaged"),
    "list for seconds": (change_row(seconds=[1]), "metrics.jsonl is damaged"),
    "deep row": (put("metrics.jsonl", f'{{"step": 1, "a": {DEEP_JSON}}}\n'), None),
    "endless row": (put("metrics.jsonl", "[" * 3_000_000), "metrics.jsonl is damaged"),
    "huge metrics": (sparse("metrics.jsonl", 2**40), "metrics.jsonl is damaged: it is larger than"),
    "measures of YAML": (put("measures.json", "measures:\n- name: a\n"), "measures.json is damaged: it is no JSON"),
    "measures of another kind": (put("measures.json", '{"measures": 3}'), "it does not declare measures"),
    "no measures": (put("measures.json", '{"measures": [], "without_error": ""}'), "must declare 1 to 16 measures"),
    "huge measures": (sparse("measures.json", 2**40), "measures.json is damaged: it is larger than"),
    "deep measures": (put("measures.json", DEEP_JSON), "measures.json is damaged"),
    "a path for a measure": (declare(name="../../a"), "a measure has the name"),
    "markup for a measure": (declare(name="a]<script>"), "a measure has the name"),
    "a step for a measure": (declare(name="step"), "a measure has the name"),
    "a list for a label": (declare(label=["a"]), "a text in it is too long, or not printable"),
    "a long label": (declare(label="a" * 10_000), "a text in it is too long"),
    "a text for a threshold": (declare(solved="0"), "a threshold of wrong_bits"),
    "an endless threshold": (declare(solved=10**400), "a threshold of wrong_bits"),
    "a threshold that is no number": (declare(near=float("nan")), "a threshold of wrong_bits"),
    "control characters in a label": (declare(label="\x1b[31mred\0"), None),
    "result of words": (put("result.json", '{"step": "last"}'), "result.json is damaged: it has no step"),
    "deep result": (put("result.json", f'{{"step": 300, "a": {DEEP_JSON}}}'), "result.json is damaged"),
    "texts in an evaluation": (
        put("evaluation.json", json.dumps({"results": [{**MEASURED, "length": "long"}]})), "evaluation.json is damaged"
    ),
    "huge evaluation": (
        put("evaluation.json", json.dumps({"results": [MEASURED] * 5000})), "evaluation.json is damaged"
    ),
    "lone surrogate": (put("about.jsonl", '{"machine": "\\ud800\\u001b[2J", "versions": {"a": [[1]]}}\n'), None),
    "deep note": (put("about.jsonl", f'{{"machine": {DEEP_JSON}}}\n'), None),
    **{
        f"{how.__name__} for {name}": (how(name), "no config.yaml" if name == "config.yaml" else says)
        for how in (pipe, device, folder)
        for name, says in {
            "config.yaml": "",
            "metrics.jsonl": "metrics.jsonl is damaged: it is no regular file",
            "result.json": "result.json is damaged: it is no regular file",
            "evaluation.json": "evaluation.json is damaged: it is no regular file",
            "measures.json": "measures.json is damaged: it is no regular file",
            "about.jsonl": "about.jsonl is damaged: it is no regular file",
            "best.safetensors": None,
            ".lock": None,
        }.items()
    },
}  # fmt: skip


def _replace(run, old, new):
    text = (run / "config.yaml").read_text()
    assert old in text
    (run / "config.yaml").write_text(text.replace(old, new))
