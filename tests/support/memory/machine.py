"""Small programs on the abstract machines of SC, TSO and PSO, by exploring every state: it knows nothing of the engine.

Sources: Sewell, Sarkar, Owens, Zappa Nardelli, Myreen, "x86-TSO" (CACM 2010), for the machine with one store buffer for
each thread; "The SPARC Architecture Manual, Version 9" (1994), appendix D, for PSO; Shasha, Snir, "Efficient and
Correct Execution of Parallel Programs that Share Memory" (TOPLAS 1988), for what a trace is.

A thread's buffer is one list, oldest first. Under TSO its head alone can be flushed. Under PSO any store can that has
no older one to its variable and no fence of stores before it; a store that releases only at the head of the list.

Locks are variables that locked operations change. A section of RCU begins visibly at once and ends by a release; a
grace period looks, at one moment, which are under way, and waits for those.
"""

import operator
import sys

FENCES = ("mb", "rmb", "wmb")
# What a locked operation writes for the value that it finds and its operands; None: it writes nothing.
WRITES = {
    "exchange": lambda found, new: new,
    "add": lambda found, by: found + by,
    "fetch_add": lambda found, by: found + by,
    "fetch_and": lambda found, mask: found & mask,
    "fetch_or": lambda found, bits: found | bits,
    "fetch_xor": lambda found, bits: found ^ bits,
    "add_unless": lambda found, by, unless: None if found == unless else found + by,
    "cas": lambda found, old, new: new if found == old else None,
    "compare_exchange": lambda found, old, new: new if found == old else None,
    "lock": lambda found: 1,
    "trylock": lambda found: None if found else 1,
    "unlock": lambda found: 0,
}
LOCKS = ("lock", "trylock", "unlock")
# What is no step of its own: it comes together with the step before it.
LOCAL = ("label", "jump", "jump_if", "jump_unless", "let")
COMPUTES = {"+": operator.add, "^": operator.xor, "==": operator.eq, "!=": operator.ne, "<": operator.lt}
# The register that holds what a grace period waits for, while it waits.
GRACE = ":grace"
LOADS, STORES = ("load", "load_acquire", "await"), ("store", "store_release")
# The entry of a buffer that keeps stores before it and after it apart.
FENCE = (None, None, None, False)
DEEP = 10_000


class Machine:
    """A program under a model. A state is ((position, registers, buffer) of each thread, (value, write) of each
    variable); the write is the place of the step that made it, or None where `named` is not wanted. missed_writes: a
    locked operation that changes nothing writes what it found."""

    def __init__(self, threads, model, named=False, missed_writes=False):
        assert model in ("sc", "tso", "pso")
        self.model, self.named, self.threads, self.missed_writes = model, named, threads, missed_writes
        steps = [step for thread in threads for step in thread]
        named = {step[1] for step in steps if len(step) > 1 and step[0] not in LOCAL}
        self.locks = {step[1] for step in steps if step[0] in LOCKS}
        self.variables = sorted(named - self.locks)
        # By thread: how many sections it has begun, and how many of them are seen to have ended.
        hidden = [f":{what}{i}" for what in ("begun", "ended") for i in range(len(threads))]
        self.place = {name: i for i, name in enumerate((*self.variables, *sorted(self.locks), *hidden))}
        self.registers = [
            sorted({step[1] if step[0] == "let" else step[-1] for step in thread if gives(step)} | {GRACE})
            for thread in threads
        ]
        sys.setrecursionlimit(DEEP)

    def first(self):
        threads = ((*self.settled(i, 0, (0,) * len(names)), ()) for i, names in enumerate(self.registers))
        return tuple(threads), ((0, None),) * len(self.place)

    def settled(self, number, at, registers):
        """Where a thread stands after all that is no step."""
        steps, names = self.threads[number], self.registers[number]
        while at < len(steps) and steps[at][0] in LOCAL:
            verb, *words = steps[at]
            at += 1
            if verb == "let":
                stack = []
                for word in words[1:]:
                    if word in COMPUTES:
                        second, first = stack.pop(), stack.pop()
                        word = int(COMPUTES[word](first, second))
                    stack.append(self.value(number, registers, word))
                registers = replaced(registers, names.index(words[0]), stack.pop())
            elif verb == "jump" or (
                verb != "label" and bool(self.value(number, registers, words[0])) == (verb == "jump_if")
            ):
                at = steps.index(("label", words[-1]))
        return at, registers

    def value(self, number, registers, word):
        return registers[self.registers[number].index(word)] if isinstance(word, str) else word

    def moves(self, state):
        """(what is read, what is written, the next state) for each thing that can happen: (thread, write) and
        (variable, write), or None."""
        threads, memory = state
        for number, (at, registers, buffer) in enumerate(threads):
            for i in self.flushable(buffer):
                variable, value, write, _ = buffer[i]
                rest = without_fences(buffer[:i] + buffer[i + 1 :])
                after = replaced(threads, number, (at, registers, rest))
                yield None, (variable, write), (after, replaced(memory, variable, (value, write)))
            if at < len(self.threads[number]):
                for read, written, (threads_then, memory_then) in self.steps(state, number, self.threads[number][at]):
                    then, registers, buffer = threads_then[number]
                    then = (*self.settled(number, then, registers), buffer)
                    yield read, written, (replaced(threads_then, number, then), memory_then)

    def flushable(self, buffer):
        if self.model == "tso":
            return range(min(1, len(buffer)))
        found, seen = [], set()
        for i, (variable, _, _, last) in enumerate(buffer):
            if variable is None:
                break
            if variable not in seen and not (last and i):
                found.append(i)
            seen.add(variable)
        return found

    def steps(self, state, number, step):
        """What the next step of a thread does: nothing where it has to wait."""
        threads, memory = state
        at, registers, buffer = threads[number]
        verb, *operands = step
        if verb in FENCES:
            if verb == "wmb" and self.model == "pso" and buffer:
                buffer = (*buffer, FENCE)
            if verb != "mb" or not buffer:
                yield None, None, (replaced(threads, number, (at + 1, registers, buffer)), memory)
            return
        if verb in ("rcu_read_lock", "rcu_read_unlock", "synchronize_rcu"):
            yield from self.sections(state, number, verb)
            return
        variable = self.place[operands[0]]
        names = self.registers[number]
        values = [self.value(number, registers, v) for v in operands[1 : -1 if gives(step) else None]]
        write = (number, at) if self.named else None
        if verb in STORES and self.model != "sc":
            entry = (variable, values[0], write, verb == "store_release" and self.model == "pso")
            yield None, None, (replaced(threads, number, (at + 1, registers, (*buffer, entry))), memory)
        elif verb in STORES:
            after = replaced(threads, number, (at + 1, registers, buffer))
            yield None, (variable, write), (after, replaced(memory, variable, (values[0], write)))
        elif verb in LOADS:
            own = [entry[1:3] for entry in buffer if entry[0] == variable]
            value, source = own[-1] if own else memory[variable]
            if verb == "await" and value != values[0]:
                return
            if gives(step):
                registers = replaced(registers, names.index(operands[-1]), value)
            yield (number, source), None, (replaced(threads, number, (at + 1, registers, buffer)), memory)
        elif not buffer:
            found, source = memory[variable]
            if verb == "lock" and found:
                return
            new = WRITES[verb](found, *values)
            if gives(step):
                told = int(new is not None) if verb in ("cas", "trylock", "add_unless") else found
                registers = replaced(registers, names.index(operands[-1]), told)
            after = replaced(threads, number, (at + 1, registers, buffer))
            if new is None and (verb == "trylock" or not self.missed_writes):
                yield (number, source), None, (after, memory)
            else:
                yield (
                    (number, source),
                    (variable, write),
                    (after, replaced(memory, variable, (found if new is None else new, write))),
                )

    def sections(self, state, number, verb):
        threads, memory = state
        at, registers, buffer = threads[number]
        begun, ended = self.place[f":begun{number}"], self.place[f":ended{number}"]
        count = memory[begun][0]
        if verb == "rcu_read_lock":
            after = replaced(threads, number, (at + 1, registers, buffer))
            yield None, None, (after, replaced(memory, begun, (count + 1, None)))
        elif verb == "rcu_read_unlock" and self.model != "sc":
            entry = (ended, count, None, self.model == "pso")
            yield None, None, (replaced(threads, number, (at + 1, registers, (*buffer, entry))), memory)
        elif verb == "rcu_read_unlock":
            after = replaced(threads, number, (at + 1, registers, buffer))
            yield None, None, (after, replaced(memory, ended, (count, None)))
        elif not buffer:
            grace = self.registers[number].index(GRACE)
            under_way = registers[grace]
            if not under_way:
                under_way = tuple(memory[self.place[f":begun{i}"]][0] for i in range(len(threads)))
                yield None, None, (replaced(threads, number, (at, replaced(registers, grace, under_way), ())), memory)
            elif all(memory[self.place[f":ended{i}"]][0] >= count for i, count in enumerate(under_way)):
                yield None, None, (replaced(threads, number, (at + 1, replaced(registers, grace, 0), ())), memory)

    def values(self, state):
        """What of registers ("0:r") and variables is not 0."""
        threads, memory = state
        named = zip(self.variables, (value for value, _ in memory), strict=False)
        own = [
            (f"{i}:{r}", v)
            for i, thread in enumerate(threads)
            for r, v in zip(self.registers[i], thread[1], strict=True)
            if r != GRACE
        ]
        return frozenset((name, value) for name, value in (*named, *own) if value)


def gives(step):
    return step[0] in ("load", "load_acquire", "let", *WRITES) and step[0] not in ("add", "lock", "unlock")


def replaced(whole, i, part):
    return (*whole[:i], part, *whole[i + 1 :])


def without_fences(buffer):
    """No fence is at the head: what was before it is visible."""
    while buffer and buffer[0] == FENCE:
        buffer = buffer[1:]
    return buffer


def final_states(threads, model):
    """The values that executions end with, those of a deadlock too."""
    machine = Machine(threads, model)
    left, seen, found = [machine.first()], set(), set()
    while left:
        state = left.pop()
        after = [move[-1] for move in machine.moves(state)]
        left += [one for one in after if one not in seen]
        seen.update(after)
        if not after:
            found.add(machine.values(state))
    return found


def traces(threads, model, missed_writes=False):
    """The Shasha-Snir traces: for each thread the writes that its reads saw, for each variable its writes in order."""
    machine = Machine(threads, model, True, missed_writes)
    tasks, memo = len(threads), {}

    def endings(state):
        if state not in memo:
            found = set()
            for read, written, after in machine.moves(state):
                events = [(read[0], read[1])] if read else []
                events += [(tasks + written[0], written[1])] if written else []
                for ending in endings(after):
                    for slot, write in events:
                        ending = replaced(ending, slot, (write, *ending[slot]))
                    found.add(ending)
            memo[state] = found or {((),) * (tasks + len(machine.place))}
        return memo[state]

    return endings(machine.first())
