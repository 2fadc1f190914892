/* What the C library keeps for itself: which argument getopt() is at, handlers of signals. Each execution begins anew, and
   no signal comes. WRONG: two threads set a handler, and one of them believes that it was the first. */
#include <assert.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

static int count, loud;

static void stop(int number) { (void)number; }

static void *set(void *argument)
{
    (void)argument;
    void (*was)(int) = signal(SIGTERM, stop);
#ifdef WRONG
    assert(was == SIG_DFL);
#else
    assert(was == SIG_DFL || was == stop);
#endif
    return 0;
}

int main(int argc, char **argv)
{
    const struct option names[] = {{"loud", 0, 0, 'l'}, {0}};
    pthread_t thread[2];
    struct sigaction now;
    sigset_t all, before;
    int c;
    assert(optind == 1 && !optarg);
    while ((c = getopt_long(argc, argv, "n:v", names, 0)) != -1) {
        if (c == 'n')
            count = atoi(optarg);
        else
            loud++;
    }
    assert(count == 3 && loud == 3 && argc - optind == 1);
    sigfillset(&all);
    assert(!pthread_sigmask(SIG_BLOCK, &all, &before) && !sigismember(&before, SIGINT));
    assert(!sigprocmask(SIG_SETMASK, 0, &before) && sigismember(&before, SIGINT));
    for (int i = 0; i < 2; i++)
        pthread_create(&thread[i], 0, set, 0);
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], 0);
    assert(!sigaction(SIGTERM, 0, &now) && now.sa_handler == stop && signal(SIGKILL, stop) == SIG_ERR);
    return 0;
}
