"""What the operations of a program are compared with, however it is named: a class, file.py:Class, or a file in C.

Such a file is compiled to a library of its own (anonvma_rt_spec.h), which is kept in the cache.
"""

import ctypes
import hashlib
from pathlib import Path

from anonvma_rt.errors import UserError, quote
from anonvma_rt.linear import specification
from anonvma_rt.linear.specification import Specification
from anonvma_rt.programs.build import library

__all__ = ["CModel", "specified"]

NO_SUCH_OPERATION, VALUE = 0, 1
LARGEST = 1 << 16


def specified(spec: str | type | Specification) -> Specification:
    """What names a specification. Raises UserError."""
    if not isinstance(spec, str) or not spec.endswith(".c"):
        return specification.specified(spec)
    if not Path(spec).is_file():
        raise UserError(f"--spec {quote(spec)}: there is no such file")
    model = CModel(Path(spec).name, library(spec))
    return Specification(model.name, hashlib.sha256(Path(spec).read_bytes()).hexdigest(), lambda: model, spec)


class CModel:
    """A library as a linear.checker.Model: a state is its bytes. name: of the file in C."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        try:
            loaded = ctypes.CDLL(str(path))
            self.size = ctypes.c_ulong.in_dll(loaded, "rt_spec_size").value
            self.call = loaded.rt_spec_call
        except (OSError, ValueError, AttributeError) as error:
            raise UserError(f"--spec {quote(name)}: it needs rt_spec_size and rt_spec_call(): {error}") from None
        if not 0 < self.size <= LARGEST:
            raise UserError(f"--spec {quote(name)}: rt_spec_size is from 1 to {LARGEST}, not {self.size}")
        self.call.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_long, ctypes.POINTER(ctypes.c_long)]

    def begin(self) -> bytes:
        return bytes(self.size)

    def apply(self, state: bytes, name: str, argument: int | None) -> tuple[int | None, bytes]:
        then = ctypes.create_string_buffer(state, self.size)
        value = ctypes.c_long(0)
        kind = self.call(then, name.encode(), argument or 0, ctypes.byref(value))
        if kind == NO_SUCH_OPERATION:
            raise UserError(f"{self.name} has no operation {quote(name)}, which is called here")
        return (value.value if kind == VALUE else None), then.raw

    def key(self, state: bytes) -> bytes:
        return state
