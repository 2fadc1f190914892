"""How long a hunt or a search of one algorithm goes on: a number of executions, a time, the first violation, or a
probability that is small enough. Whichever is reached first ends it.

The clock is asked between blocks of executions and never within one, so it decides how many there are and nothing else:
the number is told, and a hunt with that number makes the same ones.
"""

from dataclasses import dataclass
from time import perf_counter

from anonvma_rt.errors import UserError, at_least, time_or_none

__all__ = ["DEFAULT_RUNS", "ENDINGS", "Budget", "Clock", "Clocks"]

DEFAULT_RUNS = 20_000
LEAST_PROBABILITY = 1e-12
# What a hunt may have ended by; "" where it was interrupted.
ENDINGS = ("runs", "seconds", "violation", "confidence")


@dataclass(frozen=True)
class Budget:
    """runs: executions at most; None for 20 000, or where there is `seconds` or `confidence` for no such limit.
    confidence: a probability; ends when a violation has at most that one, at 95 %, or at the first violation."""

    runs: int | None = None
    seconds: float | None = None
    until_violation: bool = False
    confidence: float | None = None

    def check(self) -> None:
        """Raises UserError where one of them is nothing that one can ask for."""
        if self.runs is not None:
            at_least("--runs", self.runs)
        time_or_none("--seconds", self.seconds)
        if self.confidence is not None and not LEAST_PROBABILITY <= self.confidence < 1:
            raise UserError(
                f"--confidence must be a probability from {LEAST_PROBABILITY:g} to less than 1, such as 1e-6, not "
                f"{self.confidence:g}"
            )

    @property
    def ends_at_first(self) -> bool:
        return self.until_violation or self.confidence is not None

    def most(self, enough: int | None) -> int | None:
        """Executions at most, if that is known; `enough`: for the confidence, if none violates anything."""
        limits = [one for one in (self.runs, enough) if one is not None]
        if limits:
            return min(limits)
        return DEFAULT_RUNS if self.seconds is None else None


class Clock:
    """Begins when it is made. seconds: None for a time that is never over."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self.spent = 0.0  # before it went on
        self.begun = perf_counter()
        self.over = False

    def rest(self) -> None:
        self.spent += perf_counter() - self.begun

    def go_on(self) -> None:
        self.begun = perf_counter()

    def look(self) -> bool:
        """Whether the time is over; once it is, it stays so."""
        if self.seconds is not None:
            self.over = self.over or self.spent + perf_counter() - self.begun >= self.seconds
        return self.over


class Clocks:
    """One for each algorithm, in the order of their turns, of which one goes at a time. The first begins with these, so
    whatever is compiled and asked before it counts. Where all of them have their turns anew, because of something that
    came up, each goes on with what it has spent."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self.all: list[Clock] = []
        self.going = Clock(seconds)
        self.turns = 0

    def anew(self) -> None:
        self.turns = 0

    def next(self) -> Clock:
        """That of the algorithm whose turn it is, which goes."""
        if not self.all:
            self.all.append(self.going)
        elif self.turns == len(self.all):
            self.all.append(Clock(self.seconds))
        clock = self.all[self.turns]
        self.turns += 1
        if clock is not self.going:
            self.going.rest()
            clock.go_on()
            self.going = clock
        return clock
