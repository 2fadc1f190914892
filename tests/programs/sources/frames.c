/* A thread is told of a place to answer to. WAY 0: the place is gone, since whoever asked has returned from the call
   that had it; 1: a thread keeps a pointer to a place of its own that is gone; 2: the place is there until the answer came. */
#include <pthread.h>
#include <stdatomic.h>

#ifndef WAY
#define WAY 0
#endif

static int *_Atomic place;
static atomic_int answered;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *answer(void *unused)
{
    int *to = atomic_load(&place);
    if (to) {
        pthread_mutex_lock(&lock);
        *to = 1;
        pthread_mutex_unlock(&lock);
        atomic_store(&answered, 1);
    }
    return unused;
}

__attribute__((noinline)) static int *ask(void)
{
    int there[64] = {0};
    int *volatile kept = there;
    atomic_store(&place, there);
    while (WAY == 2 && !atomic_load(&answered))
        ;
    return kept;
}

int main(void)
{
    pthread_t thread;
    int *kept;
    pthread_create(&thread, 0, answer, 0);
    if (WAY == 2) {
        /* Whoever comes too early answers nothing. */
        int there = 0;
        atomic_store(&place, &there);
        pthread_join(thread, 0);
        return 0;
    }
    kept = ask();
    if (WAY == 1)
        *kept = 2;
    pthread_mutex_lock(&lock);
    pthread_mutex_unlock(&lock);
    pthread_join(thread, 0);
    return 0;
}
