"""The table of mutants, engine.toml: how it is read, and what must be true of it."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TABLE = Path(__file__).with_name("engine.toml")
COMPILED = "cython_src/anonvma_rt/"


@dataclass(frozen=True)
class Mutant:
    """One mistake.

    file: from the checkout's root. old: a text that occurs once in it; new: what it becomes; why: what is wrong then.
    test: the pytest node that fails. modules: the compiled modules that are built again, without the package's name.
    """

    name: str
    file: str
    old: str
    new: str
    why: str
    test: str
    modules: tuple[str, ...]


def read(path: Path = TABLE) -> dict[str, Mutant]:
    """By name. What is inlined by a .pxd has its `modules` in the table; a .pyx is one module."""
    mutants: dict[str, Mutant] = {}
    for group in tomllib.loads(path.read_text())["group"]:
        for one in group["mutant"]:
            file = one.get("file", group.get("file"))
            modules = one.get("modules", group.get("modules"))
            if modules is None:
                compiled = file.startswith(COMPILED) and file.endswith(".pyx")
                modules = [file.removeprefix(COMPILED).removesuffix(".pyx").replace("/", ".")] if compiled else []
            one = {**one, "file": file, "modules": tuple(modules), "test": one.get("test", group.get("test"))}
            if one["name"] in mutants:
                raise ValueError(f"two mutants are called {one['name']}")
            mutants[one["name"]] = Mutant(**one)
    return mutants


def mistakes(root: Path, mutant: Mutant) -> Iterator[str]:
    """Why it cannot be made in this checkout: one sentence each."""
    file, (test, _, function) = root / mutant.file, mutant.test.partition("::")
    times = file.read_text().count(mutant.old) if file.is_file() else 0
    if times != 1:
        yield f"{mutant.name}: {mutant.file} has its text {times} times"
    if mutant.old == mutant.new:
        yield f"{mutant.name}: nothing is changed"
    if mutant.file.endswith(".pxd") and not mutant.modules:
        yield f"{mutant.name}: no module is named that inlines it"
    written = (root / test).read_text() if (root / test).is_file() else ""
    if f"def {function.partition('[')[0]}(" not in written:
        yield f"{mutant.name}: there is no test {mutant.test}"
