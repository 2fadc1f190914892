"""Table: numbers the keys that it is given, 1, 2, 3 and so on in the order in which they come.

What belongs to a key is kept by the user of the table, in an array by these numbers. Open addressing with linear
probing; a plain struct that belongs to one explorer and is used by the task that runs, or by one strategy.
"""

from libc.stdint cimport uint32_t, uint64_t

# Of another era than the table's: empty.
cdef struct Cell:
    uint64_t key
    uint32_t era
    uint32_t number

cdef struct Table:
    Cell *cell
    # A power of two, and at least twice `used`.
    uint32_t room
    uint32_t used
    uint32_t era

cdef int table_open(Table *t) except -1
cdef void table_close(Table *t) noexcept nogil
cdef void table_forget_eras(Table *t) noexcept nogil
cdef bint table_rehash(Table *t) noexcept nogil


cdef inline void table_clear(Table *t) noexcept nogil:
    """Empties the table without touching its cells: it is called before every execution."""
    t.used = 0
    t.era += 1
    if t.era == 0:
        table_forget_eras(t)


cdef inline Cell *table_cell(Table *t, uint64_t key) noexcept nogil:
    """Where a key is, or where it belongs. Multiplicative hashing: Knuth, TAOCP 3, 6.4."""
    cdef uint32_t i = <uint32_t>((key * 0x9E3779B97F4A7C15ULL) >> 32) & (t.room - 1)
    while t.cell[i].era == t.era and t.cell[i].key != key:
        i = (i + 1) & (t.room - 1)
    return &t.cell[i]


cdef inline uint32_t table_get(Table *t, uint64_t key) noexcept nogil:
    """The number of a key; 0 where it has none."""
    cdef Cell *cell = table_cell(t, key)
    return cell.number if cell.era == t.era else 0


cdef inline uint32_t table_add(Table *t, uint64_t key) noexcept nogil:
    """The number of a key, which is `used` where it is new; 0 where the host has no memory for one more."""
    cdef Cell *cell = table_cell(t, key)
    if cell.era == t.era:
        return cell.number
    if 2 * t.used >= t.room:
        if not table_rehash(t):
            return 0
        cell = table_cell(t, key)
    t.used += 1
    cell.key = key
    cell.era = t.era
    cell.number = t.used
    return t.used
