"""A litmus file in one of herd's formats as a document that a Litmus is made of, as that of a TOML text is.

It has one variant. Its only parameter is `unroll`, where it has loops that do more than look. What a file in C says of
its own outcome is of the kernel's memory model; the models that the lab has are stronger, so "Never" must hold there,
too. One for x86 speaks of TSO, which is stronger than PSO.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from anonvma_rt.errors import ScenarioError
from anonvma_rt.litmus.compile import Code, Declared, Outcome, Thread, subject_of
from anonvma_rt.litmus.file import DEFAULT_VARIANT
from anonvma_rt.litmus.herd.file import read_test
from anonvma_rt.litmus.herd.tree import Test
from anonvma_rt.litmus.lines import Instruction
from anonvma_rt.litmus.lowering.whole import has_loops, lower
from anonvma_rt.text.expected import Expected
from anonvma_rt.text.parameters import Parameter

__all__ = ["HerdDocument", "read_herd"]

UNROLL, USUAL_ROUNDS, MOST_ROUNDS = "unroll", 3, 64
REACHED, NOT_REACHED = "assertion", "none"
# A state that some execution reaches may or may not be reached in a stronger model: nothing is said of it.
_VERDICTS = ("Never", "Sometimes", "Always")


@dataclass(frozen=True)
class HerdDocument:
    """test: what was read."""

    test: Test
    parameters: dict[str, Parameter]

    @property
    def name(self) -> str:
        """What files may be called: that of the test, without the folders that some have in it."""
        last = self.test.name.rsplit("/", 1)[-1].removesuffix(".litmus")
        return re.sub(r"[^A-Za-z0-9._+-]", "-", last).lstrip("-.+_")[:80] or "litmus"

    @property
    def about(self) -> str:
        return f"{self.test.arch} {self.test.name}: {self.test.condition.text}"

    @property
    def strategy(self) -> str:
        return ""

    @property
    def variants(self) -> dict[str, dict[str, int | bool]]:
        return {DEFAULT_VARIANT: {}}

    @property
    def expect(self) -> dict[str, Expected]:
        """What must come out in every model that allows no more than the file's own."""
        return {DEFAULT_VARIANT: said} if (said := self._expected()) else {}

    def _expected(self) -> Expected | None:
        result = self.test.result
        if result is None or result.verdict not in _VERDICTS or result.more.startswith("DATARACE"):
            return None
        if result.verdict == "Sometimes":
            return (REACHED, NOT_REACHED)
        # "Always" is said of the proposition, which forall does not want to fail, and exists wants to find.
        holds = result.verdict == "Always"
        return REACHED if holds != (self.test.condition.quantifier == "forall") else NOT_REACHED

    def code(self, values: Mapping[str, int | bool]) -> Code:
        """Raises ScenarioError."""
        lowered = lower(self.test, int(values.get(UNROLL, USUAL_ROUNDS)))
        registers = {f"{at}:{name}": f"{at}:{name}" for at, names in enumerate(lowered.registers) for name in names}
        text = self.test.condition.text
        outcomes = (Outcome(text, lowered.forbidden, {}, self.test.source),) if lowered.forbidden else ()
        threads = tuple(
            Thread(f"P{at}", tuple(Instruction(step, " ".join(map(str, step))) for step in steps))
            for at, steps in enumerate(lowered.threads)
        )
        declared = Declared({}, lowered.types, lowered.initial)
        try:
            subject = subject_of((), threads, outcomes, registers, declared)
        except ValueError as error:
            raise ScenarioError(f"{self.test.source}: {error}") from None
        return Code((), threads, lowered.variables, registers, outcomes, (), declared, subject)

    def allows(self, memory: str) -> bool:
        """Whether the model of which the file speaks allows all that this one does."""
        return self.test.arch == "C" or memory != "pso"

    def remark(self, found: Iterable[str], complete: bool, memory: str) -> str:
        """What the file says of its outcome beside what the lab found, and whether the two fit. memory: the model."""
        result, kinds = self.test.result, list(found)
        if result is None or not (complete or kinds):
            return ""
        name, own = memory.upper(), "the kernel's model" if self.test.arch == "C" else "x86's model"
        said = f"the file says {result.verdict}{' ' + result.more if result.more else ''}"
        reached = REACHED in kinds
        state = "reached" if reached else "none" if not kinds else ", ".join(kinds)
        expected = self._expected()
        if expected is None:
            why = "nothing to compare with"
        elif kinds and not reached:
            why = "what was found ended executions before their state was known, so this says nothing of it"
        elif not self.allows(memory):
            why = f"{name} is weaker than {own}, so nothing follows"
        elif result.verdict == "Sometimes":
            same = self.test.arch != "C" and memory == "tso"
            contrary = "A CONTRADICTION" if same else f"{name} is stronger than {own}, so this is no contradiction"
            why = contrary if reached == (self.test.condition.quantifier == "forall") else "the two agree"
        else:
            why = "the two agree" if (REACHED if reached else NOT_REACHED) == expected else "A CONTRADICTION"
        return f"{said}; {state} under {name}: {why}"


def read_herd(text: str, source: str) -> HerdDocument:
    """Raises ScenarioError, with the line of what is not understood."""
    test = read_test(text, source)
    about = "rounds of a loop that does more than look"
    loops = {UNROLL: Parameter(UNROLL, USUAL_ROUNDS, 1, MOST_ROUNDS, about=about)}
    return HerdDocument(test, loops if has_loops(test) else {})
