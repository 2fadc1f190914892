"""Faults of the code under test: a body that crashes, one that is asked to leave, and one that ends the process.

A thread that runs such code has a Guard. The handler of SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGABRT, one for the whole
process, asks the guard of its thread; whatever is nobody's is handed on to whoever handled it before (Python's
faulthandler, too). A guard belongs to its thread; only guard_ask() comes from another one.
"""

from libc.stdint cimport int64_t, uint64_t

from anonvma_rt.engine.base.os cimport pthread_t
from anonvma_rt.engine.run.task cimport Execution

cdef struct Fault:
    # 0 where the watchdog asks the thread to leave what it is doing.
    int signal
    uint64_t address
    # It followed a pointer that no address space has, such as the poison of a freed object.
    bint nowhere

cdef struct Guard:
    # Does not return if the code that made the fault is left by a long jump.
    void (*faulted)(void *argument, Fault *fault) noexcept nogil
    # The thread called exit().
    void (*exited)(void *argument) noexcept nogil
    void *argument
    pthread_t thread
    # The lowest address of its stack, and how many bytes it has; 0 where it was not asked for.
    uint64_t low
    uint64_t size
    char *other_stack

cdef int guards_open() except -1
cdef void guard_enter(Guard *g) noexcept nogil
cdef void guard_leave(Guard *g) noexcept nogil
cdef Guard *guard_swap(Guard *g) noexcept nogil
cdef void guard_ask(Guard *g) noexcept nogil
cdef void crashed(Execution *x, Fault *fault, int task, int kind, int64_t a) noexcept nogil
cdef void complain(const char *what, uint64_t index, int task, uint64_t step) noexcept nogil
