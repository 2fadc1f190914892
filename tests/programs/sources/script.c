/* Does what its arguments say, one for each thread: letters for operations on the few objects that all share. */
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stddef.h>
#include <time.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_barrier_t barrier;
static sem_t sem;
static atomic_int word;
static const struct timespec late = {2000000000, 0};

int rt_choose(int n);

static void begin(void) { atomic_fetch_add(&word, 4); }

static void *run(void *argument)
{
    for (const char *step = argument; *step; step++) {
        switch (*step) {
        case 'l': pthread_mutex_lock(&lock); break;
        case 'u': pthread_mutex_unlock(&lock); break;
        case 't':
            if (pthread_mutex_trylock(&lock) == 0)
                pthread_mutex_unlock(&lock);
            break;
        case 'w':
            pthread_mutex_lock(&lock);
            pthread_cond_wait(&cond, &lock);
            pthread_mutex_unlock(&lock);
            break;
        case 's': pthread_cond_signal(&cond); break;
        case 'b': pthread_cond_broadcast(&cond); break;
        case 'r':
            pthread_rwlock_rdlock(&rwlock);
            pthread_rwlock_unlock(&rwlock);
            break;
        case 'x':
            pthread_rwlock_wrlock(&rwlock);
            pthread_rwlock_unlock(&rwlock);
            break;
        case 'p': sem_wait(&sem); break;
        case 'v': sem_post(&sem); break;
        case 'o': pthread_once(&once, begin); break;
        case 'a': pthread_barrier_wait(&barrier); break;
        case 'g': atomic_load(&word); break;
        case 'f': atomic_fetch_add(&word, 1); break;
        case 'W':
            pthread_mutex_lock(&lock);
            pthread_cond_timedwait(&cond, &lock, &late);
            pthread_mutex_unlock(&lock);
            break;
        case 'T':
            if (pthread_mutex_timedlock(&lock, &late) == 0)
                pthread_mutex_unlock(&lock);
            break;
        case 'P': sem_timedwait(&sem, &late); break;
        case 'X':
            if (pthread_rwlock_timedwrlock(&rwlock, &late) == 0)
                pthread_rwlock_unlock(&rwlock);
            break;
        case 'c': atomic_fetch_add(&word, rt_choose(3)); break;
        case 'y':
            for (int round = 0; round < 2 && !atomic_load(&word); round++)
                sched_yield();
            break;
        case 'Y':
            while (atomic_load(&word) < 2)
                sched_yield();
            break;
        case 'd': pthread_cond_destroy(&cond); break;
        case 'k': pthread_mutex_destroy(&lock); break;
        }
    }
    return NULL;
}

int main(int n, char **script)
{
    pthread_t thread[8];
    sem_init(&sem, 0, 0);
    pthread_barrier_init(&barrier, NULL, 2);
    for (int i = 1; i < n; i++)
        pthread_create(&thread[i], NULL, run, script[i]);
    for (int i = 1; i < n; i++)
        pthread_join(thread[i], NULL);
    return 0;
}
