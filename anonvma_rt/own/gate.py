"""Code of the user's own, named `module:Class`: a subject, a strategy or a rule.

To name it is to run it, so it is imported here and nowhere else, and only for a name that the user said: on the command
line, or as an argument in Python. A name that stands in a file (a scenario, a reproducer, a campaign) is looked up
among what was imported in that way (`find`), and is an error where it was not.
"""

import hashlib
import importlib
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from anonvma_rt.api import CHECKED
from anonvma_rt.errors import UserError, quote

__all__ = ["digest", "find", "import_class", "is_own", "must_be_checked", "name_of"]

_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def is_own(text: str) -> bool:
    """Whether `text` has the form `module:Class` (and is not the path of a file).

    >>> is_own("mymodule:Stack"), is_own("pct:depth=3"), is_own("a:b.toml")
    (True, False, False)
    """
    return bool(_NAME.fullmatch(text))


def name_of(cls: type) -> str:
    """The name under which a class can be named."""
    return f"{cls.__module__}:{cls.__qualname__}"


def import_class(name: str, base: type, what: str) -> type:
    """The class `module:Class`, which must be a `base`. Imports the module; the current folder is searched last.

    Raises UserError, with what the import said where it failed.
    """
    if not is_own(name):
        raise UserError(f"{what} {quote(name)}: a class of your own is named module:Class")
    module_name, _, class_name = name.partition(":")
    try:
        here = str(Path.cwd())
    except OSError:  # the folder is gone
        here = ""
    if here and here not in sys.path and "" not in sys.path:
        sys.path.append(here)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        said = str(error) if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"
        raise UserError(f"{what} {name}: {module_name} cannot be imported: {said}") from error
    cls = getattr(module, class_name, None)
    if not isinstance(cls, type) or not issubclass(cls, base):
        there = sorted(
            k for k, v in vars(module).items() if isinstance(v, type) and issubclass(v, base) and v is not base
        )
        right = f"it has {', '.join(there)}" if there else "it has none"
        raise UserError(f"{what} {name}: {module_name} has no {base.__name__} of that name ({right})")
    return cls


def digest(classes: Iterable[type]) -> str:
    """SHA-256 over the files of their modules, "" for no class: whether it still is the same code."""
    sha = hashlib.sha256()
    names = sorted({one.__module__ for one in classes})
    for name in names:
        file = getattr(sys.modules.get(name), "__file__", None)
        sha.update(name.encode() + b"\0" + (Path(file).read_bytes() if file else b""))
    return sha.hexdigest() if names else ""


def must_be_checked(cls: type, what: str) -> None:
    """A compiled class that may have been built against other structs would read wrong memory: it has to have asked."""
    modules = {one.__module__ for one in cls.__mro__}
    if not any(module in CHECKED for module in modules):
        raise UserError(
            f"{what} {name_of(cls)}: its module does not say what it was built against: put "
            "`from anonvma_rt.api cimport require_api` and `require_api(__name__)` below its cimports"
        )


def find(name: str, own: Iterable[Any], where: str, option: str) -> Any:
    """The one of `own` whose `name` is `name`. Raises UserError, which says how the user can name it."""
    for one in own:
        if one.name == name:
            return one
    maker = "subject" if is_own(name) else "native"
    in_python = f", or in Python pass {maker}({quote(name)})" if option == "--subject" else ""
    raise UserError(
        f"{where}: it needs code of your own, {quote(name)}, which no file may start: if you trust it, say so with "
        f"{option}{'' if option.endswith('=') else ' '}{name}{in_python}"
    )
