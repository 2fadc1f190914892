"""exec moves the stack that it has built to where it belongs (see exec.pxd), inside one vma.

The vma first grows downwards over the new place, with its vm_pgoff kept, so that from then on every index means the new
address; then the ptes move. In between they are where no walker computes them, and no order of a list helps.
"""

from libc.errno cimport EFAULT, EINVAL, ENOMEM
from libc.stdint cimport int32_t, uint32_t, uint64_t

from anonvma_rt.engine.base.operation cimport OP_STORE
from anonvma_rt.engine.base.os cimport write_once64, write_onceu
from anonvma_rt.engine.run.sync cimport down_write
from anonvma_rt.engine.run.task cimport Task, point
from anonvma_rt.mm.anon_vma cimport anon_vma_lock, anon_vma_unlock
from anonvma_rt.mm.anon_vma_chain cimport anon_vma_post_update, anon_vma_pre_update
from anonvma_rt.mm.fork cimport exit_mmap
from anonvma_rt.mm.free_pgtables cimport free_pgtables
from anonvma_rt.mm.mm_types cimport (
    EXEC_LOCK_ACROSS, EXEC_LOCK_MOVE, PAGE_SHIFT, PAGE_SIZE, VM_ACCOUNT, VM_STACK_INCOMPLETE_SETUP, announce_flags,
    anon_vma, kernel_of, member_of, mm_struct, vm_area_struct,
)
from anonvma_rt.mm.mmap cimport TASK_SIZE_SHIFT
from anonvma_rt.mm.mremap cimport move_page_tables, pagetable_move_control
from anonvma_rt.mm.pgtable cimport pgd_populate
from anonvma_rt.mm.vma cimport vma_adjust
from anonvma_rt.mm.vma_lock cimport mmap_write_unlock, rekey, vma_start_write
from anonvma_rt.mm.vma_tree cimport find_vma


cdef void widen(Task *t, vm_area_struct *vma, uint64_t start, bint locked) noexcept nogil:
    """vma_adjust() to a lower start with the same vm_pgoff; it takes the root's lock itself unless it is held."""
    if not locked:
        vma_adjust(t, vma, start, vma.vm_end, vma.vm_pgoff, NULL)
        return
    if kernel_of(t).algorithm.tree:
        anon_vma_pre_update(t, vma)
    pgd_populate(t, vma.vm_mm, start, vma.vm_end)
    point(t, OP_STORE, member_of(t, &vma.vm_start))
    write_once64(&vma.vm_start, start)
    rekey(t, vma)
    if kernel_of(t).algorithm.tree:
        anon_vma_post_update(t, vma)


cdef int shift_arg_pages(Task *t, vm_area_struct *vma, uint64_t shift) noexcept nogil:
    """exec_lock: where the root's lock is held, to show that only holding it across both steps would do. 0, or -ENOMEM
    with the stack half way: nothing moves back, because the process cannot go on."""
    cdef mm_struct *mm = vma.vm_mm
    cdef uint64_t old_start = vma.vm_start
    cdef uint64_t old_end = vma.vm_end
    cdef uint64_t floor = vma.vm_prev.vm_end if vma.vm_prev != NULL else 0
    cdef uint64_t ceiling = vma.vm_next.vm_start if vma.vm_next != NULL else <uint64_t>1 << TASK_SIZE_SHIFT
    cdef int rule = kernel_of(t).algorithm.exec_lock
    cdef anon_vma *locked = vma.anon_vma if rule == EXEC_LOCK_ACROSS else NULL
    cdef pagetable_move_control pmc
    cdef uint64_t moved
    vma_start_write(t, vma)
    if locked != NULL:
        anon_vma_lock(t, locked)
    widen(t, vma, old_start - shift, locked != NULL)
    pmc = pagetable_move_control(old=vma, new=vma, old_addr=old_start, old_end=old_end, new_addr=old_start - shift,
                                 need_rmap_locks=rule == EXEC_LOCK_MOVE)
    moved = move_page_tables(t, &pmc)
    if locked != NULL:
        anon_vma_unlock(t, locked)
    if moved < old_end - old_start:
        if vma.vm_flags & VM_ACCOUNT:
            mm.charged += <int32_t>(shift >> PAGE_SHIFT)
        return -ENOMEM
    free_pgtables(t, mm, old_end - shift if old_end - shift > old_start else old_start, old_end,
                  old_end - shift if old_end - shift > floor else floor, ceiling, False)
    return vma_adjust(t, vma, old_start - shift, old_end - shift, vma.vm_pgoff, NULL)


cdef int setup_arg_pages(Task *t, mm_struct *mm, uint64_t address, uint64_t shift) noexcept nogil:
    """Moves the temporary stack at `address` down by shift bytes and makes it an ordinary vma.

    0, -EINVAL for an unaligned or zero shift, -EFAULT where no temporary stack begins, -ENOMEM where the new place is
    not free or something follows the stack directly. -ENOMEM and the end of the process where a page table cannot be
    had: it has no former program to go back to.
    """
    cdef vm_area_struct *vma
    cdef bint killed = False
    cdef int result = 0
    down_write(t, &mm.mmap_sem)
    vma = find_vma(t, mm, address)
    if shift & (PAGE_SIZE - 1) or shift == 0 or shift > address:
        result = -EINVAL
    elif vma == NULL or vma.vm_start != address or not vma.vm_flags & VM_STACK_INCOMPLETE_SETUP:
        result = -EFAULT
    elif vma.vm_prev != NULL and vma.vm_prev.vm_end > address - shift:
        result = -ENOMEM
    elif vma.vm_next != NULL and vma.vm_next.vm_start == vma.vm_end:
        result = -ENOMEM
    else:
        result = shift_arg_pages(t, vma, shift)
        killed = result < 0
        if not killed:
            announce_flags(t, vma)
            write_onceu(&vma.vm_flags, vma.vm_flags & ~<uint32_t>VM_STACK_INCOMPLETE_SETUP)
    mmap_write_unlock(t, mm)
    if killed:
        exit_mmap(t, mm)
    return result
