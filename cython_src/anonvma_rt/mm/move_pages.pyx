"""Several pages at once (see move_pages.pxd).

Since 6.3 (5dfab109d519) all pages of a batch are unmapped, and then all are moved: each stays locked meanwhile, with
its migration entries. So nobody who holds locked pages waits for the lock of one more (fb3592c41a44): a batch only
tries, and what is left of it then goes one by one.
"""

from libc.errno cimport EAGAIN, EBUSY, EFAULT, ENOENT, ENOMEM
from libc.stdint cimport int32_t, uint64_t

from anonvma_rt.engine.run.sync cimport down_read, up_read
from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.gup cimport follow_page
from anonvma_rt.mm.migrate cimport (
    FORCE_PASS, MAX_PASSES, UNMAPPED, begin_migration, end_migration, finished, migrate_isolated, migration,
    move_to_new_page, told,
)
from anonvma_rt.mm.mm_types cimport (
    BATCHES_NO, BATCHES_WAITING, MOVE_PAGES_3_2, MOVE_PAGES_4_17, PAGE_SIZE, compound_head, kernel_of, mm_struct, page,
    pte_pfn, pte_present, pte_t, start_of, vm_area_struct,
)
from anonvma_rt.mm.tlb cimport try_to_unmap_flush
from anonvma_rt.mm.vma_tree cimport find_vma

cdef enum:
    # Pages of a batch; in Linux as many as a huge page has.
    BATCH = 64


# ---- one batch -------------------------------------------------------------------------------------------------------


cdef int unmap_batch(Task *t, migration *batch, int n, int first_pass, int passes, bint wait) noexcept nogil:
    """Up to so many passes over what is not unmapped yet. 0, or -ENOMEM, at which it ends."""
    cdef migration *m
    cdef int tries
    cdef int again
    cdef int i
    for tries in range(first_pass, first_pass + passes):
        again = 0
        for i in range(n):
            m = &batch[i]
            if m.state != -EAGAIN:
                continue
            m.state = begin_migration(t, m, wait and tries >= FORCE_PASS)
            if m.state != UNMAPPED:
                told(t, m.old, m.state)
            if m.state == -ENOMEM:
                return m.state
            again += m.state == -EAGAIN
        if again == 0:
            break
    return 0


cdef void move_batch(Task *t, migration *batch, int n, int passes) noexcept nogil:
    """Up to so many passes over what is unmapped, each of which stays so; what cannot be moved then is put back."""
    cdef migration *m
    cdef int tries
    cdef int again
    cdef int result
    cdef int i
    try_to_unmap_flush(t)
    for tries in range(passes):
        again = 0
        for i in range(n):
            m = &batch[i]
            if m.state != UNMAPPED:
                continue
            result = move_to_new_page(t, m, False)
            if result == -EAGAIN and tries + 1 < passes:
                again += 1
                continue
            end_migration(t, m, result)
            told(t, m.old, result)
            m.state = result
        if again == 0:
            break


cdef int migrate_batch(Task *t, migration *batch, int n) noexcept nogil:
    """How many pages of a batch could not be moved, or -ENOMEM."""
    cdef int result
    cdef int failed = 0
    cdef int i
    if kernel_of(t).algorithm.batches == BATCHES_WAITING:
        result = unmap_batch(t, batch, n, 0, MAX_PASSES, True)
        move_batch(t, batch, n, MAX_PASSES)
    else:
        result = unmap_batch(t, batch, n, 0, FORCE_PASS, False)
        move_batch(t, batch, n, FORCE_PASS)
        i = 0
        while i < n and result == 0:
            result = unmap_batch(t, batch + i, 1, FORCE_PASS, MAX_PASSES - FORCE_PASS, True)
            move_batch(t, batch + i, 1, MAX_PASSES - FORCE_PASS)
            i += 1
    for i in range(n):
        failed += batch[i].state < 0
        finished(t, batch[i].old, batch[i].state)
    return result if result < 0 else failed


# ---- the call --------------------------------------------------------------------------------------------------------


cdef int find_page(Task *t, mm_struct *mm, uint64_t address, page **p) noexcept nogil:
    """The page at an address, isolated: 0; -EFAULT where nothing is mapped and, since 4.3, for the zero page; -ENOENT
    where no page is; -EBUSY where somebody else has isolated it. mmap_sem is held for reading."""
    cdef vm_area_struct *vma = find_vma(t, mm, address)
    cdef pte_t seen
    if vma == NULL or start_of(t, vma) > address:
        return -EFAULT
    p[0] = follow_page(t, vma, address, True, 0, &seen)
    if p[0] != NULL:
        # Since 4.14 the whole huge page is isolated.
        p[0] = compound_head(t, p[0])
        return 0
    if not pte_present(seen):
        return -ENOENT
    if pte_pfn(seen):
        return -EBUSY
    return -ENOENT if kernel_of(t).algorithm.move_pages == MOVE_PAGES_3_2 else -EFAULT


cdef int find_unlocked(Task *t, mm_struct *mm, uint64_t address, page **p) noexcept nogil:
    """The same with mmap_sem held for this page only."""
    cdef int result
    down_read(t, &mm.mmap_sem)
    result = find_page(t, mm, address, p)
    up_read(t, &mm.mmap_sem)
    return result


cdef int move_together(Task *t, mm_struct *mm, uint64_t address, uint64_t pages, int32_t *status) noexcept nogil:
    """move_pages since 6.3: all pages of a batch are looked up and isolated first."""
    cdef migration batch[BATCH]
    cdef int n = 0
    cdef int failed = 0
    cdef int result
    cdef uint64_t i
    for i in range(pages):
        result = find_unlocked(t, mm, address + i * PAGE_SIZE, &batch[n].old)
        if status != NULL:
            status[i] = result
        if result == 0:
            batch[n].state = -EAGAIN
            n += 1
        if n == BATCH or (n and i + 1 == pages):
            result = migrate_batch(t, batch, n)
            if result < 0:
                return result
            failed += result
            n = 0
    return failed


cdef int move_pages(Task *t, mm_struct *mm, uint64_t address, uint64_t pages, int32_t *status) noexcept nogil:
    """The system call of that name for a range of `mm`, whose mmap_sem is held for reading: up to 4.16 throughout, so
    that it cannot race with an mremap of the same mm, but with one of another mm that shares the pages; since then for
    the lookup of each page only.

    How many pages could not be moved, or -ENOMEM. status, if wanted: of each page 0 or what find_page says; an address
    inside a page is as good as its beginning. """
    cdef bint throughout = kernel_of(t).algorithm.move_pages != MOVE_PAGES_4_17
    cdef uint64_t at = address & ~<uint64_t>(PAGE_SIZE - 1)
    cdef page *p
    cdef uint64_t i
    cdef uint64_t pfn = 0
    cdef int result
    cdef int failed = 0
    if kernel_of(t).algorithm.batches != BATCHES_NO and not throughout:
        return move_together(t, mm, at, pages, status)
    if throughout:
        down_read(t, &mm.mmap_sem)
    for i in range(pages):
        if throughout:
            result = find_page(t, mm, at + i * PAGE_SIZE, &p)
        else:
            result = find_unlocked(t, mm, at + i * PAGE_SIZE, &p)
        if status != NULL:
            status[i] = result
        if result < 0:
            continue
        result = migrate_isolated(t, p, False, &pfn)
        if result == -ENOMEM:
            failed = result
            break
        failed += result < 0
    if throughout:
        up_read(t, &mm.mmap_sem)
    return failed
