/* A loop that counts its rounds where no compiler tells of it: in what strcat() writes. */
#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

static atomic_int flag;
static char tried[8];

static void *setter(void *unused)
{
    flag = 1;
    return unused;
}

int main(void)
{
    pthread_t thread;
    int set;
    pthread_create(&thread, NULL, setter, NULL);
    while (!(set = flag) && strlen(tried) < 3)
        strcat(tried, "x");
    assert(set);
    pthread_join(thread, NULL);
    return 0;
}
