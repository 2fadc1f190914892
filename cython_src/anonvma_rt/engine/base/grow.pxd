"""Buffers that grow by realloc. What is in them stays; what is new in them is not initialized."""

from libc.stdint cimport uint64_t
from libc.stdlib cimport realloc


cdef inline int grow(void **buffer, uint64_t *room, uint64_t n, size_t item) noexcept nogil:
    """Room for n items of that size. -1: the host has no memory left, and the buffer is as it was."""
    cdef void *larger
    if n <= room[0]:
        return 0
    # Twice what is needed, so that a buffer that is filled one by one moves seldom.
    larger = realloc(buffer[0], (2 * n + 256) * item)
    if larger == NULL:
        return -1
    buffer[0] = larger
    room[0] = 2 * n + 256
    return 0
