"""The system calls (see syscall.pxd): their arguments, locks, units and the kernel's own checks."""

from libc.errno cimport EAGAIN, EINVAL, ENOENT
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset

from anonvma_rt.engine.audit.access cimport rt_glance
from anonvma_rt.engine.base.os cimport read_onceu, rt_unlikely
from anonvma_rt.engine.run.sync cimport down_read, down_write, up_read
from anonvma_rt.engine.run.task cimport Task, violate
from anonvma_rt.mm.deferred_split cimport deferred_split_scan
from anonvma_rt.mm.exec cimport setup_arg_pages
from anonvma_rt.mm.filemap cimport collapse_file
from anonvma_rt.mm.fault cimport access_range, compare
from anonvma_rt.mm.fork cimport dup_mmap, exit_mmap
from anonvma_rt.mm.gup cimport dma_write, follow_page, pin_user_page, unpin_user_page
from anonvma_rt.mm.hooks.notes cimport WRONG_MERGE
from anonvma_rt.mm.khugepaged cimport collapse_huge_page
from anonvma_rt.mm.madvise cimport madvise
from anonvma_rt.mm.migrate cimport migrate_page
from anonvma_rt.mm.mm_types cimport (
    PAGE_SHIFT, PAGE_SIZE, THP_4_14, VM_FILE, VM_GROWSDOWN, VM_HUGEPAGE, VM_NORESERVE, VM_ORDER_SHIFT, VM_READ,
    VM_STACK_INCOMPLETE_SETUP, VM_WRITE, kernel, kernel_of, mm_struct, page, page_compound, pfn_to_page, pmd_huge,
    pmd_t, pmd_table, pte_pfn, pte_present, pte_t, start_of, vm_area_struct,
)
from anonvma_rt.mm.mmap cimport do_brk, do_mmap, do_munmap
from anonvma_rt.mm.move_pages cimport move_pages
from anonvma_rt.mm.mprotect cimport do_mprotect
from anonvma_rt.mm.page_alloc cimport get_page_unless_zero, put_page
from anonvma_rt.mm.page_referenced cimport page_referenced
from anonvma_rt.mm.pgtable cimport pmd_offset, pte_offset
from anonvma_rt.mm.split_huge_page cimport split_huge_page
from anonvma_rt.mm.sys_mremap cimport do_mremap
from anonvma_rt.mm.tlb cimport call_begins, call_returns, tlb_of
from anonvma_rt.mm.userfaultfd cimport move_uffd_pages
from anonvma_rt.mm.vma_lock cimport mmap_unlock
from anonvma_rt.mm.vma_tree cimport find_vma
from anonvma_rt.mm.vmscan cimport reclaim_page


_AT, _PAGES = ("at", "address", None), ("pages", "length", None)
# Verb: its arguments as (name, kind, default), in the order of the enum and of Call.args. kind: an address in bytes, a
# length in pages, a tag, count, switch (0 or 1), order (0, 1 for huge pages, or a folio's), rights (0 to read, 1 to
# write, too, 2 none) or process. default: None where it must be given, or an argument's name for the value of that. An
# address or a tag of -1 is none.
VERBS = {
    "mmap": (_AT, _PAGES, ("writable", "rights", 1), ("huge", "order", 0), ("stack", "switch", 0),
             ("grows_down", "switch", 0), ("noreserve", "switch", 0)),
    "munmap": (_AT, _PAGES),
    "mprotect": (_AT, _PAGES, ("writable", "rights", None)),
    "brk": (_AT, _PAGES),
    "touch": (_AT, _PAGES, ("tag", "tag", 1)),
    "read": (_AT, _PAGES),
    "mremap": (
        ("from", "address", None), _PAGES, ("new_pages", "length", "pages"), ("to", "address", -1),
        ("maymove", "switch", 1), ("dontunmap", "switch", 0),
    ),
    "fork": (("child", "process", None),),
    "exit": (),
    "exec": (_AT, ("shift", "length", None)),
    "migrate": (_AT, ("fail_copy", "switch", 0)),
    "move_pages": (_AT, _PAGES),
    "referenced": (_AT,),
    "split": (_AT,),
    "uffd_move": (("from", "address", None), ("to", "address", None), ("pages", "length", 1)),
    "compare": (("a", "address", None), ("b", "address", None), _PAGES),
    "vmas": (_AT, _PAGES, ("count", "count", None)),
    "dontneed": (_AT, _PAGES),
    "collapse": (_AT,),
    "free": (_AT, _PAGES),
    "reclaim": (_AT,),
    "pin": (_AT, ("writable", "switch", 1), ("fast", "switch", 0)),
    "get": (_AT, ("writable", "switch", 0), ("fast", "switch", 0)),
    "unpin": (_AT,),
    "dma": (_AT, ("tag", "tag", 1)),
    "mmap_file": (_AT, _PAGES, ("writable", "rights", 1)),
    "deferred_split": (),
}  # fmt: skip
cdef tuple NAMES = tuple(VERBS)
BIT_OF_READ_ONLY, BIT_OF_NO_ACCESS = READ_ONLY, NO_ACCESS
PROT_WORDS = ("read", "write", "none")


def rights(writable, prot=None):
    """What mmap and mprotect have for `writable`: of a truth value, or of a word of PROT_WORDS in its place."""
    if prot is None and writable is not None:
        return int(writable)
    if prot not in PROT_WORDS:
        raise ValueError(f"prot is one of {', '.join(PROT_WORDS)}, not {prot!r}")
    return PROT_WORDS.index(prot)


cdef Call read_call(object verb, int process, object args) except *:
    """A call of VERBS with its arguments in their order."""
    cdef Call c
    memset(&c, 0, sizeof(c))
    if len(args) > RESOLVED:
        raise ValueError(f"{verb}: {len(args)} are too many arguments")
    c.verb = NAMES.index(verb)
    c.mm = process
    c.fail_after = -1
    c.cpu = -1
    for at, value in enumerate(args):
        c.args[at] = value
    return c


cdef uint64_t bytes_of(int64_t pages) noexcept nogil:
    return <uint64_t>pages << PAGE_SHIFT


# ---- looks -----------------------------------------------------------------------------------------------------------


cdef int collapse(Task *t, mm_struct *mm, uint64_t address) noexcept nogil:
    """khugepaged comes to a range: of the file, or of anonymous memory."""
    cdef int result = collapse_file(t, mm, address) if kernel_of(t).file != NULL else -EINVAL
    return result if result != -EINVAL else collapse_huge_page(t, mm, address)


cdef int count_vmas(Task *t, mm_struct *mm, uint64_t start, int64_t pages, int64_t expected) noexcept nogil:
    """A violation unless so many vmas have pages in a range, as /proc/self/maps would show them."""
    cdef int64_t count = 0
    cdef vm_area_struct *vma
    down_read(t, &mm.mmap_sem)
    vma = find_vma(t, mm, start)
    while vma != NULL and start_of(t, vma) < start + bytes_of(pages):
        count += 1
        vma = vma.vm_next
    up_read(t, &mm.mmap_sem)
    if count != expected:
        violate(t, WRONG_MERGE, <int64_t>start, count, expected)
    return 0


# ---- calls about a page ----------------------------------------------------------------------------------------------


cdef bint wants_page(Call *c) noexcept nogil:
    return c.verb == MIGRATE or c.verb == REFERENCED or c.verb == SPLIT or c.verb == RECLAIM


cdef int64_t mapped_pfn(Task *t, Call *c) noexcept nogil:
    """The page at the address of a call that wants one, without a point; 0 where no page is mapped there."""
    cdef uint64_t address = <uint64_t>c.args[0]
    cdef pmd_t *pmd = pmd_offset(kernel_of(t).mm[c.mm], address)
    cdef pmd_t value = pmd[0] if pmd != NULL else 0
    cdef pte_t pte
    if pmd_huge(value):
        return <int64_t>pte_pfn(value)
    if value == 0:
        return 0
    pte = pte_offset(pmd_table(value), address)[0]
    return <int64_t>pte_pfn(pte) if pte_present(pte) else 0


cdef void resolve(Task *t, Call *c, int64_t pfn) noexcept nogil:
    """The call is about this page, as it is before the tasks start; no point."""
    cdef kernel *k = kernel_of(t)
    cdef page *p
    c.args[RESOLVED] = pfn
    c.args[HEAD] = 0
    if 0 < pfn < <int64_t>k.n_pages:
        p = pfn_to_page(k, <uint64_t>pfn)
        if page_compound(p) or p.head != p.pfn:
            c.args[HEAD] = p.head


cdef int split_around(Task *t, page *head) noexcept nogil:
    """Splits the huge page of a head; 0, or -EAGAIN where nothing maps it."""
    cdef bint done
    if not get_page_unless_zero(t, head):
        return -EAGAIN
    done = split_huge_page(t, head)
    put_page(t, head)
    return 0 if done else -EAGAIN


cdef int reclaim_at(Task *t, Call *c) noexcept nogil:
    """Reclaims the page that was at the address of the call when the tasks started; where none was, that which is there
    now: 0, -ENOENT, or why it was kept. mmap_sem is held for reading during that look, and no longer."""
    cdef kernel *k = kernel_of(t)
    cdef mm_struct *mm = k.mm[c.mm]
    cdef vm_area_struct *vma
    cdef page *p = NULL
    cdef pte_t seen
    if c.args[RESOLVED] > 0:
        if <uint64_t>c.args[RESOLVED] >= rt_glance(&k.n_pages):
            return -EINVAL
        p = pfn_to_page(k, <uint64_t>(c.args[HEAD] if c.args[HEAD] else c.args[RESOLVED]))
    else:
        down_read(t, &mm.mmap_sem)
        vma = find_vma(t, mm, <uint64_t>c.args[0])
        if vma != NULL and start_of(t, vma) <= <uint64_t>c.args[0]:
            p = follow_page(t, vma, <uint64_t>c.args[0], False, 0, &seen)
        up_read(t, &mm.mmap_sem)
        if p == NULL:
            return -ENOENT
        put_page(t, p)
    return reclaim_page(t, p)


cdef int64_t page_call(Task *t, Call *c) noexcept nogil:
    """compaction, reclaim and split name their page by its frame. migrate returns the new frame."""
    cdef kernel *k = kernel_of(t)
    cdef uint64_t pfn = <uint64_t>c.args[RESOLVED]
    cdef uint64_t new = 0
    cdef int result = 0
    cdef page *p
    cdef page *head
    if c.verb == RECLAIM:
        return reclaim_at(t, c)
    if c.args[RESOLVED] <= 0 or pfn >= rt_glance(&k.n_pages):
        return -EINVAL
    p = pfn_to_page(k, pfn)
    head = pfn_to_page(k, <uint64_t>c.args[HEAD]) if c.args[HEAD] else p
    # A split is announced at the head's count. So that is where to look before anything is asked about the page.
    if c.verb == SPLIT:
        return split_around(t, head) if c.args[HEAD] else 0
    if c.verb == MIGRATE:
        if p != head and k.algorithm.thp != THP_4_14:
            result = split_around(t, head)
            if read_onceu(&p.head) == p.pfn:
                # Also where somebody else split it, and nothing maps the head by now.
                result = 0
        if result == 0:
            result = migrate_page(t, p, c.args[1] != 0, &new)
        return <int64_t>new if result == 0 else result
    # A small page inside a huge one is asked about as a whole.
    if get_page_unless_zero(t, head):
        if p == head or read_onceu(&p.head) != p.pfn:
            result = page_referenced(t, head)
            put_page(t, head)
            return result
        put_page(t, head)
    if p != head and read_onceu(&p.head) == p.pfn and get_page_unless_zero(t, p):
        result = page_referenced(t, p)
        put_page(t, p)
    return result


cdef int64_t pin_call(Task *t, mm_struct *mm, Call *c) noexcept nogil:
    cdef uint64_t at = <uint64_t>c.args[0] & ~<uint64_t>(PAGE_SIZE - 1)
    if c.verb == UNPIN:
        return unpin_user_page(t, mm, at)
    if c.verb == DMA:
        return dma_write(t, mm, at, c.args[1])
    return pin_user_page(t, mm, at, c.args[1] != 0, c.verb == PIN, c.args[2] != 0)


# ---- the table -------------------------------------------------------------------------------------------------------


cdef uint64_t rights_of(int64_t rights) noexcept nogil:
    return 0 if rights == NO_RIGHTS else VM_READ | VM_WRITE if rights else VM_READ


cdef uint64_t mmap_flags(int64_t *a) noexcept nogil:
    cdef uint64_t huge = VM_HUGEPAGE if a[3] == 1 else <uint64_t>a[3] << VM_ORDER_SHIFT
    return (rights_of(a[2]) | huge | (VM_STACK_INCOMPLETE_SETUP if a[4] else 0)
            | (VM_GROWSDOWN if a[5] else 0) | (VM_NORESERVE if a[6] else 0))


cdef int64_t change_maps(Task *t, mm_struct *mm, Call *c) noexcept nogil:
    """The calls that take mmap_sem for writing. An munmap and an mremap that shrinks may end as readers."""
    cdef int64_t *a = c.args
    cdef int64_t result
    down_write(t, &mm.mmap_sem)
    if c.verb == MMAP:
        result = do_mmap(t, mm, a[0], bytes_of(a[1]), mmap_flags(a))
    elif c.verb == MMAP_FILE:
        result = do_mmap(t, mm, a[0], bytes_of(a[1]), rights_of(a[2]) | VM_FILE)
    elif c.verb == MUNMAP:
        result = do_munmap(t, mm, <uint64_t>a[0], bytes_of(a[1]), True)
    elif c.verb == MPROTECT:
        result = do_mprotect(t, mm, <uint64_t>a[0], bytes_of(a[1]), rights_of(a[2]))
    elif c.verb == BRK:
        result = do_brk(t, mm, <uint64_t>a[0], bytes_of(a[1]), VM_READ | VM_WRITE)
    else:
        result = do_mremap(t, mm, <uint64_t>a[0], bytes_of(a[1]), bytes_of(a[2]), a[3], a[4] != 0, a[5] != 0)
    mmap_unlock(t, mm)
    return result


cdef void must_be_flushed(Task *t, mm_struct *mm, Call *c, int64_t result) noexcept nogil:
    """A call succeeded: what it took from users, no CPU gives them any more."""
    cdef int64_t *a = c.args
    cdef uint64_t start = <uint64_t>a[0]
    cdef uint64_t end = start + bytes_of(a[1])
    if c.verb == FORK:
        call_returns(t, mm, 0, <uint64_t>-1, True)
    elif c.verb == UFFD_MOVE:
        call_returns(t, mm, start, start + bytes_of(a[2]), False)
    elif c.verb == MREMAP:
        call_returns(t, mm, start + bytes_of(a[2]) if result == a[0] else start, end, False)
    elif c.verb != MPROTECT or a[2] == NO_RIGHTS:
        call_returns(t, mm, start, end, False)
    elif not a[2]:
        call_returns(t, mm, start, end, True)


cdef bint takes_from_users(Call *c) noexcept nogil:
    return (c.verb == MUNMAP or c.verb == MPROTECT or c.verb == MREMAP or c.verb == FORK or c.verb == UFFD_MOVE
            or c.verb == DONTNEED or (c.verb == MMAP and c.args[0] != -1))


cdef int64_t system_call(Task *t, Call *c) noexcept nogil:
    """One call, of which user_errno() is what a user sees if it is none."""
    cdef mm_struct *mm = kernel_of(t).mm[c.mm]
    cdef bint takes = rt_unlikely(tlb_of(t) != NULL) and takes_from_users(c)
    cdef int64_t result
    if takes:
        call_begins(t, mm)
    result = make_call(t, c)
    if takes and result >= 0:
        must_be_flushed(t, mm, c, result)
    return result


cdef int64_t make_call(Task *t, Call *c) noexcept nogil:
    """Makes the call; its result (an address, a frame, a count or 0) or -errno, of which user_errno() is what a user
    sees."""
    cdef kernel *k = kernel_of(t)
    cdef mm_struct *mm = k.mm[c.mm]
    cdef int64_t *a = c.args
    cdef int64_t result
    if c.verb <= BRK or c.verb == MREMAP or c.verb == MMAP_FILE:
        return change_maps(t, mm, c)
    if c.verb == TOUCH or c.verb == READ:
        return access_range(t, mm, a[0], a[1], c.verb == TOUCH, a[2])
    if c.verb == FORK:
        return dup_mmap(t, k.mm[a[0]], mm)
    if c.verb == EXIT:
        exit_mmap(t, mm)
        return 0
    if c.verb == EXEC:
        return setup_arg_pages(t, mm, <uint64_t>a[0], bytes_of(a[1]))
    if c.verb == MOVE_PAGES:
        return move_pages(t, mm, <uint64_t>a[0], <uint64_t>a[1], c.status)
    if c.verb == UFFD_MOVE:
        down_read(t, &mm.mmap_sem)
        result = move_uffd_pages(t, mm, <uint64_t>a[0], <uint64_t>a[1], <uint64_t>a[2])
        up_read(t, &mm.mmap_sem)
        return result
    if c.verb == DONTNEED or c.verb == FREE:
        down_read(t, &mm.mmap_sem)
        result = madvise(t, mm, <uint64_t>a[0], bytes_of(a[1]), c.verb == FREE)
        up_read(t, &mm.mmap_sem)
        return result
    if c.verb == COLLAPSE:
        return collapse(t, mm, <uint64_t>a[0])
    if c.verb == COMPARE:
        return compare(t, mm, a[0], a[1], a[2])
    if c.verb == DEFERRED_SPLIT:
        return deferred_split_scan(t)
    if c.verb == VMAS:
        return count_vmas(t, mm, <uint64_t>a[0], a[1], a[2])
    if is_about_pins(c):
        return pin_call(t, mm, c)
    return page_call(t, c)
