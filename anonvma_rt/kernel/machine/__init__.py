"""Machine: the simulated kernel driven by hand, one call at a time.

What a scenario lets tasks do at the same time, a Machine does one after the other, from Python, a REPL or a notebook:
map, touch, fork, move, migrate, and look at vmas, page tables, pages and the reverse map after every step. Addresses
are ints in bytes, lengths are pages of 4096 bytes.
"""

from anonvma_rt.kernel.machine.machine import Machine
from anonvma_rt.kernel.machine.process import Process
from anonvma_rt.kernel.machine.shown import KernelBug, Page, Pte, Violation, Vma

__all__ = ["KernelBug", "Machine", "Page", "Process", "Pte", "Violation", "Vma"]
