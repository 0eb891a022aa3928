"""What a run declares to measure, in its folder."""

from lightning_ntm.measures import Measures
from lightning_ntm.records.files import read_object
from lightning_ntm.records.folder import RunFolder


def declared(folder: RunFolder) -> Measures | None:
    """Return the declarations of a run; `None` of an older run, which measured bits and declared nothing.

    Raises:
        OSError: They cannot be read.
        ValueError: They are damaged.
    """
    if not folder.measures.exists():
        return None
    told = read_object(folder.measures)
    try:
        return Measures.from_object(told)
    except ValueError as error:
        raise ValueError(f"{folder.measures.name} is damaged: {error}") from None
