"""What a migration entry says (migration_entry_to_page of linux/swapops.h)."""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport page, pte_t

cdef page *decode_migration_entry(Task *t, pte_t pte, uint64_t address) noexcept nogil
