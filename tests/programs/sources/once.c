/* Two threads ask for the same beginning, and count what they see before and behind it. */
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static atomic_int begun;

static void begin(void) { atomic_fetch_add(&begun, 1); }

static void *ask(void *unused)
{
    pthread_once(&once, begin);
    atomic_load(&begun);
    return unused;
}

int main(void)
{
    pthread_t a, b;
    pthread_create(&a, NULL, ask, NULL);
    pthread_create(&b, NULL, ask, NULL);
    pthread_join(a, NULL);
    pthread_join(b, NULL);
    return 0;
}
