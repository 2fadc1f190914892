"""What a Machine shows: vmas, entries, pages, and rules that were broken; all of it frozen."""

from dataclasses import dataclass

from anonvma_rt.kernel.reasons import CHECKS
from anonvma_rt.text.expression import PAGE

__all__ = ["KernelBug", "Page", "Pte", "Violation", "Vma"]


@dataclass(frozen=True)
class Vma:
    """One vm_area_struct: [start, end) in bytes, pgoff in pages.

    faulted: it has an anon_vma. chain_length: how many anon_vmas its pages may belong to; one more for every fork.
    charged: it is writable or was once (VM_ACCOUNT), which /proc/PID/maps hides; with one that is not it never merges.
    noreserve: it is never charged (MAP_NORESERVE), which hinders merges as well. prot: "none", "read" or "write".
    """

    start: int
    end: int
    pgoff: int
    writable: bool
    faulted: bool
    chain_length: int
    charged: bool
    noreserve: bool = False
    prot: str = "read"

    @property
    def pages(self) -> int:
        return (self.end - self.start) // PAGE

    def __repr__(self) -> str:
        rights = {"write": "rw", "read": "r-", "none": "--"}[self.prot]
        if self.charged and not self.writable:
            rights += " charged"
        if self.noreserve:
            rights += " noreserve"
        chain = f"chain {self.chain_length}" if self.faulted else "unfaulted"
        return f"Vma({self.start:#x}-{self.end:#x} {rights} pgoff={self.pgoff:#x} {self.pages} pages, {chain})"


@dataclass(frozen=True)
class Pte:
    """A page-table entry. state: "none", "present", "migration", "swap" (pfn is the number of the slot), or "huge" (a
    huge pmd; pfn is that of the small page inside). pfn 0 with "present" is the zero page."""

    state: str
    pfn: int
    writable: bool


@dataclass(frozen=True)
class Page:
    """The counters of a page frame. mapcount: the number of present ptes (huge: pmds). refcount: that, and every other
    user. index: in the space of vm_pgoff. locked: PG_locked. order: of the huge page that it is a part of, whose
    refcount and lock these are: it has 2**order pages; 0 for a small page."""

    mapcount: int
    refcount: int
    index: int
    locked: bool
    order: int = 0


@dataclass(frozen=True)
class Violation:
    """An invariant that does not hold. kind: as in a hunt; text: where and what, in words."""

    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


class KernelBug(RuntimeError):
    """The simulated kernel broke one of its own rules in a call (its BUG(), a use after free, a deadlock).

    `violation` says which. The machine stands still from then on: it can be looked at, and every further call raises
    the same error."""

    def __init__(self, violation: Violation) -> None:
        super().__init__(str(violation))
        self.violation = violation


def violation(kind: str, a: int, b: int, c: int) -> Violation:
    return Violation(kind, CHECKS.get(kind, "({a}, {b}, {c})").format(a=a, b=b, c=c))
