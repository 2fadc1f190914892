"""What the engine asks of the operating system, in one place: futex words, pinned pthreads, atomics, long jumps.

Cython has no pthread, futex or stdatomic declarations, so they are declared here in one verbatim block. Nothing in
this file knows of tasks or schedules.
"""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

cdef extern from *:
    """
    #ifndef ANONVMA_RT_OS
    #define ANONVMA_RT_OS
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <errno.h>
    #include <limits.h>
    #include <linux/futex.h>
    #include <pthread.h>
    #include <sched.h>
    #include <setjmp.h>
    #include <signal.h>
    #include <stdint.h>
    #include <string.h>
    #include <sys/syscall.h>
    #include <time.h>
    #include <unistd.h>

    typedef struct { jmp_buf env; } rt_jump;

    static inline uint32_t rt_load(uint32_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
    static inline void rt_store(uint32_t *word, uint32_t value) { __atomic_store_n(word, value, __ATOMIC_RELEASE); }
    static inline uint32_t rt_exchange(uint32_t *word, uint32_t value)
    { return __atomic_exchange_n(word, value, __ATOMIC_ACQ_REL); }
    static inline uint32_t rt_add(uint32_t *word, uint32_t value)
    { return __atomic_add_fetch(word, value, __ATOMIC_ACQ_REL); }

    static inline void rt_wake(uint32_t *word)
    { syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0); }

    /* Returns when the word may have changed, or after `nanoseconds` (negative: no limit). */
    static inline void rt_wait(uint32_t *word, uint32_t seen, int64_t nanoseconds)
    {
        struct timespec limit = { nanoseconds / 1000000000, nanoseconds % 1000000000 };
        syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, nanoseconds < 0 ? NULL : &limit, NULL, 0);
    }

    /* setjmp lives in a function of its own, because a compiler may forget the locals of whoever calls it. */
    static __attribute__((noinline, unused)) int rt_protect(rt_jump *jump, void (*call)(void *), void *argument)
    {
        if (_setjmp(jump->env))
            return 1;
        call(argument);
        return 0;
    }
    static inline void rt_unwind(rt_jump *jump) { _longjmp(jump->env, 1); }

    /* All signals stay with the interpreter's threads: a worker must never run a handler. */
    static inline int rt_thread(pthread_t *thread, int cpu, void *(*run)(void *), void *argument)
    {
        sigset_t all, old;
        pthread_attr_t attributes;
        cpu_set_t cpus;
        int error;
        pthread_attr_init(&attributes);
        if (cpu >= 0) {
            CPU_ZERO(&cpus);
            CPU_SET(cpu, &cpus);
            pthread_attr_setaffinity_np(&attributes, sizeof cpus, &cpus);
        }
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old);
        error = pthread_create(thread, &attributes, run, argument);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        pthread_attr_destroy(&attributes);
        return error;
    }
    static inline int rt_join(pthread_t thread) { return pthread_join(thread, NULL); }
    static inline int rt_cpu(void) { return sched_getcpu(); }
    static inline int rt_lowest(uint64_t mask) { return __builtin_ctzll(mask); }
    static inline int rt_count(uint64_t mask) { return __builtin_popcountll(mask); }
    #endif
    """
    ctypedef struct rt_jump:
        pass
    ctypedef unsigned long pthread_t

    uint32_t rt_load(uint32_t *word) noexcept nogil
    void rt_store(uint32_t *word, uint32_t value) noexcept nogil
    uint32_t rt_exchange(uint32_t *word, uint32_t value) noexcept nogil
    uint32_t rt_add(uint32_t *word, uint32_t value) noexcept nogil
    void rt_wake(uint32_t *word) noexcept nogil
    void rt_wait(uint32_t *word, uint32_t seen, int64_t nanoseconds) noexcept nogil
    int rt_protect(rt_jump *jump, void (*call)(void *) noexcept nogil, void *argument) noexcept nogil
    void rt_unwind(rt_jump *jump) noexcept nogil
    int rt_thread(pthread_t *thread, int cpu, void *(*run)(void *) noexcept nogil, void *argument) noexcept nogil
    int rt_join(pthread_t thread) noexcept nogil
    int rt_cpu() noexcept nogil
    int rt_lowest(uint64_t mask) noexcept nogil
    int rt_count(uint64_t mask) noexcept nogil
