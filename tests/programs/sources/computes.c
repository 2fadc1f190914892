/* A loop that waits, and computes with a library that writes to no memory. UNSEEN: it counts its rounds in what modf() writes,
   and gives up. */
#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>

static atomic_int flag;
static double tried;

static void *setter(void *unused)
{
    flag = 1;
    return unused;
}

int main(int argc, char **argv)
{
    pthread_t thread;
    int set;
    (void)argv;
    pthread_create(&thread, NULL, setter, NULL);
    while (!(set = flag) && tried < 3 && pow(argc, 2) < 9) {
#ifdef UNSEEN
        modf(tried + 1.5, &tried);
#endif
    }
    assert(set);
    pthread_join(thread, NULL);
    return 0;
}
