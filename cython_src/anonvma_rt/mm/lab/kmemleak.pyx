"""Leaks (see kmemleak.pxd): live objects that no process leads to, and references that nobody holds.

No task runs. check_world() comes first: it has walked all lists, and leaves its round's number in what it met.
"""

from libc.stdint cimport int32_t, int64_t, uint64_t

from anonvma_rt.engine.base.arena cimport ARENA_TYPES, arena_header, arena_root
from anonvma_rt.engine.base.klist cimport list_cursor, list_for_each, list_step
from anonvma_rt.engine.run.task cimport Execution
from anonvma_rt.mm.hooks.notes cimport LEAK
from anonvma_rt.mm.pins cimport gup_pins, pins_of
from anonvma_rt.mm.lab.chains cimport report
from anonvma_rt.mm.lab.objects cimport next_object
from anonvma_rt.mm.mm_types cimport (
    PG_FILE, PTRS_PER_TABLE, TYPE_ANON_VMA, TYPE_AVC, TYPE_DIRECTORY, TYPE_PAGES, TYPE_TABLE, TYPE_VMA, anon_vma,
    anon_vma_chain, avc_of_same_vma, compound_mapcount, compound_nr, kernel, mm_struct, page, page_directory,
    page_in_compound, page_slot, pfn_to_page, pmd_table, serial_of, vm_area_struct,
)


cdef void count_reachable(kernel *k, mm_struct *mm, int64_t *count) noexcept nogil:
    """Adds what a process leads to; marks roots, which live as long as one of their children does."""
    cdef vm_area_struct *vma = mm.mmap
    cdef page_directory *directory
    cdef list_cursor c
    cdef int g
    cdef int m
    while vma != NULL:
        count[TYPE_VMA] += 1
        c = list_for_each(&vma.anon_vma_chain)
        while list_step(&c):
            avc_of_same_vma(c.pos).anon_vma.root.checked_round = k.check_round
        vma = vma.vm_next
    count[TYPE_DIRECTORY] += 1
    for g in range(PTRS_PER_TABLE):
        directory = <page_directory *>mm.pgd.entry[g]
        if directory == NULL:
            continue
        count[TYPE_DIRECTORY] += 1
        for m in range(PTRS_PER_TABLE):
            count[TYPE_TABLE] += pmd_table(directory.entry[m]) != NULL


cdef void count_users(kernel *k, mm_struct *mm, int32_t change) noexcept nogil:
    """Adds `change` to the number of users of each vma's own anon_vma."""
    cdef vm_area_struct *vma = mm.mmap
    while vma != NULL:
        if vma.anon_vma != NULL:
            vma.anon_vma.num_active_vmas += change
        vma = vma.vm_next


cdef void check_users(Execution *x, kernel *k) noexcept nogil:
    """num_active_vmas, which says whether fork may reuse an anon_vma, is the number of vmas whose own one it is: taken
    off one by one nothing is left. Afterwards all is as it was."""
    cdef vm_area_struct *vma
    cdef int i
    for i in range(k.n_mm):
        count_users(k, k.mm[i], -1)
    for i in range(k.n_mm):
        vma = k.mm[i].mmap
        while vma != NULL:
            if vma.anon_vma != NULL and vma.anon_vma.num_active_vmas:
                report(x, k, LEAK, TYPE_ANON_VMA, serial_of(vma.anon_vma), vma.anon_vma.num_active_vmas)
            vma = vma.vm_next
    for i in range(k.n_mm):
        count_users(k, k.mm[i], 1)


cdef void count_live(Execution *x, kernel *k, int64_t *live, int64_t *lost) noexcept nogil:
    """live: objects by type; lost: of those that carry a mark, the ones that no list or child led to."""
    cdef arena_header *header = next_object(&x.arena, NULL)
    while header != NULL:
        if not header.generation & 1:
            live[header.type] += 1
            if header.type == TYPE_ANON_VMA:
                lost[TYPE_ANON_VMA] += (<anon_vma *>(header + 1)).checked_round != k.check_round
            elif header.type == TYPE_AVC:
                lost[TYPE_AVC] += (<anon_vma_chain *>(header + 1)).checked_round != k.check_round
        header = next_object(&x.arena, header)


cdef int entries_of(page *p) noexcept nogil:
    """How many entries show a page, or a huge page and its parts."""
    cdef int entries = p.mapcount + 1
    cdef int i
    if page_in_compound(p):
        entries += compound_mapcount(p)[0] + 1
        for i in range(1, <int>compound_nr(p)):
            entries += p[i].mapcount + 1
    return entries


cdef void check_pages(Execution *x, kernel *k) noexcept nogil:
    """A page has one reference for each entry that shows it, one of the swap cache, and those that were taken from
    outside; frame 0 is the zero page, which is never freed."""
    cdef uint64_t i
    cdef int32_t others
    cdef page *p
    for i in range(1, <uint64_t>k.n_pages):
        p = pfn_to_page(k, i)
        others = (page_slot(p) != 0) + (p.flags & PG_FILE != 0)
        others += pins_of(<gup_pins *>k.pins, p) if k.pins != NULL else 0
        if p.head == p.pfn and p.count != entries_of(p) + others:
            report(x, k, LEAK, TYPE_PAGES, p.pfn, p.count - entries_of(p) - others)


cdef void check_leaks(Execution *x) noexcept nogil:
    """Linear in objects and pages. A finding names a type and how many of it are lost, an anon_vma and how many users
    it counts too many, or a page frame and how many references. Nothing is said where a check has found something
    already. """
    cdef kernel *k = <kernel *>arena_root(&x.arena)
    cdef int64_t reachable[ARENA_TYPES]
    cdef int64_t live[ARENA_TYPES]
    cdef int64_t lost[ARENA_TYPES]
    cdef int i
    if x.finding.kind:
        return
    for i in range(ARENA_TYPES):
        reachable[i] = live[i] = lost[i] = 0
    for i in range(k.n_mm):
        count_reachable(k, k.mm[i], reachable)
    # Where tasks run at once objects do not lie one behind the other, and cannot be counted from here.
    if x.arena.now.used <= x.arena.committed:
        count_live(x, k, live, lost)
        lost[TYPE_VMA] = live[TYPE_VMA] - reachable[TYPE_VMA]
        lost[TYPE_TABLE] = live[TYPE_TABLE] - reachable[TYPE_TABLE]
        lost[TYPE_DIRECTORY] = live[TYPE_DIRECTORY] - reachable[TYPE_DIRECTORY]
    for i in range(ARENA_TYPES):
        if lost[i]:
            report(x, k, LEAK, i, 0, lost[i])
    check_users(x, k)
    check_pages(x, k)
