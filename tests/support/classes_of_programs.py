"""Every class of interleavings of a program, by the search or by all of its schedules."""

from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.search.dpor import Dpor


def every_class(described, preemptions, most=1_000_000):
    """{class: how it ended} of a program, by the search or by every schedule there is; None where they are too many."""
    subject, search, endings, ran = described.bind({}).make_subject("program"), Dpor(preemptions), {}, 0
    kinds = subject.kinds()
    with Explorer(subject, search, carrier="fibers") as explorer:
        explorer.observing = True
        while not search.exhausted:
            if ran > most:
                return None
            # What a search gives up has a number, and no row in the totals of its block.
            block = explorer.run(ran, 1)
            ran += block.ran + block.pruned
            failed = {index - block.first: kinds[kind] for index, kind in block.failures}
            for i, one in enumerate(memoryview(block.classes).cast("Q")):
                assert endings.setdefault(one, failed.get(i)) == failed.get(i)
    return endings
