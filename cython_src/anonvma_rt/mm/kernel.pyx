"""The simulated kernel as a subject: the system calls that a scenario's steps make.

A Kernel holds no state of an execution: all of that is in the arena, so one Kernel serves several explorers.
"""

from libc.errno cimport EINVAL
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from anonvma_rt.engine.block cimport run_alone
from anonvma_rt.engine.subject cimport Subject
from anonvma_rt.engine.sync cimport down_read, down_write, lock_init, up_read, up_write
from anonvma_rt.engine.task cimport (
    HALT_REFUSED,
    VIOLATION_BAD_UNLOCK,
    Execution,
    Task,
    declare_lock_order,
    halt,
    note,
    violate,
)
from anonvma_rt.mm.check cimport check_world
from anonvma_rt.mm.events cimport NOTE_STEP
from anonvma_rt.mm.memory cimport access_page, alloc_page, must_alloc, peek_table, pte_offset
from anonvma_rt.mm.migrate cimport migrate_page
from anonvma_rt.mm.mmap cimport do_mmap, do_munmap
from anonvma_rt.mm.mremap cimport do_mremap
from anonvma_rt.mm.types cimport (
    BUG_ON,
    CLASS_ANON_VMA,
    CLASS_MMAP_SEM,
    CLASS_PAGE,
    CLASS_PTL,
    CLASS_PTL_NESTED,
    LOST_PAGE,
    MAPCOUNT_MISMATCH,
    MAX_MM,
    PAGE_SHIFT,
    PAGE_SIZE,
    STALE_MIGRATION_ENTRY,
    TYPE_DIRECTORY,
    TYPE_KERNEL,
    TYPE_MM,
    UNREACHABLE_PTE,
    kernel,
    kernel_of,
    mm_struct,
    page_directory,
    page_table,
    pfn_to_page,
    pte_pfn,
    pte_present,
    pte_t,
)

VERBS = ("mmap", "munmap", "touch", "read", "mremap", "migrate", "compare")

cdef enum Verb:
    MMAP
    MUNMAP
    TOUCH
    READ
    MREMAP
    MIGRATE
    COMPARE

cdef enum:
    SETUP = 0
    # For a migrate step: the argument that holds the page frame once setup is done.
    RESOLVED = 5


class Refused(Exception):
    """The simulated kernel did not do what a step of setup expects: step `index`, `errno` (0: it did not fail)."""

    def __init__(self, index, errno):
        super().__init__(f"setup step {index + 1}: errno {errno}")
        self.index = index
        self.errno = errno


cdef class Kernel(Subject):
    """A scenario's program on a simulated kernel.

    algorithm: a mapping with the fields of anonvma_rt.algorithm.Algorithm. processes: how many, each with an mm of its
    own. setup, after: sequences of anonvma_rt.scenario.Step; threads: one sequence per task.
    """

    def __init__(self, algorithm, processes, setup, threads, after):
        sections = [setup, *threads, after]
        cdef int i = 0
        if not 1 <= processes <= MAX_MM:
            raise ValueError(f"1 to {MAX_MM} processes, not {processes}")
        ordering = algorithm["ordering"]
        self.algorithm.tail_after_merge = ordering in ("tail-after-merge", "tail")
        self.algorithm.tail_before_move_back = ordering == "tail"
        self.algorithm.rmap_locks = ordering == "rmap-locks"
        self.algorithm.restore_peeks = algorithm["restore_peeks"]
        self.algorithm.decode_in_zap = algorithm["decode_in_zap"]
        self.algorithm.single_ptl = algorithm["single_ptl"]
        self.after = <void (*)(Task *, void *) noexcept nogil>run_after
        self.processes = processes
        self.tasks = len(threads)
        free(self.steps)
        free(self.begin)
        self.steps = <Step *>calloc(sum(map(len, sections)) + 1, sizeof(Step))
        self.begin = <int *>calloc(len(sections) + 1, sizeof(int))
        if self.steps == NULL or self.begin == NULL:
            raise MemoryError()
        for section, steps in enumerate(sections):
            self.begin[section] = i
            for verb, process, args, errno, *_ in steps:
                self.steps[i].verb = VERBS.index(verb)
                self.steps[i].mm = process
                self.steps[i].expected = errno
                for at, value in enumerate(args):
                    self.steps[i].args[at] = value
                i += 1
        self.begin[len(sections)] = i

    def __dealloc__(self):
        free(self.steps)
        free(self.begin)

    def kinds(self):
        return {
            **Subject.kinds(self),
            VIOLATION_BAD_UNLOCK: "wrong-root-unlock",
            STALE_MIGRATION_ENTRY: "stale-migration-entry",
            MAPCOUNT_MISMATCH: "mapcount-mismatch",
            LOST_PAGE: "lost-page",
            UNREACHABLE_PTE: "unreachable-pte",
            BUG_ON: "bug-on",
        }

    def counters(self):
        return ("benign_misses", "migrated", "aborted")

    def refused(self, code):
        return Refused(code - 1, self.refused_errno)

    cdef int build(self, Task *t) noexcept nogil:
        """The world before the tasks start. Returns 0, or one plus the index of a refused setup step."""
        cdef kernel *k = <kernel *>must_alloc(t, sizeof(kernel), TYPE_KERNEL)
        cdef int i
        cdef int j
        k.algorithm = self.algorithm
        declare_order(t.x)
        # Page frame 0 is the zero page.
        alloc_page(t)
        for i in range(self.processes):
            new_mm(t, k)
        for i in range(self.begin[SETUP], self.begin[SETUP + 1]):
            j = self.run(t, i)
            if j != self.steps[i].expected:
                self.refused_errno = j
                return i + 1
        for i in range(self.begin[SETUP + 1], self.begin[self.tasks + 2]):
            if self.steps[i].verb == MIGRATE:
                self.steps[i].args[RESOLVED] = mapped_pfn(k, &self.steps[i])
        return 0

    cdef void body(self, Task *t) noexcept nogil:
        self.run_steps(t, t.id + 1)

    cdef void check(self, Execution *x) noexcept nogil:
        """The invariants, and where they hold the scenario's own last steps."""
        check_world(x)
        if not x.finding.kind and self.begin[self.tasks + 1] < self.begin[self.tasks + 2]:
            run_alone(x, self.after, <void *>self)

    cdef bint run_steps(self, Task *t, int section) noexcept nogil:
        cdef int i
        cdef int errno
        for i in range(self.begin[section], self.begin[section + 1]):
            note(t, NOTE_STEP, i - self.begin[section], 0, 0)
            errno = self.run(t, i)
            note(t, NOTE_STEP, i - self.begin[section], 1, errno)
            if errno != self.steps[i].expected:
                t.x.finding.task = section - 1
                t.x.finding.a = i - self.begin[section]
                t.x.finding.b = errno
                halt(t, HALT_REFUSED)
        return True

    cdef int run(self, Task *t, int i) noexcept nogil:
        """Makes one step's system call; 0 or its errno."""
        cdef Step *s = &self.steps[i]
        cdef kernel *k = kernel_of(t)
        cdef mm_struct *mm = k.mm[s.mm]
        cdef int64_t *a = s.args
        cdef int64_t result = 0
        if s.verb == MMAP:
            down_write(t, &mm.mmap_sem)
            result = do_mmap(t, mm, a[0], <uint64_t>a[1] << PAGE_SHIFT)
            up_write(t, &mm.mmap_sem)
        elif s.verb == MUNMAP:
            down_write(t, &mm.mmap_sem)
            result = do_munmap(t, mm, <uint64_t>a[0], <uint64_t>a[1] << PAGE_SHIFT)
            up_write(t, &mm.mmap_sem)
        elif s.verb == MREMAP:
            down_write(t, &mm.mmap_sem)
            result = do_mremap(t, mm, <uint64_t>a[0], <uint64_t>a[1] << PAGE_SHIFT, <uint64_t>a[2] << PAGE_SHIFT,
                               a[3], a[4] != 0, a[5])
            up_write(t, &mm.mmap_sem)
        elif s.verb == TOUCH or s.verb == READ:
            result = access_range(t, mm, a[0], a[1], s.verb == TOUCH, <uint32_t>a[2])
        elif s.verb == COMPARE:
            result = compare(t, mm, a[0], a[1], a[2])
        elif s.verb == MIGRATE:
            if i < self.begin[SETUP + 1]:
                a[RESOLVED] = mapped_pfn(k, s)
            if a[RESOLVED] <= 0:
                return EINVAL
            migrate_page(t, pfn_to_page(k, <uint64_t>a[RESOLVED]), a[1] != 0)
        return <int>-result if result < 0 else 0


cdef void run_after(Task *t, Kernel subject) noexcept nogil:
    subject.run_steps(t, subject.tasks + 1)


cdef void declare_order(Execution *x) noexcept nogil:
    """mmap_sem, page lock, anon_vma root, page-table lock, as the head of mm/rmap.c has it."""
    cdef int order[7]
    cdef int i
    cdef int j
    order[:] = [CLASS_MMAP_SEM, CLASS_MMAP_SEM + 1, CLASS_PAGE, CLASS_PAGE + 1, CLASS_ANON_VMA, CLASS_PTL,
                CLASS_PTL_NESTED]
    for i in range(7):
        for j in range(i + 1, 7):
            declare_lock_order(x, order[i], order[j])


cdef mm_struct *new_mm(Task *t, kernel *k) noexcept nogil:
    cdef mm_struct *mm = <mm_struct *>must_alloc(t, sizeof(mm_struct), TYPE_MM)
    mm.pgd = <page_directory *>must_alloc(t, sizeof(page_directory), TYPE_DIRECTORY)
    lock_init(&mm.mmap_sem, CLASS_MMAP_SEM)
    lock_init(&mm.page_table_lock, CLASS_PTL)
    mm.id = k.n_mm
    k.mm[k.n_mm] = mm
    k.n_mm += 1
    return mm


cdef int64_t mapped_pfn(kernel *k, Step *s) noexcept nogil:
    """The page at the address of a migrate step; 0 where no page is mapped there."""
    cdef page_table *table = peek_table(k.mm[s.mm], <uint64_t>s.args[0])
    cdef pte_t pte
    if table == NULL:
        return 0
    pte = pte_offset(table, <uint64_t>s.args[0])[0]
    return <int64_t>pte_pfn(pte) if pte_present(pte) else 0


cdef int access_range(Task *t, mm_struct *mm, int64_t start, int64_t pages, bint write, uint32_t tag) noexcept nogil:
    """A user's accesses, one fault's worth of mmap_sem at a time; 0 or -errno."""
    cdef int64_t i
    cdef int error
    cdef uint32_t seen
    for i in range(pages):
        seen = tag
        down_read(t, &mm.mmap_sem)
        error = access_page(t, mm, <uint64_t>(start + i * PAGE_SIZE), write, &seen)
        up_read(t, &mm.mmap_sem)
        if error < 0:
            return error
    return 0


cdef int compare(Task *t, mm_struct *mm, int64_t a, int64_t b, int64_t pages) noexcept nogil:
    """memcmp: a violation where the contents of two pages differ; 0 or -errno."""
    cdef int64_t i
    cdef int error
    cdef uint32_t left = 0
    cdef uint32_t right = 0
    for i in range(pages):
        down_read(t, &mm.mmap_sem)
        error = access_page(t, mm, <uint64_t>(a + i * PAGE_SIZE), False, &left)
        if error == 0:
            error = access_page(t, mm, <uint64_t>(b + i * PAGE_SIZE), False, &right)
        up_read(t, &mm.mmap_sem)
        if error < 0:
            return error
        if left != right:
            violate(t, LOST_PAGE, a + i * PAGE_SIZE, b + i * PAGE_SIZE, <int64_t>left << 32 | right)
    return 0
