"""What the lab asks of a subject: a Described text, which a Bound makes runnable, and the Choices that it compares.

A scenario of the simulated kernel, a litmus test and a compiled class of the user's own are all driven through these
protocols, so nothing above them has to know which of the three it has.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Protocol

from anonvma_rt.engine.memory.buffers import MODELS
from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.run.records import Recorded
from anonvma_rt.engine.run.subject import BuildRefused
from anonvma_rt.errors import ScenarioError, UserError, among
from anonvma_rt.subjects.history import Trace
from anonvma_rt.subjects.scenes import Scenes
from anonvma_rt.text.expected import Expected
from anonvma_rt.text.parameters import Parameter

SC = "sc"

__all__ = ["SC", "Bound", "Choice", "Described", "Failing"]


class Choice(Protocol):
    """What a hunt compares: an Algorithm of the simulated kernel, a Variant of a litmus test."""

    @property
    def name(self) -> str: ...

    def as_dict(self) -> Mapping[str, str | bool]:
        """For reproducers; Described.read_choice() makes it again."""


class Failing(Protocol):
    """Which allocations fail; its str() is the text for results."""

    @property
    def rate(self) -> float:
        """The probability with which one fails; 0 where they are named one by one."""


class Described(Protocol):
    """A text that says what is explored, read and checked: a Scenario or a Litmus."""

    @property
    def name(self) -> str: ...
    @property
    def about(self) -> str: ...
    @property
    def parameters(self) -> Mapping[str, Parameter]: ...
    @property
    def strategy(self) -> str:
        """The one that finds it best, "" for the usual one."""

    @property
    def text(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def sha256(self) -> str: ...

    def expected(self, name: str) -> Expected | None:
        """A kind of violation or several, "none", or None where nothing is said."""

    def algorithms(self) -> list[str]:
        """All choices of which something is expected."""

    def usual_algorithms(self) -> list[str]:
        """Those to compare if nobody asks for others."""

    def read_choice(self, data: Mapping[str, object], own: Iterable[Any] = ()) -> Choice:
        """own: code of the user's own that it may name; nothing is imported."""

    @property
    def needs(self) -> str:
        """The words, each with a space before it, by which a command is given the user's code that a reproducer of it
        only names; "" for none."""

    def remark(self, found: Iterable[str], complete: bool, memory: str) -> str:
        """What the text says of its own outcome, set beside the kinds that a search found under a memory model, in
        words; "" where it says nothing."""

    def bind(self, values: Mapping[str, str | int | bool]) -> "Bound": ...


class Bound(Protocol):
    """The same with values for its parameters: a BoundScenario or a LitmusProgram. It makes subjects for the engine,
    and is asked in return what their histories mean."""

    @property
    def scenario(self) -> Described: ...
    @property
    def parameters(self) -> Mapping[str, int | bool]: ...
    @property
    def interesting(self) -> tuple[str, ...]:
        """The names of the operations that SURW orders (text/names.py)."""

    def with_interesting(self, names: Iterable[str]) -> "Bound":
        """The same with others. Raises UserError for a name that it does not know."""

    @property
    def named_places(self) -> tuple[str, ...]:
        """Where operations have no names: those places that SURW is to put in order; () for any."""

    # ---- choices ---------------------------------------------------------------------------------------------------

    def choose(self, algorithm: Any) -> Choice:
        """The choice of that name, or the one that is given, if it is one for these values."""

    def usual(self) -> list[str]:
        """usual_algorithms(), as far as these values leave them."""

    def expected(self, algorithm_name: str) -> Expected | None: ...

    def unannounced(self, algorithm: Any) -> str:
        """What tasks are known to share under it without an announcement, in words, so that a search proves nothing
        where no audit found that they do not; "" for nothing."""

    @property
    def only_in_turns(self) -> str:
        """Why its tasks cannot run at once, in words; "" where they can."""

    def learn(self, explorer: Explorer) -> None:
        """Takes note of what came up in the executions of an explorer so far."""

    def with_more_known(self) -> "Bound | None":
        """After a search, or MoreToKnow: the same with what came up known from the beginning, for a search anew; None
        where nothing new did."""

    @property
    def within(self) -> str:
        """The bounds that a search of every class met, in words, so that it proves nothing beyond them; "" for none."""

    @property
    def compared_with(self) -> str:
        """The specification with which what its operations return is compared; "" for none."""

    def own_code(self, choices: Iterable[Any]) -> list[type]:
        """The classes of the user's own that these choices run: no text says what they do, so a checkpoint has their
        digest."""

    # ---- running ---------------------------------------------------------------------------------------------------

    def make_subject(self, algorithm: Any) -> Any: ...

    @property
    def failing(self) -> Failing | None:
        """Which allocations fail; None for none."""

    def fail(self, failing: Any) -> "Bound":
        """The same with these allocations failing: a rate, "RATE:kind,kind", a list of (task, n), or what the subject
        makes of these. Raises UserError for anything else, and where nothing is allocated."""

    @property
    def memory(self) -> str:
        """The memory model under which it is executed: sc, tso or pso (engine/memory)."""

    def under(self, memory: str) -> "Bound":
        """The same under another model. Raises UserError for one that there is not, and where only SC is modelled."""

    def refusal(self, task: int, step: int, errno: int) -> ScenarioError:
        """The error for a call that did not return what is expected."""

    def build_refusal(self, error: BuildRefused) -> ScenarioError:
        """The same for the setup."""

    # ---- looking ---------------------------------------------------------------------------------------------------

    def before(self, explorer: Explorer) -> Any:
        """What trace() must know of the state from which executions begin."""

    def looks_again(self, recorded: Recorded, explorer: Explorer) -> bool:
        """Whether the execution that was just recorded is to be made once more, with call stacks for its trace()."""

    def trace(self, recorded: Recorded, explorer: Explorer, before: Any) -> Trace:
        """The history of the execution that the explorer has just recorded."""

    @property
    def things(self) -> str:
        """What look() can look at, in words."""

    def look(self, explorer: Explorer, trace: Any, words: list[str]) -> list[str]:
        """One thing of the state in which a recorded execution stopped, a line each. Raises UserError."""

    def scenes(self, explorer: Explorer, trace: Any) -> Scenes:
        """The states that the execution went through, where it was recorded with a journal; from then on `trace` names
        its objects as they were when they were first used."""

    def state(self, explorer: Explorer, trace: Any) -> str:
        """The state in which it stopped, in words."""

    def task_names(self) -> list[str]: ...

    def lock_names(self, explorer: Explorer) -> Callable[[int], str]:
        """Words for a lock or word by its offset into the arena, as far as setup made it. Asked for while the explorer
        holds the state from which executions begin."""


class KnownAtOnce:
    """What a Bound says of which everything is known before its first execution, and which a search visits whole."""

    named_places: tuple[str, ...] = ()
    memory: str = SC
    # Why its stores cannot be delayed.
    ONLY_SC: ClassVar[str] = ""
    scenario: Any

    def under(self, memory: str) -> Any:
        among("--memory", memory, MODELS)
        if memory == self.memory:
            return self
        if self.ONLY_SC:
            raise UserError(f"{self.scenario.name}: --memory {memory}: {self.ONLY_SC}")
        return replace(self, memory=memory)  # type: ignore[type-var]

    def learn(self, explorer: Explorer) -> None:
        pass

    def with_more_known(self) -> Any:
        return None

    @property
    def within(self) -> str:
        return ""

    @property
    def compared_with(self) -> str:
        return ""

    def looks_again(self, recorded: Recorded, explorer: Explorer) -> bool:
        return False
