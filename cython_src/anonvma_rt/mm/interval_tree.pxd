"""The vmas of an anon_vma by vm_pgoff: the interval tree that replaced the list in Linux 3.7 (mm/interval_tree.c).

The root anon_vma's lock protects it. Keys are the vmas' own fields, read when they are needed, so whoever changes a
vma takes its entries out first and puts them back afterwards; entries with equal keys stand in the order of insertion.
"""

from libc.stdint cimport uint64_t

from anonvma_rt.mm.mm_types cimport anon_vma, anon_vma_chain

cdef void anon_vma_interval_tree_insert(anon_vma *av, anon_vma_chain *avc) noexcept nogil
cdef void anon_vma_interval_tree_remove(anon_vma *av, anon_vma_chain *avc) noexcept nogil
cdef anon_vma_chain *anon_vma_interval_tree_first(anon_vma *av, uint64_t index, uint64_t last) noexcept nogil
cdef anon_vma_chain *anon_vma_interval_tree_next(anon_vma_chain *avc, uint64_t index, uint64_t last) noexcept nogil
