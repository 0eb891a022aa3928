"""Fused programs that replace a model's step-by-step loop. Optional: the loop is the reference."""

from .choice import Kernel as Kernel, choose as choose
