"""Delay bounding: a deterministic round robin that is disturbed in few places.

Source: Emmi, Qadeer, Rakamaric, "Delay-Bounded Scheduling" (POPL 2011). The running task goes on until it blocks or
ends, and then the next one in the order of ids has its turn; at `delays` random steps whoever would run is passed over
once. With d delays and k steps there are about k^d schedules whatever the number of tasks.
"""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.base.tasks cimport following, lowest
from anonvma_rt.engine.run.task cimport Execution
from anonvma_rt.engine.strategy.base cimport MAX_CHANGES, Changes, next_of


cdef class Delay(Changes):
    """`delay`: parameter delays (default 2), 0 to 32; the number of steps comes from the explorer's profile."""

    def __init__(self, delays=2):
        if not 0 <= delays <= MAX_CHANGES:
            raise ValueError(f"strategy delay: delays must be from 0 to {MAX_CHANGES}, not {delays}")
        self.n = delays

    cdef void begin(self, Execution *x) noexcept nogil:
        self.draw_changes(x)

    cdef int pick(self, Execution *x, uint64_t *hold) noexcept nogil:
        return pick_one(self, x, hold, 1)

    cdef int pick_many(self, Execution *x, uint64_t *hold) noexcept nogil:
        return pick_one(self, x, hold, x.words)

    def clone(self):
        return Delay(self.n)

    def parameters(self):
        return {"delays": self.n}


cdef inline int pick_one(Delay self, Execution *x, uint64_t *hold, int words) noexcept nogil:
    cdef int turn = next_in_turn(x, x.current if x.current >= 0 else 0, words)
    cdef int i
    for i in range(self.n):
        if self.at[i] == x.steps:
            turn = next_in_turn(x, turn + 1, words)
    hold[0] = next_of(self.at, self.n, x.steps + 1) - x.steps
    return turn


cdef inline int next_in_turn(Execution *x, int first, int words) noexcept nogil:
    """The first enabled task from `first` on, in the order of ids and round."""
    cdef int behind = following(x.enabled, first, words)
    return behind if behind >= 0 else lowest(x.enabled, words)
