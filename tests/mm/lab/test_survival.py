"""The lab survives its subject: whatever tasks do to memory that others free, under rules old, new and wrong, an
execution ends, and its verdict has a name.

Random worlds run in a process of their own, because what is asked for is that it lives: the children of `main`.
"""

import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

SUPPORT = Path(__file__).parents[2] / "support"
sys.path[:0] = [str(SUPPORT / folder) for folder in ("", "engine", "kernel")]

import calls  # noqa: E402
from calls import FAR, NONE, TABLE, exit_process, fork, mmap, touch  # noqa: E402
from engine_programs import CPU  # noqa: E402

from anonvma_rt import Scenario, hunt, verify  # noqa: E402
from anonvma_rt.engine.parallel.storm import Storm  # noqa: E402
from anonvma_rt.engine.run.explorer import Explorer  # noqa: E402
from anonvma_rt.engine.run.subject import BuildViolation  # noqa: E402
from anonvma_rt.engine.search.dpor import Dpor  # noqa: E402
from anonvma_rt.engine.strategy.pct import Pct  # noqa: E402
from anonvma_rt.engine.strategy.random import Random  # noqa: E402
from anonvma_rt.engine.strategy.sticky import Sticky  # noqa: E402
from anonvma_rt.kernel.algorithm import CHOICES, PRESETS, SWITCHES, Algorithm  # noqa: E402
from anonvma_rt.kernel.failing import Failing  # noqa: E402
from anonvma_rt.mm.lab.kernel import Kernel, Refused  # noqa: E402
from anonvma_rt.storming.storm import storm  # noqa: E402

PROCESSES = 3
BOUND = 20_000
OFTEN = ["mmap", "munmap", "mprotect", "touch", "read", "mremap", "fork", "exit", "migrate", "referenced", "split",
         "move_pages", "uffd_move", "brk", "dontneed", "collapse", "mmap_file", "deferred_split", "free",
         "reclaim", "reclaim", "pin", "get", "unpin", "dma", "exec", "mmap", "touch", "touch", "read", "mremap",
         "migrate"]  # fmt: skip


class Worlds:
    """Random worlds, each with an algorithm: what setup does, and one to three calls for each of two or three tasks."""

    def __init__(self, seed):
        self.draw = random.Random(seed)
        # Few places, so that the calls of a world meet.
        self.bases = self.draw.sample([0, 0, TABLE - 2, FAR], self.draw.choice([1, 1, 2]))

    def algorithm(self):
        draw = self.draw
        fields = PRESETS[draw.choice(sorted(PRESETS))].as_dict() | {"name": "drawn"}
        if draw.random() < 0.6:
            fields["vma_locks"] = draw.choice(CHOICES["vma_locks"])
        for _ in range(draw.choice([0, 0, 1, 2, 4])):
            name = draw.choice([*CHOICES, *SWITCHES])
            fields[name] = draw.choice(CHOICES.get(name, (False, True)))
        return Algorithm.from_dict(fields)

    def page(self):
        draw = self.draw
        return draw.choice([*self.bases, self.bases[0]]) + draw.choice([0, 0, 0, 1, 2, draw.randrange(8)])

    def pages(self):
        return self.draw.choice([1, 2, 4, 4, 8, 8, TABLE if self.draw.random() < 0.5 else 3])

    def call(self, process):
        draw = self.draw
        verb = draw.choice(OFTEN)
        how = {"process": process}
        if draw.random() < 0.05:
            how["fails"] = (draw.choice(["vma", "anon_vma", "anon_vma_chain", "page", "table"]), draw.randrange(3))
        if verb == "mmap":
            rights, huge = draw.choice([1] * 9 + [0, 0, NONE]), draw.random() < 0.3
            more = [draw.random() < often for often in (0.1, 0.2, 0.1)]
            return mmap(self.page(), self.pages(), rights, huge, *more, **how)
        if verb == "mprotect":
            return calls.mprotect(self.page(), self.pages(), draw.choice([0, 0, 1, 1, NONE]), **how)
        if verb == "mremap":
            pages, to = self.pages(), draw.choice([None, self.page(), self.page()])
            how.pop("fails", None)
            return calls.mremap(
                self.page(), pages, to, draw.choice([pages, pages, self.pages()]), dontunmap=draw.random() < 0.2, **how
            )
        if verb == "fork":
            return fork(draw.randrange(PROCESSES), **how)
        if verb == "exit":
            return exit_process(**how)
        if verb == "deferred_split":
            return calls.deferred_split(**how)
        if verb in ("migrate", "split", "collapse"):
            return getattr(calls, verb)(self.page(), **how)
        if verb == "referenced":
            return calls.call("referenced", calls.at(self.page()), **how)
        if verb in ("reclaim", "unpin"):
            return getattr(calls, verb)(self.page(), **how)
        if verb in ("pin", "get"):
            return getattr(calls, verb)(self.page(), draw.random() < 0.5, draw.random() < 0.3, **how)
        if verb == "dma":
            return calls.dma(self.page(), **how)
        if verb == "uffd_move":
            return calls.call("uffd_move", calls.at(self.page()), calls.at(self.page()), 1, **how)
        if verb == "move_pages":
            return calls.call("move_pages", calls.at(self.page()), draw.choice([1, 2, 4]), **how)
        if verb == "exec":
            return calls.exec_stack(self.page(), draw.choice([1, 8, TABLE]), **how)
        return getattr(calls, verb)(self.page(), min(self.pages(), 16), **how)

    def setup(self, algorithm):
        """Calls that the kernel makes, and some that it refuses."""
        draw = self.draw
        steps = []
        for _ in range(draw.choice([2, 3, 4, 6])):
            page, pages = self.page(), self.pages()
            steps += [mmap(page, pages, huge=draw.random() < 0.5), touch(page, min(pages, draw.choice([1, 4, 16])))]
        for _ in range(draw.choice([0, 1, 2, 4])):
            steps.append(self.call(draw.choice([0, 0, 1])))
        while True:
            try:
                self.explorer(algorithm, steps, [[]]).close()
                return steps
            except Refused as refused:
                steps[refused.index] = steps[refused.index]._replace(errno=refused.errno)

    def explorer(self, algorithm, setup, threads):
        kernel = Kernel(algorithm.as_dict(), PROCESSES, setup, threads, (), failing=Failing(rate=1e-4))
        return Explorer(kernel, Random(), cpu=CPU, carrier="fibers")

    def threads(self):
        draw = self.draw
        return [
            [self.call(draw.choice([0, 0, 0, 1])) for _ in range(draw.choice([1, 1, 2, 3]))]
            for _ in range(draw.choice([2, 2, 3]))
        ]

    def race(self, executions, storm):
        """How often one world was violated, by kind; storm: by all tasks at once as well."""
        algorithm = self.algorithm()
        try:
            setup = self.setup(algorithm)
        except BuildViolation:
            return Counter()  # a rule that is wrong for one task alone
        with self.explorer(algorithm, setup, self.threads()) as made:
            made.bound = BOUND
            failures = []
            for strategy in (Sticky(), Pct(3), Random(), Dpor()):
                if hasattr(strategy, "profiled"):
                    strategy.profiled(300)
                failures += made.run_with(strategy, 0, executions).failures
            if storm:
                with Storm(made) as storming:
                    failures += storming.run(0, executions, {"every": 8, "most": 40}).failures
            kinds = Counter(made.subject.kinds()[kind] for _, kind in failures)
            # A body that crashes ends in a verdict, too, and is none of the simulated kernel's.
            assert not kinds.keys() & {"crash", "stuck"}, (algorithm, setup, kinds)
            return kinds


def main(first, worlds, executions, storm="no"):
    """Seeds `first` and so on; prints how often which kind was seen, and the seed that it is at."""
    seen = Counter()
    for seed in range(int(first), int(first) + int(worlds)):
        print("seed", seed, file=sys.stderr, flush=True)
        seen += Worlds(seed).race(int(executions), storm == "storm")
    print(dict(seen))


# ---- worlds that once were fatal -------------------------------------------------------------------------------------

MAP_OVER_READ = """\
name = "map-over-read"
about = "a thread maps over what another one reads"
names.a = "1*GiB"
setup = [{ do = "mmap", at = "a", pages = 4 }, { do = "touch", at = "a", pages = 4 }]
thread = [
    { name = "reader", steps = [{ do = "read", at = "a", pages = 4 }] },
    { name = "mapper", steps = [{ do = "mmap", at = "a", pages = 4 }] },
]
"""
AFTER_EXIT = """\
name = "after-exit"
about = "a process ends, twice, while another task of it reads, and then is used again"
fail_alloc = 0.0001
names.a = "1*GiB"
setup = [{ do = "mmap", at = "a", pages = 72 }, { do = "touch", at = "a", pages = 33 }]
[[thread]]
name = "reader"
steps = [{ do = "read", at = "a + 14*PAGE", pages = 12 }]
[[thread]]
name = "ending"
steps = [{ do = "exit" }, { do = "exit" }, { do = "uffd_move", from = "a", to = "2*GiB" }, { do = "migrate", at = "a" }]
"""


@pytest.mark.parametrize("algorithm", ["modern,vma_locks=fork", "modern,vma_locks=racy"])
@pytest.mark.parametrize("text", [MAP_OVER_READ, AFTER_EXIT])
def test_a_reader_whose_vma_is_freed_under_it_ends_in_a_use_after_free(text, algorithm, tmp_path):
    scenario = Scenario.from_text(text, source="x.toml")
    for carrier in ("threads", "fibers"):
        (hunted,) = hunt(scenario, algorithms=[algorithm], runs=3000, carrier=carrier).results
        assert hunted.violations["use-after-free"] > 20
    if "fail_alloc" not in text:
        (verdict,) = verify(scenario, algorithms=[algorithm], limit=5000, out=tmp_path).results
        assert set(verdict.violating_classes) == {"use-after-free"}
    (stormy,) = storm(scenario, algorithms=[algorithm], seconds=0.5, out=tmp_path).results
    assert stormy.executions


def test_random_worlds_end_with_a_verdict():
    survive(0, 250, 60)


def test_random_worlds_survive_storms():
    survive(5000, 60, 40, "storm")


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100_000, 130_000, 1000))
def test_many_random_worlds_end_with_a_verdict(seed):
    survive(seed, 1000, 150, "storm")


def survive(*arguments):
    done = subprocess.run([sys.executable, __file__, *map(str, arguments)], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, (done.returncode, done.stderr.splitlines()[-5:])
    assert done.stdout.startswith("{'")


if __name__ == "__main__":
    main(*sys.argv[1:])
