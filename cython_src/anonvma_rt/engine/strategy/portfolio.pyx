"""The portfolio: the strategies take turns by the index of the execution, so no bug has to be of the kind that one
likes.

On public benchmarks none dominates (Zhao et al., "Selectively Uniform Concurrency Testing", ASPLOS 2025): each finds
bugs that the others miss. The turns are by index, so any cut of a hunt into pieces makes the same executions. SURW has
three turns of four, because it is the only one that does not get worse as executions get longer; where nothing is
interesting and there is no place to draw, it has none.
"""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.run.strategy cimport Strategy, call_begin, call_pick, call_pick_many
from anonvma_rt.engine.run.task cimport Execution

from anonvma_rt.engine.strategy.delay import Delay
from anonvma_rt.engine.strategy.pct import Pct
from anonvma_rt.engine.strategy.pos import Pos
from anonvma_rt.engine.strategy.preempt import Preempt
from anonvma_rt.engine.strategy.starve import Starve
from anonvma_rt.engine.strategy.sticky import Sticky
from anonvma_rt.engine.strategy.surw import Surw
from anonvma_rt.engine.strategy.urw import Urw

cdef enum:
    MAX_MEMBERS = 64
    # SURW has all turns but every fourth.
    OTHERS_EVERY = 4


def drawing():
    """SURW that draws a place whatever is marked: what was named may not be where the bug is."""
    return Surw(draw=1)


# The first, and in which order the others have their turns: by what each finds that SURW misses (docs/search.md).
MEMBERS = (
    Surw, drawing, Pos, drawing, Sticky, drawing, Pct, Pos, Starve, drawing, Urw, Preempt, Pos, Delay,
)  # fmt: skip

ctypedef void (*begin_fn)(void *strategy, Execution *x) noexcept nogil
ctypedef int (*pick_fn)(void *strategy, Execution *x, uint64_t *hold) noexcept nogil

cdef struct Member:
    void *strategy
    bint sees_forced
    bint sees_marks
    bint keeps_lease


cdef class Portfolio(Strategy):
    """`portfolio`: surw, and in turn surw that draws, pos, sticky, pct, starve, urw, preempt and delay (MEMBERS).

    In Python `members` may be 2 to 64 others, the portfolio's own from then on; the first has SURW's part.
    """

    cdef readonly tuple members
    cdef Member member[MAX_MEMBERS]
    cdef int n
    cdef int now
    cdef bint selective

    def __init__(self, members=None):
        cdef Strategy one
        self.members = tuple(made() for made in MEMBERS) if members is None else tuple(members)
        if not 2 <= len(self.members) <= MAX_MEMBERS:
            raise ValueError(f"strategy portfolio: 2 to {MAX_MEMBERS} members, not {len(self.members)}")
        for one in self.members:
            self.member[self.n].strategy = <void *>one
            self.member[self.n].sees_forced = one.sees_forced
            self.member[self.n].sees_marks = one.sees_marks
            self.member[self.n].keeps_lease = one.keeps_lease
            self.needs_gil |= one.needs_gil
            self.n += 1

    @property
    def failure(self):
        return next((member.failure for member in self.members if member.failure is not None), None)

    def profiled(self, steps, task_steps=(), task_marks=()):
        self.selective = any(task_marks)
        for member in self.members:
            member.profiled(steps, task_steps, task_marks)

    def surveyed(self, places):
        self.selective |= any(place.under is None for place in places)
        for member in self.members:
            member.surveyed(places)

    @property
    def drawn(self):
        return self.members[self.now].drawn

    cdef void begin(self, Execution *x) noexcept nogil:
        cdef uint64_t others = <uint64_t>(self.n - 1)
        if not self.selective:
            self.now = 1 + <int>(x.index % others)
        elif x.index % OTHERS_EVERY < OTHERS_EVERY - 1:
            self.now = 0
        else:
            self.now = 1 + <int>(x.index / OTHERS_EVERY % others)
        x.strategy.sees_forced = self.member[self.now].sees_forced
        x.strategy.sees_marks = self.member[self.now].sees_marks
        x.strategy.keeps_lease = self.member[self.now].keeps_lease
        (<begin_fn>call_begin)(self.member[self.now].strategy, x)

    cdef int pick(self, Execution *x, uint64_t *hold) noexcept nogil:
        return (<pick_fn>call_pick)(self.member[self.now].strategy, x, hold)

    cdef int pick_many(self, Execution *x, uint64_t *hold) noexcept nogil:
        return (<pick_fn>call_pick_many)(self.member[self.now].strategy, x, hold)

    def clone(self):
        return Portfolio([member.clone() for member in self.members])
