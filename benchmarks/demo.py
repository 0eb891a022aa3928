"""Runs the commands of the demonstration, docs/demo.md, one after the other, and prints the time of each.

    python benchmarks/demo.py           # seconds that the processor computed
    python benchmarks/demo.py --wall    # and seconds on the clock, on an idle machine

The page that opens in a browser is written to a file here.
"""

import argparse
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "demo.md"


def commands(text: str) -> list[tuple[str, list[str]]]:
    """Return the commands of the page in their order, each with its heading: those of `ntm`, and the Python script."""
    found: list[tuple[str, list[str]]] = []
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        heading = section.splitlines()[0].partition(":")[0]
        for kind, block in re.findall(r"^```(sh|python)\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL):
            if kind == "python":
                found.append((heading, [sys.executable, "-c", block]))
                continue
            for line in block.splitlines():
                program, *words = shlex.split(line)
                if program == "ntm":
                    page = ["--html", "page.html"] if words[0] == "explore" else []
                    found.append((heading, [sys.executable, "-m", "lightning_ntm", *words, *page]))
    return found


def main() -> None:
    """Run them in a folder of their own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wall", action="store_true", help="print seconds on the clock, too")
    wall, total = parser.parse_args().wall, 0.0
    print(f"{'cpu, s':>6}  {'wall, s' * wall:7}".rstrip())
    with tempfile.TemporaryDirectory() as folder:
        for heading, words in commands(PAGE.read_text(encoding="utf-8")):
            began, before = time.perf_counter(), os.times()
            done = subprocess.run(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if done.returncode:
                sys.exit(f"{shlex.join(words)}\n{done.stdout}")
            after = os.times()
            total += (
                cpu := after.children_user + after.children_system - before.children_user - before.children_system
            )
            shown = "python ..." if words[1] == "-c" else shlex.join(["ntm", *words[3:]])
            clock = f"{time.perf_counter() - began:7.1f}  " if wall else ""
            print(f"{cpu:6.1f}  {clock}{heading}: {shown}", flush=True)
    print(f"{total:6.1f}  in all")


if __name__ == "__main__":
    main()
