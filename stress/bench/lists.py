"""The list in Cython against the same list in C: is klist.pxd free?

Compiles one small module with both, as a user's own module would be compiled, and runs them on the same memory in
turns. Only the ratio of neighbouring runs counts. The walk compares a bare C loop with the cursor, which also looks for
broken links: the price of the check is in the ratio.
"""

import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any

from anonvma_rt import get_cimport_path
from anonvma_rt.errors import UserError
from anonvma_rt.stress.bench.measure import Options, Turns, ratio, require, shown, spread

SIZES = 16, 64, 1024, 65536
OPERATIONS = 400_000
LANGUAGES = "c", "cython"
FLAGS = ["-O2", "-g0", "-pthread"]  # those of setup.py

SOURCE = r'''
from libc.stdlib cimport free, malloc
from anonvma_rt.engine.base.klist cimport *

cdef extern from *:
    """
    #include <stddef.h>

    struct c_list { struct c_list *next, *prev; };
    struct c_item { size_t value, weight; struct c_list link; };

    static inline void c_join(struct c_list *left, struct c_list *right) { right->prev = left; left->next = right; }

    static inline void c_add_tail(struct c_list *new_, struct c_list *head) {
        struct c_list *last = head->prev;
        c_join(new_, head);
        c_join(last, new_);
    }

    static inline void c_del(struct c_list *entry) {
        c_join(entry->prev, entry->next);
        entry->next = (struct c_list *)0xdead000000000100ULL;
        entry->prev = (struct c_list *)0xdead000000000122ULL;
    }

    static void c_pairs(struct c_item *items, size_t m, size_t n) {
        size_t at = 0;
        while (n--) {
            c_del(&items[at + 1].link);
            c_add_tail(&items[at + 1].link, &items[0].link);
            at = at + 1 == m ? 0 : at + 1;
        }
    }

    static size_t c_walk(struct c_item *items, size_t times) {
        struct c_list *head = &items[0].link, *pos;
        size_t sum = 0;
        while (times--)
            for (pos = head->next; pos != head; pos = pos->next) {
                struct c_item *entry = (struct c_item *)((char *)pos - offsetof(struct c_item, link));
                sum += entry->value * entry->weight;
            }
        return sum;
    }
    """
    struct c_item:
        pass
    void c_pairs(c_item *items, size_t m, size_t n) noexcept nogil
    size_t c_walk(c_item *items, size_t times) noexcept nogil


cdef struct item:
    size_t value
    size_t weight
    list_head link


cdef void cython_pairs(item *items, size_t m, size_t n) noexcept nogil:
    cdef size_t at = 0
    while n:
        n -= 1
        list_del(&items[at + 1].link)
        list_add_tail(&items[at + 1].link, &items[0].link)
        at = 0 if at + 1 == m else at + 1


cdef size_t cython_walk(item *items, size_t times) noexcept nogil:
    cdef list_cursor c
    cdef item *entry
    cdef size_t sum = 0
    while times:
        times -= 1
        c = list_for_each(&items[0].link)
        while list_step(&c):
            entry = <item *>container_of(c.pos, <size_t>&(<item *>NULL).link)
            sum += entry.value * entry.weight
    return sum


cdef class Nodes:
    cdef item *items
    cdef size_t m
    cdef public size_t sum

    def __cinit__(self, size_t m):
        self.m = m
        self.items = <item *>malloc((m + 1) * sizeof(item))
        if self.items == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.items)

    def fill(self):
        INIT_LIST_HEAD(&self.items[0].link)
        for i in range(1, self.m + 1):
            self.items[i].value = self.items[i].weight = i
            list_add_tail(&self.items[i].link, &self.items[0].link)

    def pairs_c(self, size_t n):
        with nogil:
            c_pairs(<c_item *>self.items, self.m, n)

    def pairs_cython(self, size_t n):
        with nogil:
            cython_pairs(self.items, self.m, n)

    def walk_c(self, size_t n):
        with nogil:
            self.sum = c_walk(<c_item *>self.items, n // self.m)

    def walk_cython(self, size_t n):
        with nogil:
            self.sum = cython_walk(self.items, n // self.m)
'''


def compile_module(name: str, source: str, folder: str) -> Any:
    """The module of that Cython source, built in `folder` against the installed .pxd files."""
    try:
        from Cython.Build import cythonize
        from setuptools import Distribution, Extension  # type: ignore[import-untyped]
    except ImportError as error:
        raise UserError(
            f"bench lists compiles a module and needs {error.name}: python -m pip install cython setuptools"
        ) from None
    path = Path(folder, f"{name}.pyx")
    path.write_text(source)
    extension = Extension(name, [str(path)], extra_compile_args=FLAGS, extra_link_args=["-pthread"])
    modules = cythonize([extension], include_path=[get_cimport_path()], language_level=3, quiet=True)
    command = Distribution({"ext_modules": modules}).get_command_obj("build_ext")
    command.build_lib = command.build_temp = folder
    command.ensure_finalized()
    try:
        command.run()
    except Exception as error:  # whatever setuptools makes of a compiler that is missing or fails
        raise UserError(f"bench lists compiles a module, and that failed: {error}") from None
    sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(folder)


def checked(nodes: Any, m: int) -> None:
    """Both languages must leave the same list behind, and walk all of it."""
    sums = []
    for language in LANGUAGES:
        nodes.fill()
        getattr(nodes, f"pairs_{language}")(m + m // 2)
        for walker in LANGUAGES:
            getattr(nodes, f"walk_{walker}")(m)
            sums.append(nodes.sum)
    require(sums == [sum(i * i for i in range(1, m + 1))] * 4, f"lists: a walk of {m} nodes meets every one")


def run(options: Options, sizes: tuple[int, ...] = SIZES, operations: int = OPERATIONS) -> dict[str, Any]:
    options.tell("lists: compiling")
    with tempfile.TemporaryDirectory(prefix="anonvma_rt_bench_") as folder:
        module = compile_module("anonvma_rt_list_bench", SOURCE, folder)
        cells = [(kind, m) for kind in ("pairs", "walk") for m in sizes]
        turns = Turns(options, "lists")
        for kind, m in cells:
            nodes = module.Nodes(m)
            checked(nodes, m)
            nodes.fill()
            for language in LANGUAGES:
                turns.add((kind, m, language), getattr(nodes, f"{kind}_{language}"), max(operations, m))
        turns.add_handoff()
        seconds = turns.measure()
    rows = []
    for kind, m in cells:
        plain, ours = (seconds[kind, m, language] for language in LANGUAGES)
        rows.append(
            {
                "operation": kind,
                "nodes": m,
                "c_nanoseconds": spread(plain, 1e9),
                "cython_nanoseconds": spread(ours, 1e9),
                "cython_over_c": ratio(ours, plain),
                "handoffs": ratio(ours, seconds["handoff"]),
            }
        )
    return {"rounds": options.rounds, "results": rows}


def text(result: dict[str, Any]) -> str:
    names = {"pairs": "list_del + list_add_tail", "walk": "one step of a walk"}
    lines = [
        f"The list in Cython and in C; median (min-max) of {result['rounds']} rounds.",
        "",
        f"  {'operation':26}{'nodes':>6}{'C, ns':>9}{'Cython, ns':>12}{'Cython / C':>20}{'hand-overs':>12}",
    ]
    for row in result["results"]:
        lines.append(
            f"  {names[row['operation']]:26}{row['nodes']:>6}{row['c_nanoseconds']['median']:9.2f}"
            f"{row['cython_nanoseconds']['median']:12.2f}{shown(row['cython_over_c']):>20}"
            f"{row['handoffs']['median']:12.5f}"
        )
    return "\n".join(lines)
