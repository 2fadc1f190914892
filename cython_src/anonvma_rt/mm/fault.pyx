"""Accesses of a user (see fault.pxd)."""

from libc.errno cimport EAGAIN, EFAULT
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset

from anonvma_rt.engine.base.operation cimport OP_LOAD, OP_STORE
from anonvma_rt.engine.base.os cimport rt_unlikely, write_onceu
from anonvma_rt.engine.run.sync cimport up_read
from anonvma_rt.engine.run.task cimport Task, point, violate
from anonvma_rt.mm.hooks.notes cimport BUG_FOREIGN_VMA, BUG_ON, LOST_PAGE, WRONG_PROTECTION
from anonvma_rt.mm.memory cimport handle_mm_fault, unpin_entry
from anonvma_rt.mm.mm_types cimport (
    PAGE_SIZE, VMA_LOCKS_NO, VM_READ, VM_WRITE, kernel_of, mm_struct, serial_of, vm_area_struct,
)
from anonvma_rt.mm.mmap cimport lock_mm_and_find_vma
from anonvma_rt.mm.pins cimport pin_seen
from anonvma_rt.mm.tlb cimport tlb_access, tlb_of
from anonvma_rt.mm.vm_fault cimport vm_fault
from anonvma_rt.mm.vma_lock cimport lock_vma_under_rcu, vma_end_read


cdef int64_t access_page(Task *t, vm_area_struct *vma, uint64_t address, bint write, int64_t tag) noexcept nogil:
    """Writes the content tag of one page (-1: writes what is there already), and returns what it holds then. The access
    happens while the pte allows it, so it is one step with the last look at the pte. -EFAULT outside every mapping, the
    same with READ_ONLY without the right to write or NO_ACCESS without any, or -ENOMEM. -EAGAIN where the vma lets it
    and the entry does not: somebody with mmap_sem may be changing both."""
    cdef vm_fault vmf
    cdef int64_t result
    cdef int error
    if vma == NULL or address < vma.vm_start:
        return -EFAULT
    if not vma.vm_flags & VM_READ:
        return -(EFAULT | NO_ACCESS)
    if write and not vma.vm_flags & VM_WRITE:
        return -(EFAULT | READ_ONLY)
    memset(&vmf, 0, sizeof(vmf))
    vmf.vma = vma
    vmf.address = address
    vmf.write = write
    error = handle_mm_fault(t, &vmf)
    if error < 0:
        return error
    if kernel_of(t).pins != NULL:
        pin_seen(t, vmf.mm, address, vmf.content, write)
        if vmf.content != NULL:
            point(t, OP_STORE if write else OP_LOAD, &vmf.content.tag)
    if write and tag >= 0:
        write_onceu(&vmf.content.tag, <uint32_t>tag)
    result = vmf.content.tag if vmf.content != NULL else 0
    unpin_entry(t, &vmf)
    return result


cdef int64_t access_one(Task *t, mm_struct *mm, uint64_t address, bint write, int64_t tag) noexcept nogil:
    cdef vm_area_struct *vma = NULL
    cdef int64_t result
    if rt_unlikely(tlb_of(t) != NULL) and tlb_access(t, mm, address, write, tag, &result):
        return result
    if kernel_of(t).algorithm.vma_locks != VMA_LOCKS_NO:
        vma = lock_vma_under_rcu(t, mm, address)
    if vma != NULL:
        if vma.vm_mm != mm:
            violate(t, BUG_ON, BUG_FOREIGN_VMA, serial_of(vma), vma.vm_mm.id)
        result = access_page(t, vma, address, write, tag)
        vma_end_read(t, vma)
        if result != -EAGAIN:
            return result
    result = access_page(t, lock_mm_and_find_vma(t, mm, address), address, write, tag)
    if result == -EAGAIN:
        violate(t, WRONG_PROTECTION, mm.id, <int64_t>address, 0)
    up_read(t, &mm.mmap_sem)
    return result


cdef int64_t access_range(Task *t, mm_struct *mm, int64_t start, int64_t pages, bint write, int64_t tag) noexcept nogil:
    """One fault's worth of locking at a time; the content of the last page, or -errno."""
    cdef int64_t i
    cdef int64_t result = 0
    for i in range(pages):
        result = access_one(t, mm, <uint64_t>(start + i * PAGE_SIZE), write, tag)
        if result < 0:
            break
    return result


cdef int compare(Task *t, mm_struct *mm, int64_t a, int64_t b, int64_t pages) noexcept nogil:
    """memcmp: a violation where the contents of two pages differ; 0 or -errno."""
    cdef int64_t i
    cdef int64_t left
    cdef int64_t right
    for i in range(pages):
        left = access_one(t, mm, <uint64_t>(a + i * PAGE_SIZE), False, 0)
        right = access_one(t, mm, <uint64_t>(b + i * PAGE_SIZE), False, 0) if left >= 0 else left
        if right < 0:
            return <int>right
        if left != right:
            violate(t, LOST_PAGE, a + i * PAGE_SIZE, b + i * PAGE_SIZE, left << 32 | right)
    return 0
