"""The list in Cython against the same list in C: is klist.pxd free?

Compiles one small module with both, as a user's own module would be compiled, and runs them on the same memory in
turns. Shared machines are noisy, so only the ratio of neighbouring runs counts, and its median over the rounds. The
walk compares a bare C loop with the cursor, which also looks for broken links: the price of the check is in the ratio.

    python -m anonvma_rt.stress.bench.klist [--json]
"""

import argparse
import importlib
import json as _json
import statistics
import sys
import tempfile
from pathlib import Path
from time import perf_counter_ns

from anonvma_rt import get_cimport_path

SIZES = 16, 64, 1024, 65536
ROUNDS = 15
OPERATIONS = 1_000_000
FLAGS = ["-O2", "-g0", "-pthread"]  # those of setup.py

SOURCE = r'''
from libc.stdlib cimport free, malloc
from anonvma_rt.engine.klist cimport *

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


def compile_module(name: str, source: str, folder: str):
    """The module of that Cython source, built in `folder` against the installed .pxd files."""
    try:
        from Cython.Build import cythonize
        from setuptools import Distribution, Extension  # type: ignore[import-untyped]
    except ImportError as error:
        raise SystemExit(
            f"the benchmark compiles a module and needs {error.name}: pip install cython setuptools"
        ) from None
    path = Path(folder, f"{name}.pyx")
    path.write_text(source)
    extension = Extension(name, [str(path)], extra_compile_args=FLAGS, extra_link_args=["-pthread"])
    modules = cythonize([extension], include_path=[get_cimport_path()], language_level=3, quiet=True)
    command = Distribution({"ext_modules": modules}).get_command_obj("build_ext")
    command.build_lib = command.build_temp = folder
    command.ensure_finalized()
    command.run()
    sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(folder)


def measure(nodes, kind: str, m: int, rounds: int, operations: int) -> dict:
    """Nanoseconds per operation of both, and the ratio of neighbours; the order alternates, so that a drift cancels."""
    nanoseconds: dict[str, list[float]] = {"c": [], "cython": []}
    for turn in range(-1, rounds):
        for language in ("c", "cython") if turn % 2 else ("cython", "c"):
            run = getattr(nodes, f"{kind}_{language}")
            nodes.fill()
            run(m)
            start = perf_counter_ns()
            run(operations)
            if turn >= 0:
                nanoseconds[language].append((perf_counter_ns() - start) / operations)
    if kind == "walk":
        sums = [getattr(nodes, f"walk_{language}")(m) or nodes.sum for language in nanoseconds]
        assert sums == [sum(i * i for i in range(1, m + 1))] * 2, "a walk missed entries, its time means nothing"
    ratios = [ours / plain for ours, plain in zip(nanoseconds["cython"], nanoseconds["c"], strict=True)]
    return {
        "operation": kind,
        "nodes": m,
        "c_ns": statistics.median(nanoseconds["c"]),
        "cython_ns": statistics.median(nanoseconds["cython"]),
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
    }


def run(sizes=SIZES, rounds: int = ROUNDS, operations: int = OPERATIONS) -> dict:
    """The measurements as `{"benchmark", "rounds", "results": [...]}`, one result per operation and number of nodes."""
    with tempfile.TemporaryDirectory(prefix="anonvma_rt_bench_") as folder:
        module = compile_module("anonvma_rt_klist_bench", SOURCE, folder)
        results = [
            measure(module.Nodes(m), kind, m, rounds, max(operations, m)) for kind in ("pairs", "walk") for m in sizes
        ]
    return {"benchmark": "klist", "rounds": rounds, "results": results}


def main(json: bool = False) -> int:
    """Prints the table, or one JSON object."""
    result = run()
    if json:
        print(_json.dumps(result))
        return 0
    names = {"pairs": "list_del + list_add_tail", "walk": "one step of a walk"}
    print(
        f"{'operation':26} {'nodes':>6} {'C ns':>7} {'Cython ns':>10}  Cython/C: median of {result['rounds']} (min-max)"
    )
    for row in result["results"]:
        print(
            f"{names[row['operation']]:26} {row['nodes']:>6} {row['c_ns']:>7.2f} {row['cython_ns']:>10.2f}"
            f"  {row['ratio']:.2f} ({row['ratio_min']:.2f}-{row['ratio_max']:.2f})"
        )
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser("python -m anonvma_rt.stress.bench.klist", description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    sys.exit(main(parser.parse_args().json))
