"""`ntm report`: what many runs say together, on one page."""

from lightning_ntm.cli.words import Parser, explained, filled


def report(argv: list[str]) -> int:
    """Write the report on the runs in some folders."""
    parser = Parser(
        prog="ntm report",
        description="Write one page, with its figures, on all runs of one task: curves, success, cost by length. "
        "Runs of several tasks are refused: report them one task at a time.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "folders", nargs="+", type=filled, metavar="FOLDER", help="run folders, or folders that hold them"
    )
    parser.add_argument(
        "--output", type=filled, help="the folder to write into, or the page itself; by default the first FOLDER"
    )
    arguments = parser.parse_args(argv)
    from lightning_ntm.cli.terminal import say
    from lightning_ntm.report import write_report

    with explained():
        page, *figures = write_report(arguments.folders, arguments.output)
    say(f"{page}\n{figures[0].parent}: {len(figures)} figures")
    return 0
