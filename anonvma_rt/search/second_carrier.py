"""A second opinion: violations that were found on one carrier, executed again on another.

Both make the same executions, hash for hash, so any difference is a bug of the lab. It runs one execution at a time, on
an explorer of its own.
"""

from dataclasses import dataclass, field

from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.run.records import Block
from anonvma_rt.lab.again import NotReproducible

__all__ = ["MOST_CONFIRMED", "NEVER_TRIED", "Confirmed", "Confirmer", "Disagreement"]

MOST_CONFIRMED = 1000  # violating executions, and the first of each kind besides
# The stack of a fiber is small and guarded; that of a thread is neither, and the lab would not survive.
NEVER_TRIED = "stack-overflow"


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
    after the same choices."""

    on: str
    tried: int = 0
    confirmed: int = 0
    disagreements: list[Disagreement] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        return self.tried == self.confirmed


class Confirmer:
    """explorer: of the other carrier, told of the same profile. Tries the first 1000 that it is shown, and the first of
    each kind whenever it comes."""

    def __init__(self, explorer: Explorer, carrier: str) -> None:
        self.explorer = explorer
        self.kinds: dict[int, str] = explorer.subject.kinds()
        self.result = Confirmed(carrier)
        self.known: set[int] = set()

    def show(self, index: int, kind: int, digest: bytes, idle: Explorer) -> None:
        """A violating execution, with the number of its kind and the digest of its choices; idle: of the first carrier.
        Raises NotReproducible where it is another one on the same carrier, too."""
        if self.kinds[kind] == NEVER_TRIED or (kind in self.known and self.result.tried >= MOST_CONFIRMED):
            return
        self.known.add(kind)
        block = self.explorer.run(index, 1)
        other = self.end(block)
        same = block.digests == digest
        self.result.tried += 1
        if other == self.kinds[kind] and same:
            self.result.confirmed += 1
        else:
            self.must_agree_with_itself(index, (self.kinds[kind], digest), idle)
            self.must_agree_with_itself(index, (other, block.digests), self.explorer)
            self.result.disagreements.append(Disagreement(index, self.kinds[kind], other, same))

    def end(self, block: Block) -> str:
        return self.kinds[block.failures[0].kind] if block.failures else block.halt or "none"

    def must_agree_with_itself(self, index: int, before: tuple[str, bytes], explorer: Explorer) -> None:
        for _ in range(2):
            block = explorer.run(index, 1)
            now = self.end(block), block.digests
            if now != before:
                what = "after other choices" if now[0] == before[0] else f"and as {now[0]} the second time"
                raise NotReproducible(f"it ended as {before[0]} the first time, {what}", index)
