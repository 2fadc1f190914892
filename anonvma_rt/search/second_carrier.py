"""A second opinion: violations that were found on one carrier, executed again on another.

Both make the same executions, hash for hash, so any difference is a bug of the lab. It runs one execution at a time, on
an explorer of its own.
"""

from dataclasses import dataclass, field

from anonvma_rt.engine.run.explorer import Explorer

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

    def show(self, index: int, kind: int, digest: bytes) -> None:
        """A violating execution, with the number of its kind and the digest of its choices."""
        if self.kinds[kind] == NEVER_TRIED or (kind in self.known and self.result.tried >= MOST_CONFIRMED):
            return
        self.known.add(kind)
        block = self.explorer.run(index, 1)
        other = self.kinds[block.failures[0].kind] if block.failures else block.halt or "none"
        same = block.digests == digest
        self.result.tried += 1
        if other == self.kinds[kind] and same:
            self.result.confirmed += 1
        else:
            self.result.disagreements.append(Disagreement(index, self.kinds[kind], other, same))
