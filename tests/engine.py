"""Runs the scripts of the page outside a page, in Node.js."""

import json
import shutil
import subprocess
from importlib.resources import files

import numpy as np
import pytest

WEB = files("lightning_ntm.explorer") / "web"
PROGRAM = """
const files = ["network", "episodes", "cells"].map((name) => `${process.argv[1]}/${name}.js`);
const [NETWORK, EPISODES, CELLS] = files.map(require);
const plain = (value) => value instanceof Float64Array || value instanceof Float32Array ? Array.from(value)
  : value && typeof value === "object" && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, plain(inner)])) : value;
const changes = (listed) => {
  const found = new Map();
  for (const [time, head, values] of listed) found.set(time, (found.get(time) ?? new Map()).set(head, values));
  return found;
};
const DO = {
  run: ({ network, inputs, changed }) =>
    NETWORK.run(NETWORK.opened(network), NETWORK.unpacked(inputs), changes(changed ?? [])),
  cells: ({ network, inputs }) => CELLS.shown(NETWORK.run(NETWORK.opened(network), NETWORK.unpacked(inputs))),
  random: ({ layout, length }) => EPISODES.random(layout, length),
  valid: ({ layout, items }) => EPISODES.valid(layout, items),
  make: ({ layout, items, repeats }) => EPISODES.made(layout, items, repeats),
  presented: ({ layout, inputs, mask }) =>
    EPISODES.presented(layout, { inputs: NETWORK.unpacked(inputs), mask: NETWORK.unpacked(mask) }),
  judge: ({ answer, logits, targets, mask }) => {
    const unpacked = NETWORK.unpacked, outputs = EPISODES.shown(answer, unpacked(logits));
    return { outputs, ...EPISODES.errors(answer, outputs, { targets: unpacked(targets), mask: unpacked(mask) }) };
  },
};
const calls = JSON.parse(require("fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(calls.map(([name, given]) => plain(DO[name](given)))));
"""


def run(*calls):
    """The results of calls of the scripts, each (name, arguments)."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node, which runs JavaScript, is not installed")
    text = json.dumps(calls)
    done = subprocess.run(
        [node, "-e", PROGRAM, str(WEB)], input=text, capture_output=True, encoding="utf-8", check=True
    )
    return [_arrays(result) for result in json.loads(done.stdout)]


def _arrays(result):
    if isinstance(result, dict) and result.keys() == {"shape", "data"}:
        return np.array(result["data"]).reshape(result["shape"])
    return {name: _arrays(value) for name, value in result.items()} if isinstance(result, dict) else result
