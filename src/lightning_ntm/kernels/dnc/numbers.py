"""What a DNC declares to its programs."""

from typing import NamedTuple


class Numbers(NamedTuple):
    """Numbers of a DNC that do not follow from the shapes of its tensors."""

    recurrent: bool  # LSTM layers, else feed-forward layers
    num_read_heads: int
    masking: bool
    deallocation: bool
    sharpening: bool
    mask_floor: float
