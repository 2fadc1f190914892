"""The simulated kernel as a subject: the system calls that a scenario's threads make.

A Kernel holds no state of an execution: all of that is in the arena, so one Kernel serves several explorers.
"""

from libc.errno cimport EINVAL
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from anonvma_rt.engine.base.arena cimport arena_root
from anonvma_rt.engine.run.block cimport run_alone
from anonvma_rt.engine.run.subject cimport Subject
from anonvma_rt.engine.run.sync cimport declare_lock_order
from anonvma_rt.engine.run.task cimport HALT_NO_MEMORY, HALT_REFUSED, Execution, Task, halt, note
from anonvma_rt.mm.deferred_queue cimport make_deferred_queue
from anonvma_rt.mm.failslab cimport failslab_arm, failslab_failures, failslab_open, failslab_race
from anonvma_rt.mm.filemap cimport make_file
from anonvma_rt.mm.fork cimport mm_alloc
from anonvma_rt.mm.hooks.notes cimport NOTE_STEP
from anonvma_rt.mm.pgtable cimport pgd_populate
from anonvma_rt.mm.pins cimport pins_open
from anonvma_rt.mm.hooks.rule cimport Rule, set_rule
from anonvma_rt.mm.hooks.watch cimport watch
from anonvma_rt.mm.hooks.algorithm cimport read_algorithm
from anonvma_rt.mm.lab.check cimport check_world
from anonvma_rt.mm.lab.interesting cimport WATCH_MIGRATING_PTL, is_interesting, read_kinds
from anonvma_rt.mm.lab.kmemleak cimport check_leaks
from anonvma_rt.mm.lab.objects cimport index_objects, member_name
from anonvma_rt.mm.lab.syscall cimport (
    COMPARE, Call, DEFERRED_SPLIT, ERRNOS, MIGRATE, MMAP_FILE, MOVE_PAGES, READ, RECLAIM, TOUCH, VMAS, is_about_pins,
    is_right, looks_without_lock, mapped_pfn, read_call, resolve, system_call, takes_all_rights, user_errno, wants_page,
)
from anonvma_rt.mm.mm_types cimport (
    CLASS_ANON_VMA, CLASS_MMAP_SEM, CLASS_PAGE, CLASS_PTL, CLASS_PTL_NESTED, MAX_PROCESSES, MOST_THREADS, PAGE_SIZE,
    THP_3_2, TYPE_KERNEL, algorithm, alloc_failure, alloc_plan, kernel, kernel_of, pfn_to_page, rule_hook,
)
from anonvma_rt.mm.page_alloc cimport alloc_page, have_frames
from anonvma_rt.mm.slab cimport must_alloc
from anonvma_rt.mm.swap cimport swap_open
from anonvma_rt.mm.tlb cimport tlb_keep, tlb_open

from anonvma_rt.engine.run.subject import BuildRefused
from anonvma_rt.mm.lab.interesting import DEFAULT as USUALLY_INTERESTING
from anonvma_rt.mm.hooks.notes import ALLOCATIONS, COUNTERS, KINDS

cdef enum:
    SETUP = 0


cdef int read_plan(object failing, alloc_plan *plan) except -1:
    """What is to fail, of anonvma_rt.kernel.failing.Failing, as the kernel's own numbers; plan.listed is the caller's
    to free."""
    listed = sorted(failing.allocations)
    memset(plan, 0, sizeof(alloc_plan))
    plan.by_chance = failing.rate > 0
    # A draw of 64 bits fails if it is at most this: the smallest of 2**64 outcomes, as many as the rate has of them.
    plan.limit = <uint64_t>(max(1, min(int(failing.rate * 2.0**64), 2**64)) - 1)
    for kind in failing.kinds or ALLOCATIONS:
        plan.kinds |= 1 << <int>ALLOCATIONS.index(kind)
    plan.n_listed = len(listed)
    plan.listed = <alloc_failure *>calloc(len(listed) + 1, sizeof(alloc_failure))
    if plan.listed == NULL:
        raise MemoryError()
    for i, (task, nth) in enumerate(listed):
        plan.listed[i].task = task
        plan.listed[i].nth = nth
    return 0


cdef Call read_scenario_call(object call) except *:
    """From an anonvma_rt.kernel.scenario.Call, or a tuple like it."""
    verb, process, args, errno, _, *more = call
    cdef Call c = read_call(verb, process, args)
    for right in errno if isinstance(errno, tuple) else (errno,):
        if not 0 <= right < ERRNOS:
            raise ValueError(f"no call returns errno {right}")
        c.right[right >> 6] |= <uint64_t>1 << (right & 63)
    if more and more[0] is not None:
        kind, after = more[0]
        c.fail = ALLOCATIONS.index(kind)
        c.fail_after = after
    if len(more) > 1 and more[1] is not None:
        c.cpu = more[1]
    return c


class Refused(BuildRefused):
    """The simulated kernel did not do what a call of setup expects: call `index`, `errno` (0: it did not fail). code:
    the same as system_call() has it, which may say more."""

    def __init__(self, index, code):
        self.index = index
        self.code = code
        self.errno = user_errno(code)
        super().__init__(f"setup call {index + 1}: errno {self.errno}")


cdef class Kernel(Subject):
    """A scenario's program on a simulated kernel.

    fields: a mapping with the fields of anonvma_rt.kernel.algorithm.Algorithm. processes: how many, each with an mm
    of its own. setup, after: sequences of anonvma_rt.kernel.scenario.Call; threads: one sequence per task. interesting:
    for each task the names of mm/interesting that are so in its own operations; None for the usual one. failing: an
    anonvma_rt.kernel.failing.Failing, which allocations of the threads fail; None for none. Then every result of a call
    is as good as another, and what looks at contents or counts vmas is left out where an allocation did fail. rule: an
    ordering in the place of the algorithm's own. cpus: for each task the number of its CPU, from 0 on without a gap;
    None for CPUs that keep no translations. """

    def __init__(self, fields, processes, setup, threads, after, interesting=None, failing=None, Rule rule=None,
                 cpus=None):
        sections = [setup, *threads, after]
        cdef int i
        if not 1 <= processes <= MAX_PROCESSES:
            raise ValueError(f"1 to {MAX_PROCESSES} processes, not {processes}")
        if not 1 <= len(threads) <= MOST_THREADS:
            raise ValueError(f"1 to {MOST_THREADS} threads, not {len(threads)}")
        self.algorithm = read_algorithm(fields)
        self.rule = rule
        set_rule(&self.hook, rule)
        self.after = <void (*)(Task *, void *) noexcept nogil>run_after
        self.after_changes = any(call[0] not in ("compare", "read", "vmas") for call in after)
        self.processes = processes
        self.tasks = len(threads)
        self.sees_points = False
        for i, names in enumerate([(USUALLY_INTERESTING,)] * len(threads) if interesting is None else interesting):
            self.kinds_of_task[i] = read_kinds(names)
            if self.kinds_of_task[i] & ~<uint32_t>WATCH_MIGRATING_PTL:
                self.sees_points = True
        self.release()
        self.has_tlb = cpus is not None
        for i, cpu in enumerate(cpus or ()):
            self.cpu_of[i] = cpu
        self.failing = failing is not None
        self.can_fail = self.failing
        if self.failing:
            read_plan(failing, &self.plan)
        self.calls = <Call *>calloc(sum(map(len, sections)) + 1, sizeof(Call))
        self.begin = <int *>calloc(len(sections) + 1, sizeof(int))
        if self.calls == NULL or self.begin == NULL:
            raise MemoryError()
        i = 0
        for section, calls in enumerate(sections):
            self.begin[section] = i
            for call in calls:
                self.calls[i] = read_scenario_call(call)
                self.can_fail |= self.calls[i].fail_after >= 0
                i += 1
        self.begin[len(sections)] = i

    def __dealloc__(self):
        self.release()

    cdef void release(self):
        free(self.calls)
        free(self.begin)
        free(self.objects.start)
        free(self.plan.listed)
        self.calls = NULL
        self.begin = NULL
        memset(&self.objects, 0, sizeof(self.objects))
        memset(&self.plan, 0, sizeof(self.plan))

    def member_name(self, type, serial, offset):
        return member_name(type, serial, offset)

    def kinds(self):
        return dict(KINDS)

    def counters(self):
        return COUNTERS

    def lock_classes(self):
        return {"mmap_sem": CLASS_MMAP_SEM, "page": CLASS_PAGE, "anon_vma": CLASS_ANON_VMA, "ptl": CLASS_PTL}

    def refused(self, code):
        return Refused(code - 1, self.refused_errno)

    cdef int build(self, Task *t) noexcept nogil:
        """The world before the tasks start. Returns 0, or one plus the index of a refused call of setup."""
        cdef int i
        cdef int errno
        kernel_init(t, &self.algorithm, &self.hook, self.processes)
        for i in range(self.begin[SETUP], self.begin[self.tasks + 2]):
            kernel_of(t).prot_none |= takes_all_rights(&self.calls[i])
            if self.calls[i].verb == RECLAIM:
                swap_open(t)
            elif is_about_pins(&self.calls[i]):
                pins_open(t)
                if looks_without_lock(&self.calls[i]):
                    pgd_populate(t, kernel_of(t).mm[self.calls[i].mm], <uint64_t>self.calls[i].args[0],
                                 <uint64_t>self.calls[i].args[0] + 1)
            elif self.calls[i].verb == MMAP_FILE:
                make_file(t)
            if self.calls[i].verb == DEFERRED_SPLIT and kernel_of(t).deferred == NULL:
                make_deferred_queue(t)
        if self.can_fail:
            failslab_open(t, &self.plan)
        failslab_race(t, False)
        for i in range(self.begin[SETUP], self.begin[SETUP + 1]):
            errno = self.run(t, i)
            if not is_right(&self.calls[i], user_errno(errno)):
                self.refused_errno = errno
                return i + 1
        if self.algorithm.thp != THP_3_2:
            have_frames(t)
        for i in range(self.begin[SETUP + 1], self.begin[self.tasks + 2]):
            if wants_page(&self.calls[i]):
                resolve(t, &self.calls[i], mapped_pfn(t, &self.calls[i]))
        for i in range(self.tasks):
            if self.kinds_of_task[i] & WATCH_MIGRATING_PTL:
                kernel_of(t).watchers |= <uint64_t>1 << i
        for i in range(self.begin[SETUP + 1], self.begin[self.tasks + 1]):
            watch_call(t, &self.calls[i])
        if self.sees_points and self.objects.start == NULL and index_objects(&self.objects, &t.x.arena) < 0:
            halt(t, HALT_NO_MEMORY)
        if self.has_tlb:
            tlb_open(t, self.cpu_of, self.tasks)
            for i in range(self.begin[SETUP], self.begin[SETUP + 1]):
                keep_translations(t, &self.calls[i])
        return 0

    cdef bint marks(self, Task *t) noexcept nogil:
        return is_interesting(t, self.kinds_of_task[t.id], &self.objects)

    cdef void body(self, Task *t) noexcept nogil:
        failslab_race(t, self.failing)
        self.run_calls(t, t.id + 1)
        failslab_race(t, False)

    cdef void check(self, Execution *x) noexcept nogil:
        """The invariants, and where they hold the scenario's own last calls; then again if those changed anything."""
        cdef bint whole = failslab_failures(<kernel *>arena_root(&x.arena)) == 0
        check_world(x)
        if self.can_fail:
            check_leaks(x)
        if whole and not x.finding.kind and self.begin[self.tasks + 1] < self.begin[self.tasks + 2]:
            # They run on no CPU that keeps anything.
            (<kernel *>arena_root(&x.arena)).tlb = NULL
            run_alone(x, self.after, <void *>self)
            if self.after_changes and not x.finding.kind:
                check_world(x)

    cdef bint run_calls(self, Task *t, int section) noexcept nogil:
        cdef int i
        cdef int errno
        for i in range(self.begin[section], self.begin[section + 1]):
            if self.failing and section <= self.tasks and (self.calls[i].verb == COMPARE or self.calls[i].verb == VMAS):
                continue
            note(t, NOTE_STEP, i - self.begin[section], 0, 0)
            errno = self.run(t, i)
            note(t, NOTE_STEP, i - self.begin[section], 1, user_errno(errno))
            if not is_right(&self.calls[i], user_errno(errno)) and not (self.failing and section <= self.tasks):
                t.x.finding.task = section - 1
                t.x.finding.a = i - self.begin[section]
                t.x.finding.b = errno
                halt(t, HALT_REFUSED)
        return True

    cdef int run(self, Task *t, int i) noexcept nogil:
        """Makes one system call; 0 or its errno, as system_call() has it. A migration or split that was given up is no
        refusal."""
        cdef Call *c = &self.calls[i]
        cdef int64_t result
        if wants_page(c) and i < self.begin[SETUP + 1]:
            resolve(t, c, mapped_pfn(t, c))
        if c.fail_after >= 0:
            failslab_arm(t, c.fail, c.fail_after)
        result = system_call(t, c)
        if c.fail_after >= 0:
            failslab_arm(t, c.fail, -1)
        if result >= 0 or (wants_page(c) and result != -EINVAL):
            return 0
        return <int>-result


cdef void keep_translations(Task *t, Call *c) noexcept nogil:
    """What an access of setup leaves on the CPU that it names."""
    cdef int64_t i
    if c.cpu < 0 or (c.verb != TOUCH and c.verb != READ):
        return
    for i in range(c.args[1]):
        tlb_keep(t, c.cpu, kernel_of(t).mm[c.mm], <uint64_t>(c.args[0] + i * PAGE_SIZE), c.verb == TOUCH)


cdef void watch_call(Task *t, Call *c) noexcept nogil:
    """The pages that a thread will migrate are where a selective strategy looks (mm/hooks/watch.pxd)."""
    cdef Call one = c[0]
    cdef int64_t i
    cdef int64_t pfn
    if c.verb != MIGRATE and c.verb != MOVE_PAGES and c.verb != RECLAIM:
        return
    for i in range(c.args[1] if c.verb == MOVE_PAGES else 1):
        one.args[0] = c.args[0] + i * PAGE_SIZE
        pfn = mapped_pfn(t, &one)
        if pfn > 0:
            watch(kernel_of(t), pfn_to_page(kernel_of(t), <uint64_t>pfn).index)


cdef void run_after(Task *t, Kernel subject) noexcept nogil:
    subject.run_calls(t, subject.tasks + 1)


cdef void kernel_init(Task *t, algorithm *chosen, rule_hook *rule, int processes) noexcept nogil:
    """The kernel as it boots, with so many empty processes. Page frame 0 is the zero page. rule: NULL for none."""
    cdef kernel *k = <kernel *>must_alloc(t, sizeof(kernel), TYPE_KERNEL)
    cdef int _
    k.algorithm = chosen[0]
    if rule != NULL:
        k.rule = rule[0]
    declare_order(t)
    alloc_page(t)
    for _ in range(processes):
        mm_alloc(t, k)


cdef void declare_order(Task *t) noexcept nogil:
    """The classes are numbered in the order of the head of mm/rmap.c."""
    cdef int before
    cdef int after
    for before in range(<int>CLASS_MMAP_SEM, <int>CLASS_PTL_NESTED):
        for after in range(before + 1, <int>CLASS_PTL_NESTED + 1):
            declare_lock_order(t.x, before, after)
