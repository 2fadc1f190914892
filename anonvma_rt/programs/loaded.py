"""Programs that are loaded, each at a place of its own; and what a few executions tell of them: who begins which
threads, where accesses race."""

from collections.abc import Iterable, Sequence
from functools import cache

from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.strategy.random import Random
from anonvma_rt.errors import UserError
from anonvma_rt.programs.asked import Asked
from anonvma_rt.programs.build import PLACES, Built
from anonvma_rt.programs.image import MOST_THREADS, Image
from anonvma_rt.programs.telling.symbols import Symbols
from anonvma_rt.programs.words import Native as NativeProgramSubject

__all__ = ["family_of", "made", "racing"]

# Executions by which the number of threads is found out, and steps of each.
PROBES, PROBE_STEPS, FEW_THREADS = 128, 20_000, 64

# What is loaded, by place. An explorer has an image for itself, and afterwards it serves the next one of its program.
_loaded: list[tuple[str, Image] | None] = [None] * PLACES


def _image(built: Built) -> Image:
    """A loaded program that no explorer has."""
    for one in _loaded:
        if one is not None and one[0] == built.key and not one[1].used:
            return one[1]
    place = _free_place()
    path = built.at(place)
    try:
        image = Image(str(path))
    except OSError as error:
        raise UserError(f"the program cannot be loaded: {error}") from None
    _loaded[place] = built.key, image
    return image


def _free_place() -> int:
    """Where nothing is loaded, or nothing that anybody still uses."""
    if None in _loaded:
        return _loaded.index(None)
    for place, one in enumerate(_loaded):
        if one is not None and not one[1].used:
            one[1].close()
            _loaded[place] = None
            return place
    raise UserError(f"at most {PLACES} explorers of programs at a time")


def made(
    built: Built,
    asked: Asked,
    tasks: int,
    family: Sequence[tuple[int, int]],
    races: str = "ignore",
    points: Iterable[int] = (),
) -> NativeProgramSubject:
    image = _image(built)
    arguments = ["program", *asked.args]
    subject = NativeProgramSubject(image, tasks, arguments, family, races, points, asked.late, asked.spurious)
    subject.circles = built.told
    subject.leaks = asked.leaks
    subject.symbols = Symbols(subject.image)
    return subject


@cache
def family_of(built: Built, asked: Asked) -> tuple[tuple[int, int], ...]:
    """Who begins which threads, found out by a few executions."""
    for most in (FEW_THREADS, MOST_THREADS):
        subject = made(built, asked, most, ())
        with Explorer(subject, Random(), seed=0, carrier="fibers") as explorer:
            explorer.bound = PROBE_STEPS
            explorer.run(0, PROBES)
        if len(subject.family) + 1 < most:
            break
    return tuple(subject.family)


@cache
def racing(built: Built, asked: Asked) -> tuple[int, ...]:
    """Where accesses race in some executions in which those that are known to are points. What is missing, a search
    finds."""
    family = family_of(built, asked)
    points: set[int] = set()
    while True:
        subject = made(built, asked, len(family) + 1, family, "collect", points)
        with Explorer(subject, Random(), seed=0, carrier="fibers") as explorer:
            explorer.bound = PROBE_STEPS
            explorer.run(0, PROBES)
        if points.issuperset(subject.found):
            return tuple(sorted(points))
        points.update(subject.found)
