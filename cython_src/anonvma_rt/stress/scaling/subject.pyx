"""The experiment on the scaling claim of the 2011 mail, as a subject: processes that share a root, each of which moves
its pages to and fro, while others walk.

Everything is done by the kernel's own calls: fork makes the sharers, mremap moves, page_referenced walks. What is
measured is in memory of this object, row by row, and decides nothing. """

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from anonvma_rt.engine.base.operation cimport MAX_TASKS
from anonvma_rt.engine.base.os cimport rt_add, rt_load, rt_store
from anonvma_rt.engine.base.rng cimport mix64
from anonvma_rt.engine.run.subject cimport Subject
from anonvma_rt.engine.run.sync cimport down_write, up_write
from anonvma_rt.engine.run.task cimport Execution, Task
from anonvma_rt.mm.fork cimport dup_mmap
from anonvma_rt.mm.hooks.algorithm cimport read_algorithm
from anonvma_rt.mm.lab.check cimport check_world
from anonvma_rt.mm.lab.kernel cimport kernel_init
from anonvma_rt.mm.lab.syscall cimport TOUCH, Call, system_call
from anonvma_rt.mm.mm_types cimport (
    PAGE_SHIFT, VM_READ, VM_WRITE, algorithm, kernel, kernel_of, mm_struct, pfn_to_page, pte_pfn, root_lock_hook,
)
from anonvma_rt.mm.mmap cimport do_mmap
from anonvma_rt.mm.pgtable cimport peek_table, pte_offset
from anonvma_rt.mm.page_referenced cimport page_referenced
from anonvma_rt.mm.sys_mremap cimport do_mremap
from anonvma_rt.stress.scaling.meter cimport METER_BUCKETS, lock_meter, measure, nanoseconds

from anonvma_rt.mm.hooks.notes import KINDS

# Both places begin a page table, so an extent ends every 64 pages and nowhere else.
cdef uint64_t HOME = <uint64_t>4 << 30
cdef uint64_t AWAY = <uint64_t>8 << 30

# What one mover or walker measured in one execution.
cdef struct Clock:
    uint64_t began
    uint64_t ended
    uint64_t calls
    int64_t error


cdef class Scaling(Subject):
    """fields: an Algorithm's. movers: processes, a task each. pages: that each of them moves, with `rounds` round
    trips. walkers: tasks that walk for random pages of the first mover until all movers are done, at most `walks` times
    each. merging: the way home merges with a remainder that stayed there, as in the mail; else every destination is
    fresh. depth: generations of forks from the root to a mover. apart: every mover has a root of its own (the
    control)."""

    cdef algorithm algorithm
    cdef readonly int movers
    cdef readonly int walkers
    cdef readonly int depth
    cdef readonly bint merging
    cdef readonly bint apart
    cdef readonly uint64_t pages
    cdef readonly uint64_t rounds
    cdef readonly uint64_t walks
    cdef Clock clock[MAX_TASKS]
    cdef lock_meter meter[MAX_TASKS]
    cdef root_lock_hook hook
    cdef uint64_t *samples
    # Movers that are done; set back by reset().
    cdef uint32_t ended

    def __init__(self, fields, movers=1, pages=64, rounds=1, walkers=0, walks=0, merging=True, depth=1, apart=False):
        if not 1 <= movers <= MAX_TASKS - walkers or walkers < 0:
            raise ValueError(f"{movers} movers and {walkers} walkers are not 1 to {MAX_TASKS} tasks")
        if pages < 1 or rounds < 1 or walks < 0 or depth < 1:
            raise ValueError("pages, rounds and depth must be at least 1")
        self.algorithm = read_algorithm(fields)
        self.movers, self.walkers, self.tasks = movers, walkers, movers + walkers
        self.pages, self.rounds, self.walks = pages, rounds, walks
        self.merging, self.depth, self.apart = merging, depth, apart
        free(self.samples)
        self.samples = <uint64_t *>calloc(walkers * walks + 1, sizeof(uint64_t))
        if self.samples == NULL:
            raise MemoryError()

    def __dealloc__(self):
        free(self.samples)

    def kinds(self):
        return dict(KINDS)

    def reset(self):
        """Forgets what was measured; before every execution."""
        rt_store(&self.ended, 0)
        memset(self.clock, 0, sizeof(self.clock))
        memset(self.meter, 0, sizeof(self.meter))

    def measured(self):
        """Since reset(), by task: `calls` (mremaps of a mover, walks of a walker), when it `began` and `ended`
        (CLOCK_MONOTONIC), `error` (0, or the errno of a call that failed), `acquisitions` of the root's lock,
        nanoseconds `waited` for it and `held`, and how many waits and holds were below 2**b nanoseconds, for each b."""
        return [
            {
                "calls": self.clock[i].calls,
                "began": self.clock[i].began,
                "ended": self.clock[i].ended,
                "error": self.clock[i].error,
                "acquisitions": self.meter[i].acquisitions,
                "waited": self.meter[i].waited,
                "held": self.meter[i].held,
                "waits": [self.meter[i].waits[b] for b in range(METER_BUCKETS)],
                "holds": [self.meter[i].holds[b] for b in range(METER_BUCKETS)],
            }
            for i in range(self.tasks)
        ]

    def latencies(self):
        """Nanoseconds of each walk of the last execution."""
        return [
            self.samples[w * self.walks + i]
            for w in range(self.walkers)
            for i in range(min(self.clock[self.movers + w].calls, self.walks))
        ]

    cdef int build(self, Task *t) noexcept nogil:
        """Roots, the generations between, and the movers, which are the last processes."""
        cdef int roots = self.movers if self.apart else 1
        cdef int processes = roots * self.depth + self.movers
        cdef int r
        cdef int g
        cdef int i
        cdef int source
        kernel_init(t, &self.algorithm, NULL, processes)
        for r in range(roots):
            if self.populate(t, r * self.depth) < 0:
                return 1
            for g in range(1, self.depth):
                dup_mmap(t, kernel_of(t).mm[r * self.depth + g], kernel_of(t).mm[r * self.depth + g - 1])
        for i in range(self.movers):
            source = (i if self.apart else 0) * self.depth + self.depth - 1
            dup_mmap(t, self.mover(t, i), kernel_of(t).mm[source])
        self.hook.tell = <void (*)(void *, int, int) noexcept nogil>measure
        self.hook.data = self.meter
        kernel_of(t).root_lock = &self.hook
        return 0

    cdef mm_struct *mover(self, Task *t, int i) noexcept nogil:
        return kernel_of(t).mm[kernel_of(t).n_mm - self.movers + i]

    cdef int populate(self, Task *t, int process) noexcept nogil:
        """The pages that move begin at HOME; where a move is to merge, as many lie below and stay."""
        cdef uint64_t length = self.pages << PAGE_SHIFT
        cdef uint64_t start = HOME - length if self.merging else HOME
        cdef Call touch
        if do_mmap(t, kernel_of(t).mm[process], <int64_t>start, length * (2 if self.merging else 1),
                   VM_READ | VM_WRITE) < 0:
            return -1
        memset(&touch, 0, sizeof(touch))
        touch.verb = TOUCH
        touch.mm = process
        touch.args[:3] = [<int64_t>start, <int64_t>(self.pages * (2 if self.merging else 1)), 7]
        return <int>system_call(t, &touch)

    cdef void body(self, Task *t) noexcept nogil:
        self.clock[t.id].began = nanoseconds()
        if t.id < self.movers:
            self.move(t)
            rt_add(&self.ended, 1)
        else:
            self.walk(t, t.id - self.movers)
        self.clock[t.id].ended = nanoseconds()

    cdef void move(self, Task *t) noexcept nogil:
        cdef mm_struct *mm = self.mover(t, t.id)
        cdef uint64_t length = self.pages << PAGE_SHIFT
        cdef uint64_t i
        cdef int64_t result
        for i in range(2 * self.rounds):
            down_write(t, &mm.mmap_sem)
            result = do_mremap(t, mm, AWAY if i & 1 else HOME, length, length, <int64_t>(HOME if i & 1 else AWAY), True,
                               False)
            up_write(t, &mm.mmap_sem)
            if result < 0:
                self.clock[t.id].error = -result
                return
            self.clock[t.id].calls += 1

    cdef void walk(self, Task *t, int walker) noexcept nogil:
        """page_referenced for random pages of the root, which all sharers show."""
        cdef kernel *k = kernel_of(t)
        cdef uint64_t draw = mix64(t.x.seed + <uint64_t>t.id)
        cdef uint64_t i
        cdef uint64_t began
        self.clock[t.id].calls = 0
        for i in range(self.walks):
            draw = mix64(draw + 0x9E3779B97F4A7C15ULL)
            began = nanoseconds()
            page_referenced(t, pfn_to_page(k, self.frame(t, (draw >> 32) * self.pages >> 32)))
            self.samples[<uint64_t>walker * self.walks + i] = nanoseconds() - began
            self.clock[t.id].calls += 1
            if rt_load(&self.ended) == <uint32_t>self.movers:
                return

    cdef uint64_t frame(self, Task *t, uint64_t page) noexcept nogil:
        """The page frame of one of the pages that move; the root never moves it."""
        cdef uint64_t address = HOME + (page << PAGE_SHIFT)
        return pte_pfn(pte_offset(peek_table(kernel_of(t).mm[0], address), address)[0])

    cdef void check(self, Execution *x) noexcept nogil:
        check_world(x)
