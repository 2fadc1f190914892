"""A second opinion on litmus tests: an interpreter of their steps that lists every interleaving, without the engine.

A thread goes on by itself through steps without a point (get, set), so a choice is made before each other step. With
`starts`, the first choice of a thread only starts it, as in the engine: that changes the number of interleavings, and
what is listed only where a thread begins with steps without a point.
"""

from functools import cache

SILENT = ("get", "set")


class Model:
    """threads: lists of (verb, name, operands...). A state is a tuple that can be a key of a dict."""

    def __init__(self, threads, setup=(), starts=False):
        self.threads = [[tuple(step) for step in thread] for thread in threads]
        steps = [step for thread in [*self.threads, list(setup)] for step in thread]
        self.variables = sorted({s[1] for s in steps if s[0] in ("load", "store", "add", "await", *SILENT)})
        self.registers = sorted({s[2] for s in steps if s[0] in ("load", "get")})
        self.places = {name: i for i, name in enumerate([*self.variables, *self.registers])}
        memory = [0] * len(self.places)
        for verb, name, value in setup:
            memory[self.places[name]] = value + (memory[self.places[name]] if verb == "add" else 0)
        state = (tuple([-1] * len(self.threads)), tuple(memory), ())
        if not starts:
            for task in range(len(self.threads)):
                state = self.step(state, task)[0]
        self.first = state

    def value(self, memory, operand):
        return memory[self.places[operand]] if isinstance(operand, str) else operand

    def enabled(self, state):
        pcs, memory, held = state
        for task, pc in enumerate(pcs):
            if pc == -1:
                yield task
            elif pc < len(self.threads[task]):
                verb, name, *rest = self.threads[task][pc]
                if verb == "lock" and name in dict(held):
                    continue
                if verb == "await" and memory[self.places[name]] != self.value(memory, rest[0]):
                    continue
                yield task

    def step(self, state, task):
        """The state after the next step of a task and the silent ones behind it, and the verdict if that ends all."""
        pcs, memory, held = state
        memory, held, pc = list(memory), dict(held), pcs[task]
        steps = self.threads[task]
        while True:
            if pc >= 0:
                verb, name, *rest = steps[pc]
                if verb == "lock":
                    assert name not in held
                    held[name] = task
                elif verb == "unlock":
                    if held.get(name) != task:
                        return None, "bad-unlock"
                    del held[name]
                elif verb in ("load", "get"):
                    memory[self.places[rest[0]]] = memory[self.places[name]]
                elif verb in ("store", "set"):
                    memory[self.places[name]] = self.value(memory, rest[0])
                elif verb == "add":
                    memory[self.places[name]] += self.value(memory, rest[0])
                else:
                    assert verb == "await"
            pc += 1
            if pc == len(steps) or steps[pc][0] not in SILENT:
                break
        after = (*pcs[:task], pc, *pcs[task + 1 :]), tuple(memory), tuple(sorted(held.items()))
        if any(True for _ in self.enabled(after)):
            return after, None
        return after, "ok" if all(p == len(t) for p, t in zip(after[0], self.threads, strict=True)) else "deadlock"

    def explore(self, is_bad=lambda final: False):
        """(number of interleavings, how many of them end badly, {(verdict, final values)}): all there are."""
        outcomes = set()

        @cache
        def below(state):
            total = bad = 0
            for task in self.enabled(state):
                after, verdict = self.step(state, task)
                if verdict is None:
                    more, worse = below(after)
                else:
                    final = tuple(zip(self.places, after[1], strict=True)) if verdict == "ok" else None
                    outcomes.add((verdict, final))
                    more, worse = 1, int(final is None or is_bad(dict(final)))
                total, bad = total + more, bad + worse
            return total, bad

        return *below(self.first), outcomes


def model_of(code, starts=False):
    """The model of one variant of a LitmusProgram."""
    threads = [[one.words for one in thread.instructions] for thread in code.threads]
    return Model(threads, [step.words for step in code.setup], starts)


def says(text, names):
    """Whether a condition holds; Python's own reading of it."""
    return bool(eval(text, {"__builtins__": {}}, {"true": True, "false": False, **names}))
