"""How often each task takes the root's lock, how long it waits for it and how long it holds it; for benchmarks only.

A row per task, written by nobody else, in memory of whoever measures: k.meter, NULL where nobody does. No number of it ever
decides anything.
"""

from libc.stdint cimport uint64_t
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.types cimport METER_BUCKETS, kernel_of, lock_meter


cdef inline uint64_t nanoseconds() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return <uint64_t>t.tv_sec * 1000000000 + <uint64_t>t.tv_nsec


cdef inline int bucket(uint64_t value) noexcept nogil:
    """How many bits the value has: bucket b holds those below 2**b."""
    cdef int bits = 0
    while value and bits < METER_BUCKETS - 1:
        value >>= 1
        bits += 1
    return bits


cdef inline uint64_t meter_ask(Task *t) noexcept nogil:
    return nanoseconds() if kernel_of(t).meter != NULL else 0


cdef inline void meter_taken(Task *t, uint64_t asked) noexcept nogil:
    cdef lock_meter *row
    if asked:
        row = &kernel_of(t).meter[t.id]
        row.acquisitions += 1
        row.taken = nanoseconds()
        row.waited += row.taken - asked
        row.waits[bucket(row.taken - asked)] += 1


cdef inline void meter_dropped(Task *t) noexcept nogil:
    cdef lock_meter *row
    cdef uint64_t held
    if kernel_of(t).meter != NULL and kernel_of(t).meter[t.id].taken:
        row = &kernel_of(t).meter[t.id]
        held = nanoseconds() - row.taken
        row.taken = 0
        row.held += held
        row.holds[bucket(held)] += 1
