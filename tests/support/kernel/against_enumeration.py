"""One program searched in three ways, which must agree: class by class, schedule by schedule, and by hunts.

Of each class of interleavings (its hash) it is known how it ends: the kind of its violation, and a hash of the final
state. A search that leaves classes out, one that comes twice to a class, and an access that nobody announced, so that
two executions of one class end differently, all show as a difference.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.search.dpor import Dpor
from anonvma_rt.engine.strategy.random import Random
from anonvma_rt.engine.strategy.sticky import Sticky

__all__ = ["Compared", "Limits", "compare"]

NO_BOUND = 1 << 20  # preemptions: more than an execution has steps
LIVELOCK = 20_000  # steps


class Limits(NamedTuple):
    """Executions: of the search, of plain enumeration, and of each hunt."""

    search: int
    plain: int
    hunt: int


Ends = dict[int, tuple[str, int]]  # by class: a kind of violation or "none", and the hash of the final state


@dataclass
class Compared:
    """classes, kinds: what the search came to; searched, enumerated: whether it and the enumeration came to an end, the
    latter after so many `schedules`. wrong: what differs, a line each."""

    searched: bool = False
    enumerated: bool = False
    schedules: int = 0
    classes: Ends = field(default_factory=dict)
    kinds: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)


def compare(subject: Any, limits: Limits, search: Dpor | None = None) -> Compared:
    """subject: with ends(), as Witness has it. search: another one than that which is to be right. Raises what building
    the subject raises."""
    result = Compared()
    search = search or Dpor()
    with Explorer(subject, search, carrier="fibers") as explorer:
        explorer.bound = LIVELOCK
        explorer.observing = True
        # Where violations cut executions short a class may be visited often, so blocks are counted as well.
        left = limits.search // 16
        while not search.exhausted and len(result.classes) < limits.search and left and not result.wrong:
            left -= 1
            for one, end in _run(explorer, search, 256, result):
                # One that a violation cuts short may be the end of several of them.
                if one in result.classes and (end[0] == "none" or result.classes[one] != end):
                    result.wrong.append(f"class {one:x} is visited twice")
                result.classes[one] = end
        result.searched = search.exhausted
        result.kinds = {kind for kind, _ in result.classes.values()} - {"none"}
        plain, seen = Dpor(NO_BOUND), {}
        while not plain.exhausted and result.schedules < limits.plain and not result.wrong:
            block = _run(explorer, plain, 256, result)
            result.schedules += len(block)
            _same(result, "plain enumeration", seen, block)
        result.enumerated = plain.exhausted
        if result.searched and result.enumerated and not result.wrong:
            for one in result.classes.keys() - seen.keys():
                result.wrong.append(f"class {one:x} ({result.classes[one][0]}) is in the search and in no schedule")
        for strategy in (Random(), Sticky(3)):
            _same(result, strategy.__class__.__name__, {}, _run(explorer, strategy, limits.hunt, result))
    return result


def _run(explorer: Explorer, strategy: Any, count: int, result: Compared) -> list[tuple[int, tuple[str, int]]]:
    """(class, how it ends) of each execution of a block that came to an end."""
    kinds: Mapping[int, str] = explorer.subject.kinds()
    explorer.subject.ends()
    block = explorer.run_with(strategy, 0, count)
    if block.halt not in (None, "stopped"):
        result.wrong.append(f"a block of {type(strategy).__name__} ended: {block.halt}")
    found = {index: (kinds[kind], 0) for index, kind in block.failures}
    ended = dict.fromkeys(found) | {index: ("none", state) for index, state in explorer.subject.ends()}
    ends = [found.get(index, ended[index]) for index in sorted(ended)]
    hashes = list(memoryview(block.classes).cast("Q"))
    if len(hashes) != len(ends):
        # A block that was stopped may have looked at one execution more than it counts.
        result.wrong.append(f"{len(hashes)} classes of {len(ends)} executions")
    return list(zip(hashes, ends, strict=False))


def _same(result: Compared, who: str, seen: Ends, block: Iterable[tuple[int, tuple[str, int]]]) -> None:
    """Notes where executions are of no class that the search has, or end in another way than their class does."""
    for one, end in block:
        if result.searched and end[0] not in ("none", *result.kinds):
            result.wrong.append(f"{who} finds {end[0]}, which the search does not")
            result.kinds.add(end[0])
        known = result.classes.get(one)
        if known is None and result.searched:
            result.wrong.append(f"{who} has a class {one:x} ({end[0]}) that the search has not")
            result.classes[one] = end
        elif (known or end) != end or seen.get(one, end) != end:
            result.wrong.append(f"{who}: executions of class {one:x} end in {end} and in {known or seen[one]}")
        seen[one] = end
