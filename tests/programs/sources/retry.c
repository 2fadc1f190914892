/* A loop that gives up after TRIES rounds, or never (0), in which it gives way, sleeps, or only looks (HOW). */
#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#ifndef TRIES
#define TRIES 3
#endif
#ifndef HOW
#define HOW 0
#endif

static atomic_int flag;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int done;

static void *setter(void *unused)
{
    pthread_mutex_lock(&lock);
    done = 1;
    pthread_mutex_unlock(&lock);
    flag = 1;
    return unused;
}

static int is_set(void)
{
    int set;
    if (HOW != 3)
        return flag;
    pthread_mutex_lock(&lock);
    set = done;
    pthread_mutex_unlock(&lock);
    return set;
}

int main(void)
{
    pthread_t thread;
    int set = 0;
    pthread_create(&thread, NULL, setter, NULL);
    for (int round = 0; !set && (TRIES == 0 || round < TRIES); round += TRIES != 0) {
        set = is_set();
        if (HOW == 0 || HOW == 3)
            sched_yield();
        else if (HOW == 1)
            usleep(1);
    }
    assert(set);
    pthread_join(thread, NULL);
    return 0;
}
