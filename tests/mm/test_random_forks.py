"""Random calls of three processes, forks, protections and huge pages among them, against a plain model of memory; and
random pairs of such processes with migrations and splits, under every kernel that should survive them.

As test_mm_random.py, which knows one process and more about mremap. The model is a dict from page to content and right
to write; of what happens inside it knows nothing. Areas are multiples of a quarter of a huge page.
"""

from errno import EEXIST, EFAULT, EINVAL, ENOMEM

import pytest
from calls import exit_process, fork, migrate, mmap, mprotect, mremap, munmap, read, split, touch
from hypothesis import HealthCheck, assume, given, note, settings
from hypothesis import strategies as st
from kernels import explorer
from looks import contents, vmas

from anonvma_rt.engine.strategy.pct import Pct
from anonvma_rt.engine.strategy.sticky import Sticky
from anonvma_rt.mm.lab.kernel import Refused
from anonvma_rt.mm.lab.world import World

# Up to 3.15 two exits and a migration can free a root too early (Z29; test_mm_pool.py): not what is looked for here.
NO_Z29 = "free_root_first=false"
SOUND = [f"moveto-tail,{NO_Z29}", f"rmap-locks,{NO_Z29}", f"interval-tree,{NO_Z29}", "modern"]
SOUND.append("linux-host,calls=3.2")  # of several vmas in one mremap the model knows nothing
QUARTER, PLACES, PROCESSES = 128, 12, 3
HOLE = PLACES * QUARTER * 2  # everything moves to here or below
EXECUTIONS = 80


class Memory:
    """What each process sees: {page: [content, writable]}. The calls return the errnos that are right."""

    def __init__(self):
        self.pages = [{} for _ in range(PROCESSES)]

    def mmap(self, process, page, pages, writable, huge):
        self.munmap(process, page, pages)
        self.pages[process] |= {p: [0, writable] for p in range(page, page + pages)}
        return {0}

    def munmap(self, process, page, pages):
        for p in range(page, page + pages):
            self.pages[process].pop(p, None)
        return {0}

    def mprotect(self, process, page, pages, writable):
        for p in range(page, page + pages):
            if p not in self.pages[process]:
                return {ENOMEM}
            self.pages[process][p] = [self.pages[process][p][0], writable]
        return {0}

    def touch(self, process, page, pages, tag):
        for p in range(page, page + pages):
            if not self.pages[process].get(p, (0, False))[1]:
                return {EFAULT}
            self.pages[process][p] = [tag, True]
        return {0}

    def read(self, process, page, pages):
        return {0} if all(p in self.pages[process] for p in range(page, page + pages)) else {EFAULT}

    def mremap(self, process, page, pages, to, done):
        if to < page + pages and page < to + pages:
            return {EINVAL}
        self.munmap(process, to, pages)
        known = self.pages[process]
        if done == EFAULT or not all(p in known for p in range(page, page + pages)):
            return {EFAULT}  # also where it is more than one vma
        moved = {to + i: known[page + i] for i in range(pages)}
        self.munmap(process, page, pages)
        known |= moved
        return {0}

    def fork(self, process, child):
        if child == process or self.pages[child]:
            return {EEXIST}
        self.pages[child] = dict(self.pages[process])
        return {0}

    def exit_process(self, process):
        self.pages[process] = {}
        return {0}

    def page_call(self, process, page):
        return {0, EINVAL}

    migrate = split = page_call


VERBS = {
    "mmap": mmap, "munmap": munmap, "mprotect": mprotect, "touch": touch, "read": read, "fork": fork,
    "exit_process": exit_process, "migrate": migrate, "split": split,
    "mremap": lambda page, pages, to, **how: mremap(page, pages, to=to, **how),
}  # fmt: skip
areas = st.tuples(st.integers(0, PLACES - 1).map(QUARTER.__mul__), st.integers(1, 8).map(QUARTER.__mul__))
spots = st.tuples(st.integers(0, PLACES), st.sampled_from([0, 1, QUARTER - 1])).map(lambda s: s[0] * QUARTER + s[1])
somewhere = st.one_of(areas.map(lambda a: a[0]), areas.map(lambda a: HOLE + a[0]))
processes = st.sampled_from([0, 0, 0, 1, 1, 2])
ARGUMENTS = {
    "mmap": st.tuples(areas, st.sampled_from([True, True, False]), st.booleans()).map(lambda a: (*a[0], *a[1:])),
    "munmap": areas,
    "mprotect": st.tuples(areas, st.booleans()).map(lambda a: (*a[0], a[1])),
    "touch": st.tuples(spots, st.integers(1, 3), st.integers(1, 9)),
    "read": st.tuples(spots, st.integers(1, 3)),
    "mremap": st.tuples(somewhere, areas, somewhere).map(lambda a: (a[0], a[1][1], a[2])),
    "fork": st.tuples(st.sampled_from([1, 2])),
    "exit_process": st.tuples(),
    "migrate": st.tuples(spots),
    "split": st.tuples(spots),
}
OFTEN = ["touch", "touch", "touch", "mremap", "mremap", "mprotect", "fork", "fork"]
calls = st.sampled_from([*ARGUMENTS, *OFTEN]).flatmap(lambda v: st.tuples(st.just(v), processes, ARGUMENTS[v]))
beginning = st.tuples(areas, st.booleans(), st.lists(spots, min_size=1, max_size=3))


class History:
    """Calls made on the simulated kernel and on the model, each with the errno that both agree on."""

    def __init__(self, algorithm):
        self.algorithm, self.memory, self.steps = algorithm, Memory(), []

    def begin(self, area, huge, spots):
        self.make("mmap", 0, (*area, True, huge))
        for spot in spots:
            self.make("touch", 0, (spot, 1, 1 + spot % 9))

    def make(self, verb, process, arguments):
        step = VERBS[verb](*arguments, process=process)
        errno = 0
        try:
            self.explorer([*self.steps, step]).close()
        except Refused as refused:
            errno = refused.errno
        more = (errno,) if verb == "mremap" else ()
        assert errno in getattr(self.memory, verb)(process, *arguments, *more), (verb, process, arguments, errno)
        self.steps.append(step._replace(errno=errno))
        note(f"{process}: {verb}{arguments} -> {errno}")

    def explorer(self, steps, *threads, **options):
        return explorer(steps, *threads, algorithm=self.algorithm, processes=PROCESSES, **options)


def agree(world, memory):
    for process, known in enumerate(memory.pages):
        mapped = {p for vma in vmas(world, process) for p in range(vma.start, vma.end)}
        assert mapped == set(known)
        for page, (tag, _) in known.items():
            assert (contents(world, page, 1, process)[0] or 0) == tag, (process, page)


quick = settings(max_examples=50, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("algorithm", ["unpatched", "fresh-vma", *SOUND])
@quick
@given(begin=beginning, then=st.lists(calls, max_size=16))
def test_any_sequence_of_calls_of_three_processes_agrees_with_the_model(algorithm, begin, then):
    history = History(algorithm)
    history.begin(*begin)
    for verb, process, arguments in then:
        history.make(verb, process, arguments)
    with history.explorer(history.steps) as made:
        agree(World(made), history.memory)
        assert made.run(0, 1).failures == [], "the check"


own = ["touch", "touch", "mremap", "mremap", "munmap", "mprotect", "read", "fork", "exit_process"]
of_a_process = st.lists(st.sampled_from(own).flatmap(lambda v: st.tuples(st.just(v), ARGUMENTS[v])), max_size=4)


races = given(
    begin=beginning,
    before=st.lists(calls, max_size=6),
    parent=of_a_process,
    child=of_a_process,
    visits=st.lists(st.tuples(st.sampled_from(["migrate", "split"]), st.integers(0, 1000)), min_size=1, max_size=2),
)


def race(algorithm, begin, before, parent, child, visits):
    """The violations of 80 executions of two processes and a visitor; the model agrees with the last one.

    Each process has one thread, and only the parent forks (into process 2), so the order cannot change a result.
    """
    history = History(algorithm)
    history.begin(*begin)
    for verb, process, arguments in before:
        history.make(verb, process, arguments)
    history.make("exit_process", 2, ())
    ready = len(history.steps)
    written = [page for page, (tag, _) in sorted(history.memory.pages[0].items()) if tag]
    assume(written)
    threads = []
    for process, steps in enumerate((parent, child)):
        for verb, arguments in steps:
            if verb != "fork":
                history.make(verb, process, arguments)
            elif process == 0:
                history.make("fork", 0, (2,))
        threads.append(history.steps[ready + sum(map(len, threads)) :])
    visitor = [VERBS[verb](written[number % len(written)]) for verb, number in visits]
    kinds = set()
    for strategy in (Pct(3), Sticky()):
        strategy.profiled(400)
        made = history.explorer(history.steps[:ready], *threads, visitor, strategy=strategy)
        with made:
            done = made.run(0, EXECUTIONS // 2)
            assert done.halt is None, made.refusal
            kinds |= {made.subject.kinds()[kind] for _, kind in done.failures}
            if not done.failures:
                agree(World(made), history.memory)
    return kinds


@pytest.mark.parametrize("algorithm", SOUND)
@quick
@races
def test_two_processes_a_migration_and_a_split_lose_nothing(algorithm, begin, before, parent, child, visits):
    assert race(algorithm, begin, before, parent, child, visits) == set()


def test_such_races_find_a_child_that_stands_before_its_parent():
    # They are the right ones: a mutation that forks, migrations and splits all can notice is found by a few of them.
    seen = set()

    @settings(max_examples=150, suppress_health_check=list(HealthCheck), database=None, derandomize=True)
    @races
    def every(**drawn):
        seen.update(race(f"unpatched,child_first=true,{NO_Z29}", **drawn))

    every()
    assert seen and seen <= {"stale-migration-entry", "bug-on"}
