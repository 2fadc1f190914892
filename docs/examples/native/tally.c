/* Threads that count, and take the lock for the look and for the write, but not for both.

     anonvma-rt hunt tally.c                # a count is lost
     anonvma-rt verify tally.c -p FIXED=1   # never */

#include <assert.h>
#include <pthread.h>

#ifndef N
#define N 3
#endif
#ifndef FIXED
#define FIXED 0
#endif

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int total;

static int look(void)
{
    pthread_mutex_lock(&lock);
    int seen = total;
    pthread_mutex_unlock(&lock);
    return seen;
}

static void set(int value)
{
    pthread_mutex_lock(&lock);
    total = value;
    pthread_mutex_unlock(&lock);
}

static void *add(void *unused)
{
    if (FIXED) {
        pthread_mutex_lock(&lock);
        total++;
        pthread_mutex_unlock(&lock);
    } else {
        set(look() + 1);
    }
    return unused;
}

int main(void)
{
    pthread_t thread[N];
    for (int i = 0; i < N; i++)
        pthread_create(&thread[i], NULL, add, NULL);
    for (int i = 0; i < N; i++)
        pthread_join(thread[i], NULL);
    assert(total == N);
}
