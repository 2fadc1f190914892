"""The invariants at quiescence: no migration, move or fault is under way any more.

A stale migration entry is invisible in all counters, so the page tables themselves are scanned. The first thing found
is the verdict, and a stale entry is looked for first: the rest may follow from it.
"""

from libc.stdint cimport int32_t, int64_t, uint64_t

from anonvma_rt.engine.arena cimport arena_alloc, arena_live
from anonvma_rt.engine.klist cimport list_cursor, list_empty, list_for_each, list_step
from anonvma_rt.engine.task cimport VIOLATION_LIST_CORRUPTION, VIOLATION_USE_AFTER_FREE, Execution, found
from anonvma_rt.mm.types cimport (
    MAPCOUNT_MISMATCH,
    PAGE_SHIFT,
    PGDIR_SHIFT,
    PMD_SHIFT,
    PTE_NONE,
    PTRS_PER_TABLE,
    STALE_MIGRATION_ENTRY,
    TYPE_ANON_VMA,
    TYPE_AVC,
    TYPE_SCRATCH,
    TYPE_TABLE,
    TYPE_VMA,
    UNREACHABLE_PTE,
    anon_vma,
    anon_vma_chain,
    avc_of_same_anon_vma,
    avc_of_same_vma,
    is_migration_entry,
    kernel,
    linear_page_index,
    mm_struct,
    page,
    page_anon_vma,
    page_directory,
    page_table,
    pfn_to_page,
    pte_pfn,
    pte_present,
    pte_t,
    serial_of,
    vm_area_struct,
)
from anonvma_rt.engine.arena cimport arena_root

# Which part of a rule was broken, in Finding.c of list-corruption and unreachable-pte.
cdef enum:
    I1_CHAIN = 1
    I1_ROOT = 2
    I2_ORDER = 3
    I3_SETS = 4
    I4_NOT_LISTED = 5
    I5_INDEX = 6
    I9_DANGLING = 7
    NO_VMA = 8
    NOT_A_PTE = 9


cdef void check_world(Execution *x) noexcept nogil:
    cdef kernel *k = <kernel *>arena_root(&x.arena)
    cdef int32_t *mapped = <int32_t *>arena_alloc(&x.arena, k.n_pages * sizeof(int32_t), TYPE_SCRATCH)
    cdef uint64_t i
    cdef page *p
    for i in range(<uint64_t>k.n_mm):
        check_chains(x, k.mm[i])
    for i in range(<uint64_t>k.n_mm):
        check_tables(x, k, k.mm[i], mapped)
    if x.finding.kind or mapped == NULL:
        return
    for i in range(1, <uint64_t>k.n_pages):
        p = pfn_to_page(k, i)
        if p.mapcount + 1 != mapped[i]:
            found(x, MAPCOUNT_MISMATCH, -1, p.pfn, p.mapcount + 1, mapped[i])


cdef void check_owner(Execution *x, page *p) noexcept nogil:
    """I9: a mapped page points to an anon_vma that lives and whose list is not empty."""
    cdef anon_vma *av = page_anon_vma(p)
    if not arena_live(&x.arena, av, TYPE_ANON_VMA):
        found(x, VIOLATION_USE_AFTER_FREE, -1, TYPE_ANON_VMA, p.pfn, I9_DANGLING)
    elif list_empty(&av.head):
        found(x, UNREACHABLE_PTE, -1, 0, p.pfn, I9_DANGLING)


# ---- page tables: I4 to I7 ---------------------------------------------------------------------------------------------


cdef void check_tables(Execution *x, kernel *k, mm_struct *mm, int32_t *mapped) noexcept nogil:
    """Every pte of every table, inside a vma or not."""
    cdef vm_area_struct *vma = mm.mmap
    cdef page_directory *directory
    cdef page_table *table
    cdef uint64_t g
    cdef uint64_t m
    cdef uint64_t i
    cdef uint64_t address
    for g in range(<uint64_t>PTRS_PER_TABLE):
        directory = <page_directory *>mm.pgd.entry[g]
        if directory == NULL:
            continue
        for m in range(<uint64_t>PTRS_PER_TABLE):
            table = <page_table *>directory.entry[m]
            if table == NULL:
                continue
            if not arena_live(&x.arena, table, TYPE_TABLE):
                found(x, VIOLATION_USE_AFTER_FREE, -1, TYPE_TABLE, mm.id, <int64_t>(g << PGDIR_SHIFT | m << PMD_SHIFT))
                continue
            for i in range(<uint64_t>PTRS_PER_TABLE):
                if table.pte[i] == PTE_NONE:
                    continue
                address = g << PGDIR_SHIFT | m << PMD_SHIFT | i << PAGE_SHIFT
                while vma != NULL and vma.vm_end <= address:
                    vma = vma.vm_next
                check_pte(x, k, mm, vma, address, table.pte[i], mapped)


cdef void check_pte(Execution *x, kernel *k, mm_struct *mm, vm_area_struct *vma, uint64_t address, pte_t pte,
                    int32_t *mapped) noexcept nogil:
    cdef page *p
    if is_migration_entry(pte):
        # I6 and I7: no migration is under way, so this entry was missed by its restore walk.
        found(x, STALE_MIGRATION_ENTRY, -1, mm.id, <int64_t>address, <int64_t>pte_pfn(pte))
        return
    if pte_pfn(pte) == 0:
        return
    if not pte_present(pte) or pte_pfn(pte) >= k.n_pages:
        found(x, UNREACHABLE_PTE, -1, mm.id, <int64_t>address, NOT_A_PTE)
        return
    p = pfn_to_page(k, pte_pfn(pte))
    check_owner(x, p)
    if mapped != NULL:
        mapped[p.pfn] += 1
    if vma == NULL or address < vma.vm_start:
        found(x, UNREACHABLE_PTE, -1, mm.id, <int64_t>address, NO_VMA)
    elif linear_page_index(vma, address) != p.index:
        found(x, UNREACHABLE_PTE, -1, mm.id, <int64_t>address, I5_INDEX)
    elif not listed(vma, page_anon_vma(p)):
        found(x, UNREACHABLE_PTE, -1, mm.id, <int64_t>address, I4_NOT_LISTED)


cdef bint listed(vm_area_struct *vma, anon_vma *av) noexcept nogil:
    """Whether av's list contains an entry of vma, looked up from the vma's side."""
    cdef list_cursor c = list_for_each(&vma.anon_vma_chain)
    while list_step(&c):
        if avc_of_same_vma(c.pos).anon_vma == av:
            return True
    return False


# ---- chains and lists: I1 to I3 ----------------------------------------------------------------------------------------


cdef void check_chains(Execution *x, mm_struct *mm) noexcept nogil:
    cdef vm_area_struct *vma = mm.mmap
    cdef vm_area_struct *twin
    cdef anon_vma_chain *avc
    cdef anon_vma *root
    cdef list_cursor c
    cdef int links
    while vma != NULL:
        if not arena_live(&x.arena, vma, TYPE_VMA):
            found(x, VIOLATION_USE_AFTER_FREE, -1, TYPE_VMA, mm.id, 0)
            return
        c = list_for_each(&vma.anon_vma_chain)
        root = NULL
        links = 0
        while list_step(&c):
            avc = avc_of_same_vma(c.pos)
            if not arena_live(&x.arena, avc, TYPE_AVC) or not arena_live(&x.arena, avc.anon_vma, TYPE_ANON_VMA):
                found(x, VIOLATION_USE_AFTER_FREE, -1, TYPE_AVC, serial_of(vma), 0)
                return
            if links == 0 and avc.anon_vma != vma.anon_vma:
                found(x, VIOLATION_LIST_CORRUPTION, -1, serial_of(vma), serial_of(avc.anon_vma), I2_ORDER)
            check_list(x, avc.anon_vma)
            if avc.vma != vma or not on_list(avc):
                found(x, VIOLATION_LIST_CORRUPTION, -1, serial_of(vma), serial_of(avc.anon_vma), I1_CHAIN)
            if root != NULL and avc.anon_vma.root != root:
                found(x, VIOLATION_LIST_CORRUPTION, -1, serial_of(vma), serial_of(avc.anon_vma), I1_ROOT)
            root = avc.anon_vma.root
            links += 1
        if c.corrupt or (links == 0) != (vma.anon_vma == NULL):
            found(x, VIOLATION_LIST_CORRUPTION, -1, serial_of(vma), c.corrupt, I1_CHAIN)
        elif links and avc.anon_vma != root_of_chain(vma):
            found(x, VIOLATION_LIST_CORRUPTION, -1, serial_of(vma), serial_of(avc.anon_vma), I2_ORDER)
        elif links and not x.finding.kind:
            twin = first_with(vma.anon_vma, mm)
            if twin != NULL and not same_chains(vma, twin):
                found(x, VIOLATION_LIST_CORRUPTION, -1, serial_of(twin), serial_of(vma), I3_SETS)
        vma = vma.vm_next


cdef void check_list(Execution *x, anon_vma *av) noexcept nogil:
    """I1 from the other side: a walker may follow every entry of the list."""
    cdef list_cursor c = list_for_each(&av.head)
    cdef anon_vma_chain *avc
    while list_step(&c):
        avc = avc_of_same_anon_vma(c.pos)
        if not arena_live(&x.arena, avc, TYPE_AVC):
            found(x, VIOLATION_USE_AFTER_FREE, -1, TYPE_AVC, serial_of(av), I1_CHAIN)
            return
        if not arena_live(&x.arena, avc.vma, TYPE_VMA):
            found(x, VIOLATION_USE_AFTER_FREE, -1, TYPE_VMA, serial_of(av), I1_CHAIN)
            return
        if avc.anon_vma != av:
            found(x, VIOLATION_LIST_CORRUPTION, -1, serial_of(avc.vma), serial_of(av), I1_CHAIN)
    if c.corrupt:
        found(x, VIOLATION_LIST_CORRUPTION, -1, 0, serial_of(av), I1_CHAIN)


cdef vm_area_struct *first_with(anon_vma *av, mm_struct *mm) noexcept nogil:
    """The first vma of mm on av's list whose own anon_vma it is; I3 compares the others with this one."""
    cdef list_cursor c = list_for_each(&av.head)
    cdef vm_area_struct *vma
    while list_step(&c):
        vma = avc_of_same_anon_vma(c.pos).vma
        if vma.vm_mm == mm and vma.anon_vma == av:
            return vma
    return NULL


cdef anon_vma *root_of_chain(vm_area_struct *vma) noexcept nogil:
    """The anon_vma that I2 wants last: the root if the vma is on its list, else the last one there is."""
    cdef list_cursor c = list_for_each(&vma.anon_vma_chain)
    cdef anon_vma *last = NULL
    while list_step(&c):
        last = avc_of_same_vma(c.pos).anon_vma
        if last.root == last:
            return last
    return last


cdef bint on_list(anon_vma_chain *avc) noexcept nogil:
    cdef list_cursor c = list_for_each(&avc.anon_vma.head)
    while list_step(&c):
        if avc_of_same_anon_vma(c.pos) == avc:
            return True
    return False


cdef bint same_chains(vm_area_struct *a, vm_area_struct *b) noexcept nogil:
    """I3: vmas that share their anon_vma are on the same lists, or merging them would lose pages."""
    cdef list_cursor c = list_for_each(&a.anon_vma_chain)
    cdef int links = 0
    while list_step(&c):
        if not listed(b, avc_of_same_vma(c.pos).anon_vma):
            return False
        links += 1
    c = list_for_each(&b.anon_vma_chain)
    while list_step(&c):
        links -= 1
    return links == 0
