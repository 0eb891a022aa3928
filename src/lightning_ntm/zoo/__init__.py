"""Trained networks that come with the package: a small run folder for each, found by its name."""

from .shipped import (
    Shipped as Shipped,
    described as described,
    is_shipped as is_shipped,
    located as located,
    names as names,
)
