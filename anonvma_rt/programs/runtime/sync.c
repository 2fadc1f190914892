/* Mutexes, read-write locks, spinlocks, condition variables, semaphores and barriers of POSIX threads.

   Each lives in the memory that the program has for it, and all zero is what the static initialisers make. A lock is the
   engine's; what else waits is a word that is awaited. Source: POSIX.1-2017; the numbers of kinds and their place in a
   mutex are the C library's (pthread.h). */

#define _GNU_SOURCE
#include "runtime.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>

enum { GONE = -1 };

struct mutex {
    rt_lock lock;
    uint32_t depth;
    uint64_t unused;
    int32_t kind;
};

struct rwlock {
    rt_lock lock;
    int32_t gone;
};

struct sem {
    int64_t count;
};

struct barrier {
    int64_t round;
    uint32_t arrived, most;
};

_Static_assert(sizeof(struct mutex) <= sizeof(pthread_mutex_t), "a mutex has no room");
_Static_assert(sizeof(struct sem) <= sizeof(sem_t), "a semaphore has no room");
_Static_assert(sizeof(struct barrier) <= sizeof(pthread_barrier_t), "a barrier has no room");

static void destroyed(const char *what, const void *where) { rt_wrong(RT_DESTROYED, what, where, 0); }

/* ---- mutexes ------------------------------------------------------------------------------------------------------- */

/* Asked behind a point on it, where the order against its destruction is announced. */
static void mutex_lives(const struct mutex *m)
{
    if (m->kind == GONE)
        destroyed("mutex", m);
}

static int mine(const rt_lock *lock) { return lock->owner == rt_task() + 1; }

int pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes)
{
    struct mutex *m = (struct mutex *)mutex;
    int kind = PTHREAD_MUTEX_NORMAL;
    if (attributes)
        pthread_mutexattr_gettype(attributes, &kind);
    *m = (struct mutex){.kind = kind};
    return 0;
}

int pthread_mutex_destroy(pthread_mutex_t *mutex)
{
    struct mutex *m = (struct mutex *)mutex;
    rt_point(RT_ATOMIC, m);
    mutex_lives(m);
    if (m->lock.owner)
        return EBUSY;
    m->kind = GONE;
    return 0;
}

int pthread_mutex_lock(pthread_mutex_t *mutex)
{
    struct mutex *m = (struct mutex *)mutex;
    if (m->kind == PTHREAD_MUTEX_RECURSIVE && mine(&m->lock)) {
        m->depth++;
        return 0;
    }
    if (m->kind == PTHREAD_MUTEX_ERRORCHECK && mine(&m->lock))
        return EDEADLK;
    rt_acquire(&m->lock, RT_LOCK);
    mutex_lives(m);
    return 0;
}

int pthread_mutex_trylock(pthread_mutex_t *mutex)
{
    struct mutex *m = (struct mutex *)mutex;
    if (m->kind == PTHREAD_MUTEX_RECURSIVE && mine(&m->lock)) {
        m->depth++;
        return 0;
    }
    if (!rt_try(&m->lock, RT_TRYLOCK))
        return EBUSY;
    mutex_lives(m);
    return 0;
}

int pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    struct mutex *m = (struct mutex *)mutex;
    if (m->kind == PTHREAD_MUTEX_RECURSIVE && m->depth && mine(&m->lock)) {
        m->depth--;
        return 0;
    }
    if ((m->kind == PTHREAD_MUTEX_ERRORCHECK || m->kind == PTHREAD_MUTEX_RECURSIVE) && !mine(&m->lock))
        return EPERM;
    rt_release(&m->lock, RT_UNLOCK);
    return 0;
}

/* ---- read-write locks and spinlocks ---------------------------------------------------------------------------------- */

static void rwlock_lives(const pthread_rwlock_t *lock)
{
    if (((const struct rwlock *)lock)->gone)
        destroyed("read-write lock", lock);
}

int pthread_rwlock_init(pthread_rwlock_t *lock, const pthread_rwlockattr_t *attributes)
{ (void)attributes; *(struct rwlock *)lock = (struct rwlock){.gone = 0}; return 0; }

int pthread_rwlock_destroy(pthread_rwlock_t *lock)
{
    rt_lock *l = (rt_lock *)lock;
    rt_point(RT_ATOMIC, l);
    rwlock_lives(lock);
    if (l->owner || l->readers)
        return EBUSY;
    ((struct rwlock *)lock)->gone = 1;
    return 0;
}

int pthread_rwlock_rdlock(pthread_rwlock_t *lock)
{
    rt_lock *l = (rt_lock *)lock;
    if (mine(l))
        return EDEADLK;
    rt_acquire(l, RT_READ_LOCK);
    rwlock_lives(lock);
    return 0;
}

int pthread_rwlock_wrlock(pthread_rwlock_t *lock)
{
    rt_lock *l = (rt_lock *)lock;
    if (mine(l))
        return EDEADLK;
    rt_acquire(l, RT_LOCK);
    rwlock_lives(lock);
    return 0;
}

static int try_rwlock(pthread_rwlock_t *lock, int op)
{
    if (!rt_try((rt_lock *)lock, op))
        return EBUSY;
    rwlock_lives(lock);
    return 0;
}

int pthread_rwlock_tryrdlock(pthread_rwlock_t *lock) { return try_rwlock(lock, RT_READ_TRYLOCK); }
int pthread_rwlock_trywrlock(pthread_rwlock_t *lock) { return try_rwlock(lock, RT_TRYLOCK); }

int pthread_rwlock_unlock(pthread_rwlock_t *lock)
{
    rt_lock *l = (rt_lock *)lock;
    rt_release(l, mine(l) || !l->readers ? RT_UNLOCK : RT_READ_UNLOCK);
    return 0;
}

int pthread_spin_init(pthread_spinlock_t *lock, int shared) { (void)shared; *(rt_lock *)lock = (rt_lock){0}; return 0; }
int pthread_spin_destroy(pthread_spinlock_t *lock) { return (void)lock, 0; }
int pthread_spin_lock(pthread_spinlock_t *lock) { rt_acquire((rt_lock *)lock, RT_LOCK); return 0; }
int pthread_spin_trylock(pthread_spinlock_t *lock) { return rt_try((rt_lock *)lock, RT_TRYLOCK) ? 0 : EBUSY; }
int pthread_spin_unlock(pthread_spinlock_t *lock) { rt_release((rt_lock *)lock, RT_UNLOCK); return 0; }

/* ---- condition variables ------------------------------------------------------------------------------------------------ */

/* A signal wakes one of those that wait when it comes, and which one is not said: so each of them may take it. Waits and
   signals are numbered from 1 in the order in which they came. A waiter takes the first signal that came after it, so that
   the later ones are left to those who came later; `signal` has those that nobody has taken yet. */
struct waiters {
    int64_t came;
    int waiting, signals;
    int64_t signal[];
};

/* last: the last signal that nobody has taken yet (0: none), so whoever came before it may take one. It is what is awaited,
   and what everybody announces. */
struct cond {
    int64_t last;
    struct waiters *w;
    int64_t gone;
};

_Static_assert(sizeof(struct cond) <= sizeof(pthread_cond_t), "a condition variable has no room");

/* Asked behind a point on it, where the order against its destruction is announced. */
static struct waiters *waiters_of(struct cond *c)
{
    if (c->gone == GONE)
        destroyed("condition variable", c);
    if (!c->w)
        c->w = rt_host->allocate(rt_host->x, sizeof(struct waiters) + rt_host->tasks * sizeof(int64_t), 16);
    return c->w;
}

int pthread_cond_init(pthread_cond_t *cond, const pthread_condattr_t *attributes)
{ (void)attributes; *(struct cond *)cond = (struct cond){0}; return 0; }

int pthread_cond_destroy(pthread_cond_t *cond)
{
    struct cond *c = (struct cond *)cond;
    rt_point(RT_ATOMIC, c);
    waiters_of(c);
    c->gone = GONE;
    return 0;
}

static void tell(struct cond *c) { c->last = c->w->signals ? c->w->signal[c->w->signals - 1] : 0; }

/* By a waiter that came at `since`. */
static void take_signal(struct cond *c, int64_t since)
{
    struct waiters *w = c->w;
    int taken = 0;
    while (w->signal[taken] < since)
        taken++;
    w->waiting--;
    w->signals--;
    for (int i = taken; i < w->signals; i++)
        w->signal[i] = w->signal[i + 1];
    tell(c);
    rt_changed(c);
}

/* Whether it wakes at once, for no reason or because it is late, with nobody having seen it wait. */
static int wakes_by_itself(const struct timespec *until, int *result)
{
    struct rt_state *t = rt_self();
    if (until && rt_is_late(until)) {
        *result = rt_was_late(until);
        return 1;
    }
    if (!rt_host->chance(rt_host->x, RT_CHANCE_SPURIOUS, t->woken))
        return 0;
    t->woken++;
    return 1;
}

static int cond_wait(struct cond *c, struct mutex *m, const struct timespec *until)
{
    int result = 0;
    uint32_t depth = m->depth;
    int64_t since = 0;
    int by_itself = wakes_by_itself(until, &result);
    if (!by_itself) {
        rt_point(RT_ATOMIC, c);
        waiters_of(c)->waiting++;
        since = ++c->w->came;
    }
    m->depth = 0;
    rt_release(&m->lock, RT_UNLOCK);
    if (!by_itself) {
        rt_self()->asleep = RT_UNTIL_WOKEN;
        if (rt_host->wait(rt_host->x, RT_TAKE, &c->last, RT_NOT_LESS, since, until != 0))
            take_signal(c, since);
        else {
            /* Nobody else can go on: it is no longer among those who wait. */
            c->w->waiting--;
            result = rt_was_late(until);
        }
        rt_self()->asleep = 0;
    }
    rt_acquire(&m->lock, RT_LOCK);
    mutex_lives(m);
    m->depth = depth;
    return result;
}

int pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex)
{ return cond_wait((struct cond *)cond, (struct mutex *)mutex, 0); }

int pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until)
{ return rt_bad_time(until) ? EINVAL : cond_wait((struct cond *)cond, (struct mutex *)mutex, until); }

int pthread_cond_clockwait(pthread_cond_t *cond, pthread_mutex_t *mutex, clockid_t clock, const struct timespec *until)
{ return (void)clock, pthread_cond_timedwait(cond, mutex, until); }

static int signal_some(struct cond *c, int all)
{
    struct waiters *w;
    rt_point(RT_ATOMIC, c);
    w = waiters_of(c);
    while (w->signals < w->waiting) {
        w->signal[w->signals++] = ++w->came;
        if (!all)
            break;
    }
    tell(c);
    rt_changed(c);
    return 0;
}

int pthread_cond_signal(pthread_cond_t *cond) { return signal_some((struct cond *)cond, 0); }
int pthread_cond_broadcast(pthread_cond_t *cond) { return signal_some((struct cond *)cond, 1); }

/* ---- semaphores and barriers ---------------------------------------------------------------------------------------------- */

int sem_init(sem_t *sem, int shared, unsigned value)
{ (void)shared; ((struct sem *)sem)->count = value; return 0; }

int sem_destroy(sem_t *sem) { return (void)sem, 0; }

int sem_wait(sem_t *sem)
{
    struct sem *s = (struct sem *)sem;
    rt_wait(RT_TAKE, &s->count, RT_NOT_LESS, 1);
    s->count--;
    rt_changed(s);
    return 0;
}

int sem_trywait(sem_t *sem)
{
    struct sem *s = (struct sem *)sem;
    rt_point(RT_ATOMIC, s);
    if (s->count <= 0) {
        errno = EAGAIN;
        return -1;
    }
    s->count--;
    rt_changed(s);
    return 0;
}

int sem_post(sem_t *sem)
{
    struct sem *s = (struct sem *)sem;
    rt_point(RT_ATOMIC, s);
    s->count++;
    rt_changed(s);
    return 0;
}

int sem_getvalue(sem_t *sem, int *value)
{
    rt_point(RT_LOAD, sem);
    rt_writes(value, sizeof *value);
    *value = (int)((struct sem *)sem)->count;
    return 0;
}

int pthread_barrier_init(pthread_barrier_t *barrier, const pthread_barrierattr_t *attributes, unsigned most)
{
    (void)attributes;
    if (most == 0)
        return EINVAL;
    *(struct barrier *)barrier = (struct barrier){.most = most};
    return 0;
}

int pthread_barrier_destroy(pthread_barrier_t *barrier) { return (void)barrier, 0; }

int pthread_barrier_wait(pthread_barrier_t *barrier)
{
    struct barrier *b = (struct barrier *)barrier;
    int64_t round;
    rt_point(RT_ATOMIC, b);
    round = b->round;
    if (++b->arrived == b->most) {
        b->arrived = 0;
        b->round++;
        rt_changed(b);
        return PTHREAD_BARRIER_SERIAL_THREAD;
    }
    rt_wait(RT_AWAIT, &b->round, RT_UNEQUAL, round);
    return 0;
}
