/* Included before every source in C++. Where std::atomic::wait looks again a few times before it sleeps, it must not say
   that it spins: it gives that up, and sleeps. */
#if __cplusplus >= 202002L
#include <cstddef>
#endif
#if __cplusplus >= 202002L && defined __GLIBCXX__ && defined _GLIBCXX_USE_SCHED_YIELD
#undef _GLIBCXX_USE_SCHED_YIELD
#if __has_include(<bits/atomic_wait.h>)
#include <bits/atomic_wait.h>
#endif
#define _GLIBCXX_USE_SCHED_YIELD 1
#endif
