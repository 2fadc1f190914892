"""PyStrategy: a strategy whose decisions are Python code. Slow (a decision takes the GIL), and meant for experiments.

The one place where a task's own thread runs Python: it takes the GIL, and with it a thread state of its own, for
exactly one call, and gives both back before anybody else can be chosen. An exception of the Python code ends the
execution ("diverged") and is kept in `failure` for whoever reads the result.
"""

from collections import namedtuple
from random import Random

from libc.stdint cimport uint64_t

from anonvma_rt.engine.base.arena cimport arena_offset
from anonvma_rt.engine.base.rng cimport rng_next
from anonvma_rt.engine.base.tasks cimport has
from anonvma_rt.engine.run.strategy cimport Strategy
from anonvma_rt.engine.run.task cimport Execution

from anonvma_rt.engine.run.records import OPS

Moment = namedtuple("Moment", "execution step current enabled ops objects")
Moment.__doc__ = """What a PyStrategy sees when it decides.

execution: the index. step: the one that is to be made, from 1 on. current: the task that made the last one, None at the
start. enabled: the tasks that can make it, ascending. ops, objects: of every task, what it is about to do ("start",
"lock", "load", ...; None after its end) and the offset of the object into the arena.
"""


cdef class PyStrategy(Strategy):
    """The base of a strategy in Python.

    A subclass overrides `choose(moment)`: it returns one of moment.enabled, or (task, steps) for an answer that stays
    good for so many steps unless the enabled tasks change. `begins(execution)` is called before each execution.
    `self.random` is a random.Random that is seeded for each execution; all chance has to come from it, and nothing may
    be kept from one execution to the next, for then execution i is the same in every hunt. With parameters of its own,
    a subclass takes them in __init__ by name and returns them from parameters(); clone() then makes a fresh one.

    >>> class Lowest(PyStrategy):
    ...     def choose(self, moment):
    ...         return moment.enabled[0]
    """

    cdef readonly object random
    cdef object failed

    def __cinit__(self, *args, **kwargs):
        self.needs_gil = True

    def begins(self, execution):
        """Execution `execution` is about to begin, and self.random is new."""

    def choose(self, moment):
        raise NotImplementedError(f"{type(self).__name__}.choose")

    def clone(self):
        return type(self)(**self.parameters())

    @property
    def failure(self):
        return self.failed

    cdef void begin(self, Execution *x) noexcept nogil:
        cdef uint64_t seed = rng_next(&x.rng)
        cdef uint64_t index = x.index
        with gil:
            self.random = Random(seed)
            self.failed = None
            try:
                self.begins(index)
            except BaseException as error:
                self.failed = error

    cdef int pick(self, Execution *x, uint64_t *hold) noexcept nogil:
        cdef int chosen = -1
        with gil:
            if self.failed is None:
                try:
                    answer = self.choose(moment(x))
                    if isinstance(answer, tuple):
                        chosen, hold[0] = answer
                        if hold[0] == 0:
                            hold[0] = 1
                    else:
                        chosen = answer
                except BaseException as error:
                    self.failed = error
                    chosen = -1
        return chosen


cdef object moment(Execution *x):
    cdef int i
    ops, objects = [], []
    for i in range(x.tasks):
        ended = has(x.done, i, x.words)
        ops.append(None if ended else OPS[x.task[i].op])
        objects.append(None if ended else arena_offset(&x.arena, x.task[i].object))
    return Moment(
        x.index,
        x.steps,
        x.current if x.current >= 0 else None,
        tuple([i for i in range(x.tasks) if has(x.enabled, i, x.words)]),
        tuple(ops),
        tuple(objects),
    )
