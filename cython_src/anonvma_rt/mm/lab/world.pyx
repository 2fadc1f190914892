"""A look at the simulated kernel's state, for tests, traces and reports; nothing here changes it."""

from bisect import bisect_right

from libc.stdint cimport int64_t, uint32_t, uint64_t

from anonvma_rt.engine.base.arena cimport ARENA_START, Arena, arena_header, arena_live, arena_root
from anonvma_rt.engine.base.klist cimport list_cursor, list_for_each, list_step
from anonvma_rt.engine.run.explorer cimport Explorer
from anonvma_rt.engine.run.sync cimport lock_is_held
from anonvma_rt.mm.lab.kernel cimport Kernel
from anonvma_rt.mm.mm_types cimport (
    PAGE_SHIFT,
    PGDIR_SHIFT,
    PMD_SHIFT,
    PMD_WRITE,
    PTE_WRITE,
    PTRS_PER_TABLE,
    TYPE_ANON_VMA,
    TYPE_AVC,
    TYPE_DIRECTORY,
    TYPE_KERNEL,
    TYPE_MM,
    TYPE_PAGES,
    TYPE_TABLE,
    TYPE_VMA,
    anon_vma,
    anon_vma_chain,
    avc_of_same_anon_vma,
    avc_of_same_vma,
    is_migration_entry,
    kernel,
    mm_struct,
    page,
    page_anon_vma,
    page_directory,
    page_table,
    pfn_to_page,
    pmd_huge,
    pmd_t,
    pmd_table,
    pte_pfn,
    pte_present,
    pte_t,
    serial_of,
    vm_area_struct,
)
from anonvma_rt.mm.pgtable cimport peek_table, pmd_offset, pte_offset


cdef object describe(int type, uint32_t serial, char *object, char *inside):
    cdef mm_struct *mm = <mm_struct *>object
    cdef vm_area_struct *vma = <vm_area_struct *>object
    cdef anon_vma *av = <anon_vma *>object
    cdef page *p = <page *>object
    cdef page_table *table = <page_table *>object
    if type == TYPE_MM:
        return "mm", serial - 1, "mmap_sem" if inside == <char *>&mm.mmap_sem else "page_table_lock"
    if type == TYPE_VMA:
        if inside == <char *>&vma.anon_vma:
            return "vma", serial, "anon_vma"
        if inside == <char *>&vma.vm_lock:
            return "vma", serial, "vm_lock"
        return "vma", serial, {0: "vm_start", 8: "vm_end", 16: "vm_pgoff", 24: "vm_flags"}.get(inside - <char *>&vma.vm_start, "?")
    if type == TYPE_ANON_VMA:
        if inside == <char *>&av.mutex:
            return "anon_vma", serial, "mutex"
        if inside == <char *>&av.head:
            return "anon_vma", serial, "head"
        return "anon_vma", serial, "refcount" if inside == <char *>&av.refcount else "root"
    if type == TYPE_PAGES:
        p += (inside - object) / <int>sizeof(page)
        if inside == <char *>&p.lock:
            return "page", p.pfn, "PG_locked"
        if inside == <char *>&p.mapcount:
            return "page", p.pfn, "mapcount"
        return "page", p.pfn, "count" if inside == <char *>&p.count else "mapping"
    if type == TYPE_TABLE:
        if inside == <char *>&table.ptl:
            return "table", table.address, "ptl"
        return "table", table.address, table.address + ((inside - <char *>table.pte) / <int>sizeof(pte_t) << PAGE_SHIFT)
    if type == TYPE_DIRECTORY:
        return "directory", serial, "pmd"
    if type == TYPE_KERNEL:
        return "kernel", 0, "the pool of anon_vmas"
    return None


cdef tuple describe_entry(mm_struct *mm, uint64_t address):
    """(state, pfn, writable) of the entry for an address: state is "none", "present", "migration" or "huge" (the pfn is
    that of the small page inside), pfn 0 is the zero page."""
    cdef pmd_t *pmd = pmd_offset(mm, address)
    cdef page_table *table
    cdef pte_t pte
    if pmd != NULL and pmd_huge(pmd[0]):
        return "huge", pte_pfn(pmd[0]) + ((address >> PAGE_SHIFT) & (PTRS_PER_TABLE - 1)), (pmd[0] & PMD_WRITE) != 0
    table = peek_table(mm, address)
    pte = pte_offset(table, address)[0] if table != NULL else 0
    state = "present" if pte_present(pte) else "migration" if is_migration_entry(pte) else "none"
    return state, pte_pfn(pte), (pte & PTE_WRITE) != 0


cdef int64_t live_serial(Arena *arena, void *object, int type) noexcept nogil:
    """serial_of() an object, 0 where the pointer leads to no live one: a state may hold what its bug left there."""
    return serial_of(object) if arena_live(arena, object, type) else 0


cdef class World:
    """The simulated kernel's state, as it was built or as the last execution left it; for tests and reports.

    explorer: an idle Explorer of a Kernel. Everything is named by stable numbers: vmas and anon_vmas by the order in
    which they were made, pages by their frame.
    """

    def __init__(self, Explorer explorer):
        if not isinstance(explorer.subject, Kernel):
            raise TypeError("a World is the state of a Kernel")
        self.explorer = explorer
        self.x = explorer.x

    cdef kernel *kernel(self) except NULL:
        if self.explorer is not None and not self.explorer.idle:
            raise RuntimeError("the explorer is busy")
        return <kernel *>arena_root(&self.x.arena)

    cdef mm_struct *mm(self, int process) except NULL:
        cdef kernel *k = self.kernel()
        if not 0 <= process < k.n_mm:
            raise ValueError(f"no process {process}")
        return k.mm[process]

    def maps(self, int process=0):
        """The vmas by address: dicts with id, start, end (bytes), pgoff (pages), flags (VM_*), anon_vma (None: unfaulted)
        and chain."""
        cdef vm_area_struct *vma = self.mm(process).mmap
        cdef list_cursor c
        result = []
        while arena_live(&self.x.arena, vma, TYPE_VMA):
            chain = []
            c = list_for_each(&vma.anon_vma_chain)
            while list_step(&c) and arena_live(&self.x.arena, avc_of_same_vma(c.pos), TYPE_AVC):
                chain.append(live_serial(&self.x.arena, avc_of_same_vma(c.pos).anon_vma, TYPE_ANON_VMA))
            result.append({
                "id": serial_of(vma),
                "start": vma.vm_start,
                "end": vma.vm_end,
                "pgoff": vma.vm_pgoff,
                "flags": vma.vm_flags,
                "anon_vma": live_serial(&self.x.arena, vma.anon_vma, TYPE_ANON_VMA) if vma.anon_vma != NULL else None,
                "chain": chain,
            })
            vma = vma.vm_next
        return result

    def lists(self, int process=0):
        """The list of each anon_vma that a vma of the process belongs to, oldest entry first, as {anon_vma: [vma]}.

        vma 0 is one that has been freed; a list ends where it leads to an entry that has been.
        """
        cdef Arena *arena = &self.x.arena
        cdef vm_area_struct *vma = self.mm(process).mmap
        cdef list_cursor chain
        cdef list_cursor c
        cdef anon_vma_chain *avc
        result = {}
        while arena_live(arena, vma, TYPE_VMA):
            chain = list_for_each(&vma.anon_vma_chain)
            while list_step(&chain):
                avc = avc_of_same_vma(chain.pos)
                if not arena_live(arena, avc, TYPE_AVC) or not arena_live(arena, avc.anon_vma, TYPE_ANON_VMA):
                    break
                c = list_for_each(&avc.anon_vma.head)
                order = []
                while list_step(&c) and arena_live(arena, avc_of_same_anon_vma(c.pos), TYPE_AVC):
                    order.append(live_serial(arena, avc_of_same_anon_vma(c.pos).vma, TYPE_VMA))
                result[serial_of(avc.anon_vma)] = order
            vma = vma.vm_next
        return result

    def pte(self, uint64_t address, int process=0):
        """(state, pfn, writable) of one pte; see describe_entry."""
        return describe_entry(self.mm(process), address)

    def page(self, uint64_t pfn):
        """Counters of a page: mapcount is the number of present ptes, refcount and index as in the kernel. A small page
        inside a huge one has the counters of that."""
        cdef kernel *k = self.kernel()
        cdef page *p
        cdef page *head
        if not 0 < pfn < k.n_pages:
            raise ValueError(f"no page frame {pfn}")
        p = pfn_to_page(k, pfn)
        head = pfn_to_page(k, p.head)
        return {
            "mapcount": head.mapcount + 1,
            "refcount": head.count,
            "index": head.index + (p.pfn - head.pfn),
            "locked": lock_is_held(&head.lock),
            "tag": p.tag,
            "anon_vma": live_serial(&self.x.arena, page_anon_vma(head), TYPE_ANON_VMA) if head.mapping else None,
        }

    def name(self, uint64_t offset):
        """(what, id, field) for an offset into the arena, as events name objects; None for no object of the kernel.

        what and id: ("mm", process), ("vma", serial), ("anon_vma", serial), ("page", frame), ("table", address); field
        is the kernel's name of the member, for a table "ptl" or the address of the pte.
        """
        cdef char *base = self.x.arena.base
        cdef uint64_t at = ARENA_START
        cdef uint64_t end = self.x.arena.now.used
        cdef arena_header *header
        cdef char *object
        if self.objects is None:
            self.objects = []
            while at < end:
                self.objects.append(at)
                at += (<arena_header *>(base + at)).size
        if not ARENA_START <= offset < end:
            return None
        at = self.objects[bisect_right(self.objects, offset) - 1]
        header = <arena_header *>(base + at)
        object = <char *>(header + 1)
        return describe(header.type, header.serial, object, base + offset)

    def tables(self, int process=0):
        """The addresses for which the process has a page table, ascending, in bytes."""
        cdef mm_struct *mm = self.mm(process)
        cdef page_directory *directory
        cdef uint64_t g
        cdef uint64_t m
        result = []
        for g in range(512):
            directory = <page_directory *>mm.pgd.entry[g]
            if directory == NULL:
                continue
            for m in range(512):
                if pmd_table(directory.entry[m]) != NULL:
                    result.append(g << 30 | m << 21)
        return result

    def entries(self, int process=0, limit=4096):
        """What the page tables of a process hold, by address: {address in bytes: (state, pfn, writable)}, as pte() says
        it, without what is none. A huge pmd is one entry, at its own address. At most `limit` of them."""
        cdef mm_struct *mm = self.mm(process)
        cdef page_directory *directory
        cdef page_table *table
        cdef uint64_t g
        cdef uint64_t m
        cdef uint64_t i
        cdef uint64_t address
        result = {}
        for g in range(<uint64_t>PTRS_PER_TABLE):
            directory = <page_directory *>mm.pgd.entry[g]
            if directory == NULL:
                continue
            for m in range(<uint64_t>PTRS_PER_TABLE):
                address = g << PGDIR_SHIFT | m << PMD_SHIFT
                table = pmd_table(directory.entry[m])
                if pmd_huge(directory.entry[m]):
                    result[address] = describe_entry(mm, address)
                elif table != NULL:
                    for i in range(<uint64_t>PTRS_PER_TABLE):
                        if table.pte[i]:
                            result[address + (i << PAGE_SHIFT)] = describe_entry(mm, address + (i << PAGE_SHIFT))
                if len(result) >= limit:
                    return dict(list(result.items())[:limit])
        return result

    @property
    def processes(self):
        """How many there are."""
        return self.kernel().n_mm

    @property
    def page_frames(self):
        """How many page frames there are, the zero page, which is frame 0, among them."""
        return self.kernel().n_pages
