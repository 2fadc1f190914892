/* syscall(), of which futex(2) is here: who waits at a 32-bit word, and who wakes them. Whatever else a program asks the
   kernel for in that way is refused by name.

   A wait's look at its word and its place in the queue are one step, announced on the word, and so is a wake-up. The kernel
   wakes those first who came first. Source: the manual pages futex(2) and futex(7). */

#define _GNU_SOURCE
#include "runtime.h"

#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <time.h>

enum { WAIT = 0, WAKE = 1, WAIT_BITSET = 9, WAKE_BITSET = 10, PRIVATE = 128, BY_CLOCK = 256 };

/* Only the order of those at one word counts, and these are ordered by their steps on it. */
static uint64_t rt_coming;

static long failed(int error)
{
    errno = error;
    return -1;
}

/* The time of a wait is how long it lasts, or when it ends. */
static struct timespec end_of(const struct timespec *timeout, int absolute)
{
    struct timespec until = *timeout;
    if (!absolute) {
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += timeout->tv_sec + (until.tv_nsec + timeout->tv_nsec) / 1000000000;
        until.tv_nsec = (until.tv_nsec + timeout->tv_nsec) % 1000000000;
    }
    return until;
}

static long wait_at(int32_t *word, int32_t value, uint32_t bits, const struct timespec *until)
{
    struct rt_state *t = rt_self();
    int woken;
    rt_point(RT_ATOMIC, word);
    if (*(volatile int32_t *)word != value)
        return failed(EAGAIN);
    if (until && rt_is_late(until))
        return failed(rt_was_late(until));
    t->futex = word;
    t->bits = bits;
    t->came = ++rt_coming;
    t->woken_up = 0;
    t->asleep = RT_UNTIL_WOKEN;
    woken = rt_host->wait(rt_host->x, RT_AWAIT, &t->woken_up, RT_UNEQUAL, 0, until != 0);
    t->asleep = 0;
    if (woken)
        return 0;
    t->futex = 0;
    return failed(rt_was_late(until));
}

static struct rt_state *first_at(const void *word, uint32_t bits)
{
    struct rt_state *first = 0;
    for (struct rt_state *t = rt_states; t < rt_states + rt_host->tasks; t++)
        if (t->futex == word && t->bits & bits && (!first || t->came < first->came))
            first = t;
    return first;
}

static long wake(int32_t *word, int32_t most, uint32_t bits)
{
    struct rt_state *chosen[RT_MOST_TASKS], *t;
    int n = 0;
    rt_point(RT_ATOMIC, word);
    for (; n < most && (t = first_at(word, bits)); n++) {
        t->futex = 0;
        chosen[n] = t;
    }
    for (int i = 0; i < n; i++) {
        int64_t *woken = &chosen[i]->woken_up;
        rt_point(RT_STORE, woken);
        *woken = 1;
        rt_changed(woken);
    }
    return n;
}

static long futex(va_list arguments)
{
    int32_t *word = va_arg(arguments, int32_t *);
    int op = va_arg(arguments, int) & ~(PRIVATE | BY_CLOCK);
    int32_t value = (int32_t)va_arg(arguments, long);
    const struct timespec *timeout = va_arg(arguments, const struct timespec *);
    struct timespec until;
    uint32_t bits;
    (void)va_arg(arguments, void *);
    bits = op == WAIT_BITSET || op == WAKE_BITSET ? va_arg(arguments, uint32_t) : ~0U;
    if (bits == 0)
        return failed(EINVAL);
    if (op == WAKE || op == WAKE_BITSET)
        return wake(word, value, bits);
    if (op != WAIT && op != WAIT_BITSET) {
        rt_host->refuse(rt_host->x, "futex of another kind");
        return -1;
    }
    if (!timeout)
        return wait_at(word, value, bits, 0);
    if (rt_bad_time(timeout) || timeout->tv_sec < 0)
        return failed(EINVAL);
    until = end_of(timeout, op == WAIT_BITSET);
    return wait_at(word, value, bits, &until);
}

long syscall(long number, ...)
{
    va_list arguments;
    long result;
    if (number == SYS_gettid)
        return rt_task() + 1;
    if (number == SYS_sched_yield)
        return sched_yield();
    if (number != SYS_futex) {
        rt_host->refuse(rt_host->x, "syscall");
        return -1;
    }
    va_start(arguments, number);
    result = futex(arguments);
    va_end(arguments);
    return result;
}
