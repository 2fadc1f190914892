"""Buffers that grow by realloc; what is in them stays."""

from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memset


cdef inline int grow(void **buffer, uint64_t *room, uint64_t n, size_t item) noexcept nogil:
    """Room for n items of that size; new ones are not initialized. -1: the host has no memory left, and the buffer is
    as it was."""
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


cdef inline int grow_filled(void **buffer, uint64_t *room, uint64_t n, size_t item, int byte) noexcept nogil:
    """The same; every byte of the new items is `byte`."""
    cdef uint64_t before = room[0]
    if grow(buffer, room, n, item) < 0:
        return -1
    if room[0] > before:
        memset(<char *>buffer[0] + before * item, byte, (room[0] - before) * item)
    return 0


cdef inline int need(void **buffer, uint64_t *room, uint64_t n, size_t item) except -1:
    """Room for n items of that size and no more; what is in it goes."""
    cdef void *larger
    if n > room[0]:
        larger = malloc(n * item)
        if larger == NULL:
            raise MemoryError(f"no memory for {n} times {item} bytes")
        free(buffer[0])
        buffer[0] = larger
        room[0] = n
    return 0
