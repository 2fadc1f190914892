"""How often each task takes the root's lock, how long it waits for it and how long it holds it.

The kernel's files tell it through mm/hooks/root_lock. A row per task, written by nobody else, in memory of whoever
measures. No number of it ever decides anything.
"""

from libc.stdint cimport uint64_t
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from anonvma_rt.mm.hooks.root_lock cimport ROOT_LOCK_TAKEN, ROOT_LOCK_WANTED

cdef enum:
    METER_BUCKETS = 40

# Of one task: nanoseconds waited and held, and how many of each were below 2**b, b being the index. wanted: since when;
# taken: when, 0 while the lock is not held.
cdef struct lock_meter:
    uint64_t acquisitions
    uint64_t waited
    uint64_t held
    uint64_t wanted
    uint64_t taken
    uint64_t waits[METER_BUCKETS]
    uint64_t holds[METER_BUCKETS]


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


cdef inline void measure(lock_meter *meter, int task, int event) noexcept nogil:
    """root_lock_hook.tell, with the rows of all tasks."""
    cdef lock_meter *row = &meter[task]
    cdef uint64_t now = nanoseconds()
    if event == ROOT_LOCK_WANTED:
        row.wanted = now
    elif event == ROOT_LOCK_TAKEN:
        row.acquisitions += 1
        row.taken = now
        row.waited += now - row.wanted
        row.waits[bucket(now - row.wanted)] += 1
    elif row.taken:
        row.held += now - row.taken
        row.holds[bucket(now - row.taken)] += 1
        row.taken = 0
