"""`ntm export`: a trained network as files for other programs."""

from argparse import ArgumentTypeError
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_ntm.cli.words import Parser, UsageError, explained, file_of, filled, folder_name
from lightning_ntm.cli.zoo import folder_of

if TYPE_CHECKING:
    from lightning_ntm.models.base import MemoryModel
    from lightning_ntm.tasks.base import Task

#: By format: what is written into the folder of exported files, or nothing for the folder itself.
_FILES = {"onnx": "model.onnx", "torch": "model.pt2", "safetensors": ""}


def export(argv: list[str]) -> int:
    """Export the network of a run."""
    arguments = _parser().parse_args(argv)
    if arguments.push_to_hub and arguments.format != "safetensors":
        raise UsageError("--push_to_hub is for --format safetensors: the hub takes config.json and model.safetensors.")
    if arguments.output:
        with explained(f"--format {arguments.format}: --output "):
            _check_output(arguments.format, arguments.output)
    from lightning_ntm.cli.output import say
    from lightning_ntm.exchange.exporting import export
    from lightning_ntm.exchange.pretrained import open_network
    from lightning_ntm.records import make_folder, without_empty

    default = folder_of(arguments.run, "exported")
    place = Path(arguments.output) if arguments.output else default / _FILES[arguments.format]
    with explained("", MemoryError, OverflowError, RuntimeError):
        opened = open_network(arguments.run)
        with without_empty(place.parent if _FILES[arguments.format] else place):
            if not arguments.output:
                make_folder(default)
            if arguments.format == "safetensors":
                _share(opened.model, opened.task, place, arguments.push_to_hub)
            else:
                difference = export(opened.model, place, arguments.format)
                largest = f"{difference:.0e} of the largest logit" if difference else "none"
                say(f"{place}\nLargest difference from PyTorch: {largest}.")
                if arguments.format == "onnx":
                    say("It takes at least one sequence, of at least one step.")
    return 0


def _check_output(form: str, output: str) -> None:
    """Raise `ValueError` for a name that says that something else is written."""
    try:
        (file_of(Path(_FILES[form]).suffix) if _FILES[form] else folder_name)(output)
    except ArgumentTypeError as error:
        raise ValueError(str(error)) from None


def _share(model: "MemoryModel[Any]", task: "Task | None", place: Path, repository: str | None) -> None:
    """Write the files that people share, and upload them if a repository is given."""
    from lightning_ntm.cli.output import say

    kept = None if task is None or task.files else task
    model.save_pretrained(place, task=kept)
    say("\n".join(str(place / name) for name in ("config.json", "model.safetensors", "README.md")))
    if repository:
        say(model.push_to_hub(repository, task=kept))


def _parser() -> Parser:
    parser = Parser(
        prog="ntm export",
        description="Export a trained network: as ONNX, as a program of torch.export, or as config.json and "
        "model.safetensors. The outputs of a program are compared with those of the network before it is written.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "run", type=filled, metavar="RUN", help="a run folder, a folder of save_pretrained, or a name of ntm zoo"
    )
    parser.add_argument("--format", required=True, choices=list(_FILES), help="format of the files")
    parser.add_argument(
        "--output",
        type=filled,
        metavar="PATH",
        help="the file, for safetensors the folder (in RUN/exported; for a name of ntm zoo in ./NAME-exported)",
    )
    parser.add_argument(
        "--push_to_hub",
        type=filled,
        metavar="OWNER/NAME",
        help="for safetensors: upload the files to this repository of the Hugging Face hub (needs the extra hub)",
    )
    return parser
