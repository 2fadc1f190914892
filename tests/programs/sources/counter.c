/* Two threads count, and each lets go of the lock between its look and its write. */
#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#ifndef N
#define N 2
#endif

static int count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *add(void *unused)
{
    int seen;
    pthread_mutex_lock(&lock);
    seen = count;
#ifndef RIGHT
    pthread_mutex_unlock(&lock);
    pthread_mutex_lock(&lock);
#endif
    count = seen + 1;
    pthread_mutex_unlock(&lock);
    return unused;
}

int main(void)
{
    pthread_t thread[N];
    for (int i = 0; i < N; i++)
        pthread_create(&thread[i], NULL, add, NULL);
    for (int i = 0; i < N; i++)
        pthread_join(thread[i], NULL);
    printf("count=%d\n", count);
    assert(count == N);
    return 0;
}
