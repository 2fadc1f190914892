"""The public Cython API: all that a subject, a strategy or a rule of somebody else's cimports, under one name.

What stands here keeps its name, its arguments and its meaning within one API_VERSION; whatever else the engine has may
change at any time. docs/embedding.md explains it. `require_api(__name__)`, below the cimports of a module, compares
what the module was built against with what is installed.
"""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.base.arena cimport Arena, arena_alloc, arena_free, arena_live, arena_root
from anonvma_rt.engine.calls.calls cimport NOTHING, call, returns
from anonvma_rt.engine.run.explorer cimport Explorer
from anonvma_rt.engine.base.klist cimport (
    INIT_LIST_HEAD, container_of, list_add, list_add_tail, list_cursor, list_del, list_del_init, list_empty,
    list_for_each, list_for_each_prev, list_for_each_safe, list_head, list_move, list_move_tail, list_step,
)
from anonvma_rt.engine.base.rng cimport rng_below, rng_below64
from anonvma_rt.engine.run.strategy cimport Strategy
from anonvma_rt.engine.strategy.base cimport count_enabled, is_enabled, next_enabled, nth_enabled, steps_of
from anonvma_rt.engine.run.subject cimport Subject
from anonvma_rt.engine.memory.rcu cimport (
    rcu_bytes, rcu_domain, rcu_init, rcu_read_lock, rcu_read_unlock, synchronize_rcu,
)
from anonvma_rt.engine.memory.words cimport (
    FENCE_FULL, FENCE_LOADS, FENCE_STORES, await_at_least, await_bits, await_less, await_no_bits, await_not,
    await_value, compare_exchange, exchange, fence, Fence, fetch_add, load, load_acquire, store, store_release, take,
)
from anonvma_rt.engine.run.sync cimport (
    declare_lock_order, down_read, down_write, downgrade_write, lock_init, lock_is_held, lock_wait, mutex_lock,
    mutex_t, mutex_trylock, mutex_unlock, rwsem_t, spin_hint, spin_lock, spin_lock_nested, spin_start, spin_trylock,
    spin_unlock, spin_unlock_nested, spinlock_t, try_down_read, up_read, up_write, yield_,
)
from anonvma_rt.engine.base.operation cimport MAX_TASKS, OP_ATOMIC, OP_LOAD, OP_STORE
from anonvma_rt.engine.run.task cimport (
    HALT_NO_MEMORY, MAX_COUNTERS, VIOLATION_SUBJECT, Execution, Task, found, free_object, halt, mark, must_live, note,
    point, violate,
)

cdef enum:
    API_VERSION = 2

cdef int check_api(str module, int version, uint64_t execution, uint64_t task) except -1


cdef inline int require_api(str module) except -1:
    """Raises ImportError if `module` was built against another API than the one that is installed.

    It is compiled into the module, so what it passes on are the version and the sizes of the time of the build.
    """
    return check_api(module, API_VERSION, sizeof(Execution), sizeof(Task))
