"""The .pyi files beside the compiled modules: mypy believes them, so they have to say what is there, name by name."""

import ast
import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import anonvma_rt

PACKAGE = Path(anonvma_rt.__file__).parent
STUBS = sorted(PACKAGE.rglob("*.pyi"))
IMPLICIT = {"self", "cls"}


def module_of(stub):
    return ".".join(("anonvma_rt", *stub.relative_to(PACKAGE).with_suffix("").parts))


def arguments(node):
    """(name, whether it has a default) of each argument in a stub, without self."""
    args = node.args
    plain = [*args.posonlyargs, *args.args]
    defaults = [False] * (len(plain) - len(args.defaults)) + [True] * len(args.defaults)
    pairs = list(zip((a.arg for a in plain), defaults, strict=True))
    pairs += [(args.vararg.arg, False)] if args.vararg else []
    pairs += [(a.arg, d is not None) for a, d in zip(args.kwonlyargs, args.kw_defaults, strict=True)]
    pairs += [(args.kwarg.arg, False)] if args.kwarg else []
    return [pair for pair in pairs if pair[0] not in IMPLICIT]


def real_arguments(function):
    parameters = inspect.signature(function).parameters.values()
    return [(p.name, p.default is not p.empty) for p in parameters if p.name not in IMPLICIT]


def constructor(cls):
    """The same from the first line of the docstring, where Cython writes the signature of an extension type."""
    if not isinstance(cls.__init__, type(object.__init__)):
        return real_arguments(cls.__init__)
    line = (cls.__doc__ or "").splitlines()[0]
    found = re.fullmatch(rf"{cls.__name__}\((.*)\)", line)
    if found is None:
        return []
    # `int cpu=-1` and `const unsigned char[::1] events` have a C type in front.
    text = ", ".join(re.sub(r"^.* (?=\w+(=|$))", "", part.strip()) for part in found[1].split(","))
    parsed = ast.parse(f"def f({text}): pass").body[0]
    return arguments(parsed)


def members(cls_node):
    for node in cls_node.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.AnnAssign):
            yield node.target.id, None
        elif isinstance(node, ast.Assign):
            yield node.targets[0].id, None


@pytest.mark.parametrize("stub", STUBS, ids=module_of)
def test_a_stub_says_what_is_there(stub):
    module = importlib.import_module(module_of(stub))
    for node in ast.parse(stub.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            assert arguments(node) == real_arguments(getattr(module, node.name)), node.name
        elif isinstance(node, ast.AnnAssign):
            assert hasattr(module, node.target.id), node.target.id
        elif isinstance(node, ast.ClassDef):
            cls = getattr(module, node.name)
            assert isinstance(cls, type)
            bases = {base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "") for base in node.bases}
            theirs = {one.__name__ for one in cls.__mro__} | {"NamedTuple", "", "Iterator"}
            assert bases <= theirs, node.name
            for name, member in members(node):
                if member is None or any(getattr(d, "id", "") == "property" for d in member.decorator_list):
                    fields = getattr(cls, "_fields", ())
                    # An exception's own fields are there when it was made.
                    assert hasattr(cls, name) or name in fields or issubclass(cls, Exception | int), (
                        f"{node.name}.{name}"
                    )
                elif name == "__init__":
                    assert arguments(member) == constructor(cls), f"{node.name}()"
                elif not name.startswith("__"):
                    assert arguments(member) == real_arguments(getattr(cls, name)), f"{node.name}.{name}"
                else:
                    assert hasattr(cls, name), f"{node.name}.{name}"


def public(module):
    for name, value in vars(module).items():
        ours = getattr(value, "__module__", None) == module.__name__
        if not name.startswith("_") and ours and (isinstance(value, type) or callable(value)):
            yield name


@pytest.mark.parametrize("stub", [s for s in STUBS if s.stem != "program"], ids=module_of)
def test_a_stub_says_all_that_is_there(stub):
    said = {node.name for node in ast.parse(stub.read_text()).body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    assert set(public(importlib.import_module(module_of(stub)))) <= said


def test_every_compiled_module_that_the_package_imports_has_a_stub():
    pattern = re.compile(r"^\s*from (anonvma_rt\.(?:engine|mm|api|kernel_api)[\w.]*) import", re.MULTILINE)
    imported = {name for path in PACKAGE.rglob("*.py") for name in pattern.findall(path.read_text())}
    places = {name: PACKAGE.joinpath(*name.split(".")[1:]) for name in imported}
    compiled = {name for name, at in places.items() if not (at.is_dir() or at.with_suffix(".py").exists())}
    assert compiled and compiled <= {module_of(stub) for stub in STUBS}


def test_a_user_s_program_is_checked_by_mypy(tmp_path):
    pytest.importorskip("mypy")
    (tmp_path / "mine.py").write_text(
        "from anonvma_rt import PyStrategy, Moment, Recording, hunt, subject\n"
        "class Mine(PyStrategy):\n"
        "    def choose(self, moment: Moment) -> int:\n"
        "        return moment.enabled[0]\n"
        "reveal_type(hunt('merge', strategy=Mine()).results[0].first)\n"
        "reveal_type(Recording('x').process().mmap(1))\n"
        "subject(3)\n"
        "hunt('merge', strategy=3)\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), "mine.py"]
    # An installed package is found by itself.
    path = {"MYPYPATH": str(PACKAGE.parent)} if (PACKAGE.parent / "cython_src").exists() else {}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={"PATH": os.defpath, **path})
    said = [line for line in done.stdout.splitlines() if line.startswith("mine.py:")]
    assert [line.split(":")[1] for line in said] == ["5", "6", "7", "8"], done.stdout + done.stderr
    assert ".First" in said[0] and re.search(r"\b(builtins\.)?int\b", said[1])
    assert "arg-type" in said[2] and "arg-type" in said[3]
