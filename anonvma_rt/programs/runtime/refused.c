/* What a program cannot have here: other processes, sockets, a signal that is sent or waited for, a real file descriptor to wait for.
   Whoever calls one of these is told so in a line that names it. */

#include "runtime.h"

#define REFUSE(name) __attribute__((weak)) long name(void) { rt_host->refuse(rt_host->x, #name); return -1; }

REFUSE(fork) REFUSE(vfork) REFUSE(execve) REFUSE(execv) REFUSE(execvp) REFUSE(execl) REFUSE(execlp) REFUSE(system)
REFUSE(popen) REFUSE(posix_spawn) REFUSE(posix_spawnp) REFUSE(waitpid) REFUSE(wait) REFUSE(pipe) REFUSE(pipe2)
REFUSE(socket) REFUSE(socketpair) REFUSE(accept) REFUSE(connect) REFUSE(listen) REFUSE(bind) REFUSE(select)
REFUSE(poll) REFUSE(ppoll) REFUSE(epoll_create) REFUSE(epoll_create1) REFUSE(epoll_wait) REFUSE(eventfd)
REFUSE(pthread_kill) REFUSE(kill) REFUSE(raise) REFUSE(sigwait) REFUSE(sigwaitinfo) REFUSE(sigsuspend)
REFUSE(pause) REFUSE(alarm) REFUSE(setitimer) REFUSE(timer_create) REFUSE(pthread_cancel) REFUSE(pthread_atfork)
REFUSE(sem_open) REFUSE(shm_open) REFUSE(shmget) REFUSE(semget) REFUSE(msgget) REFUSE(mq_open)
