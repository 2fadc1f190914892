/* Time: clocks, sleeps, and how long a wait lasts.

   Each thread has a clock of its own, which advances as it asks and when it was late; so no clock depends on the
   interleaving. Whether a wait with a timeout is late is a choice of the schedule, made before it begins: whoever is late
   gives up at once. Nothing is lost by that. Others cannot see whether it stood in the queue in the meantime, since a
   signal that finds it there wakes it in time or wakes another. Who has chosen to wait does so until what it waits for
   comes, or until nobody else can go on. Source: POSIX.1-2017. */

#define _GNU_SOURCE
#include "runtime.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define HERE __builtin_return_address(0)

enum { FIRST_SECOND = 1000000000, SECOND = 1000000000, LOOK = 1000 };

/* ---- clocks ---------------------------------------------------------------------------------------------------------- */

static uint64_t nanoseconds(void)
{
    struct rt_state *t = rt_self();
    t->asked = 1;
    return ++t->looks * LOOK;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    uint64_t n = nanoseconds();
    (void)clock;
    now->tv_sec = FIRST_SECOND + (time_t)(n / SECOND);
    now->tv_nsec = (long)(n % SECOND);
    return 0;
}

int clock_getres(clockid_t clock, struct timespec *step)
{
    (void)clock;
    if (step)
        *step = (struct timespec){.tv_nsec = LOOK};
    return 0;
}

int timespec_get(struct timespec *now, int base) { clock_gettime(CLOCK_REALTIME, now); return base; }

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec t;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &t);
    now->tv_sec = t.tv_sec;
    now->tv_usec = t.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    if (out)
        *out = t.tv_sec;
    return t.tv_sec;
}

clock_t clock(void) { return (clock_t)(nanoseconds() / 1000); }

/* Looks of the thread's clock until it shows this time. */
static uint64_t looks_until(const struct timespec *until)
{
    if (until->tv_sec < FIRST_SECOND)
        return 0;
    return ((uint64_t)(until->tv_sec - FIRST_SECOND) * SECOND + (uint64_t)until->tv_nsec + LOOK - 1) / LOOK;
}

static void advance(uint64_t looks)
{
    struct rt_state *t = rt_self();
    if (t->looks < looks)
        t->looks = looks;
}

/* ---- to sleep, and to give way ----------------------------------------------------------------------------------------- */

static int rest(const void *place)
{
    rt_host->rest(rt_host->x, place);
    return 0;
}

static int slept(uint64_t nanosecond, const void *place)
{
    advance(rt_self()->looks + nanosecond / LOOK + 1);
    return rest(place);
}

int sched_yield(void) { return rest(HERE); }
void thrd_yield(void) { rest(HERE); }
int usleep(useconds_t n) { return slept((uint64_t)n * 1000, HERE); }
unsigned sleep(unsigned n) { return (unsigned)slept((uint64_t)n * SECOND, HERE); }

int rt_bad_time(const struct timespec *until)
{ return until->tv_nsec < 0 || until->tv_nsec >= SECOND; }

static uint64_t length_of(const struct timespec *t) { return (uint64_t)t->tv_sec * SECOND + (uint64_t)t->tv_nsec; }

int nanosleep(const struct timespec *wanted, struct timespec *left)
{
    if (rt_bad_time(wanted) || wanted->tv_sec < 0) {
        errno = EINVAL;
        return -1;
    }
    if (left)
        rt_writes(left, sizeof *left), *left = (struct timespec){0};
    return slept(length_of(wanted), HERE);
}

int thrd_sleep(const struct timespec *wanted, struct timespec *left)
{
    if (left)
        rt_writes(left, sizeof *left), *left = (struct timespec){0};
    return slept(length_of(wanted), HERE);
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *wanted, struct timespec *left)
{
    (void)clock;
    if (rt_bad_time(wanted))
        return EINVAL;
    if (left)
        rt_writes(left, sizeof *left), *left = (struct timespec){0};
    if (!(flags & TIMER_ABSTIME))
        return slept(length_of(wanted), HERE);
    advance(looks_until(wanted));
    return rest(HERE);
}

/* ---- waits with a timeout ----------------------------------------------------------------------------------------------- */

int rt_was_late(const struct timespec *until)
{
    advance(looks_until(until));
    return ETIMEDOUT;
}

int rt_is_late_now(void)
{
    struct rt_state *t = rt_self();
    if (!rt_host->chance(rt_host->x, RT_CHANCE_LATE, t->late))
        return 0;
    t->late++;
    return 1;
}

int rt_is_late(const struct timespec *until)
{ return rt_self()->looks >= looks_until(until) || rt_is_late_now(); }

static int lock_until(rt_lock *lock, int tried, int op, const struct timespec *until)
{
    if (tried != EBUSY)
        return tried;
    if (rt_bad_time(until))
        return EINVAL;
    return rt_is_late(until) || !rt_host->acquire(rt_host->x, lock, op, 1) ? rt_was_late(until) : 0;
}

int pthread_mutex_timedlock(pthread_mutex_t *mutex, const struct timespec *until)
{ return lock_until((rt_lock *)mutex, pthread_mutex_trylock(mutex), RT_LOCK, until); }

int pthread_mutex_clocklock(pthread_mutex_t *mutex, clockid_t clock, const struct timespec *until)
{ return (void)clock, pthread_mutex_timedlock(mutex, until); }

int pthread_rwlock_timedrdlock(pthread_rwlock_t *lock, const struct timespec *until)
{ return lock_until((rt_lock *)lock, pthread_rwlock_tryrdlock(lock), RT_READ_LOCK, until); }

int pthread_rwlock_timedwrlock(pthread_rwlock_t *lock, const struct timespec *until)
{ return lock_until((rt_lock *)lock, pthread_rwlock_trywrlock(lock), RT_LOCK, until); }

int pthread_rwlock_clockrdlock(pthread_rwlock_t *lock, clockid_t clock, const struct timespec *until)
{ return (void)clock, pthread_rwlock_timedrdlock(lock, until); }

int pthread_rwlock_clockwrlock(pthread_rwlock_t *lock, clockid_t clock, const struct timespec *until)
{ return (void)clock, pthread_rwlock_timedwrlock(lock, until); }

int sem_timedwait(sem_t *sem, const struct timespec *until)
{
    int64_t *count = (int64_t *)sem;
    if (sem_trywait(sem) == 0)
        return 0;
    if (rt_bad_time(until))
        errno = EINVAL;
    else if (rt_is_late(until) || !rt_host->wait(rt_host->x, RT_TAKE, count, RT_NOT_LESS, 1, 1))
        errno = rt_was_late(until);
    else {
        --*count;
        rt_changed(count);
        return 0;
    }
    return -1;
}

int sem_clockwait(sem_t *sem, clockid_t clock, const struct timespec *until)
{ return (void)clock, sem_timedwait(sem, until); }
