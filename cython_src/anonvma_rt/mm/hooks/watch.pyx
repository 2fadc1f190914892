"""The list of watched pages (see watch.pxd): ranges of indices, made when setup has ended and never changed again."""

from libc.stdint cimport uint64_t

from anonvma_rt.mm.mm_types cimport (
    MAX_WATCHED, PAGE_SHIFT, PAGE_SIZE, PTE_NONE, PTRS_PER_TABLE, kernel, linear_page_index, page_table, vm_area_struct,
)


cdef void watch(kernel *k, uint64_t index) noexcept nogil:
    """Watches one more page. Side by side pages take one place; where all places are taken it goes unwatched."""
    cdef int i
    for i in range(k.n_watched):
        if k.watched[i].first <= index <= k.watched[i].last + 1:
            if index > k.watched[i].last:
                k.watched[i].last = index
            return
    if k.n_watched < MAX_WATCHED:
        k.watched[k.n_watched].first = index
        k.watched[k.n_watched].last = index
        k.n_watched += 1


cdef bint is_watched(kernel *k, uint64_t index) noexcept nogil:
    cdef int i
    for i in range(k.n_watched):
        if k.watched[i].first <= index <= k.watched[i].last:
            return True
    return False


cdef bint moves_watched(kernel *k, vm_area_struct *vma, page_table *table, uint64_t start, uint64_t end) noexcept nogil:
    """Whether `table` has an entry for a watched page in [start, end) of vma. No point: nothing is decided here."""
    cdef uint64_t address = start
    cdef uint64_t i
    while k.n_watched and address < end:
        i = (address >> PAGE_SHIFT) & (PTRS_PER_TABLE - 1)
        if table.pte[i] != PTE_NONE and is_watched(k, linear_page_index(vma, address)):
            return True
        address += PAGE_SIZE
    return False
