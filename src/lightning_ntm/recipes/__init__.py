"""Configurations that come with the package, and how they complete what a user says."""

from .presets import plans, presets
from .resolving import overlay, resolve

__all__ = ["overlay", "plans", "presets", "resolve"]
