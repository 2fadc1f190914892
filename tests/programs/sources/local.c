/* What threads wait at lies in the frame of main: a lock, a semaphore or a condition variable. */
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>

struct shared {
    pthread_mutex_t lock;
    sem_t sem;
    int count;
};

static void *twice(void *argument)
{
    struct shared *s = argument;
    for (int i = 0; i < 2; i++) {
#ifdef SEMAPHORE
        sem_wait(&s->sem);
        s->count++;
        sem_post(&s->sem);
#else
        pthread_mutex_lock(&s->lock);
        s->count++;
        pthread_mutex_unlock(&s->lock);
#endif
    }
    return NULL;
}

int main(void)
{
    struct shared s = {PTHREAD_MUTEX_INITIALIZER};
    pthread_t a, b;
    sem_init(&s.sem, 0, 1);
    pthread_create(&a, NULL, twice, &s);
    pthread_create(&b, NULL, twice, &s);
    pthread_join(a, NULL);
    pthread_join(b, NULL);
    return 0;
}
