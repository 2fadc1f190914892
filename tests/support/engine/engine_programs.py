"""What the engine's tests share: explorers on this worker's core, two programs, and what an execution was like."""

import os
import subprocess
import sys
import time
from collections import Counter, defaultdict, namedtuple

from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.run.records import EVENT, OPS
from anonvma_rt.engine.strategy import script
from anonvma_rt.engine.strategy.delay import Delay
from anonvma_rt.engine.strategy.guided import Guided
from anonvma_rt.engine.strategy.pct import Pct
from anonvma_rt.engine.strategy.portfolio import Portfolio
from anonvma_rt.engine.strategy.pos import Pos
from anonvma_rt.engine.strategy.preempt import Preempt
from anonvma_rt.engine.strategy.random import Random
from anonvma_rt.engine.strategy.starve import Starve
from anonvma_rt.engine.strategy.sticky import Sticky
from anonvma_rt.engine.strategy.surw import Surw
from anonvma_rt.engine.strategy.urw import Urw
from anonvma_rt.litmus.program import Program

CORES = sorted(os.sched_getaffinity(0))
# Each xdist worker has a core of its own, as long as there are cores.
CPU = CORES[int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % len(CORES)]


def pct(depth, k=24):
    return told(Pct(depth), k)


def told(strategy, k=24, task_steps=(8, 8, 8), task_marks=()):
    strategy.profiled(k, task_steps, task_marks)
    return strategy


# One of each that the engine has, and such variants as take other paths through it.
STRATEGIES = {
    "random": Random,
    "sticky": Sticky,
    "sticky-2": lambda: Sticky(2),
    "pct-1": lambda: pct(1),
    "pct-3": lambda: pct(3),
    "pct-6": lambda: pct(6),
    "pos": Pos,
    "guided": lambda: told(Guided()),
    "urw": lambda: told(Urw()),
    "surw": lambda: told(Surw(), task_marks=(2, 2, 2)),
    "delay": lambda: told(Delay()),
    "preempt": lambda: told(Preempt()),
    "starve": lambda: told(Starve()),
    "portfolio": lambda: told(Portfolio()),
    "replay": lambda: script.replay([(0, 3), (1, 1), (2, 4), (0, 2)]),
}

# Three threads that block each other in every way there is, 27 steps, no deadlock.
BUSY = Program(
    [
        [("lock", "a"), ("load", "x", "r"), ("store", "x", 1), ("unlock", "a"), ("write_lock", "s"), ("add", "y", 1),
         ("write_unlock", "s"), ("store", "go", 1)],
        [("lock", "a"), ("load", "x", "r"), ("store", "x", 2), ("unlock", "a"), ("read_lock", "s"), ("load", "y", "q"),
         ("read_unlock", "s"), ("await", "go", 1)],
        [("trylock", "b", "t"), ("read_lock", "s"), ("load", "y", "q"), ("read_unlock", "s"), ("cas", "x", 1, 3, "c"),
         ("wait", "a"), ("add", "x", "c"), ("load", "x", "r")],
    ]
)  # fmt: skip

# Goes wrong in every execution, in one of four ways by chance, and leaves locks held and an order of locks learned.
WRONG = Program(
    [
        [("lock", "a"), ("lock", "b"), ("unlock", "b"), ("unlock", "a"), ("unlink", "o")],
        [("lock", "b"), ("load", "x", "r"), ("lock", "a"), ("unlock", "a"), ("unlock", "b")],
        [("trylock", "c", "t"), ("unlock", "c"), ("use", "o"), ("unlink", "o")],
        [("trylock", "c", "t"), ("free", "o"), ("store", "x", 1), ("unlock", "c")],
    ],
    classes={"a": 1, "b": 2},
)


def explore(program, strategy=None, cpu=CPU, **options):
    return Explorer(program, strategy if strategy is not None else Random(), cpu=cpu, **options)


def threads():
    return set(os.listdir("/proc/self/task"))


def threads_besides(before):
    """The threads that are not in `before`; one that was joined may be listed for a moment longer."""
    patience = time.monotonic() + 20
    while threads() - before and time.monotonic() < patience:
        time.sleep(0.001)
    return threads() - before


def child(code):
    """Runs `code`, with all that is in this file, in a process of its own: (stdout, stderr, exit code)."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    arguments = [sys.executable, "-c", "from engine_programs import *\n" + code]
    ended = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=120)
    return ended.stdout, ended.stderr, ended.returncode


def split_digests(result):
    data = result.digests
    return [data[i : i + 8] for i in range(0, len(data), 8)]


def failures(program, result):
    """{index: name of the violation} of a block."""
    return {index: program.kinds()[kind] for index, kind in result.failures}


Event = namedtuple("Event", "step task op code a b c")


def events(traced):
    """The points of an execution without its notes, in order; op is the name."""
    return [e for e in all_events(traced) if e.op != "note"]


def all_events(traced):
    return [Event(*e)._replace(op=OPS[e[2]]) for e in EVENT.iter_unpack(traced.events)]


def verdict(program, traced):
    """The name of what an execution found, or "ok"; and where it ended for another reason, that."""
    if traced.halt:
        return traced.halt
    return program.kinds()[traced.finding.kind] if traced.finding else "ok"


def sample(program, explorer, first, count):
    """Counter of (verdict, values) over `count` executions; each schedule is looked at once."""
    result = explorer.run(first, count)
    assert result.ran == count
    kinds = failures(program, result)
    schedules = defaultdict(list)
    for i, digest in enumerate(split_digests(result)):
        schedules[digest].append(first + i)
    outcomes = Counter()
    for indices in schedules.values():
        explorer.run(indices[0], 1)
        outcome = kinds.get(indices[0], "ok"), tuple(sorted(program.values(explorer).items()))
        outcomes[outcome] += len(indices)
    return outcomes
