"""A simulated kernel that says how each execution ended: a hash of the state, by names that no address is part of.

What Kernel's own check finds wrong is not hashed, because nothing can be trusted there. In all other states vmas,
anon_vmas and pages are named by the order in which a walk over processes, vmas and page tables comes to them, so two
executions that differ in the order of their allocations only have the same hash.
"""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc

from anonvma_rt.engine.base.arena cimport arena_header, arena_root
from anonvma_rt.engine.base.klist cimport list_cursor, list_for_each, list_step
from anonvma_rt.engine.base.rng cimport mix64
from anonvma_rt.engine.run.subject cimport Subject
from anonvma_rt.engine.run.task cimport Execution
from anonvma_rt.mm.lab.kernel cimport Kernel
from anonvma_rt.mm.lab.objects cimport next_object
from anonvma_rt.mm.mm_types cimport (
    PTE_NONE, PTRS_PER_TABLE, PTE_STATE, PTE_WRITE, anon_vma, anon_vma_chain, avc_of_same_anon_vma, avc_of_same_vma,
    kernel, mm_struct, page, page_anon_vma, page_directory, page_table, pfn_to_page, pmd_huge, pmd_t, pmd_table, pte_pfn,
    vm_area_struct,
)

cdef enum:
    MOST_OBJECTS = 4096
    MOST_TYPES = 16


cdef struct Names:
    uint64_t hash
    void *object[MOST_OBJECTS]
    int32_t n
    uint32_t *page            # by frame, 0: not met yet
    uint32_t pages
    uint32_t n_pages_met


cdef struct End:
    uint64_t index
    uint64_t hash


cdef void add(Names *s, uint64_t value) noexcept nogil:
    s.hash = mix64(s.hash ^ value) + 0x9E3779B97F4A7C15ULL


cdef bint named(Names *s, void *object, int32_t *name) noexcept nogil:
    """The name of an object, and whether it had one before."""
    cdef int32_t i
    for i in range(s.n):
        if s.object[i] == object:
            name[0] = i + 1
            return True
    if s.n < MOST_OBJECTS:
        s.object[s.n] = object
        s.n += 1
    name[0] = s.n
    return False


cdef class Witness(Kernel):
    """ends(): of the executions since the last call that came to their end, (index, hash); the hash is 0 where the
    check found something."""

    cdef End *end
    cdef int64_t n_ends
    cdef int64_t room

    def __dealloc__(self):
        free(self.end)

    def ends(self):
        found = [(self.end[i].index, self.end[i].hash) for i in range(self.n_ends)]
        self.n_ends = 0
        return found

    cdef void check(self, Execution *x) noexcept nogil:
        cdef End *grown
        Kernel.check(self, x)
        if self.n_ends == self.room:
            self.room = 2 * self.room + 1024
            grown = <End *>realloc(self.end, self.room * sizeof(End))
            if grown == NULL:
                self.room = self.n_ends
                return
            self.end = grown
        self.end[self.n_ends].index = x.index
        self.end[self.n_ends].hash = 0 if x.finding.kind else state_of(x) | 1
        self.n_ends += 1


cdef uint64_t state_of(Execution *x) noexcept nogil:
    cdef kernel *k = <kernel *>arena_root(&x.arena)
    cdef Names *s = <Names *>calloc(1, sizeof(Names))
    cdef uint64_t hash
    cdef int32_t i
    if s == NULL:
        return 0
    s.pages = k.n_pages
    s.page = <uint32_t *>calloc(k.n_pages, sizeof(uint32_t))
    s.n = 0
    if s.page != NULL:
        for i in range(k.n_mm):
            add_mm(s, k, k.mm[i])
        add_counts(s, x)
    hash = s.hash
    free(s.page)
    free(s)
    return hash


cdef void add_counts(Names *s, Execution *x) noexcept nogil:
    """How many objects of each type are alive: what nobody leads to any more counts, too."""
    cdef uint64_t alive[MOST_TYPES]
    cdef arena_header *header = next_object(&x.arena, NULL)
    cdef int32_t i
    for i in range(MOST_TYPES):
        alive[i] = 0
    while header != NULL:
        if not header.generation & 1 and header.type < MOST_TYPES:
            alive[header.type] += 1
        header = next_object(&x.arena, header)
    for i in range(MOST_TYPES):
        # mem_map is made of chunks, and page tables may be kept for the next one: how many there are is no state.
        if i in (3, 4, 5):
            add(s, alive[i])


cdef void add_mm(Names *s, kernel *k, mm_struct *mm) noexcept nogil:
    cdef vm_area_struct *vma = mm.mmap
    cdef list_cursor c
    cdef int32_t name
    add(s, mm.map_count)
    while vma != NULL:
        named(s, vma, &name)
        add(s, name)
        add(s, vma.vm_start)
        add(s, vma.vm_end)
        add(s, vma.vm_pgoff)
        add(s, vma.vm_flags)
        add_anon_vma(s, k, vma.anon_vma)
        c = list_for_each(&vma.anon_vma_chain)
        while list_step(&c):
            add_anon_vma(s, k, avc_of_same_vma(c.pos).anon_vma)
        vma = vma.vm_next
    add_tables(s, k, mm)


cdef void add_anon_vma(Names *s, kernel *k, anon_vma *av) noexcept nogil:
    cdef list_cursor c
    cdef int32_t name
    if av == NULL:
        add(s, 0)
        return
    if named(s, av, &name):
        add(s, name)
        return
    add(s, name)
    add(s, <uint64_t>av.refcount)
    add(s, <uint64_t>av.num_children)
    add(s, <uint64_t>av.num_active_vmas)
    add_anon_vma(s, k, av.root)
    add_anon_vma(s, k, av.parent)
    if k.algorithm.tree:
        add_subtree(s, av.tree)
        return
    c = list_for_each(&av.head)
    while list_step(&c):
        named(s, avc_of_same_anon_vma(c.pos).vma, &name)
        add(s, name)


cdef void add_subtree(Names *s, anon_vma_chain *avc) noexcept nogil:
    cdef int32_t name
    # In the order of a walk: the shape depends on where the entries lie.
    if avc == NULL:
        return
    add_subtree(s, avc.left)
    named(s, avc.vma, &name)
    add(s, name)
    add_subtree(s, avc.right)


cdef void add_tables(Names *s, kernel *k, mm_struct *mm) noexcept nogil:
    cdef page_directory *directory
    cdef page_table *table
    cdef pmd_t pmd
    cdef uint64_t g
    cdef uint64_t m
    cdef uint64_t i
    for g in range(<uint64_t>PTRS_PER_TABLE):
        directory = <page_directory *>mm.pgd.entry[g]
        if directory == NULL:
            continue
        for m in range(<uint64_t>PTRS_PER_TABLE):
            pmd = directory.entry[m]
            if pmd == 0:
                continue
            add(s, g << 18 | m << 9)
            if pmd_huge(pmd):
                add(s, pmd & 0xFF)
                add_page(s, k, pte_pfn(pmd))
                continue
            table = pmd_table(pmd)
            for i in range(<uint64_t>PTRS_PER_TABLE):
                if table.pte[i] != PTE_NONE:
                    add(s, i << 8 | table.pte[i] & (PTE_STATE | PTE_WRITE))
                    add_page(s, k, pte_pfn(table.pte[i]))


cdef void add_page(Names *s, kernel *k, uint64_t pfn) noexcept nogil:
    cdef page *p
    if pfn == 0 or pfn >= s.pages:
        add(s, 0)
        return
    if s.page[pfn]:
        add(s, s.page[pfn])
        return
    s.n_pages_met += 1
    s.page[pfn] = s.n_pages_met
    p = pfn_to_page(k, pfn)
    add(s, s.page[pfn])
    add(s, <uint64_t>p.mapcount)
    add(s, <uint64_t>p.count)
    add(s, p.tag)
    add(s, p.index)
    add(s, p.flags)
    add(s, pfn - p.head)
    add_anon_vma(s, k, page_anon_vma(p))
