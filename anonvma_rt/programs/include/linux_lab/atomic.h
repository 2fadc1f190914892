/* atomic_t, atomic64_t, atomic_long_t, refcount_t, kref, cmpxchg and xchg, and bits: by the compiler's atomics.

   What returns a value is fully ordered unless its name says otherwise, and what returns none is relaxed, as the kernel
   documents it. A refcount that is raised from 0 or falls below 0 is a violation, as the kernel's warning is. */

#ifndef ANONVMA_RT_LINUX_ATOMIC
#define ANONVMA_RT_LINUX_ATOMIC

#pragma GCC system_header

#include "base.h"

typedef struct { int counter; } atomic_t;
typedef struct { s64 counter; } atomic64_t;
typedef struct { long counter; } atomic_long_t;

#define ATOMIC_INIT(n) { (n) }
#define ATOMIC64_INIT(n) { (n) }
#define ATOMIC_LONG_INIT(n) { (n) }

#define LAB_ORDERED(name, type, t, op, builtin, suffix, order) \
    LAB_USUAL type name##_##op##_return##suffix(type n, t *v) { return __atomic_##builtin##_fetch(&v->counter, n, order); } \
    LAB_USUAL type name##_fetch_##op##suffix(type n, t *v) { return __atomic_fetch_##builtin(&v->counter, n, order); }
#define LAB_FETCHED(name, type, t, op, builtin, suffix, order) \
    LAB_USUAL type name##_fetch_##op##suffix(type n, t *v) { return __atomic_fetch_##builtin(&v->counter, n, order); }
#define LAB_ALL_ORDERS(make, name, type, t, op, builtin) \
    make(name, type, t, op, builtin, , __ATOMIC_SEQ_CST) make(name, type, t, op, builtin, _relaxed, __ATOMIC_RELAXED) \
    make(name, type, t, op, builtin, _acquire, __ATOMIC_ACQUIRE) make(name, type, t, op, builtin, _release, __ATOMIC_RELEASE)
#define LAB_PLAIN(name, type, t, op, builtin) \
    LAB_USUAL void name##_##op(type n, t *v) { (void)__atomic_fetch_##builtin(&v->counter, n, __ATOMIC_RELAXED); }
#define LAB_EXCHANGE(name, type, t, suffix, order, failed) \
    LAB_USUAL type name##_xchg##suffix(t *v, type n) { return __atomic_exchange_n(&v->counter, n, order); } \
    LAB_USUAL type name##_cmpxchg##suffix(t *v, type old, type n) \
    { __atomic_compare_exchange_n(&v->counter, &old, n, 0, order, failed); return old; } \
    LAB_USUAL bool name##_try_cmpxchg##suffix(t *v, type *old, type n) \
    { return __atomic_compare_exchange_n(&v->counter, old, n, 0, order, failed); }
#define LAB_INCREASE(name, type, t, suffix) \
    LAB_USUAL type name##_inc_return##suffix(t *v) { return name##_add_return##suffix(1, v); } \
    LAB_USUAL type name##_dec_return##suffix(t *v) { return name##_sub_return##suffix(1, v); } \
    LAB_USUAL type name##_fetch_inc##suffix(t *v) { return name##_fetch_add##suffix(1, v); } \
    LAB_USUAL type name##_fetch_dec##suffix(t *v) { return name##_fetch_sub##suffix(1, v); }

#define LAB_FAMILY(name, type, t) \
    LAB_USUAL type name##_read(const t *v) { return __atomic_load_n(&v->counter, __ATOMIC_RELAXED); } \
    LAB_USUAL type name##_read_acquire(const t *v) { return __atomic_load_n(&v->counter, __ATOMIC_ACQUIRE); } \
    LAB_USUAL void name##_set(t *v, type n) { __atomic_store_n(&v->counter, n, __ATOMIC_RELAXED); } \
    LAB_USUAL void name##_set_release(t *v, type n) { __atomic_store_n(&v->counter, n, __ATOMIC_RELEASE); } \
    LAB_ALL_ORDERS(LAB_ORDERED, name, type, t, add, add) LAB_ALL_ORDERS(LAB_ORDERED, name, type, t, sub, sub) \
    LAB_ALL_ORDERS(LAB_FETCHED, name, type, t, and, and) LAB_ALL_ORDERS(LAB_FETCHED, name, type, t, or, or) \
    LAB_ALL_ORDERS(LAB_FETCHED, name, type, t, xor, xor) \
    LAB_PLAIN(name, type, t, add, add) LAB_PLAIN(name, type, t, sub, sub) LAB_PLAIN(name, type, t, and, and) \
    LAB_PLAIN(name, type, t, or, or) LAB_PLAIN(name, type, t, xor, xor) \
    LAB_USUAL void name##_andnot(type n, t *v) { name##_and(~n, v); } \
    LAB_USUAL void name##_inc(t *v) { name##_add(1, v); } \
    LAB_USUAL void name##_dec(t *v) { name##_sub(1, v); } \
    LAB_INCREASE(name, type, t, ) LAB_INCREASE(name, type, t, _relaxed) \
    LAB_INCREASE(name, type, t, _acquire) LAB_INCREASE(name, type, t, _release) \
    LAB_EXCHANGE(name, type, t, , __ATOMIC_SEQ_CST, __ATOMIC_RELAXED) \
    LAB_EXCHANGE(name, type, t, _relaxed, __ATOMIC_RELAXED, __ATOMIC_RELAXED) \
    LAB_EXCHANGE(name, type, t, _acquire, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED) \
    LAB_EXCHANGE(name, type, t, _release, __ATOMIC_RELEASE, __ATOMIC_RELAXED) \
    LAB_USUAL bool name##_dec_and_test(t *v) { return name##_sub_return(1, v) == 0; } \
    LAB_USUAL bool name##_inc_and_test(t *v) { return name##_add_return(1, v) == 0; } \
    LAB_USUAL bool name##_sub_and_test(type n, t *v) { return name##_sub_return(n, v) == 0; } \
    LAB_USUAL bool name##_add_negative(type n, t *v) { return name##_add_return(n, v) < 0; } \
    LAB_USUAL type name##_fetch_add_unless(t *v, type n, type unless) \
    { \
        type old = name##_read(v); \
        while (old != unless && !name##_try_cmpxchg(v, &old, old + n)) \
            ; \
        return old; \
    } \
    LAB_USUAL bool name##_add_unless(t *v, type n, type unless) { return name##_fetch_add_unless(v, n, unless) != unless; } \
    LAB_USUAL bool name##_inc_not_zero(t *v) { return name##_add_unless(v, 1, 0); } \
    LAB_USUAL type name##_dec_if_positive(t *v) \
    { \
        type old = name##_read(v); \
        while (old > 0 && !name##_try_cmpxchg(v, &old, old - 1)) \
            ; \
        return old - 1; \
    }

LAB_FAMILY(atomic, int, atomic_t)
LAB_FAMILY(atomic64, s64, atomic64_t)
LAB_FAMILY(atomic_long, long, atomic_long_t)

/* ---- any word --------------------------------------------------------------------------------------------------------- */

#define LAB_CMPXCHG(p, old, new, order) \
    ({ __typeof__(*(p)) lab_old = (old); __atomic_compare_exchange_n(p, &lab_old, new, 0, order, __ATOMIC_RELAXED); lab_old; })
#define xchg(p, value) __atomic_exchange_n(p, value, __ATOMIC_SEQ_CST)
#define xchg_relaxed(p, value) __atomic_exchange_n(p, value, __ATOMIC_RELAXED)
#define xchg_acquire(p, value) __atomic_exchange_n(p, value, __ATOMIC_ACQUIRE)
#define xchg_release(p, value) __atomic_exchange_n(p, value, __ATOMIC_RELEASE)
#define cmpxchg(p, old, new) LAB_CMPXCHG(p, old, new, __ATOMIC_SEQ_CST)
#define cmpxchg_relaxed(p, old, new) LAB_CMPXCHG(p, old, new, __ATOMIC_RELAXED)
#define cmpxchg_acquire(p, old, new) LAB_CMPXCHG(p, old, new, __ATOMIC_ACQUIRE)
#define cmpxchg_release(p, old, new) LAB_CMPXCHG(p, old, new, __ATOMIC_RELEASE)
#define cmpxchg64(p, old, new) cmpxchg(p, old, new)
#define try_cmpxchg(p, old, new) __atomic_compare_exchange_n(p, old, new, 0, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)
#define try_cmpxchg_acquire(p, old, new) __atomic_compare_exchange_n(p, old, new, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)
#define try_cmpxchg_release(p, old, new) __atomic_compare_exchange_n(p, old, new, 0, __ATOMIC_RELEASE, __ATOMIC_RELAXED)

/* ---- bits ------------------------------------------------------------------------------------------------------------- */

#define BIT(n) (1UL << (n))
#define GENMASK(high, low) ((~0UL << (low)) & (~0UL >> (63 - (high))))
#define LAB_WORD(n, p) ((unsigned long *)(p) + (n) / 64)
#define LAB_BIT(n) (1UL << ((n) & 63))
LAB_USUAL void set_bit(long n, volatile unsigned long *p) { __atomic_fetch_or(LAB_WORD(n, p), LAB_BIT(n), __ATOMIC_RELAXED); }
LAB_USUAL void clear_bit(long n, volatile unsigned long *p)
{ __atomic_fetch_and(LAB_WORD(n, p), ~LAB_BIT(n), __ATOMIC_RELAXED); }
LAB_USUAL void clear_bit_unlock(long n, volatile unsigned long *p)
{ __atomic_fetch_and(LAB_WORD(n, p), ~LAB_BIT(n), __ATOMIC_RELEASE); }
LAB_USUAL void change_bit(long n, volatile unsigned long *p)
{ __atomic_fetch_xor(LAB_WORD(n, p), LAB_BIT(n), __ATOMIC_RELAXED); }
LAB_USUAL bool test_bit(long n, const volatile unsigned long *p)
{ return __atomic_load_n(LAB_WORD(n, p), __ATOMIC_RELAXED) & LAB_BIT(n); }
LAB_USUAL bool test_and_set_bit(long n, volatile unsigned long *p)
{ return __atomic_fetch_or(LAB_WORD(n, p), LAB_BIT(n), __ATOMIC_SEQ_CST) & LAB_BIT(n); }
LAB_USUAL bool test_and_set_bit_lock(long n, volatile unsigned long *p)
{ return __atomic_fetch_or(LAB_WORD(n, p), LAB_BIT(n), __ATOMIC_ACQUIRE) & LAB_BIT(n); }
LAB_USUAL bool test_and_clear_bit(long n, volatile unsigned long *p)
{ return __atomic_fetch_and(LAB_WORD(n, p), ~LAB_BIT(n), __ATOMIC_SEQ_CST) & LAB_BIT(n); }
LAB_USUAL void __set_bit(long n, volatile unsigned long *p) { *LAB_WORD(n, p) |= LAB_BIT(n); }
LAB_USUAL void __clear_bit(long n, volatile unsigned long *p) { *LAB_WORD(n, p) &= ~LAB_BIT(n); }

/* ---- reference counts ------------------------------------------------------------------------------------------------- */

typedef struct refcount_struct { atomic_t refs; } refcount_t;
#define REFCOUNT_INIT(n) { .refs = ATOMIC_INIT(n) }

LAB_USUAL void refcount_set(refcount_t *r, int n) { atomic_set(&r->refs, n); }
LAB_USUAL unsigned refcount_read(const refcount_t *r) { return (unsigned)atomic_read(&r->refs); }
LAB_USUAL void refcount_add(int n, refcount_t *r)
{ LAB_FAIL_IF(atomic_fetch_add_relaxed(n, &r->refs) <= 0, "refcount: raised from 0 (the object may be gone)"); }
LAB_USUAL void refcount_inc(refcount_t *r) { refcount_add(1, r); }
LAB_USUAL bool refcount_inc_not_zero(refcount_t *r) { return atomic_inc_not_zero(&r->refs); }
LAB_USUAL bool refcount_add_not_zero(int n, refcount_t *r) { return atomic_add_unless(&r->refs, n, 0); }
LAB_USUAL bool refcount_sub_and_test(int n, refcount_t *r)
{
    int old = atomic_fetch_sub(n, &r->refs);
    LAB_FAIL_IF(old < n, "refcount: fell below 0");
    return old == n;
}
LAB_USUAL bool refcount_dec_and_test(refcount_t *r) { return refcount_sub_and_test(1, r); }
LAB_USUAL void refcount_dec(refcount_t *r) { LAB_FAIL_IF(atomic_fetch_sub(1, &r->refs) <= 1, "refcount: fell to 0, or below"); }
LAB_USUAL bool refcount_dec_if_one(refcount_t *r) { int one = 1; return atomic_try_cmpxchg_release(&r->refs, &one, 0); }

struct kref { refcount_t refcount; };
#define KREF_INIT(n) { .refcount = REFCOUNT_INIT(n) }
LAB_USUAL void kref_init(struct kref *k) { refcount_set(&k->refcount, 1); }
LAB_USUAL unsigned kref_read(const struct kref *k) { return refcount_read(&k->refcount); }
LAB_USUAL void kref_get(struct kref *k) { refcount_inc(&k->refcount); }
LAB_USUAL int kref_get_unless_zero(struct kref *k) { return refcount_inc_not_zero(&k->refcount); }
LAB_USUAL int kref_put(struct kref *k, void (*release)(struct kref *))
{
    if (!refcount_dec_and_test(&k->refcount))
        return 0;
    release(k);
    return 1;
}

#endif
