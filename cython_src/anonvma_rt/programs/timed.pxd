"""Waiting for some time at most: that time is over when nobody else can go on (engine/run/task, time_passes).

A time that is over earlier is a choice, which a program makes before it waits (runtime/time.c). So whoever waits in
here was not late by that choice.
"""

from libc.stdint cimport int64_t

from anonvma_rt.engine.base.operation cimport lock_word
from anonvma_rt.engine.memory.words cimport wait_for
from anonvma_rt.engine.run.sync cimport take_lock
from anonvma_rt.engine.run.task cimport Task, point


cdef inline bint in_time(Task *t) noexcept nogil:
    """Behind the point of such an operation: whether t goes on because of what it waited for."""
    cdef bint lapsed = t.lapsed
    t.timed = False
    t.lapsed = False
    return not lapsed


cdef inline bint wait_in_time(Task *t, int op, int64_t *word, int test, int64_t want) noexcept nogil:
    """wait_for() (engine/run/sync): whether the word is so."""
    t.timed = True
    wait_for(t, op, word, test, want)
    return in_time(t)


cdef inline bint acquire_in_time(Task *t, lock_word *lock, int op) noexcept nogil:
    """acquire() of a lock without a class: whether t has it."""
    t.timed = True
    t.x.until = 0
    point(t, op, lock)
    if not in_time(t):
        return False
    take_lock(t, lock, op, 0)
    return True
