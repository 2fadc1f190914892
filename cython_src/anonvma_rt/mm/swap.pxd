"""The swap area and the swap cache (mm/swapfile.c, mm/swap_state.c).

A slot is in use while entries name it (its count, the swap_map) or a page in the swap cache belongs to it. One lock
guards all slots, as swap_lock did up to 3.8, and the lookups that the kernel makes under RCU take it, too; it is the
innermost of all. A page comes into the cache and leaves it with its page lock held, and the cache has a reference.
"""

from libc.stdint cimport int32_t, uint32_t

from anonvma_rt.engine.run.sync cimport spinlock_t
from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport kernel_of, page

cdef enum:
    SWAP_SLOTS = 64

cdef struct swap_slot:
    int32_t count             # entries that name it
    uint32_t page             # frame of its page in the swap cache, or 0
    uint32_t prepared         # frame of the page into which somebody reads it without the cache (6.8), or 0
    uint32_t tag              # its content

# Allocated where a program reclaims pages (kernel.swap). Slot 0 is never used.
cdef struct swap_area:
    spinlock_t lock
    # Where tasks run at once: held around a change of the flags of a page.
    uint32_t flags_guard
    swap_slot slot[SWAP_SLOTS]

cdef void swap_open(Task *t) noexcept nogil
cdef void change_flags(Task *t, page *p, uint32_t lost, uint32_t gained) noexcept nogil
cdef bint add_to_swap(Task *t, page *p) noexcept nogil
cdef void delete_from_swap_cache(Task *t, page *p) noexcept nogil
cdef bint remove_mapping(Task *t, page *p) noexcept nogil
cdef bint move_in_swap_cache(Task *t, page *old, page *new) noexcept nogil
cdef page *lookup_swap_cache(Task *t, uint32_t slot) noexcept nogil
cdef page *read_swap_cache(Task *t, uint32_t slot, int *error) noexcept nogil
cdef page *swapcache_prepare(Task *t, uint32_t slot, page *fresh) noexcept nogil
cdef void swapcache_clear(Task *t, uint32_t slot) noexcept nogil
cdef bint in_swap_cache(Task *t, uint32_t slot) noexcept nogil
cdef int swap_count(Task *t, uint32_t slot) noexcept nogil
cdef void swap_duplicate(Task *t, uint32_t slot) noexcept nogil
cdef void swap_free(Task *t, uint32_t slot) noexcept nogil
cdef void free_swap_and_cache(Task *t, uint32_t slot) noexcept nogil
cdef bint try_to_free_swap(Task *t, page *p) noexcept nogil
cdef bint reuse_swap_page(Task *t, page *p) noexcept nogil
cdef void swap_writepage(Task *t, page *p) noexcept nogil
cdef void swap_readpage(Task *t, uint32_t slot, page *p) noexcept nogil


cdef inline swap_area *swap_of(Task *t) noexcept nogil:
    """NULL where the program reclaims nothing."""
    return <swap_area *>kernel_of(t).swap
