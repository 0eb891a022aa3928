"""What a number of trials can show of a share."""

import math


def wilson(solved: int, tried: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Return the interval of Wilson (1927) for a share: the shares that `solved` of `tried` does not reject.

    Args:
        solved: From 0 to `tried`.
        tried: With 0 the interval is all from 0 to 1.
        z: Width in standard deviations; the default holds 95 % of a normal distribution.
    """
    if not 0 <= solved <= tried:
        raise ValueError(f"solved (={solved}) must be between 0 and tried (={tried}).")
    if tried == 0:
        return 0.0, 1.0
    share, squared = solved / tried, z * z / tried
    centre = (share + squared / 2) / (1 + squared)
    half = z * math.sqrt(share * (1 - share) / tried + squared / tried / 4) / (1 + squared)
    low = 0.0 if solved == 0 else centre - half
    high = 1.0 if solved == tried else centre + half
    return low, high


def none_of(tried: int) -> float:
    """Return the largest share of which `tried` trials may show none, with 95 % confidence: about 3 / `tried`.

    Args:
        tried: At least 1.
    """
    return float(1 - 0.05 ** (1 / tried))


def in_words(share: float) -> str:
    """Return a share that `none_of` gave, as `at most 3 in 100`."""
    return f"at most {100 * share:.2g} in 100"
