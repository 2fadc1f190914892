"""The programs that are loaded in this process, each at a place of its own, so that explorers can use them by turns."""

from anonvma_rt.errors import UserError
from anonvma_rt.programs.build import PLACES, Built
from anonvma_rt.programs.image import Image

__all__ = ["image_of"]

# What is loaded, by place. An explorer has an image for itself, and afterwards it serves the next one of its program.
_loaded: list[tuple[str, Image] | None] = [None] * PLACES


def image_of(built: Built) -> Image:
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
