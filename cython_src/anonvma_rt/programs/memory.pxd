"""Every access of a compiled program, looked at: whether the object of the heap is there, and whether somebody else's
access to it is ordered (races.pxd).

An access that is a step of its own (an atomic, a volatile, one at a place that was made a point) is announced here. The
places of a program are named by how far they lie before its globals, the same wherever it is loaded.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from anonvma_rt.engine.base.operation cimport MAX_TASKS
from anonvma_rt.engine.base.table cimport Table
from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.programs.image cimport RT_STACK_BYTES
from anonvma_rt.programs.races cimport Races
from anonvma_rt.programs.visits cimport Visits

# What becomes of a race: it is a violation, it is noted and the execution goes on, nobody looks.
cdef enum Mode:
    RACES_REPORT
    RACES_COLLECT
    RACES_IGNORE

cdef enum:
    MOST_FOUND = 4096

# An object of the heap: its bytes, from where it was made and freed, and by whom.
cdef struct Block:
    uint64_t start
    uint64_t end
    uint32_t made
    uint32_t freed
    uint8_t made_by
    uint8_t freed_by
    bint live
    # While leaks are looked for: something points to it, and the next one of those whose words are still to be read.
    bint reached
    uint64_t waits

cdef struct Watch:
    # The program has been built, and its threads run.
    bint on
    Mode mode
    # The globals, and where the heap begins behind them.
    char *base
    uint64_t heap
    Block *block
    uint64_t room
    uint64_t n
    # The objects that were there when the program had been built; the one that was looked at last.
    uint64_t built
    uint64_t last
    Races races
    Visits visits
    # Of each task: below what its stack is no call's any more; 0: that is not known.
    uint64_t low[MAX_TASKS]
    # Places that are points, and whether all of them are on one object.
    Table points
    bint one_object
    # Places that were found to race, where they are collected; a race that has a place which is not known.
    uint32_t found[MOST_FOUND]
    int n_found
    bint found_wide
    bint found_unknown

cdef int watch_open(Watch *w, char *base, Mode mode, points) except -1
cdef void watch_close(Watch *w) noexcept nogil
cdef void watch_built(Watch *w) noexcept nogil
cdef void watch_begin(Watch *w, int tasks) noexcept nogil
cdef void watch_stack(Watch *w, int task, char *top) noexcept nogil
cdef int watch_access(Watch *w, Task *t, void *p, uint64_t size, int how, void *place) noexcept nogil
cdef void watch_joins(Watch *w, Task *t, int op, void *object) noexcept nogil
cdef void watch_gives(Watch *w, Task *t, int op, void *object) noexcept nogil
cdef int watch_made(Watch *w, int task, void *object, uint64_t size) noexcept nogil
cdef Block *block_before(Watch *w, uint64_t offset) noexcept nogil
cdef uint32_t watch_freed(Watch *w, const void *object) noexcept nogil
cdef inline void watch_frame(Watch *w, int task, uint64_t frame) noexcept nogil:
    # On a stack of the program's own making there is nothing to know.
    w.low[task] = frame if w.races.top[task] - frame < <uint64_t>RT_STACK_BYTES else 0


cdef void watch_root(Watch *w, uint64_t offset, uint64_t size) noexcept nogil
cdef uint64_t watch_leaks(Watch *w, Block **first) noexcept nogil
cdef void watch_free(Watch *w, Task *t, void *object, void *place) noexcept nogil


cdef inline uint32_t place_of(Watch *w, const void *address) noexcept nogil:
    """How far an address in the program lies before its globals; 0: it is somewhere else."""
    cdef uint64_t back = <uint64_t>w.base - <uint64_t>address
    return <uint32_t>back if back < <uint64_t>1 << 32 else 0
