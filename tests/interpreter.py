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
    """Make the interpreter some times as fast, where it is in use.

    It replaces the functions of the language on every call of a function; once is enough. It looks for overflows in
    offsets, which the small arrays of tests cannot have. And it makes types and shapes anew for every result.
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
    _keep_types(language.core, interpreter)


def _keep_types(core, interpreter):
    """Make each type of a block, each shape of a tensor and each dtype of NumPy once."""
    make_type, make_tensor, find_dtype = core.block_type.__init__, core.tensor.__init__, interpreter._get_np_dtype
    types, shapes, dtypes = {}, {}, {}

    def make_type_once(self, element_ty, shape):
        shape = [core._unwrap_if_constexpr(size) for size in core._unwrap_if_constexpr(shape)]
        key = (type(element_ty), element_ty.name, *shape)
        if key not in types:
            make_type(self, element_ty, shape)
            types[key] = self.__dict__
        self.__dict__ = types[key]

    def make_tensor_once(self, handle, type):
        key = (*type.shape,) if type.is_block() else ()
        if key not in shapes:
            make_tensor(self, handle, type)
            shapes[key] = self.shape, self.numel
        self.handle, self.type, self.dtype = handle, type, type.scalar
        self.shape, self.numel = shapes[key]

    def find_dtype_once(found):
        key = found.name
        if key not in dtypes:
            dtypes[key] = find_dtype(found)
        return dtypes[key]

    core.block_type.__init__, core.tensor.__init__ = make_type_once, make_tensor_once
    interpreter._get_np_dtype = find_dtype_once
