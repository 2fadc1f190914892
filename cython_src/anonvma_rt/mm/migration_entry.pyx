"""Decodes migration entries (see migration_entry.pxd)."""

from libc.stdint cimport int64_t, uint64_t

from anonvma_rt.engine.base.operation cimport OP_LOAD
from anonvma_rt.engine.run.sync cimport lock_is_held, mutex_t
from anonvma_rt.engine.run.task cimport Task, point, violate
from anonvma_rt.mm.hooks.notes cimport BUG_ON, BUG_PAGE_NOT_LOCKED
from anonvma_rt.mm.mm_types cimport page, page_at, pte_pfn, pte_t
from anonvma_rt.mm.page_lock cimport page_lockptr


cdef page *decode_migration_entry(Task *t, pte_t pte, uint64_t address) noexcept nogil:
    """migration_entry_to_page: an entry whose page is not locked is a BUG, because its migration has ended."""
    cdef page *p = page_at(t, pte_pfn(pte))
    cdef mutex_t *lock = page_lockptr(t, p)
    point(t, OP_LOAD, lock)
    if not lock_is_held(lock):
        violate(t, BUG_ON, BUG_PAGE_NOT_LOCKED, p.pfn, <int64_t>address)
    return p
