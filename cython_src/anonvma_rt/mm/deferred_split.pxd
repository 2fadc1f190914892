"""The shrinker that splits huge pages of which only a part is mapped (deferred_split_scan of mm/huge_memory.c, 4.5).

It comes without any mmap_sem; deferred_queue has what protects the queue. """

from anonvma_rt.engine.run.task cimport Task

cdef int deferred_split_scan(Task *t) noexcept nogil
