/* A thread that is begun only where another one is met at its first, second, fifth and eighth step. */
#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>

static atomic_int steps, seen;

static void *begun_late(void *unused)
{
    seen = 1;
    return unused;
}

static void *walk(void *unused)
{
    for (int i = 0; i < 9; i++)
        steps++;
    return unused;
}

static void *watch(void *unused)
{
    pthread_t thread;
    int one = steps, two = steps, five = steps, eight = steps;
    if (one == 1 && two == 2 && five == 5 && eight == 8) {
        pthread_create(&thread, NULL, begun_late, NULL);
        pthread_join(thread, NULL);
    }
    return unused;
}

int main(void)
{
    pthread_t thread[2];
    pthread_create(&thread[0], NULL, walk, NULL);
    pthread_create(&thread[1], NULL, watch, NULL);
    pthread_join(thread[0], NULL);
    pthread_join(thread[1], NULL);
    assert(!seen);
    return 0;
}
