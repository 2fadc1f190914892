"""Who has a reference of a page from outside the page tables, and what that promises (mm/gup): for the lab's own rules.

What a pin promises: as long as the address where it was taken stays mapped, it shows that very page. And of any such
reference: no other process writes to the page, or its owner sees what is not his. The records are one object to who
searches: each look and each change of them is announced.
"""

from libc.stdint cimport int32_t, uint32_t, uint64_t

from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport MAX_PROCESSES, kernel_of, mm_struct, page

cdef enum:
    MOST_PINS = 32
    # What a pin adds to the count of its page, which tells "perhaps pinned" from "has some references" since 5.7. Here
    # it does in every release: who asks came later.
    GUP_PIN_COUNTING_BIAS = 1024

cdef struct gup_pin:
    page *page                # NULL: free
    int32_t mm
    bint promises             # FOLL_PIN
    bint written              # and so dirty when it is given back
    bint mapped               # not unmapped since
    uint64_t at               # where it was taken, by which the owner names it
    uint64_t address          # where mremap has taken that since

# Allocated where a program takes such references (kernel.pins).
cdef struct gup_pins:
    uint32_t guard            # where tasks run at once
    uint32_t seq[MAX_PROCESSES]  # write_protect_seq of each mm: odd while it forks
    gup_pin pin[MOST_PINS]

cdef void pins_open(Task *t) noexcept nogil
cdef void pin_taken(Task *t, mm_struct *mm, uint64_t address, page *p, bint promises) noexcept nogil
cdef page *pin_given_back(Task *t, mm_struct *mm, uint64_t at, gup_pin *was) noexcept nogil
cdef page *pin_written(Task *t, mm_struct *mm, uint64_t at) noexcept nogil
cdef void pin_unmapped(Task *t, mm_struct *mm, uint64_t address) noexcept nogil
cdef void pins_moved(Task *t, mm_struct *mm, uint64_t start, uint64_t end, uint64_t to) noexcept nogil
cdef void pin_seen(Task *t, mm_struct *mm, uint64_t address, page *p, bint write) noexcept nogil
cdef int32_t pins_of(gup_pins *pins, page *p) noexcept nogil


cdef inline gup_pins *pins_by(Task *t) noexcept nogil:
    """NULL where the program takes no references."""
    return <gup_pins *>kernel_of(t).pins
