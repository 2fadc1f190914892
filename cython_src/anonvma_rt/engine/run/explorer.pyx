"""Explorer: one subject, built once, explored on one core by threads of its own.

Python hands it blocks of execution indices and waits at a Bell with the GIL released; everything that happens within
a block happens without Python. One explorer belongs to one Python thread at a time.
"""

import os

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memset
from posix.stdlib cimport posix_memalign
from posix.unistd cimport getpid

from anonvma_rt.engine.base.arena cimport arena_close, arena_offset, arena_snapshot
from anonvma_rt.engine.base.operation cimport MAX_TASKS, NEVER, Event
from anonvma_rt.engine.base.os cimport rt_load, rt_store, rt_wait, rt_wake
from anonvma_rt.engine.base.tasks cimport has
from anonvma_rt.engine.run.block cimport block_begin, block_floor, block_free, run_alone
from anonvma_rt.engine.run.carrier cimport (
    carrier_close, carrier_idle, carrier_look, carrier_name, carrier_open, carrier_run,
)
from anonvma_rt.engine.run.fault cimport guards_open
from anonvma_rt.engine.run.journal cimport Change, journal_free, journal_reset, journal_travel, trace_free
from anonvma_rt.engine.run.strategy cimport Strategy
from anonvma_rt.engine.run.subject cimport Memory, Subject, count_by_name, found_numbers
from anonvma_rt.engine.run.task cimport (
    HALT_NO_MEMORY, HALT_STUCK, HOLD_HERE, HOLD_NO, HOLD_OVER, HOLD_WANTED, MAX_FRAMES, VIOLATION_CRASH,
    VIOLATION_STUCK, Execution, Task, must_wait,
)

from anonvma_rt.engine.run.records import Block as Totals
from anonvma_rt.engine.run.records import OPS, Crash, Failure, Finding, Pending, Profiled, Recorded, Refusal
from anonvma_rt.engine.run.subject import HALTS, BuildViolation

cdef enum:
    # Nanoseconds between two looks at signals while a block runs, and while somebody waits to look at a held execution.
    NAP = 20000000
    HOLDER_NAP = 2000000
    # Where it is to end, or was stuck before, nobody waits longer than this for a point.
    LAST_PATIENCE = 1000000000

cdef Execution *built(Explorer explorer) except NULL:
    if explorer.x == NULL:  # made by __new__, and not by the class
        raise RuntimeError("the explorer was never built")
    return explorer.x

cdef void build(Task *t, void *unused) noexcept nogil:
    t.want = t.x.subject.build(t.x.subject.self, t)


@cython.no_gc_clear  # __dealloc__ needs the stop token and the bell
cdef class Explorer:
    """Builds `subject` in an arena of its own and runs executions of it. seed: 0 to 2**64 - 1. cpu: the core to
    which the threads are pinned, -1 for none. stop: ends a block early. carrier: "threads", an OS thread per task,
    or "fibers", a stack per task on one thread. memory: a model with buffers, of this explorer alone; None is SC.
    Use as a context manager, or call close(). Raises what subject.refused() makes of a refused step,
    BuildViolation, MemoryError.
    """

    def __init__(self, Subject subject, Strategy strategy, seed=0, int cpu=-1, StopToken stop=None, Bell bell=None,
                 carrier="threads", Memory memory=None):
        cdef void *x = NULL
        cdef int violated
        cdef Memory model = Memory() if memory is None else memory
        cdef size_t size = <size_t>&(<Execution *>NULL).task[model.tasks(max(subject.tasks, 1))]
        if carrier not in ("threads", "fibers"):
            raise ValueError(f"a carrier is threads or fibers, not {carrier}")
        if not 1 <= subject.tasks <= MAX_TASKS:
            raise ValueError(f"a subject has 1 to {MAX_TASKS} tasks, not {subject.tasks}")
        if self.x != NULL:
            raise RuntimeError("an Explorer is built once")
        if posix_memalign(&x, 128, size) != 0:
            raise MemoryError("no memory for an execution")
        memset(x, 0, size)
        self.x = <Execution *>x
        self.subject = subject
        self.stop, self.bell = stop or StopToken(), bell or Bell()
        self.cpu, self.fibers = cpu, carrier == "fibers"
        self.pid = os.getpid()
        subject.attach(self.x)
        self.x.seed = seed
        self.memory = model
        model.attach(self.x)
        self.tasks = self.x.tasks
        for i in range(self.tasks):
            self.x.task[i].x = self.x
            self.x.task[i].id = i
        self.patience = subject.patience
        guards_open()
        subject.place(&self.x.arena)
        with nogil:
            violated = run_alone(self.x, build, NULL)
        if self.x.halt == HALT_NO_MEMORY:
            raise MemoryError("no memory to build the subject")
        if violated:
            raise BuildViolation(subject.kinds().get(self.x.finding.kind, "?"))
        if self.x.task[0].want:
            raise subject.refused(self.x.task[0].want)
        arena_snapshot(&self.x.arena)
        self.x.order.learned = True
        self.x.limits.bound = self.x.limits.stop_at = NEVER
        self.x.limits.stop = &self.stop.flag
        self.block.x = self.x
        self.use(strategy)
        self.open_threads()

    cdef int use(self, Strategy strategy) except -1:
        if strategy.needs_gil and self.fibers:
            raise ValueError("a strategy in Python needs the carrier threads: it cannot run on the stack of a fiber")
        self.strategy = strategy
        strategy.attach(self.x)
        return 0

    def __dealloc__(self):
        if self.x == NULL:
            return
        if self.opened and self.pid == getpid():
            # The token may be shared, so an explorer that has nothing to stop leaves it alone.
            if not carrier_idle(&self.workers):
                rt_store(&self.stop.flag, 1)
                self.wait(False)
            carrier_close(&self.workers)
        block_free(&self.block)
        arena_close(&self.x.arena)
        trace_free(&self.x.trace)
        journal_free(&self.x.journal)
        free(self.x)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def open_threads(self):
        """Starts the pool; done by the constructor, and needed again only after close_threads()."""
        if self.opened:
            raise RuntimeError("the explorer is open")
        carrier_open(&self.workers, &self.block, self.fibers, built(self).bodies, self.cpu, &self.bell.word)
        self.opened = True

    def close_threads(self):
        """Joins the pool and keeps what was built. Ends a running block first, at its next point."""
        self.check_usable()
        if not carrier_idle(&self.workers):
            self.stop.stop()
            self.wait(False)
        with nogil:
            carrier_close(&self.workers)
        self.opened = False

    def finish(self):
        """Waits for the running block to end, which a stop token hastens."""
        if self.usable:
            self.wait(False)

    def close(self):
        """Joins the pool; nothing where that was done, or is the affair of the process that forked this one."""
        if self.usable:
            self.close_threads()

    cdef int wait(self, bint signals) except -1:
        """Until the block has ended. signals: let handlers of this thread run meanwhile; if one raises, the block is
        ended first."""
        cdef uint32_t seen
        while True:
            seen = rt_load(&self.bell.word)
            if carrier_idle(&self.workers):
                return 0
            with nogil:
                rt_wait(&self.bell.word, seen, HOLDER_NAP if self.holder is not None else NAP)
            self.look()
            if signals:
                try:
                    PyErr_CheckSignals()
                    self.hold_if_asked()
                except BaseException:
                    self.stop.stop()
                    self.wait(False)
                    raise

    def look(self):
        """Lets the watchdog look at the running block: whoever waits for one does so several times a second."""
        cdef int64_t patience = <int64_t>(self.patience * 1e9) if self.patience > 0 else <int64_t>1 << 62
        if built(self) != NULL and (rt_load(&self.stop.flag) or self.was_stuck):
            patience = min(patience, <int64_t>LAST_PATIENCE)
        if not carrier_idle(&self.workers):
            carrier_look(&self.workers, patience)

    cdef int check_idle(self) except -1:
        self.check_usable()
        if not carrier_idle(&self.workers):
            raise RuntimeError("the explorer is busy")
        return 0

    cdef int check_usable(self) except -1:
        if not self.opened:
            raise RuntimeError("the explorer is closed")
        if self.pid != os.getpid():
            raise RuntimeError("an explorer does not survive fork: its threads stayed in the parent")
        return 0

    @property
    def usable(self):
        """Whether blocks can be submitted: open, and in the process that built it."""
        return self.opened and self.pid == os.getpid()

    @property
    def bound(self):
        """Steps after which an execution counts as a livelock."""
        return built(self).limits.bound

    @bound.setter
    def bound(self, uint64_t steps):
        built(self).limits.bound = steps

    @property
    def observing(self):
        """Whether the next blocks say of each execution to which class it belongs; costs a decision at every point."""
        return self.block.observing

    @observing.setter
    def observing(self, bint on):
        self.check_idle()
        self.block.observing = on

    @property
    def arena_bytes(self):
        """Bytes that are restored before each execution."""
        return built(self).arena.saved.used

    @property
    def idle(self):
        return carrier_idle(&self.workers)

    def submit(self, uint64_t first, uint64_t count):
        """Starts executions first, first + 1, ..., count of them; returns when the strategy knows those before."""
        self.check_idle()
        self.strategy.catch_up(self, first)
        block_begin(&self.block, first, count)
        carrier_run(&self.workers)

    def collect(self):
        """The totals of the block that has ended (records.Block)."""
        return Totals(*self.totals())

    cdef tuple totals(self):
        cdef Block *b = &self.block
        if not carrier_idle(&self.workers):
            raise RuntimeError("the explorer is busy")
        self.was_stuck |= b.halt == HALT_STUCK
        return (
            b.next - b.ran - b.pruned,
            b.ran,
            b.pruned,
            PyBytes_FromStringAndSize(<char *>b.digests, <Py_ssize_t>(8 * b.ran)),
            [Failure(b.failures[i].index, b.failures[i].kind) for i in range(b.n_failures)],
            PyBytes_FromStringAndSize(<char *>b.classes, <Py_ssize_t>(8 * b.n_classes)),
            b.points,
            b.switches,
            b.longest,
            count_by_name(self.subject, b.counters),
            HALTS.get(b.halt),
        )

    def run(self, first, count):
        """submit, wait and collect. Where a signal handler raises (^C), the block is ended, the stop token stays set
        and the exception propagates."""
        self.submit(first, count)
        self.wait(True)
        return self.collect()

    def run_with(self, Strategy strategy, first, count, bound=None):
        """The same with another strategy and bound, just this once."""
        self.run_once(strategy, first, count, bound)
        return self.collect()

    cdef int run_once(self, Strategy strategy, first, count, bound) except -1:
        cdef Strategy usual = self.strategy
        self.check_idle()
        usual_bound = self.x.limits.bound
        self.use(strategy)
        self.x.limits.bound = usual_bound if bound is None else bound
        try:
            self.submit(first, count)
            self.wait(True)
            return 0
        finally:
            self.use(usual)
            self.x.limits.bound = usual_bound

    def profile(self, Strategy strategy, index, bound):
        """run_with() of one execution; `tasks` says what each task had in it: (steps, interesting operations)."""
        self.check_idle()
        self.x.profiling = True
        try:
            self.run_once(strategy, index, 1, bound)
        finally:
            self.x.profiling = False
        return Profiled(*self.totals(), [(self.x.task[i].made, self.x.task[i].marks) for i in range(self.x.tasks)])

    def floor(self, count):
        """Runs `count` executions on the calling thread without scheduler: the bodies' own time, for benchmarks."""
        self.check_idle()
        block_begin(&self.block, 0, count)
        with nogil:
            block_floor(&self.block)

    @property
    def refusal(self):
        """After a block that ended as "refused": the call that did not do what was expected."""
        return Refusal(built(self).finding.task, self.x.finding.a, self.x.finding.b)

    def trace(self, uint64_t index, Strategy strategy=None, until=None, uint64_t journal=0, bint stacks=False,
              hold=None):
        """Runs execution `index` again with its history recorded (records.Recorded); with `until`, stops before that
        step.

        The arena keeps the final state until the next execution, so the subject can be asked about it.
        journal: keep every change of the memory too, looked for before every so-many-th step; travel() then goes to the
        state before any step. stacks: `stacks` has the return addresses of each event, innermost first. hold: called
        without arguments while the execution stands before step `until`, every task at its point on its own stack.
        """
        self.check_idle()
        (self.strategy if strategy is None else strategy).catch_up(self, index)
        self.x.tracing = True
        self.x.trace.stacks = stacks
        self.x.limits.stop_at = NEVER if until is None else max(until, 1) - 1
        self.x.hold = HOLD_NO if hold is None else HOLD_WANTED
        journal_reset(&self.x.journal, journal)
        self.holder = hold
        try:
            self.run_once(self.strategy if strategy is None else strategy, index, 1, None)
        finally:
            self.x.tracing = self.x.trace.stacks = False
            self.x.journal.every = 0
            self.x.limits.stop_at = NEVER
            self.x.hold = HOLD_NO
            self.holder = None
        return Recorded(
            *self.totals(),
            [(self.x.trace.segments[i].task, self.x.trace.segments[i].steps) for i in range(self.x.trace.n_segments)],
            PyBytes_FromStringAndSize(<char *>self.x.trace.events, <Py_ssize_t>(self.x.trace.n_events * sizeof(Event))),
            Finding(*found_numbers(self.x)) if self.x.finding.kind else None,
            [self.pending(i) for i in range(self.x.tasks)],
            [self.stack(i) for i in range(self.x.trace.n_events)] if stacks else None,
            self.crash(),
            self.x.tasks // self.x.bodies - 1,
        )

    cdef object pending(self, int i):
        cdef Task *t = &self.x.task[i]
        if has(self.x.completed, i, self.x.words) or has(self.x.outside, i, self.x.words):
            return None
        return Pending(OPS[t.op], arena_offset(&self.x.arena, t.object), not must_wait(t))

    cdef tuple stack(self, uint64_t event):
        cdef void **frames = self.x.trace.frames + event * MAX_FRAMES
        return tuple([<uint64_t>frames[i] for i in range(MAX_FRAMES) if frames[i] != NULL])

    cdef object crash(self):
        """Where the last execution crashed or was stuck, None if it was neither."""
        if self.x.finding.kind != VIOLATION_CRASH and self.x.finding.kind != VIOLATION_STUCK:
            return None
        return Crash(self.x.crash.address, tuple([<uint64_t>self.x.crash.frames[i] for i in range(self.x.crash.n)]))

    def travel(self, uint64_t step):
        """Puts the memory into the state before step `step` of what trace() has just recorded with a journal; past the
        last step, into the one in which the tasks left it. Costs what has changed between."""
        self.check_idle()
        if self.x.journal.shadow_used == 0:
            raise RuntimeError("there is no journal: trace() with journal=1 keeps one")
        journal_travel(&self.x.journal, &self.x.arena, step)

    def changes(self):
        """What travel() goes by, in order: [(step, offset)], a word that is another from that step on; 0: it grew."""
        cdef Change *c = built(self).journal.changes
        return [(c[i].step, c[i].offset) for i in range(self.x.journal.n)]

    def name_tasks(self, names):
        """From within `hold`: names OS threads after their tasks, for debuggers; returns the tasks that have one."""
        if self.fibers:
            return []
        return [i for i, name in enumerate(names) if carrier_name(&self.workers, i, name.encode()[:15])]

    cdef int hold_if_asked(self) except -1:
        """Calls `hold` where the execution stands; whatever that raises, the execution ends."""
        if self.holder is None or rt_load(&self.x.hold) != HOLD_HERE:
            return 0
        try:
            self.holder()
        finally:
            self.holder = None
            rt_store(&self.x.hold, HOLD_OVER)
            rt_wake(&self.x.hold)
        return 0
