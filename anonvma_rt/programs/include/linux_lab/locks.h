/* Spinlocks, read-write locks, mutexes, rw_semaphores, semaphores, seqcounts and seqlocks: the lab's own locks.

   Whoever sleeps under a spinlock or in an RCU read section is told so, as the kernel's might_sleep() does. A seqcount's
   reader that meets a writer waits until it has written. */

#ifndef ANONVMA_RT_LINUX_LOCKS
#define ANONVMA_RT_LINUX_LOCKS

#pragma GCC system_header

#include <semaphore.h>

#include "atomic.h"

/* Of each task: how many spinlocks and RCU read sections it is in. */
LAB_DATA int64_t lab_atomic_depth[RT_MOST_TASKS];
LAB_CODE void lab_enter_atomic(void) { lab_atomic_depth[lab_task()]++; }
LAB_CODE void lab_leave_atomic(void) { lab_atomic_depth[lab_task()]--; }
LAB_CODE int lab_in_atomic(void) { return lab_atomic_depth[lab_task()] > 0; }

#define in_atomic() lab_in_atomic()
#define might_sleep() ((void)LAB_FAIL_IF(lab_in_atomic(), "sleeps with a spinlock held or in an RCU read section"))
#define might_sleep_if(c) do { if (c) might_sleep(); } while (0)
#define preempt_disable() lab_enter_atomic()
#define preempt_enable() lab_leave_atomic()
#define local_irq_disable() barrier()
#define local_irq_enable() barrier()
#define local_irq_save(flags) ((void)((flags) = 0))
#define local_irq_restore(flags) ((void)(flags))
#define local_bh_disable() barrier()
#define local_bh_enable() barrier()
#define irqs_disabled() 0

/* Of any lock below: whether this task has it, and whether somebody has. Each begins with the lab's lock. */
LAB_CODE int lab_holds(const void *lock)
{ return ((const rt_lock *)lock)->owner == lab_task() + 1 || ((const rt_lock *)lock)->readers > 0; }
LAB_CODE int lab_is_held(const void *lock)
{
    lab_point(RT_ATOMIC, (void *)lock);
    return ((const rt_lock *)lock)->owner || ((const rt_lock *)lock)->readers;
}
#define lockdep_assert_held(lock) ((void)LAB_FAIL_IF(!lab_holds(lock), "lockdep_assert_held(" #lock ")"))
#define lockdep_assert_held_write(lock) lockdep_assert_held(lock)
#define lockdep_assert_held_read(lock) lockdep_assert_held(lock)
#define lockdep_is_held(lock) lab_holds(lock)
#define lockdep_set_class(lock, key) ((void)0)

/* ---- spinlocks -------------------------------------------------------------------------------------------------------- */

typedef struct spinlock { pthread_spinlock_t _raw; } spinlock_t;
typedef spinlock_t raw_spinlock_t;
#define __SPIN_LOCK_UNLOCKED(name) { 0 }
#define DEFINE_SPINLOCK(name) spinlock_t name = __SPIN_LOCK_UNLOCKED(name)
#define DEFINE_RAW_SPINLOCK(name) DEFINE_SPINLOCK(name)

LAB_USUAL void spin_lock_init(spinlock_t *lock) { pthread_spin_init(&lock->_raw, PTHREAD_PROCESS_PRIVATE); }
LAB_USUAL void spin_lock(spinlock_t *lock)
{
    lab_enter_atomic();
    pthread_spin_lock(&lock->_raw);
}
LAB_USUAL void spin_unlock(spinlock_t *lock)
{
    pthread_spin_unlock(&lock->_raw);
    lab_leave_atomic();
}
LAB_USUAL int spin_trylock(spinlock_t *lock)
{
    if (pthread_spin_trylock(&lock->_raw))
        return 0;
    lab_enter_atomic();
    return 1;
}
LAB_USUAL int spin_is_locked(spinlock_t *lock) { return lab_is_held(lock); }

#define SINGLE_DEPTH_NESTING 1
#define spin_lock_nested(lock, class) spin_lock(lock)
#define spin_lock_nest_lock(lock, other) spin_lock(lock)
#define spin_lock_irq(lock) spin_lock(lock)
#define spin_lock_bh(lock) spin_lock(lock)
#define spin_lock_irqsave(lock, flags) do { (flags) = 0; spin_lock(lock); } while (0)
#define spin_lock_irqsave_nested(lock, flags, class) spin_lock_irqsave(lock, flags)
#define spin_trylock_irqsave(lock, flags) ((flags) = 0, spin_trylock(lock))
#define spin_trylock_irq(lock) spin_trylock(lock)
#define spin_trylock_bh(lock) spin_trylock(lock)
#define spin_unlock_irq(lock) spin_unlock(lock)
#define spin_unlock_bh(lock) spin_unlock(lock)
#define spin_unlock_irqrestore(lock, flags) do { (void)(flags); spin_unlock(lock); } while (0)
#define assert_spin_locked(lock) lockdep_assert_held(lock)
#define raw_spin_lock_init(lock) spin_lock_init(lock)
#define raw_spin_lock(lock) spin_lock(lock)
#define raw_spin_unlock(lock) spin_unlock(lock)
#define raw_spin_trylock(lock) spin_trylock(lock)
#define raw_spin_lock_irq(lock) spin_lock(lock)
#define raw_spin_unlock_irq(lock) spin_unlock(lock)
#define raw_spin_lock_irqsave(lock, flags) spin_lock_irqsave(lock, flags)
#define raw_spin_unlock_irqrestore(lock, flags) spin_unlock_irqrestore(lock, flags)

LAB_USUAL bool atomic_dec_and_lock(atomic_t *v, spinlock_t *lock)
{
    if (atomic_add_unless(v, -1, 1))
        return false;
    spin_lock(lock);
    if (atomic_dec_and_test(v))
        return true;
    spin_unlock(lock);
    return false;
}
LAB_USUAL bool refcount_dec_and_lock(refcount_t *r, spinlock_t *lock) { return atomic_dec_and_lock(&r->refs, lock); }

/* ---- read-write spinlocks, and what sleeps ---------------------------------------------------------------------------- */

/* What POSIX threads answer to a task that holds the lock for writing already is a deadlock here. */
#define LAB_TAKE(call, name) ((void)LAB_FAIL_IF(call, name " by a task that holds the lock already: a deadlock"))

typedef struct { pthread_rwlock_t _raw; } rwlock_t;
#define __RW_LOCK_UNLOCKED(name) { PTHREAD_RWLOCK_INITIALIZER }
#define DEFINE_RWLOCK(name) rwlock_t name = __RW_LOCK_UNLOCKED(name)
LAB_USUAL void rwlock_init(rwlock_t *lock) { pthread_rwlock_init(&lock->_raw, NULL); }
LAB_USUAL void read_lock(rwlock_t *lock) { lab_enter_atomic(); LAB_TAKE(pthread_rwlock_rdlock(&lock->_raw), "read_lock()"); }
LAB_USUAL void write_lock(rwlock_t *lock) { lab_enter_atomic(); LAB_TAKE(pthread_rwlock_wrlock(&lock->_raw), "write_lock()"); }
LAB_USUAL void read_unlock(rwlock_t *lock) { pthread_rwlock_unlock(&lock->_raw); lab_leave_atomic(); }
LAB_USUAL void write_unlock(rwlock_t *lock) { pthread_rwlock_unlock(&lock->_raw); lab_leave_atomic(); }
LAB_USUAL int read_trylock(rwlock_t *lock)
{
    if (pthread_rwlock_tryrdlock(&lock->_raw))
        return 0;
    lab_enter_atomic();
    return 1;
}
LAB_USUAL int write_trylock(rwlock_t *lock)
{
    if (pthread_rwlock_trywrlock(&lock->_raw))
        return 0;
    lab_enter_atomic();
    return 1;
}
#define read_lock_irq(lock) read_lock(lock)
#define read_lock_bh(lock) read_lock(lock)
#define read_lock_irqsave(lock, flags) do { (flags) = 0; read_lock(lock); } while (0)
#define read_unlock_irq(lock) read_unlock(lock)
#define read_unlock_bh(lock) read_unlock(lock)
#define read_unlock_irqrestore(lock, flags) do { (void)(flags); read_unlock(lock); } while (0)
#define write_lock_irq(lock) write_lock(lock)
#define write_lock_bh(lock) write_lock(lock)
#define write_lock_irqsave(lock, flags) do { (flags) = 0; write_lock(lock); } while (0)
#define write_unlock_irq(lock) write_unlock(lock)
#define write_unlock_bh(lock) write_unlock(lock)
#define write_unlock_irqrestore(lock, flags) do { (void)(flags); write_unlock(lock); } while (0)

struct mutex { pthread_mutex_t _raw; };
#define __MUTEX_INITIALIZER(name) { PTHREAD_MUTEX_INITIALIZER }
#define DEFINE_MUTEX(name) struct mutex name = __MUTEX_INITIALIZER(name)
LAB_USUAL void mutex_init(struct mutex *lock) { pthread_mutex_init(&lock->_raw, NULL); }
LAB_USUAL void mutex_destroy(struct mutex *lock) { pthread_mutex_destroy(&lock->_raw); }
LAB_USUAL void mutex_lock(struct mutex *lock) { might_sleep(); pthread_mutex_lock(&lock->_raw); }
LAB_USUAL int mutex_lock_interruptible(struct mutex *lock) { mutex_lock(lock); return 0; }
LAB_USUAL int mutex_lock_killable(struct mutex *lock) { mutex_lock(lock); return 0; }
LAB_USUAL int mutex_trylock(struct mutex *lock) { return !pthread_mutex_trylock(&lock->_raw); }
LAB_USUAL void mutex_unlock(struct mutex *lock) { pthread_mutex_unlock(&lock->_raw); }
LAB_USUAL bool mutex_is_locked(struct mutex *lock) { return lab_is_held(lock); }
#define mutex_lock_nested(lock, class) mutex_lock(lock)
LAB_USUAL bool refcount_dec_and_mutex_lock(refcount_t *r, struct mutex *lock)
{
    if (atomic_add_unless(&r->refs, -1, 1))
        return false;
    mutex_lock(lock);
    if (refcount_dec_and_test(r))
        return true;
    mutex_unlock(lock);
    return false;
}

struct rw_semaphore { pthread_rwlock_t _raw; };
#define __RWSEM_INITIALIZER(name) { PTHREAD_RWLOCK_INITIALIZER }
#define DECLARE_RWSEM(name) struct rw_semaphore name = __RWSEM_INITIALIZER(name)
LAB_USUAL void init_rwsem(struct rw_semaphore *sem) { pthread_rwlock_init(&sem->_raw, NULL); }
LAB_USUAL void down_read(struct rw_semaphore *sem) { might_sleep(); LAB_TAKE(pthread_rwlock_rdlock(&sem->_raw), "down_read()"); }
LAB_USUAL void down_write(struct rw_semaphore *sem) { might_sleep(); LAB_TAKE(pthread_rwlock_wrlock(&sem->_raw), "down_write()"); }
LAB_USUAL int down_read_killable(struct rw_semaphore *sem) { down_read(sem); return 0; }
LAB_USUAL int down_write_killable(struct rw_semaphore *sem) { down_write(sem); return 0; }
LAB_USUAL int down_read_trylock(struct rw_semaphore *sem) { return !pthread_rwlock_tryrdlock(&sem->_raw); }
LAB_USUAL int down_write_trylock(struct rw_semaphore *sem) { return !pthread_rwlock_trywrlock(&sem->_raw); }
LAB_USUAL void up_read(struct rw_semaphore *sem) { pthread_rwlock_unlock(&sem->_raw); }
LAB_USUAL void up_write(struct rw_semaphore *sem) { pthread_rwlock_unlock(&sem->_raw); }
LAB_USUAL int rwsem_is_locked(struct rw_semaphore *sem) { return lab_is_held(sem); }
#define down_write_nested(sem, class) down_write(sem)
#define down_read_nested(sem, class) down_read(sem)

struct semaphore { sem_t _raw; };
LAB_USUAL void sema_init(struct semaphore *sem, int n) { sem_init(&sem->_raw, 0, (unsigned)n); }
LAB_USUAL void down(struct semaphore *sem) { might_sleep(); sem_wait(&sem->_raw); }
LAB_USUAL int down_interruptible(struct semaphore *sem) { down(sem); return 0; }
/* 0: it was taken. */
LAB_USUAL int down_trylock(struct semaphore *sem) { return sem_trywait(&sem->_raw) != 0; }
LAB_USUAL void up(struct semaphore *sem) { sem_post(&sem->_raw); }

/* ---- seqcounts and seqlocks ------------------------------------------------------------------------------------------- */

typedef struct seqcount { unsigned sequence; } seqcount_t;
typedef seqcount_t seqcount_spinlock_t, seqcount_mutex_t, seqcount_rwlock_t;
#define SEQCNT_ZERO(name) { 0 }
#define SEQCNT_SPINLOCK_ZERO(name, lock) { 0 }
#define seqcount_init(s) ((void)((s)->sequence = 0))
#define seqcount_spinlock_init(s, lock) seqcount_init(s)
#define seqcount_mutex_init(s, lock) seqcount_init(s)

LAB_USUAL unsigned raw_read_seqcount(const seqcount_t *s) { return __atomic_load_n(&s->sequence, __ATOMIC_ACQUIRE); }
LAB_USUAL unsigned read_seqcount_begin(const seqcount_t *s)
{
    unsigned n;
    while ((n = raw_read_seqcount(s)) & 1)
        cpu_relax();
    return n;
}
LAB_USUAL int read_seqcount_retry(const seqcount_t *s, unsigned start)
{
    smp_rmb();
    return __atomic_load_n(&s->sequence, __ATOMIC_RELAXED) != start;
}
/* Only who writes changes it, so it may look at it without more. */
LAB_USUAL void write_seqcount_begin(seqcount_t *s)
{
    __atomic_store_n(&s->sequence, s->sequence + 1, __ATOMIC_RELAXED);
    smp_wmb();
}
LAB_USUAL void write_seqcount_end(seqcount_t *s) { __atomic_store_n(&s->sequence, s->sequence + 1, __ATOMIC_RELEASE); }
LAB_USUAL void write_seqcount_invalidate(seqcount_t *s) { __atomic_store_n(&s->sequence, s->sequence + 2, __ATOMIC_RELEASE); }
#define raw_read_seqcount_begin(s) read_seqcount_begin(s)
#define __read_seqcount_begin(s) read_seqcount_begin(s)
#define __read_seqcount_retry(s, start) read_seqcount_retry(s, start)
#define raw_write_seqcount_begin(s) write_seqcount_begin(s)
#define raw_write_seqcount_end(s) write_seqcount_end(s)

typedef struct { seqcount_t seqcount; spinlock_t lock; } seqlock_t;
#define __SEQLOCK_UNLOCKED(name) { { 0 }, { 0 } }
#define DEFINE_SEQLOCK(name) seqlock_t name = __SEQLOCK_UNLOCKED(name)
LAB_USUAL void seqlock_init(seqlock_t *s) { seqcount_init(&s->seqcount); spin_lock_init(&s->lock); }
LAB_USUAL unsigned read_seqbegin(const seqlock_t *s) { return read_seqcount_begin(&s->seqcount); }
LAB_USUAL unsigned read_seqretry(const seqlock_t *s, unsigned start) { return (unsigned)read_seqcount_retry(&s->seqcount, start); }
LAB_USUAL void write_seqlock(seqlock_t *s) { spin_lock(&s->lock); write_seqcount_begin(&s->seqcount); }
LAB_USUAL void write_sequnlock(seqlock_t *s) { write_seqcount_end(&s->seqcount); spin_unlock(&s->lock); }
LAB_USUAL void read_seqlock_excl(seqlock_t *s) { spin_lock(&s->lock); }
LAB_USUAL void read_sequnlock_excl(seqlock_t *s) { spin_unlock(&s->lock); }
#define write_seqlock_irq(s) write_seqlock(s)
#define write_seqlock_bh(s) write_seqlock(s)
#define write_seqlock_irqsave(s, flags) do { (flags) = 0; write_seqlock(s); } while (0)
#define write_sequnlock_irq(s) write_sequnlock(s)
#define write_sequnlock_bh(s) write_sequnlock(s)
#define write_sequnlock_irqrestore(s, flags) do { (void)(flags); write_sequnlock(s); } while (0)

#endif
