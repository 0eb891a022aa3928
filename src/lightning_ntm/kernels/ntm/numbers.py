"""What an NTM declares to its programs."""

from typing import NamedTuple


class Numbers(NamedTuple):
    """Numbers of an NTM that do not follow from the shapes of its tensors."""

    recurrent: bool  # LSTM layers, else feed-forward layers
    num_read_heads: int
    num_write_heads: int
    max_shift: int
    gradient_limit: float  # 0 for none
    min_sharpening: float
