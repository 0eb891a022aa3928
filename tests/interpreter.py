"""Triton programs in tests: how they are imported, and how Triton's interpreter becomes fast enough for them."""

import os
from dataclasses import replace
from importlib.machinery import PathFinder
from importlib.util import find_spec


class UncheckedPrograms(PathFinder):
    """Imports Triton programs without checks of their annotations: Triton needs functions as they are written."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        package, _, module = name.rpartition(".")
        programs = package == "lightning_ntm.kernels.ntm.triton" and module in ("probe", "programs", "stages")
        return super().find_spec(name, path, target) if programs else None


def hasten():
    """Make the interpreter twice as fast, where it is in use.

    It replaces the functions of the language on every call of a function; once is enough. And it looks for overflows in
    offsets, which the small arrays of tests cannot have.
    """
    if os.environ.get("TRITON_INTERPRET") != "1" or not find_spec("triton"):
        return
    from triton import language
    from triton.runtime import interpreter

    replace_functions, replaced = interpreter._patch_lang, set()

    def replace_once(function):
        used = frozenset(id(v) for v in function.__globals__.values() if v is language or v is language.core)
        if used not in replaced:
            replaced.add(used)
            replace_functions(function)
        return interpreter._LangPatchScope()  # restores nothing

    interpreter._patch_lang = replace_once
    builder = interpreter.interpreter_builder
    builder.options = replace(builder.options, sanitize_overflow=False)
