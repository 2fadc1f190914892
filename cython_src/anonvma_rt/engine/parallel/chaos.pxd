"""Delays at points, drawn by each task for itself from (seed, execution, task): the same points of a task are delayed
in the same way, whatever the others do. Nothing here is shared, and nothing depends on a clock.

Sources: the yields and stalls of "A randomized scheduler with probabilistic guarantees" in its free-running ancestor
(Edelstein and others, ConTest, 2002); starvation windows of log-uniform length (rr's chaos mode, 2016).
"""

from libc.stdint cimport uint32_t, uint64_t

from anonvma_rt.engine.base.operation cimport NEVER
from anonvma_rt.engine.base.os cimport rt_pause, rt_peek, rt_yield
from anonvma_rt.engine.base.rng cimport mix64, rng_below, rng_next, rng_start
from anonvma_rt.engine.parallel.runner cimport Delays, Runner

cdef enum:
    # So many pauses without a look whether everybody is to leave.
    UNSEEN_PAUSES = 64


cdef inline uint64_t distance(Runner *r, uint32_t mean) noexcept nogil:
    """From one delay to the next: 1 to 2 * mean - 1, or never."""
    return 1 + rng_below(&r.rng, 2 * mean - 1) if mean else NEVER


cdef inline void dawdle(Runner *r, uint32_t most, bint rare) noexcept nogil:
    """Up to `most` pauses: uniform, or for rare long ones uniform on a log scale; 0: the core is given to somebody."""
    cdef uint32_t n
    cdef uint32_t i
    if most == 0:
        rt_yield()
        return
    if rare:
        n = 1
        while n < most and rng_next(&r.rng) & 3:
            n <<= 1
        most = n if n < most else most
    n = rng_below(&r.rng, most) + 1
    for i in range(n):
        rt_pause()
        if i % UNSEEN_PAUSES == 0 and rt_peek(&r.storm.leave):
            return


cdef inline void chaos_begin(Runner *r, uint64_t index) noexcept nogil:
    """Draws for a new execution what does not wait for a point; one task of all is to be starved."""
    cdef Delays *p = &r.storm.delays
    cdef uint64_t all = rng_start(r.storm.seed, index)
    r.rng = mix64(all + <uint64_t>(r.id + 1) * 0x9E3779B97F4A7C15ULL)
    r.next_delay = distance(r, p.every)
    r.to_stall = <uint32_t>distance(r, p.stall_every) if p.stall_every else 0
    r.next_window = NEVER
    if p.window and rng_below(&all, <uint32_t>r.storm.n) == <uint32_t>r.id:
        r.next_window = 1 + rng_below(&r.rng, 2u << rng_below(&r.rng, 8))
    if p.skew:
        dawdle(r, p.skew, False)


cdef inline void chaos_at_point(Runner *r) noexcept nogil:
    cdef Delays *p = &r.storm.delays
    if r.x.steps >= r.next_delay:
        dawdle(r, p.most, p.rare)
        r.next_delay = r.x.steps + distance(r, p.every)
    if r.x.steps >= r.next_window:
        dawdle(r, p.window, True)
        r.next_window = r.x.steps + 1 + rng_below(&r.rng, 2u << rng_below(&r.rng, 8))


cdef inline void chaos_after_lock(Runner *r, int cls) noexcept nogil:
    """A stall right after a lock was taken, of the chosen class or of any."""
    cdef Delays *p = &r.storm.delays
    if r.to_stall == 0 or (p.stall_class and p.stall_class != <uint32_t>cls):
        return
    r.to_stall -= 1
    if r.to_stall == 0:
        dawdle(r, p.stall_most, False)
        r.to_stall = <uint32_t>distance(r, p.stall_every)
