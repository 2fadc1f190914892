/* A program that is no kernel code gets here through the C library, and has the system's own file. */
#if __INCLUDE_LEVEL__ == 1 || defined(ANONVMA_RT_LINUX)
#include "../linux.h"
#else
#include_next <linux/module.h>
#endif
