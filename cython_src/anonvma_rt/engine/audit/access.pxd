"""Every access to memory, reported by the compiler: what a module carries that is built for an audit.

gcc puts a call before each access where it compiles with -fsanitize=thread. In a build for an audit (-DANONVMA_RT_AUDIT
beside it, and no library of the sanitizer's) those calls are ours: each module has its own, hidden, and they lead to
`rt_audit_told`, which is NULL until an audit sets it (audit.pyx). So such a module runs anywhere. In every other build
there is nothing here but the glances. Source of the idea: KCSAN, the Linux kernel's concurrency sanitizer.
"""

from libc.stdint cimport int64_t, uint32_t

cdef extern from *:
    """
    #ifndef ANONVMA_RT_ACCESS
    #define ANONVMA_RT_ACCESS
    #include <stdint.h>
    #include <string.h>

    #if defined(ANONVMA_RT_AUDIT) && !defined(__SANITIZE_THREAD__)
    #error "an audit needs -fsanitize=thread beside -DANONVMA_RT_AUDIT"
    #endif
    #if defined(ANONVMA_RT_AUDIT)
    #define RT_UNSEEN __attribute__((no_sanitize("thread")))
    #define RT_OURS __attribute__((weak, visibility("hidden"), noinline, no_sanitize("thread")))
    #define RT_HERE __builtin_return_address(0)
    #else
    #define RT_UNSEEN
    #endif

    /* A look that decides nothing but whether a decision is due: no access of the subject's. Atomic, because tasks that
       run at once take the same way. */
    static inline RT_UNSEEN uint32_t rt_glance(const uint32_t *p) { return __atomic_load_n(p, __ATOMIC_RELAXED); }
    static inline RT_UNSEEN int64_t rt_glance64(const int64_t *p) { return __atomic_load_n(p, __ATOMIC_RELAXED); }

    /* A table that is replaced by a larger copy of itself: whoever reads an entry finds it in either. */
    static inline RT_UNSEEN void *rt_glance_link(void *p) { return __atomic_load_n((void **)p, __ATOMIC_ACQUIRE); }
    static inline RT_UNSEEN void rt_enter(void **entry, void *value)
    { __atomic_store_n(entry, value, __ATOMIC_RELEASE); }
    static inline RT_UNSEEN void rt_enlarge(void *p, void **larger, uint32_t n)
    {
        void **old = *(void **)p;
        for (uint32_t i = 0; i < n; i++)
            larger[i] = old[i];
        __atomic_store_n((void **)p, (void *)larger, __ATOMIC_RELEASE);
    }

    /* Numbers that only tell things of one kind apart, which nothing depends on: n of them, from the one returned. */
    static inline RT_UNSEEN uint32_t rt_number(volatile uint32_t *p, uint32_t n)
    { uint32_t first = *p; *p = first + n; return first; }

    #if defined(ANONVMA_RT_AUDIT)
    __attribute__((weak, visibility("default"))) void (*rt_audit_told)(void *, uint64_t, int, void *) = 0;

    static __attribute__((always_inline, unused)) inline RT_UNSEEN void
    rt_tell(const volatile void *p, uint64_t size, int writes, void *place)
    { if (rt_audit_told) rt_audit_told((void *)p, size, writes, place); }

    #define RT_PLAIN(name, size, writes) RT_OURS void __tsan_##name(void *p) { rt_tell(p, size, writes, RT_HERE); }
    #define RT_SIZE(n) \
        RT_PLAIN(read##n, n, 0) RT_PLAIN(write##n, n, 1) \
        RT_PLAIN(unaligned_read##n, n, 0) RT_PLAIN(unaligned_write##n, n, 1) \
        RT_PLAIN(volatile_read##n, n, 0) RT_PLAIN(volatile_write##n, n, 1) \
        RT_PLAIN(unaligned_volatile_read##n, n, 0) RT_PLAIN(unaligned_volatile_write##n, n, 1)
    RT_SIZE(1) RT_SIZE(2) RT_SIZE(4) RT_SIZE(8) RT_SIZE(16)
    RT_PLAIN(vptr_read, 8, 0)
    RT_OURS void __tsan_vptr_update(void *p, void *value) { (void)value; rt_tell(p, 8, 1, RT_HERE); }
    RT_OURS void __tsan_read_range(void *p, uint64_t size) { rt_tell(p, size, 0, RT_HERE); }
    RT_OURS void __tsan_write_range(void *p, uint64_t size) { rt_tell(p, size, 1, RT_HERE); }
    RT_OURS void __tsan_init(void) { }
    RT_OURS void __tsan_func_entry(void *place) { (void)place; }
    RT_OURS void __tsan_func_exit(void *place) { (void)place; }
    RT_OURS void __tsan_atomic_thread_fence(int order) { (void)order; __atomic_thread_fence(__ATOMIC_SEQ_CST); }
    RT_OURS void __tsan_atomic_signal_fence(int order) { (void)order; }

    #define RT_FETCH(n, type, name, builtin) \
        RT_OURS type __tsan_atomic##n##_##name(volatile void *p, type value, int order) \
        { (void)order; rt_tell(p, n / 8, 1, RT_HERE); return builtin((volatile type *)p, value, __ATOMIC_SEQ_CST); }
    #define RT_COMPARE(n, type, name) \
        RT_OURS _Bool __tsan_atomic##n##_compare_exchange_##name(volatile void *p, void *old, type value, int order, \
                                                                 int failed) \
        { (void)order, (void)failed; rt_tell(p, n / 8, 1, RT_HERE); \
          return __atomic_compare_exchange_n((volatile type *)p, (type *)old, value, 0, __ATOMIC_SEQ_CST, \
                                             __ATOMIC_SEQ_CST); }
    #define RT_ATOMIC(n, type) \
        RT_OURS type __tsan_atomic##n##_load(const volatile void *p, int order) \
        { (void)order; rt_tell(p, n / 8, 0, RT_HERE); \
          return __atomic_load_n((const volatile type *)p, __ATOMIC_SEQ_CST); } \
        RT_OURS void __tsan_atomic##n##_store(volatile void *p, type value, int order) \
        { (void)order; rt_tell(p, n / 8, 1, RT_HERE); __atomic_store_n((volatile type *)p, value, __ATOMIC_SEQ_CST); } \
        RT_FETCH(n, type, exchange, __atomic_exchange_n) \
        RT_FETCH(n, type, fetch_add, __atomic_fetch_add) RT_FETCH(n, type, fetch_sub, __atomic_fetch_sub) \
        RT_FETCH(n, type, fetch_and, __atomic_fetch_and) RT_FETCH(n, type, fetch_or, __atomic_fetch_or) \
        RT_FETCH(n, type, fetch_xor, __atomic_fetch_xor) RT_FETCH(n, type, fetch_nand, __atomic_fetch_nand) \
        RT_COMPARE(n, type, strong) RT_COMPARE(n, type, weak)
    RT_ATOMIC(8, unsigned char) RT_ATOMIC(16, unsigned short) RT_ATOMIC(32, unsigned) RT_ATOMIC(64, unsigned long)

    /* What the C library does with memory no compiler reports. */
    RT_OURS void *rt_told_set(void *p, int byte, size_t n)
    { rt_tell(p, n, 1, RT_HERE); return memset(p, byte, n); }
    RT_OURS void *rt_told_copy(void *to, const void *from, size_t n)
    { rt_tell(from, n, 0, RT_HERE); rt_tell(to, n, 1, RT_HERE); return memcpy(to, from, n); }
    RT_OURS void *rt_told_move(void *to, const void *from, size_t n)
    { rt_tell(from, n, 0, RT_HERE); rt_tell(to, n, 1, RT_HERE); return memmove(to, from, n); }
    RT_OURS int rt_told_compare(const void *a, const void *b, size_t n)
    { rt_tell(a, n, 0, RT_HERE); rt_tell(b, n, 0, RT_HERE); return memcmp(a, b, n); }
    #define memset(p, byte, n) rt_told_set(p, byte, n)
    #define memcpy(to, from, n) rt_told_copy(to, from, n)
    #define memmove(to, from, n) rt_told_move(to, from, n)
    #define memcmp(a, b, n) rt_told_compare(a, b, n)
    #endif
    #endif
    """
    uint32_t rt_glance(uint32_t *p) noexcept nogil
    int64_t rt_glance64(int64_t *p) noexcept nogil
    void *rt_glance_link(void *p) noexcept nogil
    void rt_enter(void **entry, void *value) noexcept nogil
    void rt_enlarge(void *p, void **larger, uint32_t n) noexcept nogil
    uint32_t rt_number(uint32_t *p, uint32_t n) noexcept nogil
