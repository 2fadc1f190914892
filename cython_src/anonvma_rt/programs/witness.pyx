"""What a program's tasks were doing, call by call, in an execution that is made once more so that somebody can look.

The table by which the program calls the lab is exchanged for one that looks first, so executions that nobody looks at
pay nothing. Kept are the calls of each task at what it announced last, those of a few accesses, allocations and frees
that are asked for, those at the violation, and in which call's frame an object lies that is on a stack.
"""

cimport cython
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free

from anonvma_rt.engine.base.operation cimport MAX_TASKS
from anonvma_rt.engine.run.task cimport Execution
from anonvma_rt.programs.host cimport Host, rt_frame
from anonvma_rt.programs.image cimport RT_MARKED, RT_STACK_BYTES, RT_STACK_GUARD, rt_host
from anonvma_rt.programs.memory cimport Block, Watch, block_before
from anonvma_rt.programs.program cimport Program

cdef extern from *:
    """
    #include <stdint.h>
    #include <unwind.h>

    enum { RT_MOST_CALLS = 32 };
    struct rt_calls { int n; void *at[RT_MOST_CALLS]; uint64_t frame[RT_MOST_CALLS]; };

    static __attribute__((unused)) _Unwind_Reason_Code rt_one_call(struct _Unwind_Context *context, void *argument)
    {
        struct rt_calls *calls = argument;
        calls->at[calls->n] = (void *)_Unwind_GetIP(context);
        /* The end of the frame of the one that was called, which is where this one's begins. */
        calls->frame[calls->n] = _Unwind_GetCFA(context);
        return ++calls->n < RT_MOST_CALLS ? _URC_NO_REASON : _URC_END_OF_STACK;
    }

    static __attribute__((unused)) void rt_look(struct rt_calls *calls)
    {
        calls->n = 0;
        _Unwind_Backtrace(rt_one_call, calls);
    }
    """
    enum: RT_MOST_CALLS
    struct rt_calls:
        int n
        void *at[RT_MOST_CALLS]
        uint64_t frame[RT_MOST_CALLS]
    void rt_look(rt_calls *calls) noexcept nogil

cdef enum:
    MOST_ASKED = 4
    MOST_LOCALS = 512

# What is asked for: the last access of a task to a byte in a step, the allocation or the free of an object.
cdef enum Question:
    ACCESS
    MADE
    FREED

cdef struct Asked:
    int what
    int task
    uint64_t step
    # The byte, or where the object begins.
    uint64_t address
    rt_calls seen

# Where an object of a stack lies: the address to which the call returns whose frame it is in, and the end of that.
cdef struct Local:
    uint64_t address
    uint64_t call
    uint64_t end

cdef struct Sight:
    rt_host usual
    int n_asked
    Asked asked[MOST_ASKED]
    # Plain accesses may be points, too.
    bint every
    # The violation, where it is known already.
    int task
    uint64_t step
    rt_calls end
    rt_calls last[MAX_TASKS]
    Local local[MOST_LOCALS]
    int n_locals

QUESTIONS = {"access": ACCESS, "made": MADE, "freed": FREED}


cdef inline Sight *sight_of(void *x) noexcept nogil:
    return <Sight *>(<Host *>x).sight


cdef inline bint now(Execution *e, int task, uint64_t step) noexcept nogil:
    return e.current == task and e.steps == step


# ---- what is seen ----------------------------------------------------------------------------------------------------


cdef void see_local(Execution *e, Sight *s, uint64_t address, rt_calls *mine) noexcept nogil:
    """In whose frame an object lies, where it is on a stack. mine: the calls of the task that runs; others are at what
    they announced last."""
    cdef uint64_t offset = address - <uint64_t>e.arena.stacks
    cdef uint64_t owner = offset // (RT_STACK_GUARD + RT_STACK_BYTES)
    cdef rt_calls *calls
    cdef int i
    if offset >= e.arena.stacks_size or owner >= <uint64_t>e.tasks:
        return
    calls = mine if owner == <uint64_t>e.current else &s.last[owner]
    for i in range(calls.n - 1):
        if calls.frame[i] <= address < calls.frame[i + 1]:
            keep_local(s, address, <uint64_t>calls.at[i], calls.frame[i + 1])
            return


cdef void keep_local(Sight *s, uint64_t address, uint64_t call, uint64_t end) noexcept nogil:
    cdef int i
    for i in range(s.n_locals):
        if s.local[i].address == address and s.local[i].call == call and s.local[i].end == end:
            return
    if s.n_locals < MOST_LOCALS:
        s.local[s.n_locals].address = address
        s.local[s.n_locals].call = call
        s.local[s.n_locals].end = end
        s.n_locals += 1


cdef void announced(void *x, void *object) noexcept nogil:
    """A task is about to come to a point."""
    cdef Execution *e = (<Host *>x).x
    cdef Sight *s = sight_of(x)
    rt_look(&s.last[e.current])
    see_local(e, s, <uint64_t>object, &s.last[e.current])
    if e.current == s.task:
        s.end.n = 0


cdef void answer(void *x, int what, uint64_t address, uint64_t size) noexcept nogil:
    cdef Execution *e = (<Host *>x).x
    cdef Sight *s = sight_of(x)
    cdef Asked *asked
    cdef int i
    for i in range(s.n_asked):
        asked = &s.asked[i]
        if asked.what == what and asked.address - address < size and (what != ACCESS or now(e, asked.task, asked.step)):
            rt_look(&asked.seen)
            if what == ACCESS:
                see_local(e, s, asked.address, &asked.seen)


# ---- the operations, looked at ---------------------------------------------------------------------------------------


cdef void see_point(void *x, int op, void *object) noexcept nogil:
    (<Host *>x).entered = rt_frame()
    announced(x, object)
    sight_of(x).usual.point(x, op, object)


cdef int see_wait(void *x, int op, int64_t *word, int test, int64_t want, int timed) noexcept nogil:
    (<Host *>x).entered = rt_frame()
    announced(x, word)
    return sight_of(x).usual.wait(x, op, word, test, want, timed)


cdef int see_acquire(void *x, void *lock, int op, int timed) noexcept nogil:
    (<Host *>x).entered = rt_frame()
    announced(x, lock)
    return sight_of(x).usual.acquire(x, lock, op, timed)


cdef int see_try_acquire(void *x, void *lock, int op) noexcept nogil:
    (<Host *>x).entered = rt_frame()
    announced(x, lock)
    return sight_of(x).usual.try_acquire(x, lock, op)


cdef void see_release(void *x, void *lock, int op) noexcept nogil:
    (<Host *>x).entered = rt_frame()
    announced(x, lock)
    sight_of(x).usual.release(x, lock, op)


cdef void see_made(void *x, void *place) noexcept nogil:
    cdef Watch *w = &(<Host *>x).watch
    sight_of(x).usual.made(x, place)
    answer(x, MADE, <uint64_t>w.base + w.block[w.n - 1].start, 1)


cdef void see_free(void *x, void *object, void *place) noexcept nogil:
    (<Host *>x).entered = rt_frame()
    announced(x, object)
    answer(x, FREED, <uint64_t>object, 1)
    sight_of(x).usual.free(x, object, place)


cdef int see_access(void *x, void *p, uint64_t size, int how, void *place) noexcept nogil:
    cdef Sight *s = sight_of(x)
    (<Host *>x).entered = rt_frame()
    if how & RT_MARKED or s.every:
        announced(x, p)
    # What is done last in the step of the violation is the violation.
    elif now((<Host *>x).x, s.task, s.step):
        rt_look(&s.end)
    if s.usual.access(x, p, size, how, place):
        return 1
    answer(x, ACCESS, <uint64_t>p, size)
    return 0


cdef void see_wrong(void *x, int what, const void *text, const void *where, int64_t n) noexcept nogil:
    rt_look(&sight_of(x).end)
    sight_of(x).usual.wrong(x, what, text, where, n)


# ---- who looks -------------------------------------------------------------------------------------------------------


cdef tuple addresses(rt_calls *calls):
    return tuple([<uint64_t>calls.at[i] for i in range(calls.n)])


@cython.no_gc_clear  # __dealloc__ needs the program
cdef class Witness:
    """Looks at a program from now on, until it is closed.

    asked: (what, address, task, step) of at most four things, each "access", "made" or "freed"; an address is counted
    from where the globals begin; end: task and step of the violation. A program is looked at by one at a time.
    """

    cdef readonly Program program
    # What was asked for, in words.
    cdef readonly list asked
    cdef Sight *sight

    def __init__(self, Program program not None, asked, end):
        cdef rt_host *host = &program.host.calls
        if self.program is not None:
            raise RuntimeError("a witness is made once")
        if program.host.sight != NULL:
            raise RuntimeError("somebody looks at this program already")
        self.sight = <Sight *>calloc(1, sizeof(Sight))
        if self.sight == NULL:
            raise MemoryError("no memory for call stacks")
        self.program = program
        self.asked = [one[0] for one in asked[:MOST_ASKED]]
        for what, address, task, step in asked[:MOST_ASKED]:
            self.sight.asked[self.sight.n_asked].what = QUESTIONS[what]
            self.sight.asked[self.sight.n_asked].address = <uint64_t>(<int64_t>address + <int64_t>program.image.at.base)
            self.sight.asked[self.sight.n_asked].task = task
            self.sight.asked[self.sight.n_asked].step = step
            self.sight.n_asked += 1
        self.sight.task = end[0]
        self.sight.step = end[1]
        self.sight.every = program.host.watch.points.used != 0
        self.sight.usual = host[0]
        host.point = see_point
        host.wait = see_wait
        host.acquire = see_acquire
        host.try_acquire = see_try_acquire
        host.release = see_release
        host.made = see_made
        host.free = see_free
        host.access = see_access
        host.wrong = see_wrong
        program.host.sight = self.sight

    def __dealloc__(self):
        self.close()
        free(self.sight)

    cdef Program looked_at(self):
        if self.program is None:
            raise RuntimeError("this witness was not made: it looks at no program")
        return self.program

    cpdef close(self):
        """Looks no longer."""
        if self.program is not None and self.program.host.sight == self.sight:
            self.program.host.calls = self.sight.usual
            self.program.host.sight = NULL
            self.program.host.entered = 0

    @property
    def answers(self):
        """The return addresses of each thing that was asked for, innermost first; none where it was not seen."""
        self.looked_at()
        return [addresses(&self.sight.asked[i].seen) for i in range(self.sight.n_asked)]

    @property
    def last(self):
        """Those of each task, at what it announced last."""
        return [addresses(&self.sight.last[i]) for i in range(self.looked_at().tasks)]

    @property
    def end(self):
        """Those at the violation."""
        cdef Program program = self.looked_at()
        cdef rt_calls *calls = &self.sight.end
        if calls.n == 0 and 0 <= self.sight.task < program.tasks:
            calls = &self.sight.last[self.sight.task]
        return addresses(calls)

    @property
    def locals(self):
        """Of objects on stacks: offset, the return address of the call in whose frame it lies, and how far before the
        end of that."""
        cdef uint64_t base = <uint64_t>self.looked_at().image.at.base
        return [
            (one.address - base, one.call, one.end - one.address)
            for one in self.sight.local[:self.sight.n_locals]
        ]

    def block(self, uint64_t offset):
        """Of the object of the heap at an offset, or the last one before it: its number among the program's own, where
        it begins, its size, from where it was allocated and by which task; None where there is none."""
        cdef uint64_t number = 0
        cdef uint64_t i
        cdef Block *found
        cdef Watch *w = &self.looked_at().host.watch
        if offset < w.heap or w.n == 0:
            return None
        found = block_before(w, offset)
        if found.start > offset:
            return None
        for i in range(w.n):
            number += w.block[i].made != 0
            if &w.block[i] == found:
                break
        return number if found.made else 0, found.start, found.end - found.start, found.made, found.made_by

    def stack(self, int task):
        """Where the stack of a task begins, as an offset."""
        cdef Program program = self.looked_at()
        return <uint64_t>program.image.stack_of(task) - <uint64_t>program.image.at.base
