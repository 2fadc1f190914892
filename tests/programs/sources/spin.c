/* A spinlock of the program's own: a round that leaves the word as it was only looked. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#ifndef WAY
#define WAY 0
#endif
static atomic_int held;
static int count;
static void *add(void *unused)
{
    int expected = 0;
    if (WAY == 0)
        while (atomic_exchange(&held, 1))
            sched_yield();
    if (WAY == 1)
        while (!atomic_compare_exchange_strong(&held, &expected, 1)) {
            expected = 0;
            sched_yield();
        }
    if (WAY == 2)
        while (atomic_fetch_or(&held, 1))
            sched_yield();
    count++;
    atomic_store(&held, 0);
    return unused;
}
int main(void)
{
    pthread_t thread[2];
    for (int i = 0; i < 2; i++)
        pthread_create(&thread[i], NULL, add, NULL);
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    return count != 2;
}
