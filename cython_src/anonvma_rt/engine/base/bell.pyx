"""StopToken and Bell (see bell.pxd), and the cores on which the engine's threads may run."""

import os

from libc.stdint cimport int64_t, uint32_t

from anonvma_rt.engine.base.os cimport rt_cpu, rt_load, rt_store, rt_wait


cdef class StopToken:
    """Ends a hunt from any thread: the hunt returns with what it has within a few hundredths of a second.

    >>> token = StopToken()
    >>> token.stop()
    >>> token.stopped
    True
    """

    def stop(self):
        rt_store(&self.flag, 1)

    def reset(self):
        """Lets the next hunt with this token begin."""
        rt_store(&self.flag, 0)

    @property
    def stopped(self):
        return rt_load(&self.flag) != 0


cdef class Bell:
    """Rung by an explorer at the end of a block; one bell serves several explorers."""

    @property
    def rings(self):
        return rt_load(&self.word)

    def wait(self, uint32_t seen, double seconds):
        """Returns when the bell was rung after `rings` was `seen`, or after `seconds`, with the GIL released."""
        cdef int64_t nanoseconds = <int64_t>(seconds * 1e9)
        with nogil:
            if rt_load(&self.word) == seen:
                rt_wait(&self.word, seen, nanoseconds)


def cores(n):
    """n cores that this process may use, the current one first; repeated where there are fewer."""
    allowed = sorted(os.sched_getaffinity(0))
    current = rt_cpu()
    start = allowed.index(current) if current in allowed else 0
    return [allowed[(start + i) % len(allowed)] for i in range(n)]
