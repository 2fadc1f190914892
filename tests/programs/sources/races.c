/* Small programs, one for each CASE: with a race, and with RIGHT without it. */
#include <assert.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_spinlock_t spin;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static sem_t sem;
static int data;

#ifdef RIGHT
#define ONLY_RIGHT(call) call
#else
#define ONLY_RIGHT(call) (void)0
#endif

#if CASE == 1 /* a counter */
static void body(int me) { (void)me; ONLY_RIGHT(pthread_mutex_lock(&lock)); data++; ONLY_RIGHT(pthread_mutex_unlock(&lock)); }

#elif CASE == 2 /* initialised once, looked at without the lock first */
static int *made;
static void body(int me)
{
    (void)me;
    ONLY_RIGHT(pthread_mutex_lock(&lock));
    if (!made) {
#ifndef RIGHT
        pthread_mutex_lock(&lock);
#endif
        if (!made)
            made = calloc(1, sizeof *made);
#ifndef RIGHT
        pthread_mutex_unlock(&lock);
#endif
    }
    ONLY_RIGHT(pthread_mutex_unlock(&lock));
}

#elif CASE == 3 /* published through a flag: plain; RIGHT: volatile or, with ATOMIC, atomic */
#if defined(RIGHT) && defined(ATOMIC)
static atomic_int ready;
#elif defined(RIGHT)
static volatile int ready;
#else
static int ready;
#endif
static void body(int me)
{
    if (me == 0) {
        data = 7;
        ready = 1;
    } else if (ready) {
        assert(data == 7);
    }
}

#elif CASE == 4 /* neighbours in one word: bytes, or bits of one byte */
struct { union { char byte[2]; struct { unsigned a : 3, b : 3; }; }; } near;
#ifdef RIGHT
static void body(int me) { near.byte[me] = 1; }
#else
static void body(int me) { if (me) near.a = 1; else near.b = 1; }
#endif

#elif CASE == 5 /* readers and a writer */
static void body(int me)
{
    int seen = 0;
    if (me) {
        pthread_rwlock_rdlock(&rwlock);
        ONLY_RIGHT(seen = data);
#ifndef RIGHT
        data = seen + 1;
#endif
    } else {
        ONLY_RIGHT(pthread_rwlock_wrlock(&rwlock));
#ifndef RIGHT
        pthread_rwlock_rdlock(&rwlock);
#endif
        data++;
    }
    pthread_rwlock_unlock(&rwlock);
    (void)seen;
}

#elif CASE == 6 /* a condition variable */
static int ready;
static void body(int me)
{
    if (me) {
        data = 1;
        pthread_mutex_lock(&lock);
        ready = 1;
        pthread_cond_signal(&cond);
        pthread_mutex_unlock(&lock);
#ifndef RIGHT
        data = 2;
#endif
    } else {
        pthread_mutex_lock(&lock);
        while (!ready)
            pthread_cond_wait(&cond, &lock);
        pthread_mutex_unlock(&lock);
        data++;
    }
}

#elif CASE == 7 /* a semaphore */
static void body(int me)
{
    if (me) {
        ONLY_RIGHT(data = 1);
        sem_post(&sem);
#ifndef RIGHT
        data = 1;
#endif
    } else {
        sem_wait(&sem);
        data++;
    }
}

#elif CASE == 8 /* a barrier */
static int part[2];
static void body(int me)
{
    part[me] = me;
    ONLY_RIGHT(pthread_barrier_wait(&barrier));
    assert(part[1 - me] <= 1);
}

#elif CASE == 9 /* once */
static void init(void) { data = 5; }
static void body(int me)
{
#ifdef RIGHT
    (void)me;
    pthread_once(&once, init);
#else
    if (me)
        pthread_once(&once, init);
#endif
    assert(data == 5 || data == 0);
}

#elif CASE == 10 /* a spinlock, tried */
static void body(int me)
{
    (void)me;
    if (pthread_spin_trylock(&spin) == 0) {
        data++;
        pthread_spin_unlock(&spin);
    }
#ifndef RIGHT
    else
        data++;
#endif
}

#elif CASE == 11 /* a count of references: the last one frees */
static atomic_int users = 2;
static int *shared;
static void body(int me)
{
    shared[me] = me;
#ifdef RIGHT
    if (atomic_fetch_sub(&users, 1) == 1)
        free(shared);
#else
    if (atomic_fetch_sub(&users, 1) == 2)
        free(shared);
#endif
}

#elif CASE == 12 /* atomics of two sizes in one place */
static union { _Atomic int whole; _Atomic char byte[4]; } mixed;
static void body(int me)
{
    if (me)
        mixed.whole = 1;
    else
        ONLY_RIGHT(mixed.whole = 2);
#ifndef RIGHT
    if (!me)
        mixed.byte[1] = 1;
#endif
}

#elif CASE == 13 /* a local variable of main's */
static int *local;
static void body(int me) { (void)me; ONLY_RIGHT(pthread_mutex_lock(&lock)); ++*local; ONLY_RIGHT(pthread_mutex_unlock(&lock)); }
#define LOCAL int mine = 0; local = &mine;
#endif

#ifndef LOCAL
#define LOCAL
#endif

static void *run(void *me) { body((int)(long)me); return 0; }

int main(void)
{
    pthread_t thread[2];
    LOCAL
    pthread_spin_init(&spin, 0);
    pthread_barrier_init(&barrier, 0, 2);
    sem_init(&sem, 0, 0);
#if CASE == 11
    shared = malloc(2 * sizeof *shared);
#endif
    for (long i = 0; i < 2; i++)
        pthread_create(&thread[i], 0, run, (void *)i);
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], 0);
    data++;
#ifdef TOTAL
    assert(data == TOTAL);
#endif
    return 0;
}
