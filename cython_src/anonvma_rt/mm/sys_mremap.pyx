"""The system call mremap: arguments, refusals, and which moves they ask for (the second half of mm/mremap.c).

mmap_sem is held for writing for the whole call. Two versions: that of 3.2, and the one of 6.17, which looks first.
"""

from libc.errno cimport EFAULT, EINVAL, ENOMEM
from libc.stdint cimport int32_t, int64_t, uint64_t

from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport (
    CALLS_6_17, GROWTH_ADJUST, GROWTH_MERGE, GROWTH_MERGE_FROM_ADDRESS, MAX_MAP_COUNT, PAGE_SHIFT, PAGE_SIZE,
    VM_ACCOUNT, kernel_of, mm_struct, vm_area_struct, vma_pages,
)
from anonvma_rt.mm.mmap cimport TASK_SIZE_SHIFT, do_munmap, get_unmapped_area
from anonvma_rt.mm.mremap cimport move_vma
from anonvma_rt.mm.vma cimport vma_adjust, vma_merge, vma_merge_struct
from anonvma_rt.mm.vma_tree cimport find_vma

cdef uint64_t TASK_SIZE = <uint64_t>1 << TASK_SIZE_SHIFT


cdef vm_area_struct *vma_to_resize(Task *t, mm_struct *mm, uint64_t address, uint64_t old_length) noexcept nogil:
    """The one vma that holds the whole range, or NULL (-EFAULT)."""
    cdef vm_area_struct *vma = find_vma(t, mm, address)
    if vma == NULL or vma.vm_start > address or old_length > vma.vm_end - address:
        return NULL
    if old_length == 0 and kernel_of(t).algorithm.refuse_copies and kernel_of(t).algorithm.calls != CALLS_6_17:
        return NULL
    return vma


cdef int64_t resize_error(Task *t, mm_struct *mm, uint64_t address, uint64_t old_length) noexcept nogil:
    """Why vma_to_resize() found none. Since 4.14 (dba58d3b8c50) private memory is not to be copied by an old length of
    0, which makes a second mapping of what is shared, and of private memory an empty one."""
    cdef vm_area_struct *vma = find_vma(t, mm, address)
    if old_length == 0 and vma != NULL and vma.vm_start <= address:
        return -EINVAL
    return -EFAULT


cdef int64_t mremap_to(Task *t, mm_struct *mm, uint64_t address, uint64_t old_length, uint64_t to,
                       uint64_t new_length, bint dontunmap) noexcept nogil:
    """MREMAP_FIXED: whatever is at the destination is unmapped first, even if the call fails later."""
    cdef vm_area_struct *vma
    cdef int error
    if to & (PAGE_SIZE - 1) or new_length > TASK_SIZE or to > TASK_SIZE - new_length:
        return -EINVAL
    # Two questions, as in the kernel: where old_length is 0, one condition for both would let to == address pass.
    if (to <= address and address < to + new_length) or (address <= to and to < address + old_length):
        return -EINVAL
    error = do_munmap(t, mm, to, new_length, False)
    if error < 0:
        return error
    if old_length >= new_length:
        if old_length > new_length:
            error = do_munmap(t, mm, address + new_length, old_length - new_length, False)
            if error < 0:
                return error
        old_length = new_length
    vma = vma_to_resize(t, mm, address, old_length)
    if vma == NULL:
        return resize_error(t, mm, address, old_length)
    return move_vma(t, vma, address, old_length, new_length, to, dontunmap)


cdef int64_t grow_in_place(Task *t, vm_area_struct *vma, uint64_t address, uint64_t end) noexcept nogil:
    """Growth from `address` on, where there is room up to `end`. Since 6.1 (ca3d76b0aa80) it merges with what is
    behind; 6.1 itself took the index of the new pages as if `address` were where the vma begins, and then nothing fits
    (6f12be792fde). `address`, or -ENOMEM."""
    cdef int32_t growth = kernel_of(t).algorithm.growth
    cdef int32_t charged = <int32_t>((end - vma.vm_end) >> PAGE_SHIFT) if vma.vm_flags & VM_ACCOUNT else 0
    cdef mm_struct *mm = vma.vm_mm
    cdef vma_merge_struct vmg
    if kernel_of(t).algorithm.calls == CALLS_6_17:
        growth = GROWTH_MERGE
    if growth == GROWTH_ADJUST:
        vma_adjust(t, vma, vma.vm_start, end, vma.vm_pgoff, NULL)
        mm.charged += charged
        return <int64_t>address
    vmg = vma_merge_struct(mm=mm, prev=vma, start=vma.vm_end, end=end, pgoff=vma.vm_pgoff + vma_pages(vma),
                           flags=vma.vm_flags, anon_vma=vma.anon_vma, source=NULL, copied=False)
    if growth == GROWTH_MERGE_FROM_ADDRESS:
        vmg.pgoff -= (address - vma.vm_start) >> PAGE_SHIFT
    if vma_merge(t, &vmg) == NULL:
        return -ENOMEM
    mm.charged += charged
    return <int64_t>address


# ---- the call as it is since 6.17 ------------------------------------------------------------------------------------


cdef int64_t refusal_6_17(mm_struct *mm, uint64_t address, uint64_t old_length, uint64_t new_length, int64_t to,
                          bint maymove, bint dontunmap) noexcept nogil:
    """What is wrong with the arguments alone: 0, -EINVAL, or -ENOMEM at the limit of vmas."""
    if address & (PAGE_SIZE - 1) or new_length == 0 or new_length > TASK_SIZE:
        return -EINVAL
    if to == -1 and not dontunmap:
        return 0
    if not maymove or (dontunmap and old_length != new_length):
        return -EINVAL
    if to != -1:
        if to & (PAGE_SIZE - 1) or <uint64_t>to > TASK_SIZE - new_length:
            return -EINVAL
        if address + old_length > <uint64_t>to and <uint64_t>to + new_length > address:
            return -EINVAL
    return -ENOMEM if mm.map_count + 2 >= MAX_MAP_COUNT - 3 else 0


cdef int64_t move_fixed(Task *t, mm_struct *mm, uint64_t address, uint64_t old_length, uint64_t new_length,
                        uint64_t to, bint dontunmap) noexcept nogil:
    """A part of one vma moves to a given address. Nothing is unmapped before it is known that the source fits."""
    cdef int64_t error
    if old_length == 0:
        return -EINVAL
    if vma_to_resize(t, mm, address, old_length if old_length < new_length else new_length) == NULL:
        return -EFAULT
    error = do_munmap(t, mm, to, new_length, False)
    if error == 0 and old_length > new_length:
        error = do_munmap(t, mm, address + new_length, old_length - new_length, False)
        old_length = new_length
    if error < 0:
        return error
    return move_vma(t, find_vma(t, mm, address), address, old_length, new_length, to, dontunmap)


cdef int64_t move_range(Task *t, mm_struct *mm, uint64_t address, uint64_t length, uint64_t to,
                        bint dontunmap) noexcept nogil:
    """Every vma of a range moves, and the holes between them stay as wide as they were; a hole at the beginning is
    refused. What is at the destination of a hole stays. At an error, what was moved before has moved."""
    cdef uint64_t end = address + length
    cdef uint64_t gap = 0
    cdef uint64_t old_end
    cdef uint64_t part
    cdef int64_t moved
    cdef int64_t result = -EFAULT
    cdef vm_area_struct *vma = find_vma(t, mm, address)
    if vma == NULL or vma.vm_start > address:
        return -EFAULT
    while vma != NULL and vma.vm_start < end:
        old_end = vma.vm_end
        part = (old_end if old_end < end else end) - address
        moved = move_fixed(t, mm, address, part, part, to + gap, dontunmap)
        if moved < 0:
            return moved
        if result < 0:
            result = moved
        if old_end >= end:
            return result
        to = <uint64_t>moved + part
        vma = find_vma(t, mm, old_end)
        if vma != NULL:
            address = vma.vm_start
            gap = address - old_end
    return result


cdef int64_t do_mremap_6_17(Task *t, mm_struct *mm, uint64_t address, uint64_t old_length, uint64_t new_length,
                            int64_t to, bint maymove, bint dontunmap) noexcept nogil:
    """do_mremap as it is since 6.17: it looks before it unmaps, a fixed move without a new length takes several vmas
    (d23cb648e365), and growth in place merges with what is behind (ca3d76b0aa80)."""
    cdef uint64_t end = address + new_length
    cdef vm_area_struct *vma
    cdef int64_t result = refusal_6_17(mm, address, old_length, new_length, to, maymove, dontunmap)
    if result < 0:
        return result
    if to != -1 and old_length == new_length:
        return move_range(t, mm, address, old_length, <uint64_t>to, dontunmap)
    vma = vma_to_resize(t, mm, address, 0)
    if vma == NULL:
        return -EFAULT
    if to != -1:
        return move_fixed(t, mm, address, old_length, new_length, <uint64_t>to, dontunmap)
    if new_length <= old_length and not dontunmap:
        if new_length < old_length:
            result = do_munmap(t, mm, end, old_length - new_length, True)
        return result if result < 0 else <int64_t>address
    if old_length == 0:
        return -EINVAL
    if old_length > vma.vm_end - address:
        return -EFAULT
    if not dontunmap and address + old_length == vma.vm_end and room_behind(vma, end):
        return grow_in_place(t, vma, address, end)
    if not maymove:
        return -ENOMEM
    result = get_unmapped_area(t, mm, new_length)
    if result < 0:
        return result
    return move_vma(t, vma, address, old_length, new_length, <uint64_t>result, dontunmap)


# ---- the call --------------------------------------------------------------------------------------------------------


cdef bint room_behind(vm_area_struct *vma, uint64_t end) noexcept nogil:
    """Whether vma could end at `end`."""
    return end <= TASK_SIZE and (vma.vm_next == NULL or vma.vm_next.vm_start >= end)


cdef int64_t do_mremap(Task *t, mm_struct *mm, uint64_t address, uint64_t old_length, uint64_t new_length, int64_t to,
                       bint maymove, bint dontunmap) noexcept nogil:
    """The system call, with mmap_sem held for writing. Lengths in bytes; to: -1 unless MREMAP_FIXED.

    dontunmap: MREMAP_DONTUNMAP, which needs maymove and equal lengths (Linux 5.7).

    Returns the new address, or -EINVAL, -EFAULT, -ENOMEM.
    """
    cdef vm_area_struct *vma
    cdef uint64_t end
    cdef int64_t new_address
    cdef int error
    if kernel_of(t).algorithm.calls == CALLS_6_17:
        return do_mremap_6_17(t, mm, address, old_length, new_length, to, maymove, dontunmap)
    if address & (PAGE_SIZE - 1) or new_length == 0 or address > TASK_SIZE or new_length > TASK_SIZE:
        return -EINVAL
    if dontunmap and (not maymove or old_length != new_length):
        return -EINVAL
    if to != -1:
        if not maymove:
            return -EINVAL
        return mremap_to(t, mm, address, old_length, <uint64_t>to, new_length, dontunmap)
    if old_length >= new_length and not dontunmap:
        if old_length > new_length:
            error = do_munmap(t, mm, address + new_length, old_length - new_length, True)
            if error < 0:
                return error
        return <int64_t>address
    vma = vma_to_resize(t, mm, address, old_length)
    if vma == NULL:
        return resize_error(t, mm, address, old_length)
    end = address + new_length
    if not dontunmap and address + old_length == vma.vm_end and room_behind(vma, end):
        return grow_in_place(t, vma, address, end)
    if not maymove:
        return -ENOMEM
    new_address = get_unmapped_area(t, mm, new_length)
    if new_address < 0:
        return new_address
    return move_vma(t, vma, address, old_length, new_length, <uint64_t>new_address, dontunmap)
