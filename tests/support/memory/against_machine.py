"""A program in the lab beside the abstract machine of its model: the states that its executions end with, and how many
classes of them there are."""

from machine import final_states, traces

from anonvma_rt.engine.base.bell import cores
from anonvma_rt.engine.memory.buffers import Buffers
from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.search.dpor import Dpor
from anonvma_rt.litmus.program import Program

CPU = cores(1)[0]
MOST = 100_000


def explored(threads, model):
    """(the values that are not 0, for each end; how many executions; how many classes) of the search."""
    program, ended, classes, ran, counted = Program(threads), set(), set(), 0, 0
    memory = None if model == "sc" else Buffers(model)
    with Explorer(program, Dpor(), cpu=CPU, carrier="fibers", memory=memory) as explorer:
        explorer.observing = True
        while not explorer.strategy.exhausted:
            block = explorer.run(ran, 1)
            assert block.halt is None or explorer.strategy.exhausted, block.halt
            ran += block.ran + block.pruned
            assert ran < MOST, "too many executions"
            counted += block.ran
            classes.update(memoryview(block.classes).cast("Q"))
            if block.ran:
                ended.add(frozenset((name, value) for name, value in program.values(explorer).items() if value))
    return ended, counted, len(classes)


def difference(threads, model):
    """What the lab and the machine of the model say differently about a program, in words; "" where they agree."""
    ended, executions, classes = explored(threads, model)
    # How many loads a grace period makes, and so how many classes there are, is no matter of the model.
    grace = any(step[0] == "synchronize_rcu" for thread in threads for step in thread)
    states, wanted = final_states(threads, model), classes if grace else len(traces(threads, model, missed_writes=True))
    wrong = []
    if ended != states:
        wrong.append(f"ends that are missing: {told(states - ended)}; that cannot be: {told(ended - states)}")
    if classes != wanted:
        wrong.append(f"{classes} classes, not {wanted}")
    if executions != classes:
        wrong.append(f"{executions} executions of {classes} classes")
    return "; ".join(wrong)


def told(states):
    return sorted(sorted(state) for state in states)
