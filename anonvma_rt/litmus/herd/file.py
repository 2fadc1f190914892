"""A litmus file in one of herd's formats, read: header, initial state, threads, condition, and its own result."""

import re

from anonvma_rt.errors import ScenarioError
from anonvma_rt.litmus.herd.c import read_threads
from anonvma_rt.litmus.herd.condition import read_condition
from anonvma_rt.litmus.herd.initial import read_initial
from anonvma_rt.litmus.herd.lexer import Tokens, without_comments
from anonvma_rt.litmus.herd.table import read_table
from anonvma_rt.litmus.herd.tree import Test

__all__ = ["ARCHITECTURES", "is_herd", "read_test"]

ARCHITECTURES = ("C", "X86", "X86_64")
# Those that herd knows and the lab does not, so that a file of theirs is told from a text that is no litmus file.
_OTHERS = ("AARCH64", "ARM", "ASL", "BELL", "BPF", "CPP", "JAVA", "KVM", "LISA", "MIPS", "PPC", "PTX", "RISCV", "SPARC")
_HEADER = re.compile(r"\s*([A-Za-z][A-Za-z0-9_]*)[ \t]+(\S[^\n]*?)[ \t]*(?:\n|\Z)")
_STATE = re.compile(r"^[ \t]*\{", re.M)
_END = re.compile(r"^[ \t]*(~[ \t]*exists|exists|forall|locations|filter|not[ \t]+exists)\b", re.M)


def is_herd(text: str) -> bool:
    """Whether a text begins as herd's files do: with an architecture and a name, and no "=" that would make it TOML.

    >>> is_herd("C SB+mbs\\n{}"), is_herd('litmus = "sb"'), is_herd("PPC MP\\n{}")
    (True, False, True)
    """
    found = _HEADER.match(text)
    return found is not None and found[1].upper() in (*ARCHITECTURES, *_OTHERS) and not found[2].startswith("=")


def read_test(text: str, source: str) -> Test:
    """Raises ScenarioError, with the line, for whatever is not understood."""
    header = _HEADER.match(text)
    arch = header[1].upper() if header else ""
    if header is None or arch not in ARCHITECTURES:
        right = ", ".join(ARCHITECTURES)
        raise ScenarioError(
            f"{source}: line 1: the architecture {arch or 'of this file'} is not understood ({right} are)"
        )
    bare, result = without_comments(text, source, arch == "C")
    name, begin = header[2].split()[0], _STATE.search(bare, header.end())
    if begin is None:
        raise ScenarioError(f"{source}: line 2: there is no initial state (at least {{}} is needed)")
    line = bare.count("\n", 0, begin.start()) + 1
    if arch == "C":
        tokens = Tokens(bare[begin.start() :], source, line)
        initial = read_initial(tokens)
        threads = read_threads(tokens)
        condition = read_condition(tokens)
    else:
        table = _table_begins(bare, begin.start(), source)
        initial = read_initial(Tokens(bare[begin.start() : table], source, line))
        found = _END.search(bare, table)
        end = found.start() if found else len(bare)
        threads = read_table(bare[table:end], source, bare.count("\n", 0, table) + 1)
        condition = read_condition(Tokens(bare[end:], source, bare.count("\n", 0, end) + 1))
    return Test(
        arch=arch,
        name=name,
        source=source,
        kinds=initial.kinds,
        initial=initial.variables,
        registers=initial.registers,
        arrays=initial.arrays,
        threads=threads,
        condition=condition,
        result=result,
    )


def _table_begins(text: str, begin: int, source: str) -> int:
    """Where the initial state ends: behind the brace that closes its first one."""
    depth = 0
    for found in re.compile(r"[{}]").finditer(text, begin):
        depth += 1 if found[0] == "{" else -1
        if depth == 0:
            return found.end()
    raise ScenarioError(f"{source}: line {text.count(chr(10), 0, begin) + 1}: the initial state has no end")
