"""A sweep on a cluster of two nodes: one worker is killed, then a node is removed."""

import os
import signal
import threading
import time
from pathlib import Path

import ray
from ray.cluster_utils import Cluster
from tests.torture.runs import OFTEN, TINY

from lightning_ntm.records import RunFolder
from lightning_ntm.sweep import Plan, Worker
from lightning_ntm.sweep.ray import RayEngine

FOLDER = Path("runs/a")


def wait_for(condition):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def harm(cluster, node, runs):
    """Kill the worker of the first run, and once both train again, remove the node of one."""
    first, second = (RunFolder(FOLDER / run.name) for run in runs)
    wait_for(lambda: first.last.exists() and second.last.exists())
    worker = int((FOLDER / ".claims" / runs[0].name).read_text().split()[1])
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: len(first.notes()) > 1)
    cluster.remove_node(node)
    Path("go").touch()


waits = "--trainer.callbacks tests.torture.parts.Waits"  # until there is a file `go`
words = f"{TINY} {OFTEN} --trainer.max_steps 40 {waits}".split()[2:]
plan = Plan.of({"models": "tests.torture.parts.Forgetful", "seeds": "1-2"}, words)
plan.save(FOLDER)
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
node = cluster.add_node(num_cpus=1)  # a run on each
ray.init(address=cluster.address, log_to_driver=False)
threading.Thread(target=harm, args=(cluster, node, plan.runs), daemon=True).start()
ends = RayEngine(None).train(Worker(FOLDER, "lightning_ntm.cli.child.train", 3, print), plan.runs, lambda: None)
print(ends)
