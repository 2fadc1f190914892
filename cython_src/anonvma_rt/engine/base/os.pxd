"""What the engine asks of the operating system, in one place: futex words, pinned pthreads, atomics, long jumps, and
stacks of its own.

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
    #if defined(__GLIBC__)
    #include <execinfo.h>
    #endif
    #include <limits.h>
    #include <linux/futex.h>
    #include <pthread.h>
    #include <sched.h>
    #include <setjmp.h>
    #include <signal.h>
    #include <stdint.h>
    #include <string.h>
    #include <sys/mman.h>
    #include <sys/syscall.h>
    #include <time.h>
    #include <ucontext.h>
    #include <unistd.h>

    typedef struct { jmp_buf env; } rt_jump;

    static inline uint32_t rt_load(uint32_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
    static inline void rt_store(uint32_t *word, uint32_t value) { __atomic_store_n(word, value, __ATOMIC_RELEASE); }
    static inline uint32_t rt_exchange(uint32_t *word, uint32_t value)
    { return __atomic_exchange_n(word, value, __ATOMIC_ACQ_REL); }
    static inline uint32_t rt_add(uint32_t *word, uint32_t value)
    { return __atomic_add_fetch(word, value, __ATOMIC_ACQ_REL); }

    static inline uint32_t rt_subtract(uint32_t *word, uint32_t value)
    { return __atomic_fetch_sub(word, value, __ATOMIC_ACQ_REL); }
    static inline uint32_t rt_peek(uint32_t *word) { return __atomic_load_n(word, __ATOMIC_RELAXED); }
    static inline int rt_swap(uint32_t *word, uint32_t from, uint32_t to)
    { return __atomic_compare_exchange_n(word, &from, to, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED); }
    static inline uint64_t rt_load64(uint64_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
    static inline void rt_store64(uint64_t *word, uint64_t value) { __atomic_store_n(word, value, __ATOMIC_RELEASE); }
    static inline uint64_t rt_next64(uint64_t *word) { return __atomic_fetch_add(word, 1, __ATOMIC_ACQ_REL); }

    static inline void rt_pause(void)
    {
    #if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
    #elif defined(__aarch64__)
        __asm__ volatile("yield");
    #endif
    }
    /* Looks from outside at what a thread counts for itself, without atomics: whoever only wants to see that it changes
       loses nothing by a value that is old. */
    static __attribute__((noinline, unused, no_sanitize("thread"))) uint64_t rt_sample64(const volatile uint64_t *word)
    { return *word; }
    static __attribute__((noinline, unused, no_sanitize("thread"))) int rt_sample(const volatile int *word)
    { return *word; }
    static inline int64_t rt_clock(void)
    {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
    }
    static inline void rt_yield(void) { sched_yield(); }

    static inline void rt_wake(uint32_t *word)
    { syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0); }
    static inline void rt_wake_all(uint32_t *word)
    { syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0); }

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
    /* ---- fibers: contexts on stacks of their own, a guard page below each -------------------------------------- */

    #if defined(__SANITIZE_ADDRESS__)
    void __sanitizer_start_switch_fiber(void **save, const void *bottom, size_t size);
    void __sanitizer_finish_switch_fiber(void *save, const void **bottom, size_t *size);
    #define RT_LEAVE(from, to) __sanitizer_start_switch_fiber(&(from)->shadow, (to)->bottom, (to)->size)
    #define RT_ARRIVE(self) __sanitizer_finish_switch_fiber((self)->shadow, NULL, NULL)
    #elif defined(__SANITIZE_THREAD__) && !defined(ANONVMA_RT_AUDIT)
    void *__tsan_get_current_fiber(void);
    void *__tsan_create_fiber(unsigned flags);
    void __tsan_switch_to_fiber(void *fiber, unsigned flags);
    #define RT_LEAVE(from, to) __tsan_switch_to_fiber((to)->shadow, 0)
    #define RT_ARRIVE(self) (void)(self)
    #define RT_SHADOW(f) ((f)->shadow = __tsan_create_fiber(0))
    #else
    #define RT_LEAVE(from, to) (void)(to)
    #define RT_ARRIVE(self) (void)(self)
    #endif
    #ifndef RT_SHADOW
    #define RT_SHADOW(f) (void)(f)
    #endif

    /* Registers that a call need not keep are dead where a switch stands, as long as no compiler looks into it. */
    #if defined(__clang__)
    #define RT_OPAQUE __attribute__((noinline, unused))
    #else
    #define RT_OPAQUE __attribute__((noipa, unused))
    #endif

    typedef struct {
        union { void *sp; jmp_buf env; } left;
        char *bottom;
        size_t size;
        void *shadow, *argument;
        void (*run)(void *);
    } rt_fiber;

    /* With a shadow stack every return is compared with the calls before it, so only the C library can switch. */
    #if defined(__x86_64__) && !(defined(__CET__) && (__CET__ & 2))

    /* What is kept, is kept on the stack that is left; on top of it stands where to go on. Whoever goes on for the
       first time finds itself in rdi, the register of a first argument. No return is made to where no call came from,
       so the processor goes on predicting returns. */
    static RT_OPAQUE void rt_switch(rt_fiber *from, rt_fiber *to)
    {
        rt_fiber *source = from;
        RT_LEAVE(from, to);
        __asm__ volatile(
            "leaq -128(%%rsp), %%rsp; pushq %%rbp; pushq %%rbx; leaq 1f(%%rip), %%rax; pushq %%rax;"
            "movq %%rsp, (%%rsi); movq (%%rdi), %%rsp; popq %%rax; jmpq *%%rax;"
            "1: popq %%rbx; popq %%rbp; leaq 128(%%rsp), %%rsp"
            : "+S"(source), "+D"(to) :
            : "rax", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "xmm0", "xmm1", "xmm2",
              "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
              "xmm15", "cc", "memory");
        RT_ARRIVE(from);
    }

    static __attribute__((unused)) void rt_fiber_entry(rt_fiber *f)
    {
        RT_ARRIVE(f);
        f->run(f->argument);
    }

    /* Prepares f to run `run(argument)`, which never returns, on its stack. */
    static __attribute__((unused)) void rt_fiber_make(rt_fiber *f, rt_fiber *home, void (*run)(void *), void *argument)
    {
        void **top = (void **)(((uintptr_t)f->bottom + f->size) & ~(uintptr_t)15);
        (void)home;
        top[-1] = NULL;
        top[-2] = (void *)rt_fiber_entry;
        f->left.sp = top - 2;
        f->run = run;
        f->argument = argument;
        RT_SHADOW(f);
    }

    #else

    /* A system call less than swapcontext, which keeps the signal mask. */
    static RT_OPAQUE void rt_switch(rt_fiber *from, rt_fiber *to)
    {
        if (_setjmp(from->left.env) == 0) {
            RT_LEAVE(from, to);
            _longjmp(to->left.env, 1);
        }
        RT_ARRIVE(from);
    }

    static __attribute__((unused)) void rt_fiber_entry(unsigned high, unsigned low)
    {
        rt_fiber *f = (rt_fiber *)((uintptr_t)high << 32 | low);
        rt_fiber *creator = f->argument;
        void *argument = creator->argument;
        f->argument = argument;
        RT_ARRIVE(f);
        rt_switch(f, creator);
        f->run(argument);
    }

    /* Prepares f to run `run(argument)`, which never returns, on its stack; home: the caller's own context. */
    static __attribute__((noinline, unused)) void rt_fiber_make(rt_fiber *f, rt_fiber *home, void (*run)(void *),
                                                                void *argument)
    {
        ucontext_t context;
        uintptr_t address = (uintptr_t)f;
        getcontext(&context);
        context.uc_stack.ss_sp = f->bottom;
        context.uc_stack.ss_size = f->size;
        context.uc_link = NULL;
        makecontext(&context, (void (*)(void))rt_fiber_entry, 2, (unsigned)(address >> 32), (unsigned)address);
        f->run = run;
        f->argument = home;
        home->argument = argument;
        RT_SHADOW(f);
        if (_setjmp(home->left.env) == 0) {
            RT_LEAVE(home, f);
            setcontext(&context);
        }
        RT_ARRIVE(home);
    }

    #endif

    static __attribute__((unused)) void rt_fiber_home(rt_fiber *home)
    {
        memset(home, 0, sizeof *home);
    #if defined(__SANITIZE_THREAD__) && !defined(ANONVMA_RT_AUDIT)
        home->shadow = __tsan_get_current_fiber();
    #elif defined(__SANITIZE_ADDRESS__)
        pthread_attr_t attributes;
        void *bottom;
        pthread_getattr_np(pthread_self(), &attributes);
        pthread_attr_getstack(&attributes, &bottom, &home->size);
        pthread_attr_destroy(&attributes);
        home->bottom = bottom;
    #endif
    }

    /* n stacks in one mapping, each above a guard of its own; NULL where there is no memory. */
    static __attribute__((unused)) char *rt_stacks_map(int n, size_t guard, size_t size)
    {
        char *base = mmap(NULL, n * (guard + size), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (base == (char *)MAP_FAILED)
            return NULL;
        for (int i = 0; i < n; i++)
            if (mprotect(base + i * (guard + size) + guard, size, PROT_READ | PROT_WRITE)) {
                munmap(base, n * (guard + size));
                return NULL;
            }
        return base;
    }
    static __attribute__((unused)) void rt_stacks_unmap(char *base, int n, size_t guard, size_t size)
    {
        munmap(base, n * (guard + size));
    }

    /* The return addresses of the calls that led here, innermost first; 0 where the C library cannot tell. */
    static inline int rt_backtrace(void **frames, int n)
    {
    #if defined(__GLIBC__)
        return backtrace(frames, n);
    #else
        (void)frames, (void)n;
        return 0;
    #endif
    }

    /* Where the function that asks was called from. */
    #define rt_caller() __builtin_return_address(0)

    static inline void rt_name(pthread_t thread, const char *name) { pthread_setname_np(thread, name); }
    static inline int rt_join(pthread_t thread) { return pthread_join(thread, NULL); }
    static inline int rt_cpu(void) { return sched_getcpu(); }
    static inline int rt_unlikely(int condition) { return __builtin_expect(condition, 0); }

    /* n locks and unlocks of a real mutex that nobody else wants: a yardstick. */
    static __attribute__((unused)) void rt_mutex_pairs(uint64_t n)
    {
        static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
        while (n--) {
            pthread_mutex_lock(&mutex);
            pthread_mutex_unlock(&mutex);
        }
    }

    static inline int rt_lowest(uint64_t mask) { return __builtin_ctzll(mask); }
    /* Where a processor may lack the instruction, the compiler would call a function that looks up. */
    static inline int rt_count(uint64_t mask)
    {
    #if defined(__POPCNT__) || !defined(__x86_64__)
        return __builtin_popcountll(mask);
    #else
        mask -= mask >> 1 & 0x5555555555555555;
        mask = (mask & 0x3333333333333333) + (mask >> 2 & 0x3333333333333333);
        return (int)(((mask + (mask >> 4)) & 0x0F0F0F0F0F0F0F0F) * 0x0101010101010101 >> 56);
    #endif
    }
    #endif
    """
    ctypedef struct rt_jump:
        pass
    ctypedef unsigned long pthread_t
    ctypedef struct rt_fiber:
        char *bottom
        size_t size

    void rt_switch(rt_fiber *source, rt_fiber *to) noexcept nogil
    void rt_fiber_make(rt_fiber *f, rt_fiber *home, void (*run)(void *) noexcept nogil, void *argument) noexcept nogil
    void rt_fiber_home(rt_fiber *home) noexcept nogil
    char *rt_stacks_map(int n, size_t guard, size_t size) noexcept nogil
    void rt_stacks_unmap(char *base, int n, size_t guard, size_t size) noexcept nogil

    uint32_t rt_load(uint32_t *word) noexcept nogil
    void rt_store(uint32_t *word, uint32_t value) noexcept nogil
    uint32_t rt_exchange(uint32_t *word, uint32_t value) noexcept nogil
    uint32_t rt_add(uint32_t *word, uint32_t value) noexcept nogil
    uint32_t rt_subtract(uint32_t *word, uint32_t value) noexcept nogil
    uint32_t rt_peek(uint32_t *word) noexcept nogil
    bint rt_swap(uint32_t *word, uint32_t before, uint32_t to) noexcept nogil
    uint64_t rt_sample64(uint64_t *word) noexcept nogil
    int rt_sample(int *word) noexcept nogil
    uint64_t rt_load64(uint64_t *word) noexcept nogil
    void rt_store64(uint64_t *word, uint64_t value) noexcept nogil
    uint64_t rt_next64(uint64_t *word) noexcept nogil
    void rt_pause() noexcept nogil
    int64_t rt_clock() noexcept nogil
    void rt_yield() noexcept nogil
    void rt_wake(uint32_t *word) noexcept nogil
    void rt_wake_all(uint32_t *word) noexcept nogil
    void rt_wait(uint32_t *word, uint32_t seen, int64_t nanoseconds) noexcept nogil
    int rt_protect(rt_jump *jump, void (*call)(void *) noexcept nogil, void *argument) noexcept nogil
    void rt_unwind(rt_jump *jump) noexcept nogil
    int rt_thread(pthread_t *thread, int cpu, void *(*run)(void *) noexcept nogil, void *argument) noexcept nogil
    int rt_join(pthread_t thread) noexcept nogil
    int rt_backtrace(void **frames, int n) noexcept nogil
    void *rt_caller() noexcept nogil
    void rt_name(pthread_t thread, const char *name) noexcept nogil
    int rt_cpu() noexcept nogil
    void rt_mutex_pairs(uint64_t n) noexcept nogil
    int rt_lowest(uint64_t mask) noexcept nogil
    bint rt_unlikely(bint condition) noexcept nogil
    int rt_count(uint64_t mask) noexcept nogil


# Relaxed loads and stores of words of any size; a pointer is published and followed with release and acquire.
cdef extern from *:
    """
    #ifndef ANONVMA_RT_ONCE
    #define ANONVMA_RT_ONCE
    #define RT_READ_ONCE(p) __atomic_load_n(p, __ATOMIC_RELAXED)
    #define RT_WRITE_ONCE(p, value) __atomic_store_n(p, value, __ATOMIC_RELAXED)
    #define RT_READ_LINK(p) __atomic_load_n((void **)(p), __ATOMIC_ACQUIRE)
    #define RT_WRITE_LINK(p, value) __atomic_store_n((void **)(p), (void *)(value), __ATOMIC_RELEASE)
    #define RT_FETCH_ADD(p, value) __atomic_fetch_add(p, value, __ATOMIC_ACQ_REL)
    static inline int64_t rt_load_in_order(int64_t *p) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }
    static inline void rt_store_in_order(int64_t *p, int64_t value) { __atomic_store_n(p, value, __ATOMIC_SEQ_CST); }
    static inline int64_t rt_add_in_order(int64_t *p, int64_t value)
    { return __atomic_fetch_add(p, value, __ATOMIC_SEQ_CST); }
    static inline int rt_exchange_in_order(int64_t *p, int64_t expected, int64_t value)
    { return __atomic_compare_exchange_n(p, &expected, value, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); }
    static inline int rt_inc_not_zero(int32_t *p)
    {
        int32_t seen = __atomic_load_n(p, __ATOMIC_RELAXED);
        while (seen && !__atomic_compare_exchange_n(p, &seen, seen + 1, 1, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
            ;
        return seen != 0;
    }
    #endif
    """
    int32_t read_once32 "RT_READ_ONCE"(int32_t *p) noexcept nogil
    uint32_t read_onceu "RT_READ_ONCE"(uint32_t *p) noexcept nogil
    uint64_t read_once64 "RT_READ_ONCE"(uint64_t *p) noexcept nogil
    void write_once32 "RT_WRITE_ONCE"(int32_t *p, int32_t value) noexcept nogil
    void write_onceu "RT_WRITE_ONCE"(uint32_t *p, uint32_t value) noexcept nogil
    void write_once64 "RT_WRITE_ONCE"(uint64_t *p, uint64_t value) noexcept nogil
    void *read_link "RT_READ_LINK"(void *p) noexcept nogil
    void write_link "RT_WRITE_LINK"(void *p, void *value) noexcept nogil
    int32_t rt_fetch_add "RT_FETCH_ADD"(int32_t *p, int32_t value) noexcept nogil
    bint rt_inc_not_zero(int32_t *p) noexcept nogil
    int64_t rt_load_in_order(int64_t *p) noexcept nogil
    void rt_store_in_order(int64_t *p, int64_t value) noexcept nogil
    int64_t rt_add_in_order(int64_t *p, int64_t value) noexcept nogil
    bint rt_exchange_in_order(int64_t *p, int64_t expected, int64_t value) noexcept nogil
