"""A look at the simulated kernel's state, for tests, traces and reports; nothing here changes it."""

from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free

from anonvma_rt.engine.base.arena cimport Arena, arena_header, arena_live, arena_root
from anonvma_rt.engine.base.klist cimport list_cursor, list_for_each, list_step
from anonvma_rt.engine.run.explorer cimport Explorer
from anonvma_rt.engine.run.sync cimport lock_is_held
from anonvma_rt.mm.lab.kernel cimport Kernel
from anonvma_rt.mm.lab.objects cimport MEMBER_PTE, index_objects, member_at, next_pmd, object_at
from anonvma_rt.mm.mm_types cimport (
    PAGE_SHIFT, PAGE_SIZE, PMD_MIGRATION, PMD_SIZE, PMD_WRITE, PTE_WRITE, PTRS_PER_TABLE, TYPE_ANON_VMA, TYPE_AVC,
    TYPE_DIRECTORY, TYPE_KERNEL, TYPE_MM, TYPE_PAGES, TYPE_TABLE, TYPE_VMA, anon_vma_chain, avc_of_same_anon_vma,
    avc_of_same_vma, compound_mapcount, compound_order, is_huge_zero_pmd, is_migration_entry, is_swap_pte, kernel,
    mm_struct, page, page_anon_vma, page_count, page_in_compound, page_table, pfn_to_page, pmd_huge, pmd_t, pmd_table,
    pte_pfn, pte_present, pte_t, serial_of, vm_area_struct,
)
from anonvma_rt.mm.pgtable cimport peek_table, pmd_offset, pte_offset


# By Member; the one of a pte is its address.
MEMBERS = (
    "?", "mmap_sem", "page_table_lock", "vm_lock", "vm_start", "vm_end", "vm_pgoff", "vm_flags", "anon_vma", "mutex",
    "head", "refcount", "root", "PG_locked", "mapcount", "count", "mapping", "ptl", "pte", "pmd",
    "the pool of anon_vmas", "the vmas", "the pool of vmas", "tree", "mm_lock_seq", "gone", "vm_refcnt", "vm_page_prot",
    "the translations",
)  # fmt: skip
OBJECTS = {
    TYPE_MM: "mm", TYPE_VMA: "vma", TYPE_ANON_VMA: "anon_vma", TYPE_PAGES: "page", TYPE_TABLE: "table",
    TYPE_DIRECTORY: "directory", TYPE_KERNEL: "kernel",
}  # fmt: skip


cdef tuple describe(arena_header *header, char *address):
    """World.name() of an address inside an object."""
    cdef char *object = <char *>(header + 1)
    cdef page_table *table = <page_table *>object
    cdef int member = member_at(header, address)
    cdef uint64_t entry
    cdef object field
    what = OBJECTS[header.type]
    field = MEMBERS[member]
    if header.type == TYPE_PAGES:
        return what, (<page *>object + (address - object) // <int>sizeof(page)).pfn, field
    if header.type == TYPE_TABLE:
        if member == MEMBER_PTE:
            entry = <uint64_t>(address - <char *>table.pte) // sizeof(pte_t)
            field = table.address + (entry << PAGE_SHIFT)
        return what, table.address, field
    if header.type == TYPE_KERNEL:
        return what, 0, field
    return what, header.serial - (header.type == TYPE_MM), field


cdef tuple describe_entry(mm_struct *mm, uint64_t address):
    """(state, pfn, writable) of the entry for an address: state is "none", "present", "migration", "swap" (the pfn is
    the slot's number) or "huge" (that of the small page inside), pfn 0 is the zero page."""
    cdef pmd_t *pmd = pmd_offset(mm, address)
    cdef page_table *table
    cdef pte_t pte
    if pmd != NULL and pmd_huge(pmd[0]):
        state = "migration" if pmd[0] & PMD_MIGRATION else "huge"
        pfn = 0
        if not is_huge_zero_pmd(pmd[0]):
            pfn = pte_pfn(pmd[0]) + ((address >> PAGE_SHIFT) & (PTRS_PER_TABLE - 1))
        return state, pfn, (pmd[0] & PMD_WRITE) != 0
    table = peek_table(mm, address)
    pte = pte_offset(table, address)[0] if table != NULL else 0
    state = "swap" if is_swap_pte(pte) else "migration" if is_migration_entry(pte) else "none"
    state = "present" if pte_present(pte) else state
    return state, pte_pfn(pte), (pte & PTE_WRITE) != 0


cdef int page_mapcount(page *p, page *head) noexcept nogil:
    """page_mapcount(): entries that show this page, with the pmds of the huge page around it."""
    if page_in_compound(p):
        return p.mapcount + 1 + compound_mapcount(head)[0] + 1
    return head.mapcount + 1


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

    def __dealloc__(self):
        free(self.objects.start)

    cdef kernel *idle_kernel(self) except NULL:
        if self.x == NULL:  # made by __new__ and not by the class
            raise RuntimeError("the kernel was never built")
        if self.explorer is not None and not self.explorer.idle:
            raise RuntimeError("the explorer is busy")
        return <kernel *>arena_root(&self.x.arena)

    cdef mm_struct *mm(self, int process) except NULL:
        cdef kernel *k = self.idle_kernel()
        if not 0 <= process < k.n_mm:
            raise ValueError(f"no process {process}")
        return k.mm[process]

    def maps(self, int process=0):
        """The vmas by address: dicts with id, start, end (bytes), pgoff (pages), flags (VM_*), anon_vma (None:
        unfaulted) and chain."""
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
        inside a huge one has the counters of that; since 4.5 the ptes that show it count, too."""
        cdef kernel *k = self.idle_kernel()
        cdef page *p
        cdef page *head
        if not 0 < pfn < k.n_pages:
            raise ValueError(f"no page frame {pfn}")
        p = pfn_to_page(k, pfn)
        head = pfn_to_page(k, p.head)
        return {
            "mapcount": page_mapcount(p, head),
            "refcount": page_count(head),
            "index": head.index + (p.pfn - head.pfn),
            "locked": lock_is_held(&head.lock),
            "tag": p.tag,
            "order": compound_order(head),
            "anon_vma": live_serial(&self.x.arena, page_anon_vma(head), TYPE_ANON_VMA) if head.mapping else None,
        }

    def name(self, uint64_t offset):
        """(what, id, field) for an offset into the arena, as events name objects; None for no object of the kernel.

        what and id: ("mm", process), ("vma", serial), ("anon_vma", serial), ("page", frame), ("table", address); field
        is the kernel's name of the member, for a table "ptl" or the address of the pte.
        """
        cdef arena_header *header
        self.idle_kernel()
        if not self.indexed:
            if index_objects(&self.objects, &self.x.arena) < 0:
                raise MemoryError("no memory for the names of objects")
            self.indexed = True
        header = object_at(&self.x.arena, &self.objects, offset)
        if header == NULL or header.type not in OBJECTS:
            return None
        return describe(header, self.x.arena.base + offset)

    def tables(self, int process=0):
        """The addresses for which the process has a page table, ascending, in bytes."""
        cdef mm_struct *mm = self.mm(process)
        cdef uint64_t address = 0
        cdef pmd_t *pmd = next_pmd(mm, &address)
        result = []
        while pmd != NULL:
            if not pmd_huge(pmd[0]):
                result.append(address)
            address += PMD_SIZE
            pmd = next_pmd(mm, &address)
        return result

    def entries(self, int process=0, limit=4096):
        """What the page tables of a process hold, by address: {address in bytes: (state, pfn, writable)}, as pte() says
        it, without what is none. A huge pmd is one entry, at its own address. At most `limit` of them."""
        cdef mm_struct *mm = self.mm(process)
        cdef uint64_t address = 0
        cdef pmd_t *pmd = next_pmd(mm, &address)
        cdef uint64_t at
        result = {}
        while pmd != NULL and len(result) < limit:
            if pmd_huge(pmd[0]):
                result[address] = describe_entry(mm, address)
            else:
                for at in range(address, address + PMD_SIZE, PAGE_SIZE):
                    if pte_offset(pmd_table(pmd[0]), at)[0]:
                        result[at] = describe_entry(mm, at)
            address += PMD_SIZE
            pmd = next_pmd(mm, &address)
        return dict(list(result.items())[:limit])

    @property
    def processes(self):
        """How many there are."""
        return self.idle_kernel().n_mm

    @property
    def page_frames(self):
        """How many page frames there are, the zero page, which is frame 0, among them."""
        return self.idle_kernel().n_pages
