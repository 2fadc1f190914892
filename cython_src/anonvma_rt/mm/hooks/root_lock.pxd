"""Who takes the root's lock is told to a listener, if there is one: kernel.root_lock, NULL in every execution that is
not an experiment. No answer comes back, so nothing that is decided depends on it.
"""

from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport kernel_of, root_lock_hook

cdef enum RootLockEvent:
    ROOT_LOCK_WANTED
    ROOT_LOCK_TAKEN
    ROOT_LOCK_DROPPED


cdef inline void tell_root_lock(Task *t, int event) noexcept nogil:
    cdef root_lock_hook *hook = kernel_of(t).root_lock
    if hook != NULL:
        hook.tell(hook.data, t.id, event)
