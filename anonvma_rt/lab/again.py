"""Does an execution come again? All that is found rests on it: the same schedule must make the same steps.

It does not where code of somebody's own keeps state outside the arena: a static, a clock, random numbers of its own.
Whatever such code shows is no race, so it gets one verdict, `not-reproducible`, which says what differed.
"""

from itertools import zip_longest
from typing import Any

from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.run.records import Recorded
from anonvma_rt.engine.run.strategy import Strategy
from anonvma_rt.engine.strategy import script
from anonvma_rt.engine.strategy.sticky import Sticky
from anonvma_rt.subjects.history import Event, Trace, decode
from anonvma_rt.subjects.protocols import Bound

__all__ = ["NOT_REPRODUCIBLE", "Again", "NotReproducible", "must_come_again"]

NOT_REPRODUCIBLE = "not-reproducible"
WALKS = 4  # sticky ones, which are made twice before a hunt
SHORT, LONG = 100_000, 2_000_000  # steps; longer ones are made once, or not at all
TRIES = 4  # how often an execution that did not come again is made to see what differs


class NotReproducible(Exception):
    """An execution was not the same when it was made again. index: its number, where it has one; str() says what
    differed."""

    def __init__(self, said: str, index: int = 0) -> None:
        super().__init__(f"the same schedule does not make the same execution: {said}")
        self.index = index


class Again:
    """A few executions, made when this is, and compared with the same ones whenever compare() is called. Raises
    NotReproducible. explorer: idle whenever it is used; steps: of a long execution."""

    def __init__(self, program: Bound, explorer: Explorer, steps: int) -> None:
        self.program, self.explorer = program, explorer
        self.walks = WALKS if steps <= SHORT else 0
        self.backwards = False
        self.before = self._make() if steps <= LONG else {}
        if self.before:
            self.compare()

    def compare(self) -> None:
        now = self._make()
        for walk in sorted(self.before.keys() & now.keys()):
            if said := difference(self.program, self.explorer, self.before[walk], now[walk]):
                raise NotReproducible(said)

    def _make(self) -> dict[int, Recorded]:
        """Up to the first that is stuck, because the others may take as long. Each time in the opposite order, so that
        what depends on how many there were before is another number."""
        made = {}
        walks = range(-1, self.walks)
        for walk in reversed(walks) if self.backwards else walks:
            strategy: Strategy = script.replay() if walk < 0 else Sticky()
            recorded = self.explorer.trace(max(walk, 0), strategy)
            if recorded.halt is not None:
                break
            made[walk] = recorded
        self.backwards = not self.backwards
        return made


def must_come_again(
    program: Bound, explorer: Explorer, index: int, strategy: Strategy | None, kind: str, digest: bytes | None
) -> None:
    """Raises NotReproducible if execution `index`, which was found as `kind` after the choices with this digest (None:
    unknown), is another one now."""
    kinds = explorer.subject.kinds()
    made: list[Recorded] = []
    ends = []
    for _ in range(TRIES):
        made.append(explorer.trace(index, strategy))
        finding = made[-1].finding
        ends.append(kinds[finding.kind] if finding else "no violation")
        if len(made) == 1 and ends[0] == kind and (digest in (None, made[0].digests) or kind == "stuck"):
            return
        if len(made) > 1 and (said := difference(program, explorer, made[-2], made[-1])):
            raise NotReproducible(said, index)
    raise NotReproducible(f"it was found as {kind}, and when it was made again it was {ends[0]}", index)


def difference(program: Bound, explorer: Explorer, old: Recorded, new: Recorded) -> str | None:
    """The first step that is another one, or another end, in words; None where the executions are the same. `new` is
    the last one that the explorer has made."""
    if old.events == new.events and old.finding == new.finding:
        return None
    trace = program.trace(new, explorer, program.before(explorer))
    for a, b in zip_longest(_points(old), _points(new)):
        if a is None or b is None or a[:5] != b[:5]:
            one = a or b
            return f"at step {one.step} {_words(trace, a)} the first time, and {_words(trace, b)} the second time"
    kinds = explorer.subject.kinds()
    ends = [kinds[made.finding.kind] if made.finding else "no violation" for made in (old, new)]
    return f"it ended as {ends[0]} the first time, and as {ends[1]} the second time" if ends[0] != ends[1] else None


def _points(recorded: Recorded) -> list[Any]:
    return [event for event in decode(recorded.events, {}) if not event.is_note]


def _words(trace: Trace, event: Event | None) -> str:
    if event is None:
        return "nobody made a step"
    return (
        f"{trace.task(event.task)} came to {event.what}{f' {trace.object(event.a)}' if event.what != 'start' else ''}"
    )
