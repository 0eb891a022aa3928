"""`ntm export`: a trained network as files for other programs."""

from pathlib import Path

from lightning_ntm.cli.words import Parser, explained, filled
from lightning_ntm.cli.zoo import folder_of

#: By format: what is written into the folder of exported files, or nothing for the folder itself.
_FILES = {"onnx": "model.onnx", "torch": "model.pt2", "safetensors": ""}


def export(argv: list[str]) -> int:
    """Export the network of a run."""
    parser = Parser(
        prog="ntm export",
        description="Export a trained network: as ONNX, as a program of torch.export, or as config.json and "
        "model.safetensors. The outputs of a program are compared with those of the network before it is written.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "run", type=filled, metavar="RUN", help="a run folder, a folder of save_pretrained, or a name of ntm zoo"
    )
    parser.add_argument("--format", required=True, choices=list(_FILES), help="what to write")
    parser.add_argument(
        "--output",
        type=filled,
        metavar="PATH",
        help="the file, for safetensors the folder (in RUN/exported; of a name of ntm zoo in ./NAME-exported)",
    )
    arguments = parser.parse_args(argv)
    from lightning_ntm.cli.terminal import say
    from lightning_ntm.exchange.exporting import export
    from lightning_ntm.exchange.pretrained import open_network
    from lightning_ntm.records import make_folder

    default = folder_of(arguments.run, "exported")
    place = Path(arguments.output) if arguments.output else default / _FILES[arguments.format]
    with explained("", MemoryError, OverflowError, RuntimeError):
        opened = open_network(arguments.run)
        if not arguments.output:
            make_folder(default)
        if arguments.format == "safetensors":
            task = None if opened.task is None or opened.task.files else opened.task
            opened.model.save_pretrained(place, task=task)
            say(f"{place / 'config.json'}\n{place / 'model.safetensors'}")
        else:
            difference = export(opened.model, place, arguments.format)
            say(f"{place}\nLargest difference from PyTorch: {difference:.0e} of the largest logit.")
    return 0
