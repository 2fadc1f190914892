"""Audit: whether every access of a subject's is ordered by what its tasks announce (see past.pxd and shadow.pxd).

The accesses are told by modules that were built for it (access.pxd). They belong to the step that was granted last: to
what was announced, which may be a whole structure under the address of one member, or to what the task does behind it.
An operation on a lock is that on its word and no more, and who announces a look does not write; but that an object ends
may follow from a look, in one step with it.
"""

from libc.stdint cimport int32_t, uint8_t, uint64_t
from libc.string cimport memset
from posix.dlfcn cimport RTLD_LAZY, dlclose, dlopen, dlsym

from anonvma_rt.engine.audit.past cimport Past, past_begin, past_close, past_of, past_open, past_step
from anonvma_rt.engine.audit.shadow cimport (
    LOCKS, PAIR_FRAMES, READS, WRITES, Access, Pair, Shadow, Side, shadow_begin, shadow_close, shadow_open,
    shadow_touch,
)
from anonvma_rt.engine.base.operation cimport lock_word
from anonvma_rt.engine.order.relation cimport LOOKS, group_of, on_lock, would_fail
from anonvma_rt.engine.run.explorer cimport Explorer
from anonvma_rt.engine.run.task cimport Execution

cdef extern from "<dlfcn.h>":
    const int RTLD_NOLOAD

# The auditor of the explorer whose task this OS thread carries.
cdef extern from *:
    """
    static __thread void *rt_auditor;
    """
    void *rt_auditor


cdef struct Auditor:
    Execution *x
    Past past
    Shadow shadow
    # Who makes the step in progress (-1: nobody). Of what it announced: the lock, or NULL, and whether it only looks.
    int32_t task
    char *lock
    bint looks


cdef void begin(void *self) noexcept nogil:
    cdef Auditor *a = <Auditor *>self
    a.task = -1
    past_begin(&a.past, a.x.tasks)
    shadow_begin(&a.shadow)


cdef int step(void *self, int task, int op, void *object) noexcept nogil:
    cdef Auditor *a = <Auditor *>self
    global rt_auditor
    rt_auditor = a
    a.task = task
    a.lock = <char *>object if on_lock(op) else NULL
    a.looks = group_of(op, would_fail(op, object)) == LOOKS
    return -1 if a.shadow.full else past_step(&a.past, task, op, object)


cdef void end(void *self) noexcept nogil:
    (<Auditor *>self).task = -1


cdef void told(void *address, uint64_t size, int writes, void *place) noexcept nogil:
    """An access that is about to be made, or was just made, by whoever runs on this thread."""
    cdef Auditor *a = <Auditor *>rt_auditor
    cdef uint64_t offset
    cdef Access now
    if a == NULL or a.task < 0:
        return
    offset = <uint64_t>address - <uint64_t>a.x.arena.base
    if offset >= a.x.arena.now.used or size == 0:
        return
    now.place = place
    now.step = a.x.steps
    now.epoch = past_of(&a.past, a.task)[a.task]
    now.next = 0
    now.task = <uint8_t>a.task
    now.touch = <uint8_t>(WRITES if writes else READS)
    if a.lock != NULL:
        if a.lock <= <char *>address < a.lock + sizeof(lock_word):
            # A try that fails reads the word, as whoever only asks whether somebody holds the lock.
            if writes or not a.looks:
                now.touch = LOCKS
        else:
            now.epoch += 1
    elif writes == 1 and a.looks:
        now.epoch += 1
    shadow_touch(&a.shadow, offset, size, &now, past_of(&a.past, a.task), a.x.index)


def listen(paths):
    """Lets the modules in these files tell what they do. Returns those of them that were built for an audit."""
    cdef void **slot
    cdef void *handle
    heard = []
    for path in paths:
        handle = dlopen(path.encode(), RTLD_LAZY | RTLD_NOLOAD)
        if handle == NULL:
            continue
        slot = <void **>dlsym(handle, b"rt_audit_told")
        if slot != NULL:
            slot[0] = <void *>told
            heard.append(path)
        dlclose(handle)
    return heard


cdef class Audit:
    """Audits whatever an idle explorer executes from now on. It has to be closed before the explorer is."""

    cdef Auditor a
    cdef readonly Explorer explorer

    def __init__(self, Explorer explorer not None):
        if self.explorer is not None or explorer.x.audit.self != NULL:
            raise RuntimeError("an explorer is audited once")
        if not explorer.idle:
            raise RuntimeError("the explorer is busy")
        self.explorer = explorer
        self.a.x = explorer.x
        self.a.task = -1
        past_open(&self.a.past)
        shadow_open(&self.a.shadow, &explorer.x.arena)
        explorer.x.audit.begin = begin
        explorer.x.audit.step = step
        explorer.x.audit.end = end
        explorer.x.audit.self = &self.a
        explorer.x.arena.told = told

    def __dealloc__(self):
        past_close(&self.a.past)
        shadow_close(&self.a.shadow)

    def close(self):
        """Ends it; the pairs stay."""
        if not self.explorer.idle:
            raise RuntimeError("the explorer is busy")
        memset(&self.a.x.audit, 0, sizeof(self.a.x.audit))
        self.a.x.arena.told = NULL

    @property
    def pairs(self):
        """Of each pair: (first, second, type, serial, offset, index, count, frames). first and second: (task, step,
        touch, place), in the order in which they came; type, serial and offset: of the object, and the byte inside it;
        index: of the execution in which it was seen first; frames: the stack of the second access."""
        return [pair_of(&self.a.shadow.pair[i]) for i in range(self.a.shadow.n_pairs)]

    @property
    def unkept(self):
        """How many times there was no place for one more pair."""
        return self.a.shadow.unkept


cdef tuple side(const Side *s):
    return s.task, s.step, s.touch, <uint64_t>s.place


cdef tuple pair_of(const Pair *p):
    frames = [<uint64_t>p.frames[i] for i in range(PAIR_FRAMES) if p.frames[i] != NULL]
    return side(&p.first), side(&p.second), p.type, p.serial, p.offset, p.index, p.count, tuple(frames)
