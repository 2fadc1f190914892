"""Which number a thread has: it stands for its parent and its place among the parent's threads, whatever the
interleaving. A thread's chances (runtime/time.c) are tasks as well, with places below 0."""

from libc.stdint cimport int16_t, int32_t

from anonvma_rt.engine.base.operation cimport MAX_TASKS

cdef enum:
    # Places -1 to -CHANCES: one for each kind of chance.
    CHANCES = 3

cdef struct Family:
    # How many there are; task 0, which nobody begins, among them.
    int known
    int16_t child[MAX_TASKS][MAX_TASKS + CHANCES]
    int32_t parent[MAX_TASKS]
    int32_t ordinal[MAX_TASKS]


cdef inline int family_find(Family *f, int parent, int ordinal) noexcept nogil:
    """The number of a thread; 0: it is not known."""
    return f.child[parent][ordinal + CHANCES] if ordinal < <int>MAX_TASKS else 0


cdef inline int family_add(Family *f, int parent, int ordinal) noexcept nogil:
    """Gives a thread that is not known the next number; 0: there is none left, or nobody knows its parent."""
    if f.known == <int>MAX_TASKS or not 0 <= parent < f.known or not -<int>CHANCES <= ordinal < <int>MAX_TASKS:
        return 0
    f.child[parent][ordinal + CHANCES] = <int16_t>f.known
    f.parent[f.known] = parent
    f.ordinal[f.known] = ordinal
    f.known += 1
    return f.known - 1
