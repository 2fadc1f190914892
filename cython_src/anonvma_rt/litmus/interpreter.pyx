"""The steps of one thread of a program, or of its setup, one after the other: what each verb does."""

from libc.stdint cimport int64_t, uint64_t

from anonvma_rt.engine.base.arena cimport arena_root
from anonvma_rt.engine.base.operation cimport OP_LOAD, OP_STORE, TEST_EQUAL, TEST_UNEQUAL, lock_word
from anonvma_rt.engine.memory.rcu cimport rcu_domain, rcu_read_lock, rcu_read_unlock, synchronize_rcu
from anonvma_rt.engine.memory.words cimport (
    FENCE_FULL, FENCE_LOADS, FENCE_STORES, await_test, fence, load, load_acquire, peek, store, store_release, take,
)
from anonvma_rt.engine.run.sync cimport (
    down_read, down_write, downgrade_write, lock_is_held, lock_wait, mutex_lock, mutex_trylock, mutex_unlock,
    must_not_be_freed, spin_hint, spin_start, try_down_read, up_read, up_write,
)
from anonvma_rt.engine.run.task cimport (
    VIOLATION_LIVELOCK, Task, free_object, mark, must_live, note, point, recheck, violate,
)
from anonvma_rt.litmus.access cimport (
    VIOLATION_BAD_VALUE, VIOLATION_LOOP_BOUND, must_not_race, place_of, stand_at, update,
)
from anonvma_rt.litmus.assemble cimport (
    ADD, ADD_UNLESS, AWAIT, AWAIT_NOT, AWAIT_NO_BITS, BEYOND, CAS, DOMAIN, DOWNGRADE, EXCHANGE, FETCH_XOR, FREE, GET,
    IS_LOCKED, ITEM, JUMP, JUMP_IF, JUMP_UNLESS, LABEL, LET, LOAD, LOAD_ACQUIRE, LOCK, LOCK_WORD, MB, NEW, PLAIN_LOAD,
    PLAIN_STORE, POLL, RCU_READ_LOCK, RCU_READ_UNLOCK, READ_LOCK, READ_TRYLOCK, READ_UNLOCK, RMB, SET, SPIN, SPIN_HINT,
    SPIN_START, STORE, STORE_RELEASE, TAKE, TRYLOCK, UNLOCK, USE, WAIT, WMB, WORD, WRITE_LOCK, WRITE_UNLOCK,
)
from anonvma_rt.litmus.code cimport Code, Instruction, Operand
from anonvma_rt.litmus.expression cimport evaluate, wrapped
from anonvma_rt.litmus.world cimport begin_surgery, end_surgery, item, item_of, new_item, unlink, world

cdef enum:
    # Rounds of a loop in which no step is made, after which it is a livelock: nobody else could change that.
    MOST_SILENT_ROUNDS = 1 << 20


cdef inline int64_t value_of(world *w, Operand *operand) noexcept nogil:
    return operand.number if operand.reg < 0 else w.registers[operand.reg]


cdef inline int64_t on_word(Task *t, world *w, Code *code, Instruction *s) noexcept nogil:
    """Returns the value that it read or wrote, or whether it changed something."""
    cdef int place = s.object if s.object >= 0 else place_of(t, code, w.registers[s.pointer])
    cdef int64_t *word = <int64_t *>w.object[place]
    cdef int64_t a = value_of(w, &s.a)
    if s.verb == LOAD or s.verb == PLAIN_LOAD:
        return load(t, word)
    if s.verb == STORE or s.verb == PLAIN_STORE:
        a = wrapped(a, code.type[place])
        store(t, word, a)
    elif s.verb == GET:
        return peek(t, word)
    elif s.verb == SET:
        a = wrapped(a, code.type[place])
        if t.x.long_way and not t.x.parallel:
            store(t, word, a)
        else:
            word[0] = a
            if t.x.awaiting:
                recheck(t.x, word)
    elif s.verb == ADD:
        a = wrapped(<int64_t>(<uint64_t>update(t, word, code.type[place], s, a, 0) + <uint64_t>a), code.type[place])
    elif s.verb == CAS or s.verb == ADD_UNLESS:
        update(t, word, code.type[place], s, a, value_of(w, &s.b))
        return not t.missed
    elif s.verb == LOAD_ACQUIRE:
        return load_acquire(t, word)
    elif s.verb == STORE_RELEASE:
        a = wrapped(a, code.type[place])
        store_release(t, word, a)
    elif EXCHANGE <= s.verb <= FETCH_XOR:
        return update(t, word, code.type[place], s, a, value_of(w, &s.b))
    elif s.verb == AWAIT:
        await_test(t, word, TEST_EQUAL, a)
    elif AWAIT_NOT <= s.verb <= AWAIT_NO_BITS:
        await_test(t, word, TEST_UNEQUAL + s.verb - AWAIT_NOT, a)
    elif s.verb == TAKE:
        take(t, word, a)
    elif s.verb == SPIN:
        spin_start(t)
        while load(t, word) != a:
            spin_hint(t)
    elif s.verb == POLL:
        while load(t, word) != a:
            pass
    return a


cdef int64_t on_watched_word(Task *t, world *w, Code *code, Instruction *s) noexcept nogil:
    """The same where there are plain accesses."""
    cdef int place = s.object if s.object >= 0 else place_of(t, code, w.registers[s.pointer])
    cdef int64_t result
    stand_at(t, w, code, s)
    result = on_word(t, w, code, s)
    must_not_race(t, w, code, s, <int64_t *>w.object[place])
    stand_at(t, w, code, NULL)
    return result


cdef inline int64_t on_lock(Task *t, world *w, Instruction *s) noexcept nogil:
    """Returns whether a try took it."""
    cdef lock_word *lock = <lock_word *>w.object[s.object]
    if s.verb == LOCK:
        mutex_lock(t, lock)
    elif s.verb == UNLOCK:
        mutex_unlock(t, lock)
    elif s.verb == TRYLOCK:
        return mutex_trylock(t, lock)
    elif s.verb == READ_TRYLOCK:
        return try_down_read(t, lock)
    elif s.verb == READ_LOCK:
        down_read(t, lock)
    elif s.verb == READ_UNLOCK:
        up_read(t, lock)
    elif s.verb == WRITE_LOCK:
        down_write(t, lock)
    elif s.verb == WRITE_UNLOCK:
        up_write(t, lock)
    elif s.verb == DOWNGRADE:
        downgrade_write(t, lock)
    elif s.verb == WAIT:
        lock_wait(t, lock)
    elif s.verb == IS_LOCKED:
        point(t, OP_LOAD, lock)
        must_not_be_freed(t, lock)
        return lock_is_held(lock)
    return 0


cdef void on_item(Task *t, world *w, Code *code, Instruction *s) noexcept nogil:
    cdef void *o
    if s.verb == FREE:
        if code.kind[s.object] == ITEM:
            o = item_of(t, w, OP_STORE, s.object)
        else:
            o = w.object[s.object]
            point(t, OP_STORE, o)
            begin_surgery(t, w)
        must_live(t, o, code.kind[s.object])
        free_object(t, o)
    elif s.verb == NEW:
        item_of(t, w, OP_STORE, s.object)
        w.object[s.object] = new_item(t, w)
    elif s.verb == USE:
        o = item_of(t, w, OP_LOAD, s.object)
        must_live(t, o, ITEM)
    else:
        o = item_of(t, w, OP_STORE, s.object)
        must_live(t, o, ITEM)
        unlink(t, <item *>o)
    end_surgery(t, w)


cdef void in_domain(Task *t, world *w, Instruction *s) noexcept nogil:
    cdef rcu_domain *rcu = <rcu_domain *>w.object[s.object]
    if s.verb == RCU_READ_LOCK:
        rcu_read_lock(t, rcu)
    elif s.verb == RCU_READ_UNLOCK:
        rcu_read_unlock(t, rcu)
    else:
        synchronize_rcu(t, rcu)


cdef int64_t on_nothing(Task *t, world *w, Code *code, Instruction *s) noexcept nogil:
    """Returns what `let` computed, or whether a jump is made."""
    cdef bint bad = False
    cdef int64_t result = 0
    if s.verb == LET:
        result = evaluate(code.terms + s.at, <int>s.a.number, w.object, w.registers, &bad)
        if bad:
            violate(t, VIOLATION_BAD_VALUE, 0, 0, 0)
    elif s.verb == JUMP:
        return True
    elif s.verb == JUMP_IF:
        return value_of(w, &s.a) != 0
    elif s.verb == JUMP_UNLESS:
        return value_of(w, &s.a) == 0
    elif s.verb == MB:
        fence(t, FENCE_FULL)
    elif s.verb == RMB:
        fence(t, FENCE_LOADS)
    elif s.verb == WMB:
        fence(t, FENCE_STORES)
    elif s.verb == SPIN_START:
        spin_start(t)
    elif s.verb == SPIN_HINT:
        spin_hint(t)
    elif s.verb == BEYOND:
        violate(t, VIOLATION_LOOP_BOUND, 0, 0, 0)
    return result


cdef void run(Task *t, Code *code, int section) noexcept nogil:
    cdef world *w = <world *>arena_root(&t.x.arena)
    cdef Instruction *first = code.instruction + code.begin[section]
    cdef Instruction *s
    cdef int64_t result
    cdef uint64_t steps = 0
    cdef int silent = 0
    cdef int n = code.begin[section + 1] - code.begin[section]
    cdef int i = -1
    while i + 1 < n:
        i += 1
        s = first + i
        if s.verb == LABEL:
            continue
        if s.marked:
            mark(t)
        if s.kind == WORD:
            result = on_watched_word(t, w, code, s) if code.plain else on_word(t, w, code, s)
        elif s.kind == LOCK_WORD:
            result = on_lock(t, w, s)
        elif s.kind == ITEM:
            result = 0
            on_item(t, w, code, s)
        elif s.kind == DOMAIN:
            result = 0
            in_domain(t, w, s)
        else:
            result = on_nothing(t, w, code, s)
        if s.result >= 0:
            w.registers[s.result] = result
        note(t, i, result, 0, 0)
        if JUMP <= s.verb <= JUMP_UNLESS and result:
            # A loop has to come to a point, or nobody could ever stop it.
            if s.at <= i:
                silent = silent + 1 if t.x.steps == steps else 0
                steps = t.x.steps
                if silent == MOST_SILENT_ROUNDS:
                    violate(t, VIOLATION_LIVELOCK, <int64_t>steps, 0, 0)
            i = s.at
