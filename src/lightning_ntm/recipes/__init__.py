"""Configurations that come with the package, and how they complete what a user says."""

from .presets import plans, presets
from .resolving import SPEC, overlay, resolve

__all__ = ["SPEC", "overlay", "plans", "presets", "resolve"]
