"""`ntm import`: a network that another program trained, as a run folder."""

from pathlib import Path

from lightning_ntm.checks import check_name
from lightning_ntm.cli.words import Parser, UsageError, command, explained, filled, near

#: Implementations whose checkpoints can be read.
FORMATS = ("pytorch-ntm", "lightning-ntm", "clemkoa-ntm", "vlgiitr-ntm")


def import_run(argv: list[str]) -> int:
    """Make a run folder of a checkpoint."""
    arguments = _parser().parse_args(argv)
    if arguments.kind not in FORMATS:
        known = f"; known: {', '.join(FORMATS)}."
        raise UsageError(f"--from: unknown format {arguments.kind!r}{near(arguments.kind, FORMATS) or known}")
    from lightning_ntm.cli.output import say
    from lightning_ntm.exchange.importing import import_run as make

    name = arguments.name or f"{arguments.kind}-{Path(arguments.checkpoint).stem}"
    with explained():
        check_name("--name", name)
    follows = None if arguments.write_follows is None else arguments.write_follows == "read"
    with explained("", MemoryError, OverflowError, RuntimeError):
        made = make(
            Path(arguments.checkpoint),
            arguments.kind,
            Path(arguments.runs, name),
            task=arguments.task,
            write_follows_read=follows,
        )
    say("\n".join([str(made.folder), f"{type(made.network).__name__} on {made.task}", *made.notes]))
    say(f"Next: {command('evaluate', made.folder)}")
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="ntm import",
        description="Make a run folder from a checkpoint of another NTM implementation. Its network gives the "
        "outputs of the original. ntm evaluate, figure, explore, export and report take the folder. No code of the "
        "file is run.",
        allow_abbrev=False,
    )
    parser.add_argument("checkpoint", type=filled, metavar="CHECKPOINT", help="a file of torch.save")
    formats = ", ".join(FORMATS)
    parser.add_argument("--from", dest="kind", required=True, type=filled, metavar="FORMAT", help=f"one of {formats}")
    parser.add_argument(
        "--task",
        type=filled,
        metavar="TASK",
        help="the task: Copy, RepeatCopy, AssociativeRecall or PrioritySort, in the encoding of the implementation; "
        "or the import path of your own (by default it follows from the file or the sizes of the network)",
    )
    parser.add_argument("--name", type=filled, metavar="NAME", help="name of the run folder (FORMAT-FILE)")
    parser.add_argument("--runs", type=filled, metavar="FOLDER", default="runs", help="parent of the run folder (runs)")
    parser.add_argument(
        "--write_follows",
        choices=("read", "write"),
        help="clemkoa-ntm only: the head whose previous weighting the write head interpolates with: read for code "
        "before its commit 723d4eb, which trained the published checkpoints; write for later code",
    )
    return parser
