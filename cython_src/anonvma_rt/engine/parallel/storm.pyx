"""Storm: the Python face of the carrier `parallel`.

It borrows a built, idle Explorer: the same arena and subject, so a schedule that was seen at large can be replayed
right where it was seen. Python hands it blocks of executions and waits at the bell, as an Explorer's user does.
"""

import os
from time import monotonic

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport uint32_t, uint64_t
from posix.unistd cimport getpid

from anonvma_rt.engine.base.operation cimport lock_word
from anonvma_rt.engine.base.os cimport rt_load, rt_load64, rt_store, rt_wait
from anonvma_rt.engine.parallel.parallel cimport storm_ask, storm_begin, storm_close, storm_go, storm_idle, storm_open
from anonvma_rt.engine.parallel.runner cimport Storm as State
from anonvma_rt.engine.run.explorer cimport Explorer
from anonvma_rt.engine.run.subject cimport count_by_name

from anonvma_rt.engine.run.records import OPS, Failure, Kept, StormBlock, Waiting
from anonvma_rt.engine.run.subject import HALTS

# Where a storm makes no execution for so long, whoever waits is told about; nothing is concluded from it.
STUCK_SECONDS = 10.0
# And where it is to end, whoever has not left for so long is told in another way.
LAST_PATIENCE = 1.0
NUMBERS = ("every", "most", "rare", "skew", "window", "stall_every", "stall_most", "stall_class")
MOST_PAUSES = 1 << 24

cdef enum:
    # Nanoseconds between two looks at signals while a block runs.
    NAP = 20000000


@cython.no_gc_clear  # __dealloc__ needs the explorer
cdef class Storm:
    """Runs executions of an explorer's subject with all tasks at once, an OS thread each.

    explorer: idle while a block of the storm runs, and the other way round. cpus: the cores, task by task in turn; -1
    is wherever. stuck: the watchdog, called with waiting() each time that no execution has ended for STUCK_SECONDS. Use
    as a context manager, or call close().
    """

    cdef State s
    cdef readonly Explorer explorer
    cdef bint opened
    cdef int pid
    cdef object stuck

    def __init__(self, Explorer explorer not None, cpus=None, stuck=None):
        if self.opened:
            raise RuntimeError("a Storm is opened once")
        explorer.check_idle()
        self.explorer = explorer
        self.stuck = stuck
        self.pid = os.getpid()
        storm_open(&self.s, explorer.x, sorted(os.sched_getaffinity(0)) if cpus is None else list(cpus),
                   &explorer.bell.word)
        self.opened = True

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def __dealloc__(self):
        if self.opened and self.pid == getpid():
            self.end()

    cdef void end(self):
        self.opened = False
        if not storm_idle(&self.s):
            rt_store(&self.explorer.stop.flag, 1)
            while not storm_idle(&self.s):
                rt_wait(&self.s.idle, 0, NAP)
        with nogil:
            storm_close(&self.s)

    def close(self):
        """Ends a running block and joins the threads. The explorer stays as it is."""
        if self.opened and self.pid == getpid():
            self.end()

    def run(self, uint64_t first, uint64_t count, delays=None, seed=0, record=False, int keep=0,
            double seconds=0):
        """Executions first to first + count - 1 under one kind of delays, whose numbers depend on `seed`.

        seconds: the block ends early, with the execution that passes this time; 0 is no limit. delays: values by the
        names of NUMBERS; none is no delay. record: keep the schedules of up to `keep` violations.
        Returns a records.StormBlock. On ^C the block ends, the stop token stays set and the exception propagates.
        """
        cdef uint64_t nanoseconds = <uint64_t>(seconds * 1e9)
        self.begin(first, count, delays or {}, seed, record, keep)
        with nogil:
            storm_go(&self.s, nanoseconds)
        self.wait()
        return self.collect(first)

    cdef int begin(self, uint64_t first, uint64_t count, delays, seed, record, int keep) except -1:
        if not self.opened or self.pid != os.getpid():
            raise RuntimeError("the storm is closed")
        self.explorer.check_idle()
        if not storm_idle(&self.s):
            raise RuntimeError("the storm is busy")
        if count < 1:
            raise ValueError("a block has at least one execution")
        unknown = set(delays) - set(NUMBERS)
        if unknown:
            raise ValueError(f"no delays have {', '.join(sorted(unknown))}")
        for name, value in delays.items():
            if not 0 <= value <= MOST_PAUSES:
                raise ValueError(f"{name} must be from 0 to {MOST_PAUSES}, not {value}")
        storm_begin(&self.s, first, count, keep)
        self.s.seed = seed
        self.s.recording = record
        self.s.delays.every = delays.get("every", 0)
        self.s.delays.most = delays.get("most", 0)
        self.s.delays.rare = delays.get("rare", 0) != 0
        self.s.delays.skew = delays.get("skew", 0)
        self.s.delays.window = delays.get("window", 0)
        self.s.delays.stall_every = delays.get("stall_every", 0)
        self.s.delays.stall_most = delays.get("stall_most", 0)
        self.s.delays.stall_class = delays.get("stall_class", 0)
        return 0

    cdef int wait(self) except -1:
        """Until the block has ended, with the GIL released; signal handlers run meanwhile."""
        cdef uint32_t epoch = 0
        since = monotonic()
        while not storm_idle(&self.s):
            self.nap()
            try:
                PyErr_CheckSignals()
                if epoch != rt_load(&self.s.epoch):
                    epoch = rt_load(&self.s.epoch)
                    since = monotonic()
                elif self.stuck is not None and monotonic() - since > STUCK_SECONDS:
                    since = monotonic()
                    self.stuck(self.waiting())
            except BaseException:
                self.explorer.stop.stop()
                since = monotonic()
                while not storm_idle(&self.s):
                    self.nap()
                    if monotonic() - since > LAST_PATIENCE:
                        # Whoever makes no point does not see that it is to leave.
                        storm_ask(&self.s)
                        since = monotonic()
                raise
        return 0

    cdef int nap(self) except -1:
        cdef uint32_t seen = rt_load(&self.explorer.bell.word)
        if not storm_idle(&self.s):
            with nogil:
                rt_wait(&self.explorer.bell.word, seen, NAP)
        return 0

    def collect(self, first=0):
        """The totals of the block that has ended; see run()."""
        cdef State *s = &self.s
        if not storm_idle(s):
            raise RuntimeError("the storm is busy")
        return StormBlock(
            first,
            s.ran,
            s.nanoseconds / 1e9,
            s.points,
            count_by_name(self.explorer.subject, s.counters),
            [Failure(s.failures[i].index, s.failures[i].kind) for i in range(s.n_failures)],
            [
                Kept(
                    s.kept[i].index,
                    s.kept[i].kind,
                    PyBytes_FromStringAndSize(<char *>s.kept[i].tasks, <Py_ssize_t>s.kept[i].n),
                    PyBytes_FromStringAndSize(<char *>s.kept[i].signatures, <Py_ssize_t>(2 * s.kept[i].n)),
                )
                for i in range(s.n_kept)
            ],
            s.unkept,
            HALTS.get(s.halt),
        )

    def waiting(self):
        """Who waits at this moment, from any thread. For a report of a storm that does not go on; nothing is concluded
        from it."""
        cdef lock_word *lock
        cdef int owner
        cdef int op
        result = []
        for i in range(self.s.n):
            if not rt_load(&self.s.runner[i].waiting) & 1:
                continue
            op = <int>rt_load(<uint32_t *>&self.s.runner[i].wanted)
            lock = <lock_word *>rt_load64(&self.s.runner[i].at)
            owner = lock.owner
            result.append(Waiting(
                i, OPS[op], <uint64_t>lock - <uint64_t>self.s.x.arena.base,
                owner - 1 if owner and OPS[op] != "await" else None,
            ))
        return result
