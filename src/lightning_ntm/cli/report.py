"""`ntm report`: a comparison of many runs on one page."""

from lightning_ntm.cli.words import Parser, explained, filled


def report(argv: list[str]) -> int:
    """Write the report on the runs in the given folders."""
    parser = Parser(
        prog="ntm report",
        description="Write one page with figures on all runs of one task: learning curves, solved seeds, cost by "
        "length. For runs of several tasks: one table of their scores by ntm evaluate --range, and a figure for each.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "folders", nargs="+", type=filled, metavar="FOLDER", help="run folders, or folders that contain run folders"
    )
    parser.add_argument("--output", type=filled, help="output folder, or file name of the page (the first FOLDER)")
    parser.add_argument("--task", type=filled, help="report on this task alone, where there are several")
    arguments = parser.parse_args(argv)
    from lightning_ntm.cli.terminal import say
    from lightning_ntm.report import write_report

    with explained():
        page, *figures = write_report(arguments.folders, arguments.output, arguments.task)
    say(f"{page}\n{figures[0].parent}: {len(figures)} figures")
    return 0
