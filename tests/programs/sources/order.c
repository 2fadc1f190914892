/* The race of 2011 without a kernel, as the litmus test `order`: P pages move from src to dst under both locks, and a
   walk takes one lock at a time. It must meet the place first that pages leave (-DPATCHED). */
#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#ifndef P
#define P 4
#endif

static pthread_mutex_t ptl_src = PTHREAD_MUTEX_INITIALIZER, ptl_dst = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t anon_vma = PTHREAD_MUTEX_INITIALIZER;
static int src[P], dst[P], seen[P];

static void *mover(void *unused)
{
    for (int i = 0; i < P; i++) {
        pthread_mutex_lock(&ptl_src);
        pthread_mutex_lock(&ptl_dst);
        src[i] = 0;
        dst[i] = 1;
        pthread_mutex_unlock(&ptl_dst);
        pthread_mutex_unlock(&ptl_src);
    }
    return unused;
}

static int look(pthread_mutex_t *lock, const int *page)
{
    pthread_mutex_lock(lock);
    int there = *page;
    pthread_mutex_unlock(lock);
    return there;
}

static void *walker(void *unused)
{
    for (int i = 0; i < P; i++) {
        pthread_mutex_lock(&anon_vma);
#ifdef PATCHED
        seen[i] = look(&ptl_src, &src[i]);
        seen[i] += look(&ptl_dst, &dst[i]);
#else
        seen[i] = look(&ptl_dst, &dst[i]);
        seen[i] += look(&ptl_src, &src[i]);
#endif
        pthread_mutex_unlock(&anon_vma);
    }
    return unused;
}

int main(void)
{
    pthread_t thread[2];
    for (int i = 0; i < P; i++)
        src[i] = 1;
    pthread_create(&thread[0], NULL, mover, NULL);
    pthread_create(&thread[1], NULL, walker, NULL);
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    for (int i = 0; i < P; i++)
        assert(seen[i]);
    return 0;
}
