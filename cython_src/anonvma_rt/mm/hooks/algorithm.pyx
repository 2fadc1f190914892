"""An algorithm's choices from Python: the struct of mm_types.pxd is the list of them, and is filled in by name."""

from anonvma_rt.mm.mm_types cimport algorithm

# Fields that take one of a few words, in the order of their enum. The first is what Linux 3.2 does.
CHOICES = {
    "ordering": ("none", "tail-after-merge", "tail", "rmap-locks", "need-rmap-locks", "fresh-vma", "double-walk",
                 "strict-rmap-locks"),
    "merge": ("3.0", "symmetric", "6.16", "6.16-uncloned", "6.16-forked", "6.16-unrepaired"),
    "reuse": ("no", "degree", "counters"),
    "exec_lock": ("widening", "move", "across"),
    "vma_locks": ("no", "racy", "fork", "6.4", "6.4-unlocked-import", "6.4-early-look", "6.4-released", "6.15",
                  "6.15-any-mm", "6.15-unpinned-mm"),
    "calls": ("3.2", "6.17"),
    "move_pages": ("3.2", "4.17", "4.3"),
    "growth": ("adjust", "merge-from-address", "merge"),
    "unstable_pmd": ("walks", "faults", "no"),
    "batches": ("no", "6.3", "waiting"),
    "cow_reuse": ("mapped-once", "5.9", "5.19"),
    "collapse": ("3.2", "4.1", "5.8"),
    "thp": ("3.2", "4.5", "4.14"),
    "huge_zero": ("no", "3.8", "5.8", "6.13"),
    "split_migrating": ("no", "counts", "references"),
    "aligned": ("no", "6.8", "6.12"),
    "swapin": ("cache", "direct", "prepared"),
    "uffd_swap": ("6.8", "6.14", "6.16"),
    "gup_cow": ("no", "5.8", "5.19"),
    "move_flush": ("end", "each", "dirty", "locked"),
    "missing_flush": ("no", "fork", "cow", "protect", "unmap"),
    "gather_flush": ("mm", "rest", "short", "gathered"),
}

cdef algorithm BLANK
# A struct is a dict to Python, which has its fields in their order.
FIELDS = tuple(BLANK)


cdef algorithm read_algorithm(object fields) except *:
    """From a mapping with the fields of anonvma_rt.kernel.algorithm.Algorithm, which explains them."""
    return {name: CHOICES[name].index(fields[name]) if name in CHOICES else fields[name] for name in FIELDS}
