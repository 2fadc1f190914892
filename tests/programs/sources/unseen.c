/* A loop that counts its rounds where no compiler tells of it: in what strcat() writes, or the runtime for rand_r(),
   pthread_setspecific() and sem_getvalue(). And one that does not wait at all: a compare-and-exchange that fails writes what
   it found, and comes through at the second try. */
#include <assert.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#ifndef HOW
#define HOW 0
#endif

static atomic_int flag, word = 1;
static int expected, value;
static unsigned chance;
static char tried[8];
static pthread_key_t key;
static sem_t sem;

static void *setter(void *unused)
{
    flag = 1;
    return unused;
}

static int again(void)
{
    switch (HOW) {
    case 0:
        strcat(tried, "x");
        return strlen(tried) < 3;
    case 1:
        return (rand_r(&chance) & 15) != 6;
    case 2:
        pthread_setspecific(key, (char *)pthread_getspecific(key) + 1);
        return (char *)pthread_getspecific(key) < (char *)3;
    default:
        if (value == 5)
            return 0;
        sem_getvalue(&sem, &value);
        return 1;
    }
}

int main(void)
{
    pthread_t thread;
    int set;
    while (!atomic_compare_exchange_weak(&word, &expected, 2))
        ;
    pthread_key_create(&key, NULL);
    sem_init(&sem, 0, 5);
    pthread_create(&thread, NULL, setter, NULL);
    while (!(set = flag) && again())
        ;
    assert(set);
    pthread_join(thread, NULL);
    return 0;
}
