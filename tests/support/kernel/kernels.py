"""Executions of the simulated kernel by hand: a setup that builds a world, threads that follow a schedule, and what
they did. A sweep stops one task before each of its steps in turn and lets the other one run.
"""

import functools
import itertools
from typing import NamedTuple

import pytest
from calls import at
from engine_programs import CPU

from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.run.records import EVENT, OPS
from anonvma_rt.engine.strategy import script
from anonvma_rt.kernel.algorithm import Algorithm
from anonvma_rt.mm.hooks.notes import BUGS, NOTES
from anonvma_rt.mm.lab.kernel import Kernel, Refused
from anonvma_rt.mm.lab.world import World

# The presets of the list era, which differ in nothing but the order of the list and the look of the restore walk.
ALL = ["unpatched", "moveto-tail", "moveto-tail-merge-only", "peeking", "rmap-locks"]


class Event(NamedTuple):
    """A point (`what` is the operation, a the object's offset) or a note (`what` is its name)."""

    step: int
    task: int
    what: str
    a: int
    b: int
    c: int
    is_note: bool  # there is a note and an operation by the name of "wait"


class Run:
    """One execution with its history, and the state that it left behind."""

    def __init__(self, explorer, recorded):
        self.explorer, self.recorded, self.world = explorer, recorded, World(explorer)
        self.kind = explorer.subject.kinds()[recorded.finding.kind] if recorded.finding else None
        self.bug = BUGS.get(recorded.finding.a) if self.kind == "bug-on" else None
        self.halt = recorded.halt
        self.counters = recorded.counters

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
            if seen and event.what in ("lock", "trylock", "unlock", "read-lock", "read-unlock", "downgrade"):
                what, name, field = self.world.name(event.a)
                if field in fields:
                    found.append((event.what, (what, name)))
        return found


def kernel(setup, threads=((),), after=(), algorithm="unpatched", processes=1, made=Kernel):
    return made(Algorithm.parse(algorithm).as_dict(), processes, setup, threads, after)


def explorer(setup, *threads, strategy=None, **options):
    return Explorer(kernel(setup, threads or ((),), **options), strategy or script.replay(), cpu=CPU, carrier="fibers")


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


def refuses(errno, *setup, **options):
    """That the last of these steps returns errno."""
    *before, last = setup
    built(*before, last._replace(errno=errno), **options)
    with pytest.raises(Refused) as refused:
        built(*before, last._replace(errno=0), **options)
    assert (refused.value.index, refused.value.errno) == (len(before), errno)


def broken(breaker, damage, setup, *threads, address=0, schedule=(), **options):
    """One execution of a kernel that does `damage` to itself, at a page's address where it needs one."""
    made = functools.partial(breaker.Breaker, damage, at(address))
    explorer = Explorer(kernel(setup, threads or ((),), made=made, **options), script.replay(), carrier="fibers")
    return Run(explorer, explorer.trace(0, script.replay(schedule)))
