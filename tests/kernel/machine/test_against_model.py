"""Long random sequences of calls on a Machine, against a model in plain Python (memory_model.py), for every preset.

Nothing races here, so the algorithms that lose a pte in a race have to be as clean as all others: after every call all
invariants hold, what is mapped is what the model says, and so is every page that is read.
"""

from errno import EFAULT

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from memory_model import TOP, Memory

from anonvma_rt.kernel.algorithm import PRESETS
from anonvma_rt.kernel.machine import Machine
from anonvma_rt.text.expression import PAGE

# Fifteen pages on either side of a page-table border, the highest pages, and two huge pages.
BORDER = (1 << 18) + 512
HUGE = (1 << 19) + 512
AWAY = 1 << 20
MOST_PROCESSES = 4
STEPS = 50

small = st.integers(BORDER - 15, BORDER + 14)
high = st.integers(TOP - 8, TOP - 1)
huge = st.builds(lambda pmd, offset: HUGE + 512 * pmd + offset, st.integers(0, 2), st.sampled_from([0, 0, 0, 1, 300]))
anywhere = st.one_of(small, small, small, high, huge)
few = st.integers(1, 8)
lengths = st.one_of(few, few, few, few, st.sampled_from([512, 500]))
whose = st.integers(0, MOST_PROCESSES - 1)
which = st.integers(0, 1 << 20)
tags = st.integers(1, 1 << 30)


class Model(RuleBasedStateMachine):
    def __init__(self, algorithm):
        super().__init__()
        self.machine = Machine(algorithm)
        first = self.machine.process()
        chosen = self.machine.algorithm
        self.alive = [(first, Memory(chosen.calls, copies=not chosen.refuse_copies, aligned=chosen.aligned))]
        self.maps = {}

    def pick(self, who):
        return self.alive[who % len(self.alive)]

    def mapped_page(self, who, n):
        """A process, and a page of it that is mapped; None where it has none."""
        process, memory = self.pick(who)
        pages = sorted(memory.content)
        return (process, pages[n % len(pages)]) if pages else None

    def one_vma(self, process):
        """Whether one vma holds a range: its end page, or 0. Answers from before the call."""
        maps = [(vma.start // PAGE, vma.end // PAGE) for vma in process.maps()]

        def holds(page, pages):
            return next((end for start, end in maps if start <= page < end and page + pages <= end), 0)

        return holds

    def attempt(self, call, *args, **how):
        """(result, errno)"""
        try:
            return call(*args, **how), 0
        except OSError as refusal:
            return None, refusal.errno

    # ---- calls -----------------------------------------------------------------------------------------------------

    @rule(who=whose, page=anywhere, pages=lengths, writable=st.booleans())
    def mmap(self, who, page, pages, writable):
        process, memory = self.pick(who)
        result, errno = self.attempt(process.mmap, pages, at=page * PAGE, writable=writable)
        assert {errno} == memory.mmap(page, pages, writable) and result == page * PAGE

    @rule(who=whose, pages=few, writable=st.booleans())
    def mmap_anywhere(self, who, pages, writable):
        process, memory = self.pick(who)
        page = memory.place(pages)
        assert process.mmap(pages, writable=writable) == page * PAGE
        memory.mmap(page, pages, writable)

    @rule(who=whose, at=st.integers(0, 1), pages=st.sampled_from([512, 700, 1024]))
    def mmap_huge(self, who, at, pages):
        process, memory = self.pick(who)
        page = HUGE + 512 * at
        assert process.mmap(pages, at=page * PAGE, huge=True) == page * PAGE
        memory.mmap(page, pages, True)

    @rule(who=whose, page=anywhere, pages=lengths)
    def munmap(self, who, page, pages):
        process, memory = self.pick(who)
        _, errno = self.attempt(process.munmap, page * PAGE, pages)
        assert {errno} == memory.munmap(page, pages)

    @rule(who=whose, page=anywhere, pages=lengths, writable=st.booleans())
    def mprotect(self, who, page, pages, writable):
        process, memory = self.pick(who)
        _, errno = self.attempt(process.mprotect, page * PAGE, pages, writable)
        assert {errno} == memory.mprotect(page, pages, writable)

    @rule(who=whose, page=st.one_of(small, high), pages=few)
    def brk(self, who, page, pages):
        process, memory = self.pick(who)
        result, errno = self.attempt(process.brk, page * PAGE, pages)
        assert {errno} == memory.brk(page, pages)
        assert errno or result == (page + pages) * PAGE

    @rule(who=whose, n=which, pages=few, write=st.booleans())
    def touch(self, who, n, pages, write):
        chosen = self.mapped_page(who, n)
        if chosen is not None:
            (process, memory), page = self.pick(who), chosen[1]
            _, errno = self.attempt(process.touch, page * PAGE, pages, write)
            assert {errno} == (memory.write(page, pages, None) if write else memory.read(page, pages))

    @rule(who=whose, n=which, tag=tags)
    def write(self, who, n, tag):
        chosen = self.mapped_page(who, n)
        if chosen is not None:
            (process, memory), page = self.pick(who), chosen[1]
            _, errno = self.attempt(process.write, page * PAGE, tag)
            assert {errno} == memory.write(page, 1, tag)

    @rule(who=whose, n=which)
    def read(self, who, n):
        chosen = self.mapped_page(who, n)
        if chosen is not None:
            (process, memory), page = self.pick(who), chosen[1]
            assert process.read(page * PAGE) == memory.content[page]

    @rule(who=whose, page=anywhere)
    def read_anywhere(self, who, page):
        process, memory = self.pick(who)
        result, errno = self.attempt(process.read, page * PAGE)
        assert (result, errno) == ((memory.content[page], 0) if page in memory.content else (None, EFAULT))

    @rule(
        who=whose, n=which, page=st.one_of(st.none(), st.none(), st.none(), anywhere), pages=lengths,
        new=st.one_of(st.none(), st.none(), few, few, st.just(512)), to=st.one_of(st.none(), anywhere, anywhere),
        maymove=st.sampled_from([True, True, True, False]), dontunmap=st.sampled_from([True, False, False, False]),
        fails=st.sampled_from([False, False, False, True]), none=st.sampled_from([False] * 19 + [True]),
    )  # fmt: skip
    def mremap(self, who, n, page, pages, new, to, maymove, dontunmap, fails, none):
        process, memory = self.pick(who)
        chosen = self.mapped_page(who, n)
        page = chosen[1] if page is None and chosen is not None else BORDER if page is None else page
        page = min(page, TOP)
        holds = self.one_vma(process)
        end = holds(page, 1)
        if end and pages < 512:
            pages = min(pages, end - page) if n % 3 else pages
        pages = 0 if none else pages
        new = new or max(pages, 1)
        fails = fails and bool(holds(page, pages))
        self.make_mremap(process, memory, page, pages, new, to, maymove, dontunmap, fails)

    def make_mremap(self, process, memory, page, pages, new, to, maymove=True, dontunmap=False, fails=False):
        """fails: no page table can be had."""
        holds = self.one_vma(process)
        self.machine.fail_allocations(*range(1, 2000) if fails else (), kinds=["table"])
        result, errno = self.attempt(
            process.mremap, page * PAGE, pages, new, None if to is None else to * PAGE, maymove, dontunmap
        )
        self.machine.fail_allocations()
        wanted = memory.mremap(page, pages, new, to, maymove, dontunmap, fails, holds, errno)
        assert {errno} == wanted
        assert errno or to is None or result == to * PAGE

    @rule(who=whose, n=which, pages=few, below=few, above=few, dontunmap=st.booleans())
    def away_and_back(self, who, n, pages, below, above, dontunmap):
        """Pages leave, their neighbours are mapped anew, and they come back: this is where vmas of two pasts meet."""
        chosen = self.mapped_page(who, n)
        if chosen is not None:
            (process, memory), page = self.pick(who), min(chosen[1], TOP)
            self.make_mremap(process, memory, page, pages, pages, AWAY)
            for first, length in ((page - below, below), (page + pages, above)):
                process.mmap(length, at=first * PAGE)
                memory.mmap(first, length, True)
            self.make_mremap(process, memory, AWAY, pages, pages, page, dontunmap=dontunmap)

    @precondition(lambda self: len(self.alive) < MOST_PROCESSES)
    @rule(who=whose)
    def fork(self, who):
        process, memory = self.pick(who)
        self.alive.append((process.fork(), memory.fork()))

    @precondition(lambda self: len(self.alive) > 1)
    @rule(who=whose)
    def exit(self, who):
        process, memory = self.pick(who)
        process.exit()
        self.alive.remove((process, memory))

    @rule(who=whose, n=which)
    def migrate(self, who, n):
        chosen = self.mapped_page(who, n)
        pte = chosen and chosen[0].pte(chosen[1] * PAGE)
        if pte and pte.pfn:
            new = self.machine.migrate(pte.pfn)
            assert new != pte.pfn and chosen[0].pte(chosen[1] * PAGE).pfn == new

    @rule(who=whose, n=which)
    def split_huge_page(self, who, n):
        chosen = self.mapped_page(who, n)
        pte = chosen and chosen[0].pte(chosen[1] * PAGE)
        if pte and pte.pfn:
            self.machine.split_huge_page(pte.pfn)
            after = chosen[0].pte(chosen[1] * PAGE)
            zeroes = self.machine.algorithm.split_zeroes and after.pfn == 0 and chosen[0].read(chosen[1] * PAGE) == 0
            assert after.state == "present" and (after.pfn == pte.pfn or zeroes)

    @rule(who=whose, n=which, pages=few)
    def move_pages(self, who, n, pages):
        chosen = self.mapped_page(who, n)
        if chosen is not None:
            (process, memory), page = self.pick(who), chosen[1]
            status, errno = self.attempt(process.move_pages, page * PAGE, pages)
            assert errno == 0 and len(status) == pages
            unmapped = [memory.read(page + i, 1) != {0} for i in range(pages)]
            assert all(one == EFAULT or not gone for one, gone in zip(status, unmapped, strict=True))

    @rule(who=whose, n=which)
    def rmap(self, who, n):
        """The reverse map of a page finds the entries that a scan of all page tables finds."""
        chosen = self.mapped_page(who, n)
        pte = chosen and chosen[0].pte(chosen[1] * PAGE)
        if pte and pte.pfn:
            scanned = {
                (process.pid, page * PAGE)
                for process, memory in self.alive
                for page in memory.content
                if process.pte(page * PAGE).pfn == pte.pfn
            }
            found = self.machine.rmap(pte.pfn)
            assert {(process.pid, address) for process, address in found} == scanned
            assert len(found) == len(scanned)

    # ---- always ----------------------------------------------------------------------------------------------------

    @invariant()
    def holds(self):
        assert self.machine.check() == []
        assert self.machine.processes == [process for process, _ in sorted(self.alive, key=lambda pair: pair[0].pid)]
        for process, memory in self.alive:
            found = []
            for vma in process.maps():
                start, end = vma.start // PAGE, vma.end // PAGE
                if found and found[-1][1] == start and found[-1][2] == vma.writable:
                    found[-1][1] = end
                else:
                    found.append([start, end, vma.writable])
            assert found == memory.ranges()

    def teardown(self):
        if self.machine.check() == []:
            for process, memory in self.alive:
                assert {page: process.read(page * PAGE) for page in memory.content} == memory.content


def run(algorithm, sequences, steps):
    chosen = settings(
        max_examples=sequences,
        stateful_step_count=steps,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(lambda: Model(algorithm), settings=chosen)


@pytest.mark.parametrize("algorithm", PRESETS)
def test_any_sequence_of_calls_agrees_with_the_model(algorithm):
    run(algorithm, 30, STEPS)


@pytest.mark.long
@pytest.mark.parametrize("algorithm", PRESETS)
def test_thousands_of_sequences_agree_with_the_model(algorithm):
    run(algorithm, 500, 2 * STEPS)


@pytest.mark.parametrize("wrong", ["linux-6.19,merge=6.16-uncloned", "unpatched,merge=symmetric"])
def test_the_model_notices_an_algorithm_that_is_wrong_without_a_race(wrong):
    for algorithm in (wrong.split(",")[0], wrong):
        model = Model(algorithm)
        model.mmap(who=0, page=BORDER, pages=1, writable=True)
        model.write(who=0, n=0, tag=7)
        model.away_and_back(who=0, n=0, pages=1, below=1, above=1, dontunmap=False)
        if algorithm == wrong:
            with pytest.raises(AssertionError):
                model.holds()
        else:
            model.holds()
