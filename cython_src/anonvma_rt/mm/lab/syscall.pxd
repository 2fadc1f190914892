"""The system calls, as a scenario's threads and a Machine make them: numbers in, a result or -errno out."""

from libc.stdint cimport int32_t, int64_t

from anonvma_rt.engine.run.task cimport Task

cdef enum:
    MAX_ARGS = 8
    # For a call that names a page by its address: the argument that holds the page frame once setup is done.
    RESOLVED = 7

cdef enum Verb:
    MMAP
    MUNMAP
    MPROTECT
    BRK
    TOUCH
    READ
    MREMAP
    FORK
    EXIT
    EXEC
    MIGRATE
    MOVE_PAGES
    REFERENCED
    SPLIT
    UFFD_MOVE
    COMPARE
    VMAS

# fail_after: the call's allocations of kind `fail` fail once so many of them succeeded; -1: none fails on purpose.
cdef struct Call:
    int32_t verb
    int32_t mm
    int32_t expected
    int32_t fail
    int64_t fail_after
    int64_t args[MAX_ARGS]

cdef Call read_call(object verb, int process, object args) except *
cdef int64_t system_call(Task *t, Call *c) noexcept nogil
cdef bint wants_page(Call *c) noexcept nogil
cdef int64_t mapped_pfn(Task *t, Call *c) noexcept nogil
