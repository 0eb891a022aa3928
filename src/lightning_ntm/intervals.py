"""Confidence intervals of a share, from a number of trials."""

import math

#: Fewest values whose mean has an interval: of 3 values, 1.96 standard errors hold the mean in 81 of 100 cases only.
FEWEST = 10


def wilson(solved: int, tried: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Return the two-sided confidence interval of Wilson (1927) for the share `solved` / `tried`.

    Args:
        solved: From 0 to `tried`.
        tried: Number of trials. With 0 the interval is [0, 1].
        z: Half the width in standard deviations. The default gives 95 % confidence.
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
    """Return the one-sided upper 95 % confidence bound of a share with no success in `tried` trials: about 3 / `tried`.

    The interval of `wilson` is two-sided, so its end is a little further: 3.7 in 100, where this one is 3 in 100.

    Args:
        tried: At least 1.
    """
    return float(1 - 0.05 ** (1 / tried))


def in_words(share: float) -> str:
    """Return an upper bound from `none_of` as text, for example `at most 3 in 100`."""
    return f"at most {100 * share:.2g} in 100"
