"""What runs inside a sanitizer's build: `python -m anonvma_rt.stress.sanitize.work PART [--full]`.

Nothing here may be reported. A part says at its end what it did, so that a build that silently did nothing is noticed.
"""

import argparse
import sys
import tempfile
from itertools import cycle

from anonvma_rt import Machine, Reproducer, hunt, replay, verify
from anonvma_rt.engine.parallel.storm import Storm
from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.strategy.random import Random
from anonvma_rt.lab.load import load, names_of_all
from anonvma_rt.lab.strategies import STRATEGIES
from anonvma_rt.litmus.litmus import Litmus
from anonvma_rt.mm.lab.world import World
from anonvma_rt.storming.storm import storm

PAGE = 4096


def hunts(runs: int) -> int:
    """Every scenario and litmus test under all that it names, with one strategy and carrier after the other."""
    executions = 0
    strategies, carriers = cycle(STRATEGIES), cycle(["threads", "fibers"])
    for name in names_of_all():
        described = load(name)
        for algorithm in described.algorithms():
            done = hunt(described, algorithms=[algorithm], runs=runs, strategy=next(strategies), carrier=next(carriers))
            executions += done.results[0].executions
    return executions


def side_by_side(runs: int) -> int:
    """Several explorers at once, and a reproducer for what they find."""
    executions = 0
    with tempfile.TemporaryDirectory() as folder:
        for carrier in ("threads", "fibers"):
            done = hunt(runs=20 * runs, jobs=2, carrier=carrier, out=folder)
            executions += sum(one.executions for one in done.results)
            for one in done.results:
                if one.first is not None and one.first.reproducer is not None:
                    again = replay(Reproducer.load(one.first.reproducer), times=runs)
                    executions += again.times
                    again.explorer.close()
    return executions


def failures(runs: int) -> int:
    """Calls that unwind, on both carriers."""
    executions = 0
    for name, algorithm in (
        ("forkcrash", "moveto-tail"),
        ("tables-run-out", "moveto-tail"),
        ("shot", "interval-tree"),
        ("exec-stack", "modern"),
        ("thp-split-vs-fork", "modern"),
    ):
        for carrier in ("threads", "fibers"):
            done = hunt(name, algorithms=[algorithm], runs=10 * runs, carrier=carrier, fail_alloc=0.15)
            executions += done.results[0].executions
    return executions


def proofs(runs: int) -> int:
    done = [verify("lkml-2011", {"pages": 2}, carrier=carrier) for carrier in ("threads", "fibers")]
    return sum(verdict.classes for one in done for verdict in one.results)


def edges(runs: int) -> int:
    """Numbers at the end of 64 bits, and every object of an execution by its name."""
    test = Litmus.of("edges", {"t": [f"store x {2**63 - 1}", "add x 1", f"add x {-(2**63)}"]})
    executions = hunt(test, runs=runs, carrier="fibers").results[0].executions
    program = load("forkcrash").bind({})
    with Explorer(program.make_subject(program.choose("unpatched")), Random(), carrier="fibers") as explorer:
        executions += explorer.run(0, runs).ran
        world = World(explorer)
        named = sum(world.name(offset) is not None for offset in range(0, explorer.arena_bytes, 8))
    return executions + named


def by_hand(runs: int) -> int:
    """A machine, driven through everything that it can do, with each allocation failing once."""
    calls = 0
    for n in range(0, 6 * runs, 3):
        m = Machine("linux-6.19")
        p = m.process()
        m.fail_allocations(*([n] if n else []))
        for call in (
            lambda p=p: p.mmap(8, at=1 << 30),
            lambda p=p: p.touch(1 << 30, 8),
            lambda p=p: p.fork(),
            lambda p=p: p.write(1 << 30, 5),
            lambda p=p: p.mremap((1 << 30) + 4 * PAGE, 4, 4, to=1 << 32),
            lambda p=p, m=m: m.migrate(p.pte(1 << 32).pfn),
            lambda p=p: p.mprotect((1 << 30) + PAGE, 2, writable=False),
            lambda p=p: p.mmap(1024, at=1 << 33, huge=True),
            lambda p=p: p.write(1 << 33, 1),
            lambda p=p: p.munmap((1 << 33) + 7 * PAGE, 3),
            lambda p=p: p.exit(),
        ):
            try:
                call()
            except (OSError, ValueError):
                calls -= 1
            calls += 1
        assert m.check() == []
    return calls


def used_by_hand(runs: int) -> int:
    """An Explorer that is opened, used, closed and thrown away."""
    executions = 0
    for carrier in ("threads", "fibers"):
        for _ in range(3):
            program = load("merge").bind({})
            with Explorer(program.make_subject(program.choose("unpatched")), Random(), carrier=carrier) as explorer:
                executions += explorer.run(0, runs).ran
                executions += explorer.trace(3).ran
    return executions


def storms(runs: int) -> int:
    """All tasks at once, before and after the patch, under every profile of delays, with and without memory."""
    executions = 0
    for name in ("lkml-2011", "forkcrash", "own-mm-migration", "fault-during-fork", "tables-run-out"):
        for rate in (None, 0.15):
            done = storm(
                name,
                algorithms=["unpatched", "moveto-tail", "modern"],
                executions=10 * runs,
                record=rate is not None,
                fail_alloc=rate,
            )
            executions += sum(one.executions for one in done.results)
    return executions


PARTS = {
    "hunts": hunts,
    "side-by-side": side_by_side,
    "failures": failures,
    "proofs": proofs,
    "edges": edges,
    "by-hand": by_hand,
    "explorers": used_by_hand,
    "storms": storms,
}


def planted(name: str) -> int:
    """One of the mistakes of planted.pyx; the sanitizer ends the process."""
    import planted as mistakes  # beside the sanitizer's build, and nowhere else

    if name == "racing_subject":
        with Explorer(mistakes.Racing(), Random()) as explorer, Storm(explorer) as at_once:
            return int(at_once.run(0, 20).ran)
    if name == "subject":
        with Explorer(mistakes.Overlong(), Random()) as explorer:
            return int(explorer.run(0, 5).ran)
    made = getattr(mistakes, name)
    return int(made(1) if name == "overflow" else made())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=PARTS, nargs="?")
    parser.add_argument("--planted", metavar="NAME")
    parser.add_argument("--runs", type=int, default=10)
    options = parser.parse_args()
    did = planted(options.planted) if options.planted else PARTS[options.part](options.runs)
    print(did)
    return 0


if __name__ == "__main__":
    sys.exit(main())
