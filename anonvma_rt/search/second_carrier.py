"""Which carrier a hunt searches on, and a second opinion: violations that were found on fibers, executed on threads.

Both make the same executions, hash for hash, so any difference is a bug of the lab, except where a fiber's stack is too
small for the code under test. The second explorer runs one execution at a time, and there is none until there is
something to confirm.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.run.records import Block
from anonvma_rt.engine.run.strategy import Strategy
from anonvma_rt.errors import UserError, reason
from anonvma_rt.lab.again import NotReproducible
from anonvma_rt.lab.explorers import AUTO
from anonvma_rt.lab.strategies import strategy_name

__all__ = ["MOST_CONFIRMED", "Confirmed", "Confirmer", "Disagreement", "FiberTooSmall", "carrier_for"]

MOST_CONFIRMED = 100  # violating executions, beside the first of each kind and those that are kept


class FiberTooSmall(Exception):
    """An execution used up the stack of a fiber and not that of a thread: only threads can say how it ends."""


def carrier_for(asked: str, strategy: Strategy) -> tuple[str, str]:
    """Who makes the executions of a hunt; and where that is not fibers although `auto` was asked for, why."""
    if asked != AUTO:
        return asked, ""
    if strategy.needs_gil:
        return "threads", f"strategy {strategy_name(strategy)} is Python, which cannot run on the stack of a fiber"
    if debugger := _traced_by():
        return "threads", f"a debugger looks on (process {debugger}), and sees a stack for each task only there"
    return "fibers", ""


def _traced_by() -> int:
    """The process that traces this one, 0 if there is none."""
    with suppress(OSError, ValueError), open("/proc/self/status", encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("TracerPid:"):
                return int(line.split()[1])
    return 0


@dataclass(frozen=True)
class Disagreement:
    """One execution that was not the same on both carriers; what it was on the other: a kind, "none", or why it ended.
    same_choices: whether at least its schedule was."""

    index: int
    found: str
    other: str
    same_choices: bool


@dataclass
class Confirmed:
    """on: the second carrier. tried: violating executions that were made again, `confirmed` of them with the same kind
    after the same choices. why_not: why there is no second carrier here, where the system refuses it."""

    on: str
    tried: int = 0
    confirmed: int = 0
    disagreements: list[Disagreement] = field(default_factory=list)
    why_not: str | None = None

    @property
    def agrees(self) -> bool:
        return self.tried == self.confirmed


class Confirmer:
    """make: makes an explorer of the other carrier, told of the same profile. Tries the first 100 that it is shown, the
    first of each kind whenever it comes, and each that is kept."""

    def __init__(self, make: Callable[[], Explorer], carrier: str) -> None:
        self.make = make
        self.explorer: Explorer | None = None
        self.kinds: dict[int, str] = {}
        self.result = Confirmed(carrier)
        self.known: set[int] = set()

    def show(self, index: int, kind: int, digest: bytes, idle: Explorer, kept: bool = False) -> bool:
        """A violating execution, with the number of its kind and the digest of its choices; idle: of the first carrier.
        Whether it was the same on the second one. Raises NotReproducible where it is another one on the same carrier,
        too, FiberTooSmall where it is no more than a stack that was too small."""
        if kind in self.known and self.result.tried >= MOST_CONFIRMED and not kept:
            return False
        explorer = self.opened()
        if explorer is None:
            return False
        self.known.add(kind)
        block = explorer.run(index, 1)
        other = self.end(block)
        same = block.digests == digest
        self.result.tried += 1
        if other == self.kinds[kind] and same:
            self.result.confirmed += 1
            return True
        self.must_agree_with_itself(index, (self.kinds[kind], digest), idle)
        self.must_agree_with_itself(index, (other, block.digests), explorer)
        if self.kinds[kind] == "stack-overflow":
            raise FiberTooSmall(f"execution {index} needs a larger stack than a fiber has")
        self.result.disagreements.append(Disagreement(index, self.kinds[kind], other, same))
        return False

    def opened(self) -> Explorer | None:
        """The explorer of the second carrier, made when it is first needed; None where there are no threads, no
        memory or no place for it."""
        if self.explorer is None and self.result.why_not is None:
            try:
                self.explorer = self.make()
                self.kinds = self.explorer.subject.kinds()
            except (OSError, MemoryError, UserError) as error:
                self.result.why_not = reason(error)
        return self.explorer

    def end(self, block: Block) -> str:
        return self.kinds[block.failures[0].kind] if block.failures else block.halt or "none"

    def must_agree_with_itself(self, index: int, before: tuple[str, bytes], explorer: Explorer) -> None:
        for _ in range(2):
            block = explorer.run(index, 1)
            now = self.end(block), block.digests
            if now != before:
                what = "after other choices" if now[0] == before[0] else f"and as {now[0]} the second time"
                raise NotReproducible(f"it ended as {before[0]} the first time, {what}", index)
