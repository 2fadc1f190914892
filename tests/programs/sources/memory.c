/* Mistakes with the heap, one for each CASE, and with RIGHT none. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#ifdef RIGHT
#define WRONG 0
#else
#define WRONG 1
#endif

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *text;

static void *use(void *unused)
{
    pthread_mutex_lock(&lock);
    if (text)
        text[0] = 'b';
    pthread_mutex_unlock(&lock);
    return unused;
}

int main(void)
{
    pthread_t thread;
    text = malloc(10);
    strcpy(text, "a");
    pthread_create(&thread, 0, use, 0);
#if CASE == 1 /* used after it was freed by another thread */
    pthread_mutex_lock(&lock);
    free(text);
    text = WRONG ? text : 0;
    pthread_mutex_unlock(&lock);
    pthread_join(thread, 0);
#else
    pthread_join(thread, 0);
#if CASE == 2 /* behind its end, in what is left of the last word */
    memset(text, 0, 10 + WRONG);
    free(text);
#elif CASE == 3 /* before its beginning */
    memset(text - WRONG, 0, 3);
    free(text);
#elif CASE == 4
    free(text);
    if (WRONG)
        free(text);
#elif CASE == 5
    free(text + WRONG);
#elif CASE == 6 /* its mutex is locked after it was freed */
    pthread_mutex_t *own = malloc(sizeof *own);
    pthread_mutex_init(own, 0);
    pthread_mutex_lock(own);
    pthread_mutex_unlock(own);
    free(own);
    if (WRONG)
        pthread_mutex_lock(own);
    free(text);
#elif CASE == 7 /* nobody has it any more */
    text = malloc(20);
    if (!WRONG)
        free(text);
#endif
#endif
    return 0;
}
