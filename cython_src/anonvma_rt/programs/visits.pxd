"""Whether a thread goes round: it comes to a place as it was there before, has changed nothing in between, and so will
do it for ever unless somebody else changes what it looks at.

A look (a load, a step that changed nothing) is compared with an earlier one, the anchor, by the place in the program
and by what the thread has: its registers and its stack (runtime/round.c). The anchor moves on after 1, 2, 4, ... looks,
so that any circle is found, and most loops at their second round. A loop that counts its rounds is none. Source:
Brent, "An improved Monte Carlo factorization algorithm" (BIT 1980), for the anchor.
"""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.base.operation cimport MAX_TASKS

# Of a thread since it changed something, or was woken: how many looks it made, and the place of the last one; at which
# look the anchor moves next, the anchor (NULL: none) and the state that belongs to it. `tries`: it made an operation of
# which is not known yet whether it changes something. rests: how often it gave way at `rested` without a progress, and
# in_a_row: with one or without.
cdef struct Visit:
    uint64_t looks
    const void *place
    uint64_t next
    const void *anchor
    uint64_t state
    bint tries
    const void *rested
    uint64_t rests
    uint64_t in_a_row

cdef struct Visits:
    Visit of[MAX_TASKS]


cdef inline void visits_changed(Visits *v, int task) noexcept nogil:
    """The thread has changed something, or has seen that somebody else has."""
    cdef Visit *visit = &v.of[task]
    visit.tries = False
    visit.looks = 0
    visit.next = 1
    visit.anchor = NULL


cdef inline void visits_progress(Visits *v, int task) noexcept nogil:
    """The same, and it is more than a lock taken or given back."""
    visits_changed(v, task)
    v.of[task].rests = 0


cdef inline bint visits_look(Visits *v, int task, const void *place) noexcept nogil:
    """The thread comes to a look there: whether its state is wanted (visits_circle)."""
    cdef Visit *visit = &v.of[task]
    if visit.tries:
        visits_progress(v, task)
    visit.looks += 1
    visit.place = place
    return visit.looks >= visit.next or visit.anchor == place


cdef inline bint visits_circle(Visits *v, int task, uint64_t state) noexcept nogil:
    """Whether the thread, at a look of which the state is wanted, is as it was there before. Else the anchor may move
    there: visits_moved()."""
    cdef Visit *visit = &v.of[task]
    if visit.anchor == visit.place and visit.state == state:
        return True
    if visit.looks >= visit.next:
        visit.next = 2 * visit.looks
        visit.anchor = visit.place
        visit.state = state
    return False


cdef inline bint visits_moved(const Visits *v, int task) noexcept nogil:
    """Whether the anchor is where the thread is now, so that a round may begin here."""
    return v.of[task].next == 2 * v.of[task].looks


cdef inline bint visits_rest(Visits *v, int task, const void *place, uint64_t most,
                             uint64_t most_in_a_row) noexcept nogil:
    """The thread gives way there: whether it has done so often enough."""
    cdef Visit *visit = &v.of[task]
    if visit.rested != place:
        visit.rested = place
        visit.rests = 0
        visit.in_a_row = 0
    visit.rests += 1
    visit.in_a_row += 1
    return visit.rests > most or visit.in_a_row > most_in_a_row
