"""The Python names of what the kernel's files report (see notes.pxd): notes, assertions, violations, counters."""

from anonvma_rt.engine.run.task cimport VIOLATION_BAD_UNLOCK

from anonvma_rt.engine.run.subject import KINDS as ENGINE_KINDS


def names(enum, prefix="", between="-"):
    """{number: name} of an enum's members, without the prefix that C needs."""
    return {
        int(value): name.removeprefix(prefix).lower().replace("_", between) for name, value in enum.__members__.items()
    }


NOTES = names(Note, "NOTE_")
BUGS = names(Bug, "BUG_")
ALLOCATIONS = tuple(names(Allocation, "ALLOC_", "_").values())
COUNTERS = tuple(names(Counter, between="_").values())
# Violations by number: the kernel's own and the engine's.
KINDS = {**names(Kind), **ENGINE_KINDS, VIOLATION_BAD_UNLOCK: "wrong-root-unlock"}
