"""Every verb of the command at work on a run folder."""

from lightning_ntm.cli.verbs import _VERBS

_QUIET = "--trainer.enable_progress_bar false"
#: Arguments with which a verb meets a run folder `{run}` in a folder `{runs}` that is a sweep; files go to `{out}`.
WORDS = {
    "train": f"train --resume {{run}} --trainer.max_steps 6 {_QUIET}",
    "train by its configuration": f"train --config {{run}}/config.yaml --runs {{out}} --name x {_QUIET}",
    "sweep": "sweep {runs} --processes 1 --retries 0 --side-by-side off",
    "sweep --status": "sweep --status {runs}",
    "evaluate": "evaluate {run} --sequences 2",
    "evaluate all": "evaluate {runs} --sequences 2",
    "figure": "figure {run}",
    "explore": "explore {run} --html {out}/page.html",
    "export": "export {run} --format safetensors",
    "import": "import {run}/last.ckpt --from pytorch-ntm --runs {out}",
    "report": "report {runs}",
    "zoo": "zoo",
    "bench": "bench --repeats 1",
}
#: Verbs that read no run folder. `import` refuses the training state of one.
WITHOUT_FOLDER = {"zoo", "bench", "import"}


def verb_of(name: str) -> str:
    """The verb that a name in `WORDS` is about."""
    return WORDS[name].split()[0]


def words(name: str, run: str, runs: str, out: str) -> list[str]:
    """The arguments of a line of `WORDS`."""
    return WORDS[name].format(run=run, runs=runs, out=out).split()


assert {*map(verb_of, WORDS)} == {*_VERBS}, "a verb is missing in tests/verbs.py"
