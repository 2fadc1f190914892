/* The threads of C11 (<threads.h>), which are those of POSIX by other names; and the guards of C++'s static variables.

   Source: ISO C11 7.26; the Itanium C++ ABI, 3.3.3: the first byte of a guard says that the variable is made. */

#define _GNU_SOURCE
#include "runtime.h"

#include <errno.h>
#include <pthread.h>
#include <threads.h>

static int told(int error)
{ return error == 0 ? thrd_success : error == EBUSY ? thrd_busy : error == ETIMEDOUT ? thrd_timedout : thrd_error; }

int thrd_create(thrd_t *out, thrd_start_t run, void *argument)
{ return told(pthread_create((pthread_t *)out, 0, (void *(*)(void *))run, argument)); }

int thrd_join(thrd_t thread, int *result)
{
    void *value;
    int error = pthread_join((pthread_t)thread, &value);
    if (!error && result)
        *result = (int)(intptr_t)value;
    return told(error);
}

int thrd_detach(thrd_t thread) { return told(pthread_detach((pthread_t)thread)); }
thrd_t thrd_current(void) { return (thrd_t)pthread_self(); }
int thrd_equal(thrd_t one, thrd_t other) { return one == other; }
__attribute__((noreturn)) void thrd_exit(int result) { pthread_exit((void *)(intptr_t)result); }

int mtx_init(mtx_t *mutex, int type)
{
    pthread_mutexattr_t kind;
    pthread_mutexattr_init(&kind);
    pthread_mutexattr_settype(&kind, type & mtx_recursive ? PTHREAD_MUTEX_RECURSIVE : PTHREAD_MUTEX_NORMAL);
    return told(pthread_mutex_init((pthread_mutex_t *)mutex, &kind));
}

void mtx_destroy(mtx_t *mutex) { pthread_mutex_destroy((pthread_mutex_t *)mutex); }
int mtx_lock(mtx_t *mutex) { return told(pthread_mutex_lock((pthread_mutex_t *)mutex)); }
int mtx_trylock(mtx_t *mutex) { return told(pthread_mutex_trylock((pthread_mutex_t *)mutex)); }
int mtx_timedlock(mtx_t *restrict mutex, const struct timespec *restrict until)
{ return told(pthread_mutex_timedlock((pthread_mutex_t *)mutex, until)); }
int mtx_unlock(mtx_t *mutex) { return told(pthread_mutex_unlock((pthread_mutex_t *)mutex)); }
int cnd_init(cnd_t *cond) { return told(pthread_cond_init((pthread_cond_t *)cond, 0)); }
void cnd_destroy(cnd_t *cond) { pthread_cond_destroy((pthread_cond_t *)cond); }
int cnd_wait(cnd_t *cond, mtx_t *mutex) { return told(pthread_cond_wait((pthread_cond_t *)cond, (pthread_mutex_t *)mutex)); }
int cnd_timedwait(cnd_t *restrict cond, mtx_t *restrict mutex, const struct timespec *restrict until)
{ return told(pthread_cond_timedwait((pthread_cond_t *)cond, (pthread_mutex_t *)mutex, until)); }
int cnd_signal(cnd_t *cond) { return told(pthread_cond_signal((pthread_cond_t *)cond)); }
int cnd_broadcast(cnd_t *cond) { return told(pthread_cond_broadcast((pthread_cond_t *)cond)); }
void call_once(once_flag *flag, void (*call)(void)) { pthread_once((pthread_once_t *)flag, call); }
int tss_create(tss_t *key, tss_dtor_t destructor) { return told(pthread_key_create((pthread_key_t *)key, destructor)); }
void tss_delete(tss_t key) { pthread_key_delete((pthread_key_t)key); }
void *tss_get(tss_t key) { return pthread_getspecific((pthread_key_t)key); }
int tss_set(tss_t key, void *value) { return told(pthread_setspecific((pthread_key_t)key, value)); }

/* ---- static variables of C++ ------------------------------------------------------------------------------------------ */

enum { MADE = 1, BEING_MADE = 1 << 8 };

int __cxa_guard_acquire(int64_t *guard)
{
    for (;;) {
        rt_point(RT_ATOMIC, guard);
        if (*guard & MADE)
            return 0;
        if (!(*guard & BEING_MADE)) {
            *guard |= BEING_MADE;
            return 1;
        }
        rt_wait(RT_AWAIT, guard, RT_NO_BITS, BEING_MADE);
    }
}

static void leave_guard(int64_t *guard, int64_t made)
{
    rt_point(RT_ATOMIC, guard);
    *guard = (*guard & ~(int64_t)BEING_MADE) | made;
    rt_changed(guard);
}

void __cxa_guard_release(int64_t *guard) { leave_guard(guard, MADE); }
void __cxa_guard_abort(int64_t *guard) { leave_guard(guard, 0); }
