/* The threads of C11. Without -DRIGHT one waits without looking. */
#include <assert.h>
#include <threads.h>

static mtx_t lock;
static cnd_t some;
static once_flag once = ONCE_FLAG_INIT;
static tss_t own;
static int items, made;

static void make(void) { made++; }

static int run(void *argument)
{
    call_once(&once, make);
    tss_set(own, argument);
    mtx_lock(&lock);
    items++;
    cnd_signal(&some);
    mtx_unlock(&lock);
    return tss_get(own) == argument ? 7 : 0;
}

int main(void)
{
    thrd_t thread;
    int result;
    mtx_init(&lock, mtx_plain);
    cnd_init(&some);
    tss_create(&own, 0);
    thrd_create(&thread, run, &lock);
    call_once(&once, make);
    mtx_lock(&lock);
#ifdef RIGHT
    while (!items)
#endif
        cnd_wait(&some, &lock);
    mtx_unlock(&lock);
    thrd_join(thread, &result);
    assert(made == 1 && result == 7);
    return 0;
}
