"""Reproducers to look at: found once per run of the tests, or made of a schedule."""

from dataclasses import replace
from functools import cache
from tempfile import TemporaryDirectory

from first_found import first_found

from anonvma_rt.engine.strategy import script
from anonvma_rt.execution.reproducer import Reproducer
from anonvma_rt.execution.schedule import Schedule
from anonvma_rt.kernel.scenario import Scenario
from anonvma_rt.lab.explorers import make_explorer
from anonvma_rt.lab.load import load
from anonvma_rt.litmus.litmus import Litmus
from anonvma_rt.subjects.scenes import ListOf, Value

# A few of the zoo that differ in what there is to see: vmas, forks, huge pages, a use after free, a mere miscount.
HANDFUL = [
    ("lkml-2011", "unpatched"),
    ("peek", "peeking"),
    ("fork-child-first", "unpatched,child_first=true"),
    ("thp-split-vs-move", "unpatched"),
    ("double-reuse", "modern,reuse=degree"),
    ("unpinned-migration", "unpatched,pin=false"),
    ("reused-root", "unpatched,remember_root=false"),
    ("merge-asymmetry", "unpatched"),
    ("order", "unpatched"),
    ("philosophers", "right-handed"),
    ("lock-order", "ab-ba"),
]
VIOLATING = [
    (name, algorithm)
    for name in [*Scenario.builtin_names(), *Litmus.builtin_names()]
    for algorithm in load(name).algorithms()
    if load(name).expected(algorithm) != "none"
]


@cache
def found(scenario, algorithm, **parameters):
    """The first violation that a hunt finds."""
    with TemporaryDirectory() as where:
        # One strategy for all: what the tests say of single steps is of what it finds first.
        strategy = load(scenario).strategy or "pct"
        return Reproducer.load(first_found(where, scenario, parameters, algorithm, strategy))


def sequential(pages):
    """A right execution of lkml-2011 of about 2 * pages steps, as if it were a reproducer."""
    one = found("lkml-2011", "unpatched")
    made = replace(
        one, parameters={"pages": pages}, kind=None, bound=1 << 40, algorithm=one.program().choose("moveto-tail")
    )
    with make_explorer(made.program(), made.algorithm, script.replay()) as explorer:
        return replace(made, schedule=Schedule(explorer.trace(0).segments))


BAD = "<img/src=x/onerror=alert(1)></script><script>alert(2)</script>@data@ \x1b]0;owned\x07\x1b[31m\x9b2J\r\n\u202e"


def hostile(story):
    """The same story with names that try to be markup or escape sequences, wherever there is a name."""
    trace = replace(story.trace, tasks=[BAD, BAD + "2"], name=lambda offset: (BAD, offset, BAD))
    scenes = None
    if story.scenes:
        first = {**story.scenes.first, Value(BAD): 1, ListOf(7): [BAD, "A"]}
        scenes = replace(story.scenes, first=first, later=[(1, {Value(BAD): 2}), *story.scenes.later])
    made = replace(story, scenario=BAD, algorithm=BAD, trace=trace, scenes=scenes, parameters={BAD: 1})
    made.__dict__["why"] = BAD
    return made


def hostile_reproducer(path):
    """A reproducer whose free texts are hostile, with a right checksum."""
    one = found("lkml-2011", "unpatched")
    # What wrote it and what found it are printable lines, or it is no reproducer.
    printable = "".join(filter(str.isprintable, BAD))
    return replace(one, cause=BAD, strategy=printable, version=printable).save(path)
