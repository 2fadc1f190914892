/* exit() while others run. LATE: what one of them may do before it. */
#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int n;

static void add(void)
{
    pthread_mutex_lock(&lock);
    n++;
#ifdef LATE
    assert(n < 3);
#endif
    pthread_mutex_unlock(&lock);
}

static void *run(void *unused) { add(); return unused; }

int main(void)
{
    pthread_t one, other;
    pthread_create(&one, 0, run, 0);
    pthread_create(&other, 0, run, 0);
    add();
    exit(0);
}
