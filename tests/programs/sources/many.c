/* N threads. OWN: each writes a word of its own, and main looks at all when they have ended; WRONG looks too early.
   COND: they wait for a condition variable; WRONG wakes one only. TIMED: they wait for some time at most. */
#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#ifndef N
#define N 100
#endif
#ifndef WRONG
#define WRONG 0
#endif
static atomic_int word[N];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int go, seen;

static void *run(void *p)
{
#ifdef COND
    pthread_mutex_lock(&lock);
    while (!go)
        pthread_cond_wait(&cond, &lock);
    seen++;
    pthread_mutex_unlock(&lock);
#elif defined TIMED
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec++;
    pthread_mutex_lock(&lock);
    while (!go)
        if (pthread_cond_timedwait(&cond, &lock, &until))
            break;
    seen++;
    pthread_mutex_unlock(&lock);
#else
    *(atomic_int *)p = 1;
#endif
    return 0;
}

int main(void)
{
    pthread_t t[N];
    int all = 0;
    for (int i = 0; i < N; i++)
        pthread_create(&t[i], 0, run, &word[i]);
#ifdef COND
    pthread_mutex_lock(&lock);
    go = 1;
    if (WRONG)
        pthread_cond_signal(&cond);
    else
        pthread_cond_broadcast(&cond);
    pthread_mutex_unlock(&lock);
#endif
    for (int i = 0; i < N; i++) {
        if (WRONG && i == 0)
            all = word[N - 1];
        pthread_join(t[i], 0);
    }
#if defined COND || defined TIMED
    assert(seen == N);
#else
    for (int i = 0; i < N; i++)
        all += word[i];
    assert(all == N + WRONG);
#endif
    return 0;
}
