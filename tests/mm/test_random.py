"""Random sequences of system calls against a plain model of memory, and random pairs of a mover and a migration.

The model is a dict from page to content; it knows nothing of vmas, indexes or lists. What the simulated kernel maps,
what it refuses and why, and what a process reads there must agree with it under every algorithm.
"""

import contextlib
from errno import EFAULT, EINVAL, ENOMEM

import pytest
from calls import BASE, FAR, PAGE, TABLE, at, call
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from kernels import ALL, explorer
from looks import contents, vmas

from anonvma_rt.engine.strategy import script
from anonvma_rt.engine.strategy.pct import Pct
from anonvma_rt.engine.strategy.sticky import Sticky
from anonvma_rt.mm.lab.kernel import Refused
from anonvma_rt.mm.lab.world import World

EVERY = pytest.mark.parametrize("algorithm", ALL)
TOP = ((1 << 39) - (1 << 21) - BASE) // PAGE
LOW, HIGH = TABLE - 10, TABLE + 10  # a page-table border lies in the middle
EXECUTIONS = 300


class Memory:
    """What a process sees: `content` of each mapped page (0: never written), `own` the pages that were written."""

    def __init__(self):
        self.content, self.own = {}, set()

    def mapped(self, page, pages):
        return all(p in self.content for p in range(page, page + max(1, pages)))

    def unmap(self, page, pages):
        for p in range(page, page + pages):
            self.content.pop(p, None)
            self.own.discard(p)

    def highest_gap(self, pages):
        top = TOP
        for p in sorted(self.content, reverse=True):
            if p < top:
                if top - (p + 1) >= pages:
                    break
                top = p
        return top - pages

    def move(self, page, pages, to, new_pages):
        moved = [(self.content.get(page + i, 0) if i < pages else 0, page + i in self.own and i < pages)
                 for i in range(new_pages)]  # fmt: skip
        self.unmap(page, pages)
        for i, (tag, own) in enumerate(moved):
            self.content[to + i] = tag
            if own:
                self.own.add(to + i)

    # Each verb returns the errnos that are right and does what the call does up to there; `done` says how it went.

    def mmap(self, page, pages, done):
        self.unmap(page, pages)
        self.content |= dict.fromkeys(range(page, page + pages), 0)
        return {0}

    def munmap(self, page, pages, done):
        self.unmap(page, pages)
        return {0}

    def touch(self, page, pages, tag, done):
        for p in range(page, page + pages):
            if p not in self.content:
                return {EFAULT}
            self.content[p] = tag
            self.own.add(p)
        return {0}

    def read(self, page, pages, done):
        return {0} if self.mapped(page, pages) else {EFAULT}

    def compare(self, a, b, pages, done):
        return {0} if self.mapped(a, pages) and self.mapped(b, pages) else {EFAULT}

    def migrate(self, page, fail_copy, done):
        return {0} if page in self.own else {EINVAL}

    def mremap(self, page, pages, new_pages, to, maymove, fail_after, done):
        if to is not None:
            if not maymove or (to <= page < to + new_pages) or (page <= to < page + pages):
                return {EINVAL}
            self.unmap(to, new_pages)
        if pages >= new_pages:
            self.unmap(page + new_pages, pages - new_pages)
            pages = new_pages
            if to is None:
                return {0}
        if not self.mapped(page, pages):
            return {EFAULT}
        if done == EFAULT:
            return {EFAULT}  # more than one vma: the caller looks whether that is so
        if to is None:
            beyond = range(page + pages, page + new_pages)
            if pages and not any(p in self.content for p in beyond):
                self.content |= dict.fromkeys(beyond, 0)
                return {0}
            if not maymove:
                return {ENOMEM}
            to = self.highest_gap(new_pages)
        if done == ENOMEM and fail_after >= 0:
            return {ENOMEM}
        self.move(page, pages, to, new_pages)
        return {0}


pages_ = st.one_of(st.integers(LOW, HIGH - 1), st.integers(LOW, HIGH - 1), st.integers(TOP - 6, TOP - 1))
lengths = st.integers(1, 7)
CALLS = {
    "mmap": st.tuples(pages_, lengths),
    "munmap": st.tuples(pages_, lengths),
    "touch": st.tuples(pages_, lengths, st.integers(1, 5)),
    "read": st.tuples(pages_, lengths),
    "compare": st.tuples(pages_, pages_, st.integers(1, 3)),
    "migrate": st.tuples(pages_, st.booleans()),
    "mremap": st.tuples(pages_, st.integers(0, 7), lengths, st.one_of(st.none(), pages_, pages_),
                        st.integers(0, 5).map(bool), st.sampled_from([-1, -1, -1, 0, 1])),
}  # fmt: skip
moves = CALLS["mremap"].map(lambda arguments: ("mremap", arguments))
calls = st.sampled_from([*CALLS, "mremap", "mremap", "touch"]).flatmap(lambda v: st.tuples(st.just(v), CALLS[v]))
beginnings = st.lists(st.tuples(st.integers(LOW, HIGH - 1), lengths), min_size=1, max_size=4)


MORE = {"mmap": (1, 0, 0), "mremap": (0,)}  # writable and neither huge nor a stack; unmapped behind the move


def step(verb, arguments, errno=0):
    fails = None
    if verb == "mremap":
        *arguments, fail_after = arguments
        fails = ("table", fail_after) if fail_after >= 0 else None
    places = {"mremap": (0, 3), "compare": (0, 1)}.get(verb, (0,))
    numbers = [-1 if a is None else at(a) if i in places else int(a) for i, a in enumerate(arguments)]
    return call(verb, *numbers, *MORE.get(verb, ()), errno=errno, fails=fails)


class History:
    """Calls made one by one on the simulated kernel and on the model, each with the errno that both agree on."""

    def __init__(self, algorithm):
        self.algorithm, self.memory, self.steps = algorithm, Memory(), []

    def build(self, steps):
        return explorer(steps, algorithm=self.algorithm)

    def make(self, verb, arguments):
        if verb == "compare" and self.differs(*arguments):
            return
        errno = 0
        try:
            self.build([*self.steps, step(verb, arguments)]).close()
        except Refused as refused:
            errno = refused.errno
        whole = self.memory.mapped(*arguments[:2]) if verb == "mremap" else False
        assert errno in getattr(self.memory, verb)(*arguments, errno), (verb, arguments, errno)
        if errno == EFAULT and whole:
            first, last = arguments[0], arguments[0] + arguments[1]
            if arguments[3] is None or not any(first <= p < last for p in self.destination(arguments)):
                assert self.several(first, min(last, first + arguments[2])), (verb, arguments)
        self.steps.append(step(verb, arguments, errno))
        note(f"{verb}{arguments} -> {errno}")

    def destination(self, arguments):
        return range(arguments[3], arguments[3] + arguments[2])

    def several(self, first, last):
        return any(first < vma.start < last for vma in vmas(World(self.build(self.steps))))

    def differs(self, a, b, pages):
        content = self.memory.content
        seen = [(content.get(a + i), content.get(b + i)) for i in range(pages)]
        before = next((i for i, pair in enumerate(seen) if None in pair), pages)
        return any(left != right for left, right in seen[:before])


def agree(world, memory):
    assert {p for vma in vmas(world) for p in range(vma.start, vma.end)} == set(memory.content)
    for p, tag in memory.content.items():
        assert (contents(world, p)[0] or 0) == tag, p
        assert (world.pte(at(p))[1] != 0) == (p in memory.own), p
    mapped, number = 0, 1
    with contextlib.suppress(ValueError):  # the first number that is no page
        while page := world.page(number):
            assert page["refcount"] == page["mapcount"] and not page["locked"]
            mapped, number = mapped + page["mapcount"], number + 1
    assert mapped == len(memory.own) and number > len(memory.own)


def quick(examples):
    return settings(deadline=None, max_examples=examples, suppress_health_check=list(HealthCheck))


@EVERY
@quick(250)
@given(begin=beginnings, then=st.lists(calls, max_size=14))
def test_any_sequence_of_calls_agrees_with_the_model(algorithm, begin, then):
    history = History(algorithm)
    for page, pages in begin:
        history.make("mmap", (page, pages))
        history.make("touch", (page, pages, 1 + page % 5))
    for verb, arguments in then:
        history.make(verb, arguments)
    with history.build(history.steps) as made:
        agree(World(made), history.memory)
        assert made.run_with(script.replay(), 0, 1).failures == [], "the check"
        agree(World(made), history.memory)


@st.composite
def trips(draw):
    """What setup does, what the mover does, and the pages that matter: a move home, or one that fails half way.

    Calls at random seldom merge and seldom fail, so both are drawn on purpose: a part of an area was moved out and a
    piece of it comes home; or a part goes to where a page table ends, and the next table cannot be had.
    """
    area, pages = draw(st.integers(LOW, HIGH - 1)), draw(st.integers(2, 8))
    first = area + draw(st.integers(0, pages - 2))
    length = draw(st.integers(2, area + pages - first))
    setup = [("mmap", (area, pages)), ("touch", (area, pages, 3))]
    if draw(st.booleans()):
        away = draw(st.sampled_from([FAR, FAR - 2, LOW - 20, HIGH + 20]))
        skip = draw(st.integers(0, length - 1)) if draw(st.booleans()) else 0
        piece = draw(st.integers(1, length - skip))
        fail_after = draw(st.sampled_from([-1, -1, 0, 1]))
        setup.append(("mremap", (first, length, length, away, True, -1)))
        move = ("mremap", (away + skip, piece, piece, first + skip, True, fail_after))
        moved = range(away + skip, away + skip + piece)
    else:
        border = FAR - draw(st.integers(1, length - 1))
        move = ("mremap", (first, length, length + draw(st.integers(0, 2)), border, True, 1))
        moved = range(first, first + length)
    noise = st.lists(calls, max_size=2)
    return [*draw(noise), *setup, *draw(noise)], [move, *draw(st.lists(moves, max_size=1))], moved


def race(algorithm, trip, chosen, fails):
    """300 executions of a mover against one or two migrations: the violations, and the model agrees with the last."""
    setup, moving, moved = trip
    history = History(algorithm)
    for verb, arguments in setup:
        history.make(verb, arguments)
    own = [page for page in moved if page in history.memory.own] or sorted(history.memory.own)
    if not own:
        return {}
    ready = len(history.steps)
    for verb, arguments in moving:
        history.make(verb, arguments)
    threads = [[step("migrate", (own[number % len(own)], fail))] for number, fail in zip(chosen, fails, strict=True)]
    kinds = {}
    for strategy in (Pct(3), Sticky()):
        strategy.profiled(200)
        made = explorer(history.steps[:ready], history.steps[ready:], *threads, algorithm=algorithm, strategy=strategy)
        with made:
            done = made.run(0, EXECUTIONS // 2)
            assert done.halt is None, made.refusal
            names = made.subject.kinds()
            for _, kind in done.failures:
                kinds[names[kind]] = kinds.get(names[kind], 0) + 1
            if not done.failures:
                agree(World(made), history.memory)
    return kinds


races = given(
    trip=trips(),
    chosen=st.lists(st.integers(0, 100), min_size=1, max_size=2),
    fails=st.lists(st.booleans(), min_size=2, max_size=2),
)


@pytest.mark.parametrize("algorithm", ["moveto-tail", "rmap-locks", "rmap-locks,restore_peeks=true"])
@quick(150)
@races
def test_a_mover_and_migrations_never_lose_a_pte(algorithm, trip, chosen, fails):
    assert race(algorithm, trip, chosen, fails[: len(chosen)]) == {}


@pytest.mark.parametrize("algorithm", ["unpatched", "peeking", "moveto-tail-merge-only"])
def test_without_the_patch_stale_entries_appear_and_nothing_else(algorithm):
    seen = set()

    @quick(60)
    @races
    def every(trip, chosen, fails):
        seen.update(race(algorithm, trip, chosen, fails[: len(chosen)]))

    every()
    assert "stale-migration-entry" in seen, "these races are the right ones"
    assert seen <= {"stale-migration-entry", "bug-on"}


@pytest.mark.long
@pytest.mark.parametrize("algorithm", ["moveto-tail", "rmap-locks"])
@quick(10_000)
@races
def test_a_mover_and_migrations_never_lose_a_pte_in_many_worlds(algorithm, trip, chosen, fails):
    assert race(algorithm, trip, chosen, fails[: len(chosen)]) == {}
