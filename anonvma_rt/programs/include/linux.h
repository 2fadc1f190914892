/* Kernel code as it stands: what a function pasted from a kernel file needs to compile and to run under the lab.

   The interfaces are those that the kernel documents; every line is our own. `#include <linux.h>` has all of it, and so has
   each of <linux/list.h>, <linux/spinlock.h>, <linux/rcupdate.h>, ... There are no interrupts, no signals and no scheduling
   classes: a task is a thread, _irq and _bh variants are the plain ones, and memory is sequentially consistent. main() is
   yours. What differs from a kernel is said in docs/native.md. */

#ifndef ANONVMA_RT_LINUX
#define ANONVMA_RT_LINUX

#pragma GCC system_header

#ifdef __cplusplus
#error "linux.h is for C, as the kernel is"
#endif

#include "linux_lab/base.h"
#include "linux_lab/atomic.h"
#include "linux_lab/list.h"
#include "linux_lab/locks.h"
#include "linux_lab/tasks.h"
#include "linux_lab/wait.h"
#include "linux_lab/rcu.h"
#include "linux_lab/slab.h"

#endif
