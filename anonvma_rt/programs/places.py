"""Races and mistakes with memory in words: which variable, which places of the source, who made and freed an object.

The numbers are those of programs/memory.pyx. A place is how far the address that a call returns to lies before the
globals, so it is the same wherever the program is loaded.
"""

from collections.abc import Callable

from anonvma_rt.programs.image import Image
from anonvma_rt.programs.symbols import Symbols
from anonvma_rt.subjects.stacks import calls

__all__ = ["wrong"]

LOW = (1 << 32) - 1
BEFORE_WRITES, NOW_WRITES, BEFORE_ANNOUNCED, NOW_ANNOUNCED, WIDE, FREES = (1 << i for i in range(6))
BYTE = 255


def halves(number: int) -> tuple[int, int]:
    """The low and the high half of 64 bits."""
    return number & LOW, number >> 32 & LOW


def where(image: Image, place: int) -> str:
    """The call and its line, as in " in add (tally.c:7)"; "" where they are not known."""
    if not place:
        return ""
    found = calls((image.base - place,))
    return f" in {found[0]}" if found else ""


def wrong(symbols: Symbols, names: Callable[[int], str], kind: str, task: int, a: int, b: int, c: int) -> str | None:
    """A sentence for one of the kinds that are known here, else None. names: of threads."""
    if kind == "data-race":
        return _race(symbols, names, task, a, b, c)
    image = symbols.image
    who = names(task)
    low, high = halves(b)
    if kind == "freed":
        made, freed_by, made_by = c & LOW, c >> 32 & BYTE, c >> 40 & BYTE
        return (
            f"{who} used freed memory{where(image, low)}: {symbols.name(a)}, which {names(made_by)} allocated"
            f"{where(image, made)} and {names(freed_by)} freed{where(image, high)}."
        )
    if kind == "out-of-bounds":
        beyond, size = halves(c)
        beyond = beyond - (1 << 32) if beyond >> 31 else beyond
        how = f"{-beyond} bytes before" if beyond < 0 else f"{beyond} bytes behind" if beyond else "right behind"
        return (
            f"{who} used memory {how} an object of {size} bytes{where(image, low)}; the object was allocated"
            f"{where(image, high)}."
        )
    low, high = halves(c)
    if kind == "double-free":
        freed = where(image, high)
        return f"{who} freed {symbols.name(b)} a second time{where(image, low)}{f'; first{freed}' if freed else ''}."
    if kind == "bad-free":
        return f"{who} freed {symbols.name(b)}, which is no object of the heap,{where(image, low)}."
    return None


def _race(symbols: Symbols, names: Callable[[int], str], task: int, a: int, b: int, c: int) -> str:
    first, second = halves(b)
    other, stack, flags = c & BYTE, c >> 8 & BYTE, c >> 16 & BYTE
    step = c >> 24 & LOW
    what = f"a local variable of {names(stack - 1)}" if stack else symbols.name(a)
    verbs = [
        f"{'atomically ' if announced else ''}{'writes' if writes else 'reads'}"
        for writes, announced in (
            (flags & BEFORE_WRITES, flags & BEFORE_ANNOUNCED),
            (flags & NOW_WRITES, flags & NOW_ANNOUNCED),
        )
    ]
    if not first and flags & BEFORE_ANNOUNCED:
        verbs[0] = "synchronises with"
    if not second and flags & NOW_ANNOUNCED:
        verbs[1] = "synchronises with"
    if flags & FREES:
        verbs[1] = "frees"
    return (
        f"A data race on {what}: {names(other)} {verbs[0]} it{where(symbols.image, first)} (step {step}), "
        f"{names(task)} {verbs[1]} it{where(symbols.image, second)}, and nothing orders the two."
    )
