/* What the compiler reports of a program: every access to memory (-fsanitize=thread, without its library).

   A plain access is told and no more. Atomics, and volatile accesses (that is how READ_ONCE and WRITE_ONCE arrive), are
   steps, and sequentially consistent whatever order they ask for. Source of the calls: gcc's and clang's own list; of the
   idea: KCSAN, the Linux kernel's concurrency sanitizer. */

#include "runtime.h"

#define HERE __builtin_return_address(0)

static inline void told_in(void *p, uint64_t size, int how, void *place, const void *frame)
{
    if (rt_host && rt_host->access(rt_host->x, p, size, how, place)) {
        rt_tell_round(frame);
        rt_host->access(rt_host->x, p, size, how | RT_TOLD, place);
    }
}

static inline void told(void *p, uint64_t size, int how, void *place) { told_in(p, size, how, place, 0); }

static inline __attribute__((always_inline)) void step(int op, const volatile void *p, uint64_t size, int writes, void *place)
{
    /* All registers that a call keeps lie right below the frame of the function that this is in. */
    __builtin_unwind_init();
    told_in((void *)p, size, writes | RT_MARKED | RT_STEP(op), place, __builtin_frame_address(0));
}

#define PLAIN(name, n, writes) void __tsan_##name(void *p) { told(p, n, writes, HERE); }
#define MARKED(name, n, op, writes) void __tsan_##name(void *p) { step(op, p, n, writes, HERE); }
#define SIZE(n) \
    PLAIN(read##n, n, 0) PLAIN(write##n, n, 1) PLAIN(unaligned_read##n, n, 0) PLAIN(unaligned_write##n, n, 1) \
    PLAIN(read##n##_pc, n, 0) PLAIN(write##n##_pc, n, 1) \
    MARKED(volatile_read##n, n, RT_LOAD, 0) MARKED(volatile_write##n, n, RT_STORE, 1) \
    MARKED(unaligned_volatile_read##n, n, RT_LOAD, 0) MARKED(unaligned_volatile_write##n, n, RT_STORE, 1)
SIZE(1) SIZE(2) SIZE(4) SIZE(8) SIZE(16)
PLAIN(vptr_read, 8, 0)
void __tsan_vptr_update(void *p, void *value) { (void)value; told(p, 8, 1, HERE); }
void __tsan_read_range(void *p, uint64_t size) { told(p, size, 0, HERE); }
void __tsan_write_range(void *p, uint64_t size) { told(p, size, 1, HERE); }
void __tsan_init(void) { }
void __tsan_func_entry(void *place) { (void)place; }
void __tsan_func_exit(void) { }
void __tsan_atomic_thread_fence(int order) { (void)order; }
void __tsan_atomic_signal_fence(int order) { (void)order; }

/* What leaves the word as it was is a look, so that a loop of such rounds waits for somebody who writes. */
static inline void changed_or_not(int changed)
{
    if (!changed && rt_host)
        rt_host->missed(rt_host->x);
}

#define FETCH(n, type, name, made) \
    type __tsan_atomic##n##_##name(volatile void *p, type value, int order) \
    { \
        type old, new; \
        (void)order; \
        step(RT_ATOMIC, p, n / 8, 1, HERE); \
        old = *(volatile type *)p; \
        new = made; \
        changed_or_not(new != old); \
        *(volatile type *)p = new; \
        return old; \
    }
#define COMPARE(n, type, name) \
    int __tsan_atomic##n##_compare_exchange_##name(volatile void *p, void *expected, type value, int order, int failed) \
    { \
        type old; \
        (void)order, (void)failed; \
        step(RT_ATOMIC, p, n / 8, 1, HERE); \
        old = *(volatile type *)p; \
        if (old != *(type *)expected) { \
            changed_or_not(0); \
            /* No compiler tells of this write, which makes the next round another one. */ \
            if (rt_host) \
                rt_host->access(rt_host->x, expected, n / 8, 1, HERE); \
            *(type *)expected = old; \
            return 0; \
        } \
        changed_or_not(value != old); \
        *(volatile type *)p = value; \
        return 1; \
    }
#define ATOMIC(n, type) \
    type __tsan_atomic##n##_load(const volatile void *p, int order) \
    { (void)order; step(RT_LOAD, p, n / 8, 0, HERE); return *(const volatile type *)p; } \
    void __tsan_atomic##n##_store(volatile void *p, type value, int order) \
    { (void)order; step(RT_STORE, p, n / 8, 1, HERE); *(volatile type *)p = value; } \
    FETCH(n, type, exchange, value) FETCH(n, type, fetch_add, old + value) FETCH(n, type, fetch_sub, old - value) \
    FETCH(n, type, fetch_and, old &value) FETCH(n, type, fetch_or, old | value) FETCH(n, type, fetch_xor, old ^ value) \
    FETCH(n, type, fetch_nand, ~(old & value)) COMPARE(n, type, strong) COMPARE(n, type, weak) \
    type __tsan_atomic##n##_compare_exchange_val(volatile void *p, type expected, type value, int order, int failed) \
    { \
        type old; \
        (void)order, (void)failed; \
        step(RT_ATOMIC, p, n / 8, 1, HERE); \
        old = *(volatile type *)p; \
        changed_or_not(old == expected && value != old); \
        if (old == expected) \
            *(volatile type *)p = value; \
        return old; \
    }
ATOMIC(8, uint8_t) ATOMIC(16, uint16_t) ATOMIC(32, uint32_t) ATOMIC(64, uint64_t) ATOMIC(128, unsigned __int128)

/* ---- what the C library does with memory, which no compiler reports ------------------------------------------------- */

static inline void copy(char *to, const char *from, size_t n) { __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory"); }

void *memcpy(void *to, const void *from, size_t n)
{
    if (n) {
        told((void *)from, n, 0, HERE);
        told(to, n, 1, HERE);
    }
    copy(to, from, n);
    return to;
}

void *__tsan_memcpy(void *to, const void *from, size_t n) { return memcpy(to, from, n); }

void *memmove(void *to, const void *from, size_t n)
{
    char *a = to;
    const char *b = from;
    if (n) {
        told((void *)from, n, 0, HERE);
        told(to, n, 1, HERE);
    }
    if (a <= b || a >= b + n)
        copy(a, b, n);
    else
        while (n--)
            ((volatile char *)a)[n] = b[n];
    return to;
}

void *__tsan_memmove(void *to, const void *from, size_t n) { return memmove(to, from, n); }

void *memset(void *p, int byte, size_t n)
{
    char *at = p;
    size_t left = n;
    if (n)
        told(p, n, 1, HERE);
    __asm__ volatile("rep stosb" : "+D"(at), "+c"(left) : "a"(byte) : "memory");
    return p;
}

void *__tsan_memset(void *p, int byte, size_t n) { return memset(p, byte, n); }
