"""Litmus tests as a subject: described in TOML, run by a compiled interpreter, small enough to be enumerated."""

from anonvma_rt.litmus.litmus import Litmus, LitmusProgram
from anonvma_rt.subjects.variants import Variant

__all__ = ["Litmus", "LitmusProgram", "Variant"]
