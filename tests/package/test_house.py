"""The house: imports run one way, folders and files are small, and a litmus test never loads the simulated kernel."""

import ast
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import anonvma_rt

ROOT = Path(__file__).parents[2]
PACKAGE = "anonvma_rt"

# What Python imports, from the ground up: an import stays in its folder or goes to a line further up in this list.
LAYERS = (
    "errors", "text", "linux", "engine api", "subjects linear", "litmus own", "programs", "mm", "kernel",
    "lab importing", "execution", "auditing", "search shrinking storming show", "releases",
    "hypothesis pytest_anonvma_rt", "stress", "cli", "__main__",
)  # fmt: skip
# Of those, the ones that only some may ask for.
ONLY = {"mm": "kernel stress", "stress": "stress cli"}
# And where a module may be loaded only when it is used: inside a function.
LATE = ("lab kernel", "cli stress")
# Arrows beside these: `storm` has the confidence bounds of a hunt.
BESIDE = ("storming search.bounds",)

# What the compiled half cimports: a folder, and the folders or modules that it may name beside itself.
ENGINE = "engine.base engine.memory engine.order engine.run engine.strategy"
CIMPORTS = {
    "": "engine.memory engine.run mm.hooks mm.mm_types",
    "engine.base": "engine.audit.access",
    "engine.order": "engine.base",
    "engine.run": "engine.base engine.order engine.audit.access",
    "engine.memory": "engine.audit.access engine.base engine.order engine.run",
    "engine.audit": "engine.base engine.order engine.run",
    "engine.strategy": "engine.base engine.order engine.run",
    "engine.search": ENGINE,
    "engine.parallel": "engine.base engine.order engine.run",
    "engine.calls": "engine.base engine.run",
    "litmus": "engine.base engine.memory engine.run",
    "programs": "engine.base engine.calls engine.memory engine.order engine.run",
    "mm.hooks": "engine.run mm.mm_types",
    "mm": "engine.audit.access engine.base engine.memory engine.run engine.parallel mm.hooks",
    "mm.lab": "engine.audit.access engine.base engine.run engine.parallel mm.hooks mm",
    "stress.scaling": "engine.base engine.run mm mm.hooks mm.lab",
}
# Circles of cimports that mirror the kernel's own files would stand here; there are none.
CIRCLES: tuple[str, ...] = ()

MOST_FILES, MOST_LINES = 9, 400
# Folders with a file for each of many alike: the kernel's own files, the strategies, what is measured.
MANY = ("cython_src/anonvma_rt/mm", "cython_src/anonvma_rt/engine/strategy", "stress/bench")
CIMPORT = re.compile(r"^\s*(?:from\s+(anonvma_rt[\w.]*)\s+c?import|c?import\s+(anonvma_rt[\w.]*))", re.M)
# Words of the subject that have no meaning to a scheduler.
SUBJECT = re.compile(r"\b(pte|vma|anon_vma|mremap|mm_struct|page_table|rmap|migrat\w*|pgoff)\b", re.I)


def files(*patterns):
    found = [path for pattern in patterns for path in sorted(ROOT.glob(pattern))]
    assert found
    return found


PRODUCT = files("anonvma_rt/**/*.py", "stress/**/*.py", "pytest_anonvma_rt.py", "cython_src/**/*.py[xd]")


def named(path):
    """The name of a module by its file: stress/ is installed as anonvma_rt.stress."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[1:] if parts[0] == "cython_src" else (PACKAGE, *parts) if parts[0] == "stress" else parts
    return ".".join(parts).removesuffix(".__init__")


# ---- Python ----------------------------------------------------------------------------------------------------------


def python_imports(text):
    """(what is imported, "now" or "late") for each import of this package; those for type checkers are none."""

    def visit(node, when):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            names = []
            if isinstance(child, ast.ImportFrom):
                names = [f"{child.module}.{one.name}" for one in child.names]
            elif isinstance(child, ast.Import):
                names = [one.name for one in child.names]
            yield from ((name, when) for name in names if name.split(".")[0] == PACKAGE)
            yield from visit(child, "late" if isinstance(child, ast.FunctionDef | ast.Lambda) else when)

    return list(visit(ast.parse(text), "now"))


def folder_of(name):
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == PACKAGE else "" if parts[0] == PACKAGE else parts[0]


def wrong_arrows(modules):
    """The imports that the tables above do not have; modules: their text by name."""
    floor = {folder: i for i, line in enumerate(LAYERS) for folder in line.split()}
    found = []
    for name, text in modules.items():
        here = folder_of(name)
        for target, when in python_imports(text) if here else []:
            there = folder_of(target)
            if target.removeprefix(f"{PACKAGE}.") in (*anonvma_rt.__all__, "__version__"):
                # From the public face; within the house a name is imported from where it lives.
                right = target.endswith(("__version__", "get_cimport_path")) or floor[here] >= floor["hypothesis"]
            elif there not in floor:
                right = False
            elif any(target.startswith(f"{PACKAGE}.{to}") for at, to in map(str.split, BESIDE) if at == here):
                right = True
            elif f"{here} {there}" in LATE:
                right = when == "late"
            else:
                right = here == there or (floor[there] < floor[here] and here in ONLY.get(there, here).split())
            if not right:
                found.append(f"{name} -> {target} ({when})")
    return found


def circles(graph):
    """One circle of a graph {module: what it imports}, as a list of names; empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def import_graph(modules):
    """What loads what when it is imported."""
    graph = {}
    for name, text in modules.items():
        targets = {target for target, when in python_imports(text) if when == "now"}
        known = {t if t in modules else t.rpartition(".")[0] for t in targets}
        graph[name] = {t for t in known if t in modules and t not in (name, PACKAGE)}
    return graph


def python_modules():
    return {named(path): path.read_text() for path in PRODUCT if path.suffix == ".py"}


def test_python_imports_go_down():
    assert wrong_arrows(python_modules()) == []


def test_python_modules_do_not_import_in_a_circle():
    assert circles(import_graph(python_modules())) == []


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("text.files", "from anonvma_rt.kernel.algorithm import read_bool"),
        ("litmus.litmus", "from anonvma_rt.own.subject import Embedded"),
        ("execution.record", "def late():\n    from anonvma_rt.search.hunt import hunt"),
        ("search.hunt", "import anonvma_rt.mm.lab.kernel"),
        ("lab.load", "from anonvma_rt.kernel.scenario import Scenario"),
        ("search.verify", "from anonvma_rt.storming.storm import storm"),
        ("show.story", "from anonvma_rt import hunt"),
        ("cli.options", "from anonvma_rt.mm.hooks.rule import Rule"),
        ("show.story", "from anonvma_rt.unknown import thing"),
    ],
)
def test_a_planted_arrow_is_seen(module, text):
    assert wrong_arrows({f"{PACKAGE}.{module}": text})


def test_what_the_tables_allow_is_no_planted_arrow():
    late = "def f():\n    from anonvma_rt.kernel.scenario import Scenario"
    typed = "if TYPE_CHECKING:\n    from anonvma_rt.search.hunt import hunt"
    right = {"lab.load": late, "text.files": "from anonvma_rt.errors import quote", "execution.record": typed}
    assert wrong_arrows({f"{PACKAGE}.{name}": text for name, text in right.items()}) == []


def test_a_planted_circle_is_seen():
    one, two = f"from {PACKAGE}.text.b import x", f"from {PACKAGE}.text.a import y"
    assert circles(import_graph({f"{PACKAGE}.text.a": one, f"{PACKAGE}.text.b": two}))
    late = f"def f():\n    {two}"
    assert not circles(import_graph({f"{PACKAGE}.text.a": one, f"{PACKAGE}.text.b": late}))


# ---- the compiled half -----------------------------------------------------------------------------------------------


def cimports(text):
    return [one or other for one, other in CIMPORT.findall(text)]


def wrong_cimports(modules):
    """Those that CIMPORTS does not have; modules: (name, text)."""
    found = []
    for name, text in modules:
        here = name.removeprefix(f"{PACKAGE}.").rpartition(".")[0]
        allowed = [here, *CIMPORTS[here].split()]
        for target in cimports(text):
            place = target.removeprefix(f"{PACKAGE}.")
            if place.rpartition(".")[0] not in allowed and place not in allowed:
                found.append(f"{name} -> {target}")
    return found


def cimport_graph(modules):
    graph = {}
    for name, text in modules:
        graph.setdefault(name, set()).update(set(cimports(text)) - {name})
    return graph


def compiled():
    patterns = ("cython_src/anonvma_rt/**/*.py[xd]", "stress/scaling/*.py[xd]")
    return [(named(path), path.read_text()) for path in files(*patterns) if path.stem != "__init__"]


def test_cimports_go_down():
    assert wrong_cimports(compiled()) == []


def test_no_module_cimports_in_a_circle_but_those_that_the_kernel_has():
    graph = {name: {t for t in targets if t not in CIRCLES} for name, targets in cimport_graph(compiled()).items()}
    assert circles(graph) == []


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("engine.base.rng", "from anonvma_rt.engine.run.task cimport Task"),
        ("engine.run.block", "from anonvma_rt.engine.search.search cimport Search"),
        ("engine.run.block", "from anonvma_rt.engine.strategy.pct cimport Pct"),
        ("litmus.program", "from anonvma_rt.mm.vma cimport vma_merge"),
        ("mm.vma", "from anonvma_rt.mm.lab.world cimport World"),
        ("engine.order.classes", "from anonvma_rt.mm.mm_types cimport page"),
    ],
)
def test_a_planted_cimport_is_seen(module, text):
    assert wrong_cimports([(f"{PACKAGE}.{module}", text)])
    assert circles(cimport_graph([("anonvma_rt.a", "import anonvma_rt.b"), ("anonvma_rt.b", "cimport anonvma_rt.a")]))


@pytest.mark.parametrize("path", files("cython_src/anonvma_rt/engine/**/*.py[xd]"), ids=lambda p: p.name)
def test_the_engine_never_names_the_subject(path):
    assert SUBJECT.findall(path.read_text()) == []


# ---- folders and files -----------------------------------------------------------------------------------------------


def crowded(paths):
    """The folders with too many modules; paths: those of files below the root."""
    modules = {}
    for path in paths:
        if path.stem != "__init__":
            modules.setdefault(path.parent.as_posix(), set()).add(path.stem)
    return [folder for folder, names in modules.items() if len(names) > MOST_FILES and folder not in MANY]


def test_no_folder_has_more_files_than_one_can_keep_in_mind():
    assert crowded(path.relative_to(ROOT) for path in PRODUCT) == []
    assert crowded(Path(f"anonvma_rt/text/{i}.py") for i in range(10)) == ["anonvma_rt/text"]


def long(texts):
    return [name for name, text in texts.items() if text.count("\n") > MOST_LINES]


def test_no_file_is_too_long_to_be_read_in_one_go():
    assert long({path.relative_to(ROOT).as_posix(): path.read_text() for path in PRODUCT}) == []
    assert long({"x": "\n" * 401, "y": "\n" * 400}) == ["x"]


def test_every_file_has_a_head():
    for path in PRODUCT:
        text = path.read_text()
        assert text == "" or text.startswith(('"""', "# ")), path


# ---- what is loaded --------------------------------------------------------------------------------------------------


def loaded_after(code):
    """The modules of this package that a fresh Python has loaded then."""
    code += "\nimport sys\nprint(*(name for name in sys.modules if name.startswith('anonvma_rt')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_a_litmus_test_never_loads_the_simulated_kernel(tmp_path):
    loaded = loaded_after(
        "from anonvma_rt import Reproducer, hunt, replay, shrink, verify\n"
        f"first = hunt('lock-order', runs=200, out={str(tmp_path)!r}).results[0].first\n"
        "replay(Reproducer.load(first.reproducer)).explorer.close()\n"
        "shrink(first.reproducer)\n"
        "verify('order', {'pages': 2}, ['patched'])\n"
    )
    assert f"{PACKAGE}.litmus.program" in loaded
    assert [name for name in loaded if name.startswith((f"{PACKAGE}.mm", f"{PACKAGE}.kernel"))] == []


def test_the_public_names_are_loaded_when_they_are_asked_for():
    assert loaded_after("import anonvma_rt") == {PACKAGE}
    assert f"{PACKAGE}.kernel.machine" in loaded_after("from anonvma_rt import Machine")
    assert set(anonvma_rt.__all__) <= set(dir(anonvma_rt))
    assert all(getattr(anonvma_rt, name) for name in anonvma_rt.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = anonvma_rt.nothing
