/* What the rest stands on: types, volatile accesses, barriers, BUG and WARN, printing, and the lab's own operations.

   LAB_CODE marks functions whose accesses are not reported as the program's: they announce what they do. */

#ifndef ANONVMA_RT_LINUX_BASE
#define ANONVMA_RT_LINUX_BASE

#pragma GCC system_header

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "../../runtime/host.h"

#pragma GCC diagnostic ignored "-Wpragmas"
#pragma GCC diagnostic ignored "-Wtsan" /* fences: the lab sees them */

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef unsigned long long u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef long long s64;
typedef unsigned gfp_t, fmode_t;
typedef u64 phys_addr_t, sector_t, dma_addr_t;

#define __user
#define __kernel
#define __iomem
#define __rcu
#define __percpu
#define __init
#define __exit
#define __initdata
#define __read_mostly
#define __ro_after_init
#define __sched
#define __must_check
#define __acquires(x)
#define __releases(x)
#define __must_hold(x)
#define __always_inline inline __attribute__((always_inline))
#define __maybe_unused __attribute__((unused))
#define __always_unused __attribute__((unused))
#define __cold __attribute__((cold))
#define noinline __attribute__((noinline))
#define __packed __attribute__((packed))
#define __aligned(n) __attribute__((aligned(n)))
#define ____cacheline_aligned __attribute__((aligned(64)))
#define ____cacheline_aligned_in_smp ____cacheline_aligned
#define fallthrough __attribute__((fallthrough))
#define asmlinkage
#define notrace

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* ---- the lab's operations --------------------------------------------------------------------------------------------- */

#define LAB_CODE __attribute__((weak, visibility("hidden"), __noinline__, no_sanitize("thread")))
#define LAB_DATA __attribute__((common, visibility("hidden")))
#define LAB_USUAL static inline __attribute__((unused))

extern struct rt_host *rt_host;
/* runtime/time.c: whether a wait with a timeout, which begins here, is late. */
int rt_is_late_now(void);
void __assert_fail(const char *, const char *, unsigned, const char *) __attribute__((noreturn));

LAB_CODE int lab_task(void) { return rt_host->task(rt_host->x); }
LAB_CODE void lab_point(int op, void *object) { rt_host->point(rt_host->x, op, object); }
LAB_CODE void lab_changed(void *object) { rt_host->changed(rt_host->x, object); }
LAB_CODE void lab_await(int64_t *word, int test, int64_t want)
{ rt_host->wait(rt_host->x, RT_AWAIT, word, test, want, 0); }

/* Announced, and seen by whoever awaits the word. */
LAB_CODE void lab_set(int64_t *word, int64_t value)
{
    lab_point(RT_STORE, word);
    *word = value;
    lab_changed(word);
}

LAB_CODE int64_t lab_get(int64_t *word)
{
    lab_point(RT_LOAD, word);
    return *word;
}

LAB_CODE int64_t lab_swap(int64_t *word, int64_t value)
{
    int64_t old;
    lab_point(RT_ATOMIC, word);
    old = *word;
    *word = value;
    lab_changed(word);
    return old;
}

LAB_CODE int64_t lab_add(int64_t *word, int64_t n)
{
    lab_point(RT_ATOMIC, word);
    *word += n;
    lab_changed(word);
    return *word;
}

/* ---- BUG and WARN: both end the execution, as an assertion with their text -------------------------------------------- */

#define LAB_FAIL(text) __assert_fail(text, __FILE__, __LINE__, __func__)
#define LAB_FAIL_IF(c, text) ({ int lab_failed = !!(c); if (unlikely(lab_failed)) LAB_FAIL(text); lab_failed; })

#define BUG() LAB_FAIL("BUG()")
#define BUG_ON(c) ((void)LAB_FAIL_IF(c, "BUG_ON(" #c ")"))
#define VM_BUG_ON(c) ((void)LAB_FAIL_IF(c, "VM_BUG_ON(" #c ")"))
#define VM_BUG_ON_PAGE(c, page) ((void)(page), (void)LAB_FAIL_IF(c, "VM_BUG_ON_PAGE(" #c ")"))
#define VM_BUG_ON_FOLIO(c, folio) ((void)(folio), (void)LAB_FAIL_IF(c, "VM_BUG_ON_FOLIO(" #c ")"))
#define VM_BUG_ON_VMA(c, vma) ((void)(vma), (void)LAB_FAIL_IF(c, "VM_BUG_ON_VMA(" #c ")"))
#define VM_BUG_ON_MM(c, mm) ((void)(mm), (void)LAB_FAIL_IF(c, "VM_BUG_ON_MM(" #c ")"))
/* A warning ends the execution, so where the value of one is used it is 0. */
#define WARN_ON(c) LAB_FAIL_IF(c, "WARN_ON(" #c ")")
#define WARN_ON_ONCE(c) LAB_FAIL_IF(c, "WARN_ON_ONCE(" #c ")")
#define VM_WARN_ON(c) LAB_FAIL_IF(c, "VM_WARN_ON(" #c ")")
#define VM_WARN_ON_ONCE(c) LAB_FAIL_IF(c, "VM_WARN_ON_ONCE(" #c ")")
#define WARN(c, ...) ({ int lab_warn = !!(c); if (unlikely(lab_warn)) { printk(__VA_ARGS__); LAB_FAIL("WARN(" #c ")"); } lab_warn; })
#define WARN_ONCE(c, ...) WARN(c, __VA_ARGS__)
#define panic(...) (printk(__VA_ARGS__), LAB_FAIL("panic()"))
#define BUILD_BUG_ON(c) _Static_assert(!(c), "BUILD_BUG_ON(" #c ")")
#define static_assert(c, ...) _Static_assert(c, "" #c)

/* ---- volatile accesses and barriers ----------------------------------------------------------------------------------- */

#define READ_ONCE(x) (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, value) (*(volatile __typeof__(x) *)&(x) = (value))
#define ACCESS_ONCE(x) (*(volatile __typeof__(x) *)&(x))
#define data_race(expression) (expression)

#define barrier() __asm__ __volatile__("" : : : "memory")
#define smp_mb() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#define smp_rmb() __atomic_thread_fence(__ATOMIC_ACQUIRE)
#define smp_wmb() __atomic_thread_fence(__ATOMIC_RELEASE)
#define mb() smp_mb()
#define rmb() smp_rmb()
#define wmb() smp_wmb()
#define smp_mb__before_atomic() smp_mb()
#define smp_mb__after_atomic() smp_mb()
#define smp_mb__after_spinlock() smp_mb()
#define smp_mb__after_unlock_lock() smp_mb()
#define smp_read_barrier_depends() do { } while (0)
#define smp_store_release(p, value) __atomic_store_n(p, value, __ATOMIC_RELEASE)
#define smp_load_acquire(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define smp_store_mb(x, value) do { WRITE_ONCE(x, value); smp_mb(); } while (0)
/* The round of a loop that only looked is over: it goes on when somebody has written. */
#define cpu_relax() ((void)sched_yield())
#define smp_cond_load_relaxed(p, condition) \
    ({ __typeof__(*(p)) VAL; while (VAL = __atomic_load_n(p, __ATOMIC_RELAXED), !(condition)) cpu_relax(); VAL; })
#define smp_cond_load_acquire(p, condition) \
    ({ __typeof__(*(p)) VAL; while (VAL = __atomic_load_n(p, __ATOMIC_ACQUIRE), !(condition)) cpu_relax(); VAL; })

/* ---- small things ----------------------------------------------------------------------------------------------------- */

#define container_of(p, type, member) ((type *)((char *)(p) - offsetof(type, member)))
#define typeof_member(type, member) __typeof__(((type *)0)->member)
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define min(a, b) ({ __typeof__(a) lab_a = (a); __typeof__(b) lab_b = (b); lab_a < lab_b ? lab_a : lab_b; })
#define max(a, b) ({ __typeof__(a) lab_a = (a); __typeof__(b) lab_b = (b); lab_a > lab_b ? lab_a : lab_b; })
#define min_t(type, a, b) min((type)(a), (type)(b))
#define max_t(type, a, b) max((type)(a), (type)(b))
#define clamp(value, low, high) min(max(value, low), high)
#define swap(a, b) do { __typeof__(a) lab_swapped = (a); (a) = (b); (b) = lab_swapped; } while (0)
#define DIV_ROUND_UP(n, d) (((n) + (d) - 1) / (d))
#define ALIGN(x, a) (((x) + (a) - 1) & ~((__typeof__(x))(a) - 1))
#define IS_ALIGNED(x, a) (((x) & ((__typeof__(x))(a) - 1)) == 0)
#define round_up(x, a) ALIGN(x, a)
#define round_down(x, a) ((x) & ~((__typeof__(x))(a) - 1))
#define is_power_of_2(n) ((n) != 0 && ((n) & ((n) - 1)) == 0)
#define BITS_PER_LONG 64
#define PAGE_SHIFT 12
#define PAGE_SIZE (1UL << PAGE_SHIFT)
#define PAGE_MASK (~(PAGE_SIZE - 1))
#define SMP_CACHE_BYTES 64
#define U8_MAX UINT8_MAX
#define U16_MAX UINT16_MAX
#define U32_MAX UINT32_MAX
#define U64_MAX UINT64_MAX
#define S32_MAX INT32_MAX
#define ERESTARTSYS 512
#define MAX_ERRNO 4095

LAB_USUAL void *ERR_PTR(long error) { return (void *)error; }
LAB_USUAL long PTR_ERR(const void *p) { return (long)p; }
LAB_USUAL bool IS_ERR(const void *p) { return (unsigned long)p >= (unsigned long)-MAX_ERRNO; }
LAB_USUAL bool IS_ERR_OR_NULL(const void *p) { return !p || IS_ERR(p); }
LAB_USUAL void *ERR_CAST(const void *p) { return (void *)p; }
LAB_USUAL int PTR_ERR_OR_ZERO(const void *p) { return IS_ERR(p) ? (int)PTR_ERR(p) : 0; }

#define KERN_EMERG
#define KERN_ALERT
#define KERN_CRIT
#define KERN_ERR
#define KERN_WARNING
#define KERN_NOTICE
#define KERN_INFO
#define KERN_DEBUG
#define KERN_CONT
#ifndef pr_fmt
#define pr_fmt(form) form
#endif
#define printk(...) printf(__VA_ARGS__)
#define pr_emerg(form, ...) printk(pr_fmt(form), ##__VA_ARGS__)
#define pr_alert(form, ...) printk(pr_fmt(form), ##__VA_ARGS__)
#define pr_crit(form, ...) printk(pr_fmt(form), ##__VA_ARGS__)
#define pr_err(form, ...) printk(pr_fmt(form), ##__VA_ARGS__)
#define pr_warn(form, ...) printk(pr_fmt(form), ##__VA_ARGS__)
#define pr_warn_once(form, ...) printk(pr_fmt(form), ##__VA_ARGS__)
#define pr_notice(form, ...) printk(pr_fmt(form), ##__VA_ARGS__)
#define pr_info(form, ...) printk(pr_fmt(form), ##__VA_ARGS__)
#define pr_cont(form, ...) printk(form, ##__VA_ARGS__)
#define pr_debug(form, ...) ((void)0)
#define dump_stack() ((void)0)

#define EXPORT_SYMBOL(name)
#define EXPORT_SYMBOL_GPL(name)
#define MODULE_LICENSE(text)
#define MODULE_AUTHOR(text)
#define MODULE_DESCRIPTION(text)
#define MODULE_VERSION(text)
#define MODULE_PARM_DESC(name, text)
#define module_param(name, type, mode)
#define THIS_MODULE ((void *)0)
/* main() calls these: if (lab_module_init()) ...; lab_module_exit(); */
#define module_init(call) int lab_module_init(void) { return call(); }
#define module_exit(call) void lab_module_exit(void) { call(); }
int lab_module_init(void);
void lab_module_exit(void);
#define late_initcall(call) module_init(call)
#define subsys_initcall(call) module_init(call)
#define IS_ENABLED(option) 0

#endif
