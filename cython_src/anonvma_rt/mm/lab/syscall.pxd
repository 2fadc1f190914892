"""The system calls, as a scenario's threads and a Machine make them: numbers in, a result or -errno out."""

from libc.stdint cimport int32_t, int64_t, uint64_t

from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.fault cimport NO_ACCESS, READ_ONLY

cdef enum:
    MAX_ARGS = 8
    # For a call that names a page by its address: the argument that holds the page frame once setup is done.
    RESOLVED = 7
    # And the one that holds the head of the huge page that it was a part of then, or 0: what the frame itself says of
    # that is another task's to change.
    HEAD = 6
    # More than any errno that a system call returns; a bit for each of them fits into so many words.
    ERRNOS = 192
    ERRNO_WORDS = 3
    # What mmap and mprotect have for `writable` where nobody may access the range.
    NO_RIGHTS = 2

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
    DONTNEED
    COLLAPSE
    FREE
    RECLAIM
    PIN
    GET
    UNPIN
    DMA
    MMAP_FILE
    DEFERRED_SPLIT

# right: a bit for each errno that the call may return, 0 for success. fail_after: the call's allocations of kind `fail`
# fail once so many of them succeeded; -1: none fails on purpose.
cdef struct Call:
    int32_t verb
    int32_t mm
    uint64_t right[ERRNO_WORDS]
    int32_t fail
    int64_t fail_after
    int64_t args[MAX_ARGS]
    # Of a setup's access, the CPU that keeps its translations; -1: none.
    int32_t cpu
    # Of a call about many pages, what became of each; NULL where nobody asks.
    int32_t *status

cdef Call read_call(object verb, int process, object args) except *
cdef int64_t system_call(Task *t, Call *c) noexcept nogil


cdef inline int user_errno(int error) noexcept nogil:
    return error & ~(READ_ONLY | NO_ACCESS)


cdef inline bint is_right(Call *c, int error) noexcept nogil:
    return error < ERRNOS and c.right[error >> 6] >> (error & 63) & 1


cdef inline bint takes_all_rights(Call *c) noexcept nogil:
    return (c.verb == MMAP or c.verb == MPROTECT) and c.args[2] == NO_RIGHTS


cdef inline bint is_about_pins(Call *c) noexcept nogil:
    return PIN <= c.verb <= DMA


cdef inline bint looks_without_lock(Call *c) noexcept nogil:
    """Whether it looks into page tables beside an mmap: then the table of pmds is there before the race, because one
    that comes is not announced (pgd_populate)."""
    return (c.verb == PIN or c.verb == GET) and c.args[2] != 0


cdef bint wants_page(Call *c) noexcept nogil
cdef int64_t mapped_pfn(Task *t, Call *c) noexcept nogil
cdef void resolve(Task *t, Call *c, int64_t pfn) noexcept nogil
