/* Main waits for a flag with a timeout. SIGNAL: the other thread says that it is set; LOOP: main waits again and again;
   CHECK: main believes that it comes in time; BARE: waits without a timeout, and CHECK believes that it was woken. */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <time.h>

#ifndef SIGNAL
#define SIGNAL 0
#endif
#ifndef LOOP
#define LOOP 0
#endif
#ifndef CHECK
#define CHECK 0
#endif
#ifndef BARE
#define BARE 0
#endif

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t set = PTHREAD_COND_INITIALIZER;
static int flag;

static void *setter(void *unused)
{
    pthread_mutex_lock(&lock);
    flag = 1;
    if (SIGNAL)
        pthread_cond_signal(&set);
    pthread_mutex_unlock(&lock);
    return unused;
}

int main(void)
{
    pthread_t thread;
    struct timespec until, now;
    int error = 0;
    pthread_create(&thread, NULL, setter, NULL);
    clock_gettime(CLOCK_REALTIME, &until);
    pthread_mutex_lock(&lock);
    if (BARE) {
        if (!flag)
            pthread_cond_wait(&set, &lock);
    } else if (LOOP) {
        while (!flag) {
            until.tv_sec++;
            pthread_cond_timedwait(&set, &lock, &until);
        }
    } else {
        until.tv_sec++;
        while (!flag && error == 0)
            error = pthread_cond_timedwait(&set, &lock, &until);
        clock_gettime(CLOCK_REALTIME, &now);
        assert(error == 0 || (error == ETIMEDOUT && now.tv_sec >= until.tv_sec));
    }
    assert(!CHECK || flag);
    pthread_mutex_unlock(&lock);
    pthread_join(thread, NULL);
    return 0;
}
