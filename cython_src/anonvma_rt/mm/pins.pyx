"""References from outside the page tables (see pins.pxd)."""

from libc.stdint cimport int32_t, int64_t, uint64_t

from anonvma_rt.engine.base.operation cimport OP_ATOMIC, OP_LOAD
from anonvma_rt.engine.parallel.locks cimport guard, unguard
from anonvma_rt.engine.run.task cimport Task, point, violate
from anonvma_rt.mm.hooks.notes cimport LEAKED_WRITE, LOST_PIN
from anonvma_rt.mm.mm_types cimport TYPE_PINS, kernel_of, mm_struct, page
from anonvma_rt.mm.slab cimport must_alloc


cdef void pins_open(Task *t) noexcept nogil:
    if kernel_of(t).pins == NULL:
        kernel_of(t).pins = must_alloc(t, sizeof(gup_pins), TYPE_PINS)


cdef gup_pins *search(Task *t, int op) noexcept nogil:
    cdef gup_pins *pins = pins_by(t)
    point(t, op, pins.pin)
    if t.x.parallel:
        guard(t, &pins.guard)
    return pins


cdef void searched(Task *t, gup_pins *pins) noexcept nogil:
    if t.x.parallel:
        unguard(&pins.guard)


cdef gup_pin *found(gup_pins *pins, mm_struct *mm, uint64_t at) noexcept nogil:
    cdef int i
    for i in range(MOST_PINS):
        if pins.pin[i].page != NULL and pins.pin[i].mm == mm.id and pins.pin[i].at == at:
            return &pins.pin[i]
    return NULL


cdef void pin_taken(Task *t, mm_struct *mm, uint64_t address, page *p, bint promises) noexcept nogil:
    """A new record; of more than there is room for nothing is promised."""
    cdef gup_pins *pins = search(t, OP_ATOMIC)
    cdef int i
    for i in range(MOST_PINS):
        if pins.pin[i].page == NULL:
            pins.pin[i] = gup_pin(page=p, mm=mm.id, promises=promises, written=False, mapped=True, at=address,
                                  address=address)
            break
    searched(t, pins)


cdef page *pin_given_back(Task *t, mm_struct *mm, uint64_t at, gup_pin *was) noexcept nogil:
    """Ends a record, which `was` becomes; the page, or NULL where the process has none of that address."""
    cdef gup_pins *pins = search(t, OP_ATOMIC)
    cdef gup_pin *pin = found(pins, mm, at)
    cdef page *p = NULL
    if pin != NULL:
        was[0] = pin[0]
        p = pin.page
        pin.page = NULL
    searched(t, pins)
    return p


cdef page *pin_written(Task *t, mm_struct *mm, uint64_t at) noexcept nogil:
    """The page to which a device is to write; NULL as above."""
    cdef gup_pins *pins = search(t, OP_ATOMIC)
    cdef gup_pin *pin = found(pins, mm, at)
    cdef page *p = NULL
    if pin != NULL:
        p = pin.page
        pin.written = True
    searched(t, pins)
    return p


cdef void pin_unmapped(Task *t, mm_struct *mm, uint64_t address) noexcept nogil:
    """The owner has unmapped an address, or thrown away what was there."""
    cdef gup_pins *pins = search(t, OP_ATOMIC)
    cdef int i
    for i in range(MOST_PINS):
        if pins.pin[i].mm == mm.id and pins.pin[i].address == address:
            pins.pin[i].mapped = False
    searched(t, pins)


cdef void pins_moved(Task *t, mm_struct *mm, uint64_t start, uint64_t end, uint64_t to) noexcept nogil:
    """What was at [start, end) is from `to` on by now."""
    cdef gup_pins *pins = search(t, OP_ATOMIC)
    cdef int i
    for i in range(MOST_PINS):
        if pins.pin[i].mm == mm.id and pins.pin[i].mapped and start <= pins.pin[i].address < end:
            pins.pin[i].address = pins.pin[i].address - start + to
    searched(t, pins)


cdef void pin_seen(Task *t, mm_struct *mm, uint64_t address, page *p, bint write) noexcept nogil:
    """A user's access, one step with its last look at the entry: is the page what a pin of that address promises, and
    is a write seen by nobody else?"""
    cdef gup_pins *pins = search(t, OP_LOAD)
    cdef gup_pin *pin
    cdef int64_t lost = -1
    cdef int64_t reader = -1
    cdef int i
    for i in range(MOST_PINS):
        pin = &pins.pin[i]
        if pin.page == NULL:
            continue
        if pin.mm == mm.id and pin.address == address and pin.promises and pin.mapped and pin.page != p:
            lost = pin.page.pfn
        if write and pin.page == p and pin.mm != mm.id:
            reader = pin.mm
    searched(t, pins)
    if lost >= 0:
        violate(t, LOST_PIN, mm.id, <int64_t>address, lost)
    if reader >= 0:
        violate(t, LEAKED_WRITE, mm.id, <int64_t>address, reader)


cdef int32_t pins_of(gup_pins *pins, page *p) noexcept nogil:
    """What these references add to the count of a page."""
    cdef int32_t count = 0
    cdef int i
    for i in range(MOST_PINS):
        if pins.pin[i].page == p:
            count += GUP_PIN_COUNTING_BIAS if pins.pin[i].promises else 1
    return count
