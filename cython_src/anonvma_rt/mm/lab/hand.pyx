"""A simulated kernel that is driven by hand: one system call at a time, nobody else running
(anonvma_rt.kernel.machine).

The state lives in an arena of its own, as it does in an execution; a call that breaks one of the kernel's rules leaves
the state as it was at that moment, so that it can be looked at.
"""

from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset
from posix.stdlib cimport posix_memalign

from anonvma_rt.engine.base.arena cimport arena_close, arena_header, arena_open
from anonvma_rt.engine.base.grow cimport grow
from anonvma_rt.engine.base.operation cimport MAX_TASKS
from anonvma_rt.engine.run.block cimport run_alone
from anonvma_rt.engine.run.task cimport HALT_NO_MEMORY, Execution, Finding, Task
from anonvma_rt.mm.deferred_queue cimport make_deferred_queue
from anonvma_rt.mm.failslab cimport failslab_open, failslab_race
from anonvma_rt.mm.fork cimport mm_alloc
from anonvma_rt.mm.filemap cimport make_file
from anonvma_rt.mm.pins cimport pins_open
from anonvma_rt.mm.hooks.rule cimport Rule, set_rule
from anonvma_rt.mm.hooks.algorithm cimport read_algorithm
from anonvma_rt.mm.lab.check cimport check_world
from anonvma_rt.mm.lab.kernel cimport kernel_init, read_plan
from anonvma_rt.mm.lab.kmemleak cimport check_leaks
from anonvma_rt.mm.lab.objects cimport next_object
from anonvma_rt.mm.lab.syscall cimport (
    Call, MMAP_FILE, RECLAIM, RESOLVED, is_about_pins, read_call, resolve, system_call, wants_page,
)
from anonvma_rt.mm.lab.world cimport World
from anonvma_rt.mm.mm_types cimport (
    PAGE_SHIFT, PMD_MIGRATION, PTRS_PER_TABLE, THP_3_2, TYPE_PAGES, TYPE_PINS, TYPE_SCRATCH, TYPE_SWAP, algorithm,
    alloc_plan, compound_nr, kernel, kernel_of, page, page_anon_vma, pfn_to_page, pmd_huge, pmd_t, pmd_table, pte_pfn,
    pte_present, pte_t, rule_hook, vm_area_struct, vma_pages,
)
from anonvma_rt.mm.pgtable cimport pmd_offset, pte_offset
from anonvma_rt.mm.rmap cimport WALK_REFERENCED, page_mapped, rmap_walk, rmap_walk_next, rmap_walk_range
from anonvma_rt.mm.swap cimport swap_open

from anonvma_rt.mm.hooks.notes import KINDS

cdef enum:
    MOST_FINDINGS = 1000

cdef struct Made:
    Call *call
    int64_t result

cdef struct Boot:
    algorithm *algorithm
    rule_hook rule
    int64_t mm

cdef struct Mapping:
    int64_t mm
    uint64_t address

cdef struct Walk:
    uint64_t pfn
    Mapping *found
    uint64_t room
    int64_t n


cdef void boot(Task *t, Boot *b) noexcept nogil:
    cdef alloc_plan nothing
    memset(&nothing, 0, sizeof(nothing))
    kernel_init(t, b.algorithm, &b.rule, 0)
    kernel_of(t).prot_none = True
    if b.algorithm.thp != THP_3_2:
        make_deferred_queue(t)
    failslab_open(t, &nothing)
    failslab_race(t, True)


cdef void new_mm(Task *t, Boot *b) noexcept nogil:
    b.mm = mm_alloc(t, kernel_of(t)).id


cdef void make_call(Task *t, Made *made) noexcept nogil:
    if made.call.verb == RECLAIM:
        swap_open(t)
    elif is_about_pins(made.call):
        pins_open(t)
    elif made.call.verb == MMAP_FILE:
        make_file(t)
    if wants_page(made.call):
        resolve(t, made.call, made.call.args[RESOLVED])
    made.result = system_call(t, made.call)


cdef bint shows(vm_area_struct *vma, uint64_t address, page *p) noexcept nogil:
    """Whether the entry for address shows p, as a small page or inside a huge one."""
    cdef pmd_t *pmd = pmd_offset(vma.vm_mm, address)
    cdef pte_t pte
    if pmd == NULL or pmd[0] == 0:
        return False
    if pmd_huge(pmd[0]) and pmd[0] & PMD_MIGRATION:
        return False
    if pmd_huge(pmd[0]):
        # A vma that moved may hold the head's index at another place, so far from here that this is not its entry.
        return pte_pfn(pmd[0]) == p.head and (address >> PAGE_SHIFT) & (PTRS_PER_TABLE - 1) == p.pfn - p.head
    pte = pte_offset(pmd_table(pmd[0]), address)[0]
    return pte_present(pte) and pte_pfn(pte) == p.pfn


cdef void walk(Task *t, Walk *w) noexcept nogil:
    cdef kernel *k = kernel_of(t)
    cdef page *p = pfn_to_page(k, w.pfn)
    cdef page *head = pfn_to_page(k, p.head)
    cdef rmap_walk r
    cdef vm_area_struct *vma
    cdef uint64_t address
    cdef uint64_t index = head.index + (p.pfn - head.pfn)
    if page_anon_vma(head) == NULL or not page_mapped(t, head):
        return
    r = rmap_walk_range(t, page_anon_vma(head), head, WALK_REFERENCED, compound_nr(head))
    while True:
        vma = rmap_walk_next(t, &r)
        if vma == NULL:
            return
        if index < vma.vm_pgoff or index >= vma.vm_pgoff + vma_pages(vma):
            continue
        address = vma.vm_start + ((index - vma.vm_pgoff) << PAGE_SHIFT)
        if not shows(vma, address, p):
            continue
        if grow(<void **>&w.found, &w.room, <uint64_t>w.n + 1, sizeof(Mapping)) < 0:
            w.n = -1
            return
        w.found[w.n].mm = vma.vm_mm.id
        w.found[w.n].address = address
        w.n += 1


class Crash(Exception):
    """The simulated kernel broke one of its own rules: `kind` names the violation, a, b, c say more."""

    def __init__(self, kind, a, b, c):
        super().__init__(kind)
        self.kind, self.a, self.b, self.c = kind, a, b, c


cdef class Hand(World):
    """A kernel without processes. fields: a mapping with the fields of anonvma_rt.kernel.algorithm.Algorithm. rule: an
    ordering in the place of the algorithm's own."""

    cdef readonly object crash
    cdef readonly Rule rule
    cdef alloc_plan plan

    def __init__(self, fields, Rule rule=None):
        cdef void *x = NULL
        cdef algorithm chosen = read_algorithm(fields)
        cdef Boot b
        cdef int i
        if self.x != NULL:
            raise RuntimeError("a Hand is made once")
        self.rule = rule
        set_rule(&b.rule, rule)
        if posix_memalign(&x, 128, sizeof(Execution)) != 0:
            raise MemoryError("no memory for a machine")
        memset(x, 0, sizeof(Execution))
        self.x = <Execution *>x
        self.x.tasks = self.x.bodies = self.x.words = 1
        for i in range(MAX_TASKS):
            self.x.task[i].x = self.x
            self.x.task[i].id = i
        arena_open(&self.x.arena)
        b.algorithm = &chosen
        self.alone(<void *>boot, &b)

    def __dealloc__(self):
        # A World does not own what it looks at, a Hand does.
        free(self.plan.listed)
        if self.x != NULL:
            arena_close(&self.x.arena)
            free(self.x)

    cdef int alone(self, void *call, void *argument) except -1:
        """Runs one call as the only task there is. Raises Crash, from then on for every call."""
        if self.crash is not None:
            raise self.crash
        if self.x == NULL:
            raise RuntimeError("the kernel was never built")
        self.indexed = False
        if not run_alone(self.x, <void (*)(Task *, void *) noexcept nogil>call, argument):
            return 0
        if self.x.halt == HALT_NO_MEMORY:
            self.crash = MemoryError("no memory left for the simulated kernel")
        else:
            f = self.x.finding
            self.crash = Crash(KINDS[f.kind], f.a, f.b, f.c)
        raise self.crash

    def process(self):
        """Makes a process without mappings; its number."""
        cdef Boot b
        self.alone(<void *>new_mm, &b)
        return b.mm

    def call(self, verb, int process, args=(), pfn=0, list status=None):
        """One system call (mm/lab/syscall.pyx says what args are): its result, or -errno. status: is filled with what
        became of as many pages as it is long."""
        cdef Call c = read_call(verb, process, args)
        cdef Made made = Made(call=&c, result=0)
        self.mm(process)
        c.args[RESOLVED] = pfn
        if status is None:
            self.alone(<void *>make_call, &made)
            return made.result
        c.status = <int32_t *>calloc(len(status) + 1, sizeof(int32_t))
        if c.status == NULL:
            raise MemoryError("no memory for the status of pages")
        try:
            self.alone(<void *>make_call, &made)
            status[:] = [c.status[i] for i in range(len(status))]
        finally:
            free(c.status)
        return made.result

    def rmap(self, uint64_t pfn):
        """Where a page is mapped, as a list of (process, address), in the order in which a walk finds it."""
        cdef Walk w
        self.page(pfn)
        memset(&w, 0, sizeof(w))
        w.pfn = pfn
        try:
            self.alone(<void *>walk, &w)
            if w.n < 0:
                raise MemoryError("no memory for the mappings of a page")
            return [(w.found[i].mm, w.found[i].address) for i in range(w.n)]
        finally:
            free(w.found)

    def fail(self, failing):
        """From now on the allocations that an anonvma_rt.kernel.failing.Failing names fail, those of task 0; they are
        counted from 1 again."""
        cdef alloc_plan plan
        cdef kernel *k = self.idle_kernel()
        read_plan(failing, &plan)
        free(self.plan.listed)
        self.plan = plan
        k.plan = plan
        k.turn[0].asked = 0
        k.turn[0].failed = 0

    @property
    def allocations(self):
        """(made, failed) since the machine began, or since fail() was called."""
        cdef kernel *k = self.idle_kernel()
        return k.turn[0].asked, k.turn[0].failed

    def live_objects(self):
        """Objects of the kernel that are allocated and not freed. Page frames are not among them: they always exist."""
        cdef arena_header *header
        self.idle_kernel()
        header = next_object(&self.x.arena, NULL)
        live = 0
        while header != NULL:
            live += not header.generation & 1 and header.type not in (TYPE_PAGES, TYPE_PINS, TYPE_SCRATCH, TYPE_SWAP)
            header = next_object(&self.x.arena, header)
        return live

    def check(self):
        """All invariants: a list of (kind, a, b, c), empty where they hold. At most a thousand."""
        cdef kernel *k = self.idle_kernel()
        cdef Finding *found = <Finding *>malloc(MOST_FINDINGS * sizeof(Finding))
        if found == NULL:
            raise MemoryError("no memory for a check")
        k.findings = found
        k.findings_room = MOST_FINDINGS
        memset(&self.x.finding, 0, sizeof(Finding))
        check_world(self.x)
        check_leaks(self.x)
        k.findings = NULL
        k.findings_room = 0
        result = [(KINDS[found[i].kind], found[i].a, found[i].b, found[i].c) for i in range(k.n_findings)]
        k.n_findings = 0
        memset(&self.x.finding, 0, sizeof(Finding))
        free(found)
        return result
