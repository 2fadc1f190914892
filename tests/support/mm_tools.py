"""The words that the tests of the simulated kernel are written in: steps, a built world, one execution, its history.

Addresses are counted in pages from BASE, and so is vm_pgoff, so that a vma which never moved has equal numbers in both.
Page 0 begins a page table; FAR and FAR2 begin tables of their own.
"""

import fcntl
import functools
import importlib.util
import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import anonvma_rt
from anonvma_rt.engine.run.explorer import EVENT, OPS, Explorer
from anonvma_rt.engine.strategy import script
from anonvma_rt.kernel.algorithm import Algorithm
from anonvma_rt.kernel.scenario import Call
from anonvma_rt.mm.lab.kernel import Kernel, Refused
from anonvma_rt.mm.lab.notes import BUGS, NOTES
from anonvma_rt.mm.lab.world import World

PAGE, TABLE = 4096, 512
BASE = 1 << 30
FAR, FAR2 = 8 * TABLE, 16 * TABLE
# The presets of the list era, which differ in nothing but the order of the list and the look of the restore walk.
ALL = ["unpatched", "moveto-tail", "moveto-tail-merge-only", "peeking", "rmap-locks"]
LATENCY_LIMIT = 64


def at(page):
    return BASE + page * PAGE


def core():
    """A core for the explorer's threads to share, another one for each xdist worker: handing over is fastest there."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % len(allowed)]


# ---- steps: the arguments are in pages -------------------------------------------------------------------------------


def call(verb, *args, errno=0, process=0, fails=None):
    return Call(verb, process, args, errno, "test", fails)


def mmap(page, pages, writable=True, huge=False, stack=False, **how):
    return call("mmap", at(page), pages, int(writable), int(huge), int(stack), **how)


def mprotect(page, pages, writable, **how):
    return call("mprotect", at(page), pages, int(writable), **how)


def fork(child, **how):
    return call("fork", child, **how)


def exit_process(**how):
    return call("exit", **how)


def brk(page, pages, **how):
    return call("brk", at(page), pages, **how)


def exec_stack(page, shift, **how):
    return call("exec", at(page), shift, **how)


def split(page, **how):
    return call("split", at(page), **how)


def munmap(page, pages, **how):
    return call("munmap", at(page), pages, **how)


def touch(page, pages, tag=7, **how):
    return call("touch", at(page), pages, tag, **how)


def read(page, pages, **how):
    return call("read", at(page), pages, **how)


def compare(a, b, pages, **how):
    return call("compare", at(a), at(b), pages, **how)


def migrate(page, fail_copy=False, **how):
    return call("migrate", at(page), int(fail_copy), **how)


def mremap(page, pages, to=None, new_pages=None, maymove=True, fail_after=-1, dontunmap=False, **how):
    """fail_after: no page table can be had after so many; -1 for no such failure."""
    target = -1 if to is None else at(to)
    return call("mremap", at(page), pages, pages if new_pages is None else new_pages, target, int(maymove),
                int(dontunmap), fails=("table", fail_after) if fail_after >= 0 else None, **how)  # fmt: skip


# ---- what came of it -------------------------------------------------------------------------------------------------


class Event(NamedTuple):
    """A point (`what` is the operation, a the object's offset) or a note (`what` is its name)."""

    step: int
    task: int
    what: str
    a: int
    b: int
    c: int
    is_note: bool  # there is a note and an operation by the name of "wait"


class Vma(NamedTuple):
    start: int
    end: int
    pgoff: int


class Run:
    """One execution with its history, and the state that it left behind."""

    def __init__(self, explorer, recorded):
        self.explorer, self.recorded, self.world = explorer, recorded, World(explorer)
        self.kind = explorer.subject.kinds()[recorded.finding.kind] if recorded.finding else None
        self.bug = BUGS.get(recorded.finding.a) if self.kind == "bug-on" else None
        self.halt = recorded.halt
        self.counters = dict(zip(explorer.subject.counters(), recorded.counters, strict=False))

    @functools.cached_property
    def events(self):
        rows = EVENT.iter_unpack(self.recorded.events)
        return [Event(s, task, NOTES[code] if OPS[op] == "note" else OPS[op], a, b, c, OPS[op] == "note")
                for s, task, op, code, a, b, c in rows]  # fmt: skip

    def notes(self, what, task=None):
        return [(e.a, e.b, e.c) for e in self.events if e.is_note and e.what == what and task in (None, e.task)]

    def locks(self, *fields, task=None, between=("step", None)):
        """(operation, (what, id)) of the locks whose field is one of `fields`, between two notes."""
        first, last = between
        seen, found = False, []
        for event in self.events:
            if task not in (None, event.task):
                continue
            if seen and event.what == last:
                break
            seen = seen or event.what == first
            if seen and event.what in ("lock", "trylock", "unlock", "read-lock", "read-unlock"):
                what, name, field = self.world.name(event.a)
                if field in fields:
                    found.append((event.what, (what, name)))
        return found


def kernel(setup, threads=((),), after=(), algorithm="unpatched", processes=1, made=Kernel):
    return made(Algorithm.parse(algorithm).as_dict(), processes, setup, threads, after)


def explorer(setup, *threads, strategy=None, **options):
    return Explorer(kernel(setup, threads or ((),), **options), strategy or script.replay(), cpu=core())


def built(*setup, **options):
    """The world that these steps make."""
    return World(explorer(setup, **options))


def run(setup, *threads, schedule=(), **options):
    """One execution: by `schedule`, segments of (task, steps), and then each task as long as it can go on."""
    made = explorer(setup, *threads, **options)
    return Run(made, made.trace(0, script.replay(schedule)))


def sweep(setup, first, second, *others, **options):
    """The executions in which task 1 runs as far as it can before each step of task 0, one after the other."""
    made = explorer(setup, first, second, *others, **options)
    whole = Run(made, made.trace(0, script.replay()))
    last = max(e.step for e in whole.events if e.task == 0)
    for steps in range(last + 1):
        yield Run(made, made.trace(0, script.replay([(0, steps), (1, 1)] if steps else [(1, 1)])))


def sweep_both(setup, first, second, **options):
    """The executions in which task 0 runs up to each of its steps, then task 1 up to each of its own, and then task 0.

    What cannot be, because one of them waits for the other there, is left out.
    """
    made = explorer(setup, first, second, **options)
    whole = Run(made, made.trace(0, script.replay()))
    for a in range(1, max(e.step for e in whole.events if e.task == 0)):
        for b in itertools.count(1):
            run_ = Run(made, made.trace(0, script.replay([(0, a), (1, b), (0, 1)])))
            if run_.halt != "diverged":
                yield run_
            elif sum(steps for _, steps in run_.recorded.segments) < a + b:
                break  # task 1 came no further


def world_at(note, setup, thread, nth=0, **options):
    """The state in the middle of one task: before the step of the nth note of this kind."""
    made = explorer(setup, thread, **options)
    steps = [e.step for e in Run(made, made.trace(0, script.replay())).events if e.what == note]
    made.trace(0, script.replay(), until=steps[nth])
    return World(made)


def clean(run):
    """That nothing was violated or refused; returns the run."""
    assert (run.kind, run.halt) == (None, None), (run.kind, run.bug, run.recorded.finding, run.explorer.refusal)
    return run


def vmas(world, process=0):
    pages = [(v["start"], v["end"], v["pgoff"] * PAGE) for v in world.maps(process)]
    return [Vma(*((number - BASE) // PAGE for number in numbers)) for numbers in pages]


def only_list(world):
    """The one anon_vma list that there is, as the first page of each vma on it, oldest first."""
    starts = {v["id"]: (v["start"] - BASE) // PAGE for v in world.maps()}
    (order,) = world.lists().values()
    return [starts[vma] for vma in order]


def anon_vmas(world, process=0):
    return [v["anon_vma"] for v in world.maps(process)]


def tables(world, process=0):
    """The first pages of all page tables."""
    return [(address - BASE) // PAGE for address in world.tables(process)]


def contents(world, page, pages=1, process=0):
    """The content tag of each page: None where nothing is mapped by a pte, 0 for the zero page."""
    found = []
    for number in range(page, page + pages):
        state, frame, _ = world.pte(at(number), process)
        found.append(None if state == "none" else state if state == "migration" else
                     world.page(frame)["tag"] if frame else 0)  # fmt: skip
    return found


def frame(world, page, process=0):
    state, number, _ = world.pte(at(page), process)
    assert state == "present", state
    return number


def pages_at(world, page, process=0):
    """What is known of the page at an address: World.page() of it."""
    return world.page(world.pte(at(page), process)[1])


def writable(world, page, pages=1, process=0):
    """Whether each entry gives the right to write."""
    return [world.pte(at(number), process)[2] for number in range(page, page + pages)]


def refuses(errno, *setup, **options):
    """That the last of these steps returns errno."""
    import pytest

    *before, last = setup
    built(*before, last._replace(errno=errno), **options)
    with pytest.raises(Refused) as refused:
        built(*before, last._replace(errno=0), **options)
    assert (refused.value.index, refused.value.errno) == (len(before), errno)


# ---- a subject that damages itself -----------------------------------------------------------------------------------

BUILD = """
from setuptools import Extension, setup
from Cython.Build import cythonize
setup(script_args=["build_ext", "--inplace"], ext_modules=cythonize(
    [Extension("breaker", ["breaker.pyx"], extra_compile_args=["-O0", "-pthread"])],
    include_path=[{path!r}], language_level=3))
"""


def broken(breaker, damage, setup, *threads, address=0, schedule=(), **options):
    """One execution of a kernel that does `damage` to itself, at a page's address where it needs one."""
    made = functools.partial(breaker.Breaker, damage, at(address))
    explorer = Explorer(kernel(setup, threads or ((),), made=made, **options), script.replay())
    return Run(explorer, explorer.trace(0, script.replay(schedule)))


def load_breaker(tmp_path_factory):
    """breaker.pyx, compiled against the package as a downstream module would be; once per session."""
    import pytest

    for needed in ("Cython", "setuptools"):
        pytest.importorskip(needed, reason=f"{needed} is needed to compile tests/support/cython/breaker.pyx")
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "breaker"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = list(folder.glob("breaker.*.so"))
        if not made:
            source = Path(__file__).with_name("cython") / "breaker.pyx"
            (folder / "breaker.pyx").write_text(source.read_text())
            script = BUILD.format(path=anonvma_rt.get_cimport_path())
            done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
            made = list(folder.glob("breaker.*.so"))
    spec = importlib.util.spec_from_file_location("breaker", made[0])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
