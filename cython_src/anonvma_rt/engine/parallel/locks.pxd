"""Locks and steps of tasks that run at once; sync.pxd comes here where an Execution says that it is `parallel`.

A lock is the lock word itself, changed by compare-and-swap: a spinlock spins, a mutex and an rwsem sleep at a futex. A
task that waits looks again and again whether everybody is to leave, because one that left by a violation holds what it
held.
"""

from libc.stdint cimport uint32_t, uint64_t

from anonvma_rt.engine.base.operation cimport lock_word
from anonvma_rt.engine.run.task cimport Task

cdef void acquire_at_once(Task *t, lock_word *lock, int op, int subclass, bint sleeps) noexcept nogil
cdef void release_at_once(Task *t, lock_word *lock, int op, int subclass) noexcept nogil
cdef bint try_at_once(Task *t, lock_word *lock, int op) noexcept nogil
cdef void pass_by(Task *t) noexcept nogil
cdef void come_to(Task *t, int op, void *object) noexcept nogil
cdef void quiet_lock(Task *t, lock_word *lock) noexcept nogil
cdef void pin_step(Task *t, void *object, lock_word *lock) noexcept nogil
cdef void quiet_unlock(Task *t, lock_word *lock) noexcept nogil
cdef void guard(Task *t, uint32_t *word) noexcept nogil
cdef void unguard(uint32_t *word) noexcept nogil
