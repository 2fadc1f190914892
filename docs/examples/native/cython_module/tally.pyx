# cython: language_level=3
"""A tally that threads without the GIL add to, each under a lock.

add() lets go of the lock between its look and its write, unless it is built with -DFIXED=1.
"""

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutex_t:
        pass
    int pthread_mutex_lock(pthread_mutex_t *)
    int pthread_mutex_unlock(pthread_mutex_t *)

cdef extern from *:
    """
    #ifndef FIXED
    #define FIXED 0
    #endif
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    """
    const int FIXED
    pthread_mutex_t lock

cdef long total


cdef public void tally_add(long n) noexcept nogil:
    global total
    cdef long seen
    pthread_mutex_lock(&lock)
    seen = total
    if not FIXED:
        pthread_mutex_unlock(&lock)
        pthread_mutex_lock(&lock)
    total = seen + n
    pthread_mutex_unlock(&lock)


cdef public long tally_total() noexcept nogil:
    cdef long n
    pthread_mutex_lock(&lock)
    n = total
    pthread_mutex_unlock(&lock)
    return n


def add(long n):
    with nogil:
        tally_add(n)
    return tally_total()
