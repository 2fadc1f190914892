"""The kernel's choices as data: what Linux does, in each version, to keep a pte from slipping past a walk.

One simulated kernel reads the fields of an Algorithm; a patch is a preset, not a copy of a function. The presets carry
the name of the patch and the version of the kernel that they stand for.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from anonvma_rt.errors import AlgorithmError, nearest, quote

__all__ = ["ALIASES", "ORDERINGS", "PRESETS", "Algorithm", "read_bool"]

ORDERINGS = ("none", "tail-after-merge", "tail", "rmap-locks")
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


@dataclass(frozen=True)
class Algorithm:
    """How mremap and page migration keep out of each other's way.

    ordering
        what copy_vma() and move_vma() (mm/mmap.c, mm/mremap.c) do about the order of the anon_vma list, which is the
        order in which a walker looks for ptes:
        "none": nothing (Linux 3.0 to 3.2);
        "tail-after-merge": anon_vma_moveto_tail() of the destination after copy_vma() merged into an existing vma,
        the first half of commit 948f017b (Linux 3.3);
        "tail": that, and once more with the source before a failed move is moved back: all of 948f017b;
        "rmap-locks": the order is left alone, and the root anon_vma lock is held around each extent of the move
        (Linux 3.7, commit 108d6642ad81).
    restore_peeks
        remove_migration_pte() (mm/migrate.c) looks at the pte before it takes the page-table lock, the bug that
        commit 486cf46f3f9b repaired in Linux 3.1.
    decode_in_zap
        zap_pte_range() (mm/memory.c), so munmap and exit, decodes migration entries, as kernels from 3.3 on do for
        their counters, and so it can hit the page-not-locked BUG of swapops.h.
    single_ptl
        one page-table lock per mm, as in kernels for few processors, and not one per table of 512 entries.

    `about` (one line) and `kernel` (the version) are for people; two algorithms that differ in them only are equal.

    >>> Algorithm.parse("linux-3.3").name
    'moveto-tail'
    """

    name: str
    ordering: str = "none"
    restore_peeks: bool = False
    decode_in_zap: bool = False
    single_ptl: bool = False
    about: str = field(default="", compare=False)
    kernel: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or not self.name.isprintable():
            raise AlgorithmError("algorithm: the name must be a line of text")
        if self.ordering not in ORDERINGS:
            wrong = str(self.ordering)
            raise AlgorithmError(f"algorithm: unknown ordering {quote(wrong)}{nearest(wrong, ORDERINGS)}")
        for switch in SWITCHES:
            if not isinstance(getattr(self, switch), bool):
                raise AlgorithmError(f"algorithm: {switch} must be true or false")

    @property
    def promises_order(self) -> bool:
        """Whether the source stands before the destination in every list while ptes move (3.3's rule, I10)."""
        return self.ordering == "tail"

    @classmethod
    def parse(cls, text: str) -> "Algorithm":
        """The algorithm that `NAME` or `NAME,field=value,...` stands for; NAME is a preset or an alias of one.

        The name of a modified preset is the text in one normal form: the preset's own name, then the fields that
        really differ, in the order of the class. Raises AlgorithmError with the nearest name.

        >>> Algorithm.parse("linux-3.2, single_ptl=yes").name
        'unpatched,single_ptl=true'
        """
        base_name, *changes = (part.strip() for part in text.split(","))
        base = PRESETS.get(ALIASES.get(base_name, base_name))
        if base is None:
            raise AlgorithmError(f"unknown algorithm {quote(base_name)}{nearest(base_name, [*PRESETS, *ALIASES])}")
        where = f"algorithm {quote(text)}"
        fields: dict[str, str | bool] = {}
        for change in changes:
            name, equals, value = (part.strip() for part in change.partition("="))
            if not equals:
                raise AlgorithmError(f"{where}: {quote(change)} is not of the form field=value")
            if name not in BEHAVIOUR:
                raise AlgorithmError(f"{where}: unknown field {quote(name)}{nearest(name, BEHAVIOUR)}")
            if name in fields:
                raise AlgorithmError(f"{where}: {name} is given twice")
            fields[name] = _field_value(where, name, value)
        differing = {name: fields[name] for name in BEHAVIOUR if name in fields and fields[name] != getattr(base, name)}
        if not differing:
            return base
        spelled = [f"{name}={str(value).lower()}" for name, value in differing.items()]
        modified = base.as_dict() | differing | {"name": ",".join([base.name, *spelled])}
        return replace(cls._of(modified), about=f"{base.about}; but {' '.join(spelled)}", kernel=base.kernel)

    def as_dict(self) -> dict[str, str | bool]:
        """The name and the fields that decide behaviour, as JSON knows them: what a reproducer keeps."""
        return {name: getattr(self, name) for name in ("name", *BEHAVIOUR)}

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> "Algorithm":
        """The inverse of as_dict(). Raises AlgorithmError for unknown or missing fields and for wrong types.

        The fields decide and not the name: a reproducer stays what it was if a preset ever changes.
        """
        known = ("name", *BEHAVIOUR)
        for key in data:
            if key not in known:
                raise AlgorithmError(f"algorithm: unknown field {quote(str(key))}{nearest(str(key), known)}")
        for key in known:
            if key not in data:
                raise AlgorithmError(f"algorithm: the field {key} is missing")
        made = cls._of(data)
        try:
            like = cls.parse(made.name)
        except AlgorithmError:
            return made
        return replace(made, about=like.about, kernel=like.kernel) if like == made else made

    @classmethod
    def _of(cls, data: Mapping[str, object]) -> "Algorithm":
        return cls(**data)  # type: ignore[arg-type]  # __post_init__ checks the types


SWITCHES = ("restore_peeks", "decode_in_zap", "single_ptl")
BEHAVIOUR = ("ordering", *SWITCHES)

_PRESETS = [
    Algorithm(
        "unpatched",
        about="no care about the order of the anon_vma list: a merge puts the destination first",
        kernel="3.2",
    ),
    Algorithm(
        "moveto-tail",
        ordering="tail",
        decode_in_zap=True,
        about="anon_vma_moveto_tail() after a merge and before moving back (commit 948f017b)",
        kernel="3.3",
    ),
    Algorithm(
        "moveto-tail-merge-only",
        ordering="tail-after-merge",
        about="948f017b without its second call: nothing is done before a failed move is moved back",
        kernel="no release: half of the patch in 3.3",
    ),
    Algorithm(
        "peeking",
        restore_peeks=True,
        about="the restore walk looks at ptes without the page-table lock (before commit 486cf46f3f9b)",
        kernel="3.0",
    ),
    Algorithm(
        "rmap-locks",
        ordering="rmap-locks",
        about="the root anon_vma lock around each extent of the move (commit 108d6642ad81)",
        kernel="3.7",
    ),
]
PRESETS: dict[str, Algorithm] = {preset.name: preset for preset in _PRESETS}
ALIASES: dict[str, str] = {"linux-3.0": "peeking", "linux-3.2": "unpatched", "linux-3.3": "moveto-tail"}


def read_bool(text: str) -> bool | None:
    """true, yes, on, 1 and their opposites, in any case; None for any other text."""
    word = text.strip().lower()
    return True if word in _TRUE else False if word in _FALSE else None


def _field_value(where: str, name: str, text: str) -> str | bool:
    if name == "ordering":
        if text not in ORDERINGS:
            raise AlgorithmError(f"{where}: unknown ordering {quote(text)}{nearest(text, ORDERINGS)}")
        return text
    switch = read_bool(text)
    if switch is None:
        raise AlgorithmError(f"{where}: {name} must be true or false, not {quote(text)}")
    return switch
