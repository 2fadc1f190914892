"""Why, in words: why the simulated kernel refused a call, and why an execution went wrong.

A call only returns its errno, as the real one does, and of mremap EINVAL alone has eight reasons: they are worked out
afterwards from its own arguments, by the tests that sys_mremap() (mm/mremap.c) and its like make, in their order. Why
an execution went wrong is worked out of its history.
"""

from collections.abc import Callable, Mapping
from errno import EAGAIN, EBUSY, EEXIST, EFAULT, EINVAL, ENOENT, ENOMEM
from typing import TYPE_CHECKING

from anonvma_rt.engine.run.records import Finding
from anonvma_rt.mm.hooks.notes import BUGS
from anonvma_rt.mm.lab.syscall import BIT_OF_NO_ACCESS, BIT_OF_READ_ONLY
from anonvma_rt.subjects.history import Event
from anonvma_rt.text.expression import PAGE

if TYPE_CHECKING:
    from anonvma_rt.kernel.history import KernelTrace

__all__ = ["ARRIVALS", "CAUSES", "CHECKS", "RESTORE", "TASK_SIZE", "Miss", "errno_of", "reason_of"]

TASK_SIZE = 1 << 39  # bytes of address space of a simulated process


def errno_of(code: int) -> int:
    """The errno that a user sees, of what a call of the simulated kernel returned."""
    return code & ~(BIT_OF_READ_ONLY | BIT_OF_NO_ACCESS)


def reason_of(verb: str, args: tuple[int, ...], code: int, fails: tuple[str, int] | None = None) -> str | None:
    """The reason in words, for a call of scenario.Call's form; None if the arguments do not tell. code: what it
    returned, without its sign. fails: which allocations were to fail during the step.

    >>> reason_of("mmap", (0, 0), EINVAL)
    'the length is 0 pages'
    """
    errno = errno_of(code)
    if errno == ENOMEM and fails is not None:
        return f"allocation of {fails[0]} failed after {fails[1]} (fail_after)"
    if verb == "mremap":
        return _mremap(args, errno)
    if verb == "uffd_move":
        return _uffd_move(args[0], args[1], errno)
    if verb == "compare":
        a, b, pages = args
        unaligned = _unaligned(a) or _unaligned(b)
        if errno == EINVAL:
            return unaligned
        return f"{_range(a, pages)} or {_range(b, pages)} is not all mapped" if errno == EFAULT else None
    if verb == "migrate":
        if errno == EINVAL and _unaligned(args[0]):
            return _unaligned(args[0])
        return f"no page is mapped at {args[0]:#x}"
    if len(args) < 2:
        return None
    at, pages = args[:2]
    if errno == EINVAL:
        return _unaligned(max(at, 0)) or ("the length is 0 pages" if pages == 0 else _outside(at, pages))
    if errno == ENOMEM and verb == "mmap":
        return _outside(at, pages) if at >= 0 else f"no gap of {pages} pages is free"
    if errno == EFAULT:
        if code & BIT_OF_NO_ACCESS:
            return f"nobody may access a mapping in {_range(at, pages)} (PROT_NONE)"
        read_only = f"a mapping in {_range(at, pages)} is read-only, and this writes"
        return f"{_range(at, pages)} is not all mapped" if code == errno else read_only
    return None


def _mremap(args: tuple[int, ...], errno: int) -> str | None:
    source, pages, new_pages, to, maymove, *_ = args
    if errno == EINVAL:
        if _unaligned(source):
            return _unaligned(source)
        if new_pages == 0:
            return "the new length is 0 pages"
        if to >= 0:
            if not maymove:
                return "a destination (to) needs maymove = true, as MREMAP_FIXED needs MREMAP_MAYMOVE"
            if _unaligned(to) or _outside(to, new_pages):
                return _unaligned(to) or _outside(to, new_pages)
            # mremap_to() compares the source's old with the destination's new length
            if to < source + pages * PAGE and source < to + new_pages * PAGE:
                return f"source {_range(source, pages)} and destination {_range(to, new_pages)} overlap"
        return "the length is 0 pages" if pages == 0 else None
    if errno == EFAULT:
        return f"the range {_range(source, pages)} is not inside one mapping"
    if errno == ENOMEM and to < 0 and not maymove and new_pages > pages:
        return "the mapping cannot grow where it is, and maymove is false"
    return None


def _uffd_move(source: int, to: int, errno: int) -> str | None:
    why = {
        EINVAL: _unaligned(source) or _unaligned(to) or "both mappings must be writable",
        ENOENT: f"no page is at {source:#x}, or no mapping at {to:#x}",
        EEXIST: f"a page is at {to:#x} already",
        EBUSY: f"the page at {source:#x} is shared, or was since it was last written to",
        EAGAIN: f"the page at {source:#x} was on its way",
    }
    return why.get(errno)


def _unaligned(address: int) -> str | None:
    return f"address {address:#x} is not page-aligned" if address % PAGE else None


def _outside(at: int, pages: int) -> str | None:
    return f"{_range(at, pages)} ends above the address space of 2**39 bytes" if at + pages * PAGE > TASK_SIZE else None


def _range(at: int, pages: int) -> str:
    return f"[{at:#x},{at + pages * PAGE:#x})"


# ---- why an execution went wrong -------------------------------------------------------------------------------------

RESTORE = 2  # the walk that looks for migration entries
# The notes of which the entry (c) comes to a place.
ARRIVALS = ("set", "copy")
# The types of mm/mm_types.pxd that can leak.
PAGES = 6
FREED_TABLES = {7: "a page table", 8: "a directory of page tables"}
LOST = {3: "vmas", 4: "anon_vmas", 5: "anon_vma_chains", 7: "page tables", 8: "directories of page tables"}

# What a check of the whole state finds, in a clause; the words in braces: KernelTrace.fill().
CHECKS = {
    "stale-migration-entry": "process {a} has an entry for page {c} at {b:#x}, and nobody migrates that page",
    "mapcount-mismatch": "page {a} counts {b} mappings, and the page tables hold {c}",
    "unreachable-pte": "the pte at {b:#x} of process {a} cannot be found through the reverse map of its page "
    "(rule {c})",
    "writable-pte": "the pte at {b:#x} of process {a} may write to page {c}, and its vma may not be written to",
    "wrong-protection": "the pte at {b:#x} of process {a} has not the protection of its vma: nobody may access the "
    "one, and everybody the other",
    "wrong-charge": "process {a} is charged for {b} pages, and its vmas will give back {c}",
    "swap-mismatch": "slot {a} of the swap area counts {b} entries, and the page tables hold {c}",
    "lost-pin": "process {a} has pinned page {c} at {b:#x}, and the address shows it no more",
    "stale-translation": "a CPU has a translation of {b:#x} in process {a} to page {c}, which allows more than the "
    "page tables do",
    "shared-writable": "an entry may write to page {a}, and {b} entries show it",
    "list-corruption": "vma {a} and anon_vma {b} are not linked as they should be (rule {c})",
}

# The notes of an access and of the end of a call.
ACCESSES = ("tlb-hit", "tlb-fill", "tlb-flush")

# The kernel's own assertions.
ASSERTIONS = {
    "page-not-locked": "it decoded a migration entry at {c:#x}, and page {b} is not locked: its migration has ended",
    "order": "it moves ptes from {vma_b} to {vma_c}, and the source is not listed first",
    "destination-not-none": "a move would write over the pte at {b:#x}",
    "self-merge": "a faulted source merged with itself ({vma_b})",
    "split-count": "split_huge_page counted {b} pmds, and {c} are mapped",
    "bad-pmd": "a page table has to be at {c:#x}, and a huge pmd is there",
    "no-anon-vma": "a page is to be mapped in {vma_b}, which has no anon_vma",
    "second-root": "the chain of a vma leads to anon_vma {b}, whose root is another one",
    "rmap-root": "page {b} is mapped at {c:#x}, and the root of its anon_vma is not that of the vma's",
    "rmap-index": "page {b} is mapped at {c:#x}, where its index does not belong",
    "no-table": "it takes the pmd of {c:#x} for a page table, and it is empty by now",
    "counters": "anon_vma {b} is freed, and its children and users count {c}",
    "foreign-vma": "it handles its fault in {vma_b}, which is one of process {c} by now",
    "bad-swap": "slot {b} of the swap area is freed, or gets one more entry, and nobody uses it",
    "split-mapped": "huge page {b} is to be split, and {c} entries show it still",
    "split-writable": "huge page {b} is split, and {c} pmds show it, one of them writable",
}


def _sentence(clause: str) -> str:
    return f"{clause[0].upper()}{clause[1:]}."


def _use_after_free(trace: "KernelTrace", found: Finding) -> str:
    if found.task < 0:
        return "At the end something is named that has been freed: page {b} or process {b} leads to it."
    named = trace.name(found.b) if found.b > 0 else None
    # What a freed table was for cannot be read from it any more.
    what = FREED_TABLES.get(found.a) or (f"{named[0]} {named[1]}" if named else "an object")
    return f"{{who}} followed {'page {c}' if found.c else 'a pointer'} to {what} at step {{step}}, after it was freed."


def _list_corruption(trace: "KernelTrace", found: Finding) -> str:
    if found.task < 0:
        return f"{CHECKS['list-corruption']}."
    what = "is damaged" if found.a else "changed without the lock, which another task holds"
    return f"At step {{step}} of {{who}} the list of anon_vma {{b}} {what}."


def _bug(trace: "KernelTrace", found: Finding) -> str:
    name = BUGS.get(found.a, f"assertion {found.a}")
    return f"{{who}} stopped at step {{step}}: {ASSERTIONS.get(name, f'{name} (page {{b}})')}."


def _leak(trace: "KernelTrace", found: Finding) -> str:
    if found.a == PAGES:
        return "At the end page {b} has {c} references that nobody holds."
    if found.b:
        return "At the end anon_vma {b} counts {c} users that it does not have."
    return f"At the end {{c}} {LOST.get(found.a, 'objects')} are allocated that nothing leads to."


def _stale_translation(trace: "KernelTrace", found: Finding) -> str:
    if found.task < 0:
        return _sentence(CHECKS["stale-translation"])
    last = next(
        (event for event in reversed(trace.events) if event.task == found.task and event.what in ACCESSES), None
    )
    if last is not None and last.what == "tlb-hit" and (last.b, last.c) == (found.b, found.c):
        return "{who} accessed page {c} at step {step}, by a translation of {b:#x}, after the page was freed."
    return "{who} was done at step {step}, and a CPU still has a translation of {b:#x} to page {c} from before."


def _lost_page(trace: "KernelTrace", found: Finding) -> str:
    contents = f"The content at {{a:#x}} is {found.c >> 32:#x}, and at {{b:#x}} it is {found.c & 0xFFFFFFFF:#x}"
    return f"{contents}: a page was lost."


# By kind, the sentences, with words in braces as in CHECKS. What the engine itself finds, Trace.cause() says.
CAUSES: Mapping[str, "str | Callable[[KernelTrace, Finding], str]"] = {
    "stale-migration-entry": lambda trace, found: Miss(trace, found).sentence(),
    "lost-page": _lost_page,
    "mapcount-mismatch": _sentence(CHECKS["mapcount-mismatch"]),
    "unreachable-pte": _sentence(CHECKS["unreachable-pte"].removesuffix(" (rule {c})")),
    "writable-pte": _sentence(CHECKS["writable-pte"]),
    "wrong-protection": _sentence(CHECKS["wrong-protection"]),
    "wrong-charge": _sentence(CHECKS["wrong-charge"]),
    "swap-mismatch": _sentence(CHECKS["swap-mismatch"]),
    "lost-pin": _sentence(CHECKS["lost-pin"]),
    "leaked-write": "At step {step} {who} wrote at {b:#x} of process {a} to a page of which process {c} has a "
    "reference.",
    "stale-translation": _stale_translation,
    "shared-writable": _sentence(CHECKS["shared-writable"]),
    "wrong-merge": "{who} counted {b} vmas from {a:#x} on, and {c} would be right.",
    "use-after-free": _use_after_free,
    "list-corruption": _list_corruption,
    "bug-on": _bug,
    "leak": _leak,
}


class Miss:
    """How the last restore walk for a page came to pass an entry that stayed at one address of one process."""

    def __init__(self, trace: "KernelTrace", finding: Finding) -> None:
        self.trace = trace
        self.process, self.address, self.pfn = finding.a, finding.b, finding.c

    def sentence(self) -> str:
        walk = self.last_walk()
        if walk is None:
            return f"A migration entry for page {self.pfn} stays at {self.address:#x}: no restore walk came for it."
        missed = (self.missed(e) if e.what == "look" else self.skipped(e) for e in walk)
        looks = [phrase for phrase in missed if phrase]
        came = self.arrival((*ARRIVALS, "unmap"))
        where = self.trace.place(came.a, came.b) if came else f"{self.address:#x}"
        walker = self.trace.task(walk[0].task)
        why = f"{walker} {', then '.join(looks)}. " if looks else f"{walker} never looked there. "
        return (
            f"{why}So its restore walk missed the migration entry of page {self.pfn}, which stays at {where} for ever."
        )

    def looks(self) -> list[Event]:
        """The events of the last restore walk that passed over the entry; all its looks where none can be blamed."""
        walk = self.last_walk() or []
        blamed = [e for e in walk if (self.missed(e) if e.what == "look" else self.skipped(e))]
        return blamed or [e for e in walk if e.what in ("look", "no-look")]

    def arrival(self, kinds: tuple[str, ...]) -> Event | None:
        """The last event of these kinds at the place where the entry stays."""
        return next((e for e in reversed(self.trace.events) if e.what in kinds and self.here(e)), None)

    def here(self, event: Event) -> bool:
        return event.b == self.address and self.trace.owners.get(event.a, 0) == self.process

    def same_place(self, one: Event, other: Event) -> bool:
        return one.b == other.b and self.trace.owners.get(one.a, 0) == self.trace.owners.get(other.a, 0)

    def last_walk(self) -> list[Event] | None:
        """The events of the last restore walk for the page, its task's only."""
        events = self.trace.events
        begins = [i for i, e in enumerate(events) if e.what == "walk" and (e.a, e.b, e.c) == (RESTORE, self.pfn, 0)]
        if not begins:
            return None
        walk = []
        for event in events[begins[-1] :]:
            if event.task == events[begins[-1]].task:
                walk.append(event)
                if event.what == "walk" and event.c == 1:
                    break
        return walk

    def missed(self, look: Event) -> str | None:
        """Why one look did not see the entry: it had not come yet, or it had left; None if it never was there."""
        if look.c & 3 == 2 and look.c >> 8 == self.pfn:
            return None
        place = self.trace.place(look.a, look.b)
        moves = [
            e
            for e in self.trace.events
            if e is look or (e.what in ("clear", *ARRIVALS) and e.c & 3 == 2 and e.c >> 8 == self.pfn)
        ]
        position = next(i for i, e in enumerate(moves) if e is look)
        left = next(
            (i for i in range(position, -1, -1) if moves[i].what == "clear" and self.same_place(moves[i], look)), None
        )
        if left is not None:
            landed = next((i for i in range(left, len(moves)) if moves[i].what == "set"), None)
            if landed is None:
                return f"looked at {place} after it had left"
            if landed > position:
                mover = self.trace.task(moves[left].task)
                return f"looked at {place} when {mover} had taken it out and not yet put it anywhere"
            return f"looked at {place} after it had left for {self.trace.place(moves[landed].a, moves[landed].b)}"
        comes = next((e for e in moves[position:] if e.what in ARRIVALS and self.same_place(e, look)), None)
        if comes is None:
            changed = self.changing(look)
            vma = self.trace.vma(look.a)
            return f"looked at {place} while {changed} was moving the beginning of {vma}" if changed else None
        verb = "copied" if comes.what == "copy" else "moved"
        return f"looked at {place} before {self.trace.task(comes.task)} had {verb} the entry there"

    def changing(self, event: Event) -> str | None:
        """The task that is changing the range of the vma that a walk computes an address in."""
        if self.trace.owners.get(event.a, 0) != self.process:
            return None
        ranges = (e for e in self.trace.events if e.what == "range" and e.a == event.a and e.task != event.task)
        return next((self.trace.task(e.task) for e in ranges), None)

    def skipped(self, event: Event) -> str | None:
        """Why a vma was passed over although the entry was or came there: its range was changing, or did not reach that
        far yet."""
        if event.what != "no-look":
            return None
        if changed := self.changing(event):
            return f"passed over {self.trace.vma(event.a)} while {changed} was moving its beginning"
        events = iter(self.trace.events)
        any(e is event for e in events)
        mover = next((e for e in events if e.what == "set" and e.a == event.a), None)
        if mover is None:
            return None
        who = self.trace.task(mover.task)
        return f"passed over {self.trace.vma(event.a)} before {who} had merged the destination into it"
