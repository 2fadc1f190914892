"""The memory of a table (see table.pxd)."""

from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

cdef enum:
    FIRST_ROOM = 1024


cdef int table_open(Table *t) except -1:
    """Makes the cells; nothing where they are there."""
    if t.cell == NULL:
        t.cell = <Cell *>calloc(FIRST_ROOM, sizeof(Cell))
        if t.cell == NULL:
            raise MemoryError("no memory for a table")
        t.room = FIRST_ROOM
        t.used = 0
        t.era = 1
    return 0


cdef void table_close(Table *t) noexcept nogil:
    free(t.cell)
    memset(t, 0, sizeof(Table))


cdef void table_forget_eras(Table *t) noexcept nogil:
    """The count of eras begins again, after 2^32 executions: no cell may look like one of an era to come."""
    memset(t.cell, 0, t.room * sizeof(Cell))
    t.era = 1


cdef bint table_rehash(Table *t) noexcept nogil:
    """Twice the room; False where there is no memory, and the table is as it was."""
    cdef Cell *old = t.cell
    cdef uint32_t room = t.room
    cdef uint32_t i
    cdef Cell *larger = <Cell *>calloc(2 * room, sizeof(Cell))
    if larger == NULL:
        return False
    t.cell = larger
    t.room = 2 * room
    for i in range(room):
        if old[i].era == t.era:
            table_cell(t, old[i].key)[0] = old[i]
    free(old)
    return True
