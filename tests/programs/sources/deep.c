#include <pthread.h>
static int deep(int n) { volatile char big[4096]; big[0] = n; return deep(n + 1) + big[0]; }
static void *run(void *p) { deep(0); return p; }
int main(void) { pthread_t t; pthread_create(&t, 0, run, 0); pthread_join(t, 0); return 0; }
