"""A simulated kernel that damages itself, to show that the check sees it; compiled by the tests as a downstream module.

Breaker does one thing wrong right before the check (or, for what the move itself asserts, before or between the steps
of a task), and then leaves everything to Kernel. The functions below it look at what a World does not show: census() at
the live objects of an explorer's arena, anon_vma_states() and pool() at anon_vmas, and Tree drives an interval tree.
"""

from libc.stdint cimport int64_t, uint64_t

from anonvma_rt.engine.base.arena cimport ARENA_START, arena_alloc, arena_free, arena_header, arena_retire, arena_root
from anonvma_rt.engine.base.klist cimport (
    INIT_LIST_HEAD, list_add, list_add_tail, list_cursor, list_del, list_for_each, list_move_tail, list_step,
)
from anonvma_rt.engine.base.operation cimport OP_STORE
from anonvma_rt.engine.run.explorer cimport Explorer
from anonvma_rt.engine.run.subject cimport Subject
from anonvma_rt.engine.run.sync cimport lock_init
from anonvma_rt.engine.run.task cimport Execution, Task, point
from anonvma_rt.mm.interval_tree cimport (
    anon_vma_interval_tree_first, anon_vma_interval_tree_insert, anon_vma_interval_tree_next,
    anon_vma_interval_tree_remove,
)
from anonvma_rt.mm.lab.kernel cimport Kernel
from anonvma_rt.mm.mm_types cimport (
    CLASS_ANON_VMA, MAX_MAP_COUNT, PAGE_MAPPING_ANON, PAGE_SHIFT, PMD_WRITE, PTE_MIGRATION, PTE_PRESENT, PTE_PROTNONE,
    PTE_WRITE, TYPE_ANON_VMA, TYPE_AVC, TYPE_VMA, VM_ACCOUNT, VM_READ, VM_WRITE, anon_vma, anon_vma_chain,
    avc_of_same_anon_vma, avc_of_same_vma, kernel, kernel_of, make_pte, mm_struct, page, pfn_to_page, pte_pfn, pte_t,
    serial_of, vm_area_struct, vma_pages,
)
from anonvma_rt.mm.pgtable cimport peek_table, pmd_offset, pte_offset

cdef enum Damage:
    NOTHING
    MAPCOUNT
    MAPCOUNT_OF_NOBODY
    INDEX
    PGOFF
    MAPPING
    MAPPING_EMPTY
    MAPPING_FREED
    MIGRATION_ENTRY
    ENTRY_OUTSIDE
    PTE_OUTSIDE
    PTE_WILD
    PTE_TWICE
    FREED_TABLE
    AVC_VMA
    OFF_LIST
    OFF_CHAIN
    BROKEN_LIST
    BROKEN_CHAIN
    NO_ANON_VMA
    FOREIGN_ROOT
    ROOT_NOT_LAST
    OWN_NOT_FIRST
    OTHER_SETS
    FREED_ANON_VMA
    FREED_AVC
    FREED_VMA
    FORGOTTEN_AVC
    FORGOTTEN_VMA
    LINKED_TWICE
    READ_ONLY_VMA
    CLOSED_PTE
    OPEN_PTE
    UNCHARGED
    # Before task 0, or as task 1.
    DESTINATION_PTE
    SOURCE_TO_TAIL
    MOST_VMAS
    STALE_ENTRY
    FORKED
    SIBLINGS
    SECOND_ROOT
    ROOT_OF_CHILD
    PGOFF_OF_CHILD
    WRITABLE_COPY

DAMAGES = (
    "nothing", "mapcount", "mapcount-of-nobody", "index", "pgoff", "mapping", "mapping-empty", "mapping-freed",
    "migration-entry", "entry-outside", "pte-outside", "pte-wild", "pte-twice", "freed-table", "avc-vma", "off-list",
    "off-chain", "broken-list", "broken-chain", "no-anon-vma", "foreign-root", "root-not-last", "own-not-first",
    "other-sets", "freed-anon-vma", "freed-avc", "freed-vma", "forgotten-avc", "forgotten-vma", "linked-twice",
    "read-only-vma", "closed-pte", "open-pte", "uncharged", "destination-pte", "source-to-tail", "most-vmas",
    "stale-entry", "forked", "siblings",
    "second-root", "root-of-child", "pgoff-of-child", "writable-copy",
)
TYPES = ("kernel", "mm", "vma", "anon_vma", "avc", "pages", "table", "directory", "scratch")


cdef class Breaker(Kernel):
    """The first vma is A, the next ones by address B and C; the first page of A, and where it is said of all three, is hit."""

    cdef int damage
    cdef uint64_t address

    def __init__(self, damage, address, *program):
        self.damage = DAMAGES.index(damage)
        self.address = address
        super().__init__(*program)

    cdef void body(self, Task *t) noexcept nogil:
        cdef kernel *k = kernel_of(t)
        cdef anon_vma *parent
        if t.id == 0 and self.damage == DESTINATION_PTE:
            pte_offset(peek_table(k.mm[0], self.address), self.address)[0] = make_pte(PTE_PRESENT, 0, 0)
        elif t.id == 0 and self.damage == MOST_VMAS:
            k.mm[0].map_count = MAX_MAP_COUNT
        elif t.id == 0 and self.damage == STALE_ENTRY:
            leave_entry(k, self.address)
        elif t.id == 0 and self.damage == FORKED:
            give_parent(t.x, k.mm[0].mmap.anon_vma, new_anon_vma(t.x, NULL))
        elif t.id == 0 and self.damage == SIBLINGS:
            parent = new_anon_vma(t.x, NULL)
            give_parent(t.x, k.mm[0].mmap.anon_vma, parent)
            give_parent(t.x, k.mm[0].mmap.vm_next.anon_vma, parent)
        elif t.id == 0 and self.damage == SECOND_ROOT:
            link(t.x, k.mm[0].mmap, new_anon_vma(t.x, NULL), False)
        elif t.id == 0 and self.damage == ROOT_OF_CHILD:
            k.mm[1].mmap.anon_vma = new_anon_vma(t.x, NULL)
        elif t.id == 0 and self.damage == WRITABLE_COPY:
            pmd_offset(k.mm[1], self.address)[0] |= PMD_WRITE
        elif t.id == 1 and self.damage == PGOFF_OF_CHILD:
            point(t, OP_STORE, k)
            k.mm[1].mmap.vm_pgoff += 1
            return
        elif t.id == 1 and self.damage == SOURCE_TO_TAIL:
            point(t, OP_STORE, k)
            list_move_tail(&first_avc(k.mm[0].mmap).same_anon_vma, &k.mm[0].mmap.anon_vma.head)
            return
        Kernel.body(self, t)

    cdef void check(self, Execution *x) noexcept nogil:
        if NOTHING < self.damage < DESTINATION_PTE:
            break_one(x, <kernel *>arena_root(&x.arena), self.damage, self.address)
        Kernel.check(self, x)


cdef anon_vma_chain *first_avc(vm_area_struct *vma) noexcept nogil:
    return avc_of_same_vma(vma.anon_vma_chain.next)


cdef anon_vma *new_anon_vma(Execution *x, anon_vma *root) noexcept nogil:
    cdef anon_vma *av = <anon_vma *>arena_alloc(&x.arena, sizeof(anon_vma), TYPE_ANON_VMA)
    av.root = root if root != NULL else av
    av.parent = av.root
    av.parent.num_children += 1
    av.refcount = 1
    lock_init(&av.mutex, CLASS_ANON_VMA)
    INIT_LIST_HEAD(&av.head)
    return av


cdef void link(Execution *x, vm_area_struct *vma, anon_vma *av, bint first) noexcept nogil:
    cdef anon_vma_chain *avc = <anon_vma_chain *>arena_alloc(&x.arena, sizeof(anon_vma_chain), TYPE_AVC)
    avc.vma = vma
    avc.anon_vma = av
    if first:
        list_add(&avc.same_vma, &vma.anon_vma_chain)
    else:
        list_add_tail(&avc.same_vma, &vma.anon_vma_chain)
    list_add_tail(&avc.same_anon_vma, &av.head)


cdef void leave_entry(kernel *k, uint64_t address) noexcept nogil:
    """Makes a pte what a restore walk that missed it leaves behind: an entry for a page that was freed."""
    cdef pte_t *ptep = pte_offset(peek_table(k.mm[0], address), address)
    cdef page *p = pfn_to_page(k, pte_pfn(ptep[0]))
    ptep[0] = make_pte(PTE_MIGRATION, p.pfn, PTE_WRITE)
    p.mapcount = -1
    p.count = 0
    p.mapping = 0


cdef void give_parent(Execution *x, anon_vma *av, anon_vma *parent) noexcept nogil:
    """Makes av what it is in a forked child: its vmas are on its own list and, in the same order, on the parent's."""
    cdef list_cursor c = list_for_each(&av.head)
    av.parent.num_children -= 1
    av.root = parent
    av.parent = parent
    parent.num_children += 1
    parent.refcount += 1
    while list_step(&c):
        link(x, avc_of_same_anon_vma(c.pos).vma, parent, False)


cdef void break_one(Execution *x, kernel *k, int damage, uint64_t address) noexcept nogil:
    cdef mm_struct *mm = k.mm[0]
    cdef vm_area_struct *a = mm.mmap
    cdef vm_area_struct *b = a.vm_next
    cdef anon_vma_chain *avc = first_avc(a)
    cdef anon_vma *av = a.anon_vma
    cdef pte_t *ptep = pte_offset(peek_table(mm, a.vm_start), a.vm_start)
    cdef page *p = pfn_to_page(k, pte_pfn(ptep[0]))
    if damage == MAPCOUNT:
        p.mapcount += 1
    elif damage == MAPCOUNT_OF_NOBODY:
        pfn_to_page(k, 3).mapcount = 0
    elif damage == INDEX:
        p.index += 1
    elif damage == PGOFF:
        a.vm_pgoff += 1
    elif damage == MAPPING:
        p.mapping = <uint64_t>b.anon_vma + PAGE_MAPPING_ANON
    elif damage == MAPPING_EMPTY:
        p.mapping = <uint64_t>new_anon_vma(x, NULL) + PAGE_MAPPING_ANON
    elif damage == MAPPING_FREED:
        av = new_anon_vma(x, NULL)
        p.mapping = <uint64_t>av + PAGE_MAPPING_ANON
        arena_retire(&x.arena, av)
    elif damage == MIGRATION_ENTRY:
        ptep[0] = make_pte(PTE_MIGRATION, p.pfn, PTE_WRITE)
    elif damage == ENTRY_OUTSIDE:
        pte_offset(peek_table(mm, address), address)[0] = make_pte(PTE_MIGRATION, p.pfn, 0)
    elif damage == PTE_OUTSIDE:
        pte_offset(peek_table(mm, address), address)[0] = ptep[0]
        p.mapcount += 1
    elif damage == PTE_WILD:
        ptep[0] = make_pte(PTE_PRESENT, <uint64_t>1 << 40, PTE_WRITE)
    elif damage == PTE_TWICE:
        ptep[1] = ptep[0]
        p.mapcount += 1
    elif damage == FREED_TABLE:
        arena_free(&x.arena, peek_table(mm, a.vm_start))
    elif damage == AVC_VMA:
        avc.vma = b
    elif damage == OFF_LIST:
        list_del(&avc.same_anon_vma)
    elif damage == OFF_CHAIN:
        list_del(&avc.same_vma)
    elif damage == BROKEN_LIST:
        avc.same_anon_vma.next = NULL
    elif damage == BROKEN_CHAIN:
        avc.same_vma.next = NULL
    elif damage == NO_ANON_VMA:
        a.anon_vma = NULL
    elif damage == FOREIGN_ROOT:
        link(x, a, new_anon_vma(x, NULL), False)
    elif damage == ROOT_NOT_LAST:
        link(x, a, new_anon_vma(x, av), False)
    elif damage == OWN_NOT_FIRST:
        link(x, a, new_anon_vma(x, av), True)
    elif damage == OTHER_SETS:
        # As if the chains of a forked child had been merged half: a is on its parent's list, and its twin is not.
        av.root = new_anon_vma(x, NULL)
        link(x, a, av.root, False)
    elif damage == FREED_ANON_VMA:
        arena_retire(&x.arena, av)
    elif damage == FREED_AVC:
        arena_free(&x.arena, avc)
    elif damage == FREED_VMA:
        arena_free(&x.arena, b)
    elif damage == FORGOTTEN_AVC:
        # An entry of a vma that is gone, left behind on a list.
        link(x, b, av, False)
        avc = avc_of_same_vma(b.anon_vma_chain.prev)
        list_del(&avc.same_vma)
        arena_free(&x.arena, avc)
    elif damage == FORGOTTEN_VMA:
        b = <vm_area_struct *>arena_alloc(&x.arena, sizeof(vm_area_struct), TYPE_VMA)
        INIT_LIST_HEAD(&b.anon_vma_chain)
        link(x, b, av, False)
        arena_free(&x.arena, b)
    elif damage == LINKED_TWICE:
        link(x, a, av, False)
    elif damage == READ_ONLY_VMA:
        a.vm_flags &= ~VM_WRITE
    elif damage == CLOSED_PTE:
        pte_offset(peek_table(k.mm[0], a.vm_start), a.vm_start)[0] |= PTE_PROTNONE
    elif damage == OPEN_PTE:
        a.vm_flags &= ~(VM_READ | VM_WRITE)
        pte_offset(peek_table(k.mm[0], a.vm_start), a.vm_start)[0] &= ~<pte_t>PTE_WRITE
    elif damage == UNCHARGED:
        a.vm_flags &= ~VM_ACCOUNT


def census(Explorer explorer):
    """How many objects of each type live in the arena, as {name of the type: number}."""
    cdef char *base = explorer.x.arena.base
    cdef uint64_t at = ARENA_START
    cdef arena_header *header
    found = dict.fromkeys(TYPES, 0)
    while at < explorer.x.arena.now.used:
        header = <arena_header *>(base + at)
        if not header.generation & 1:
            found[TYPES[header.type - 1]] += 1
        at += header.size
    return found


# ---- anon_vmas ---------------------------------------------------------------------------------------------------------


def anon_vma_states(Explorer explorer):
    """{serial: what World does not show} of all anon_vmas that live: root, parent, refcount, children, active (vmas whose
    own it is) and generation."""
    cdef char *base = explorer.x.arena.base
    cdef uint64_t at = ARENA_START
    cdef arena_header *header
    cdef anon_vma *av
    found = {}
    while at < explorer.x.arena.now.used:
        header = <arena_header *>(base + at)
        av = <anon_vma *>(header + 1)
        if header.type == TYPE_ANON_VMA and not header.generation & 1:
            found[header.serial] = {
                "root": serial_of(av.root),
                "parent": serial_of(av.parent),
                "refcount": av.refcount,
                "children": av.num_children,
                "active": av.num_active_vmas,
                "generation": header.generation,
            }
        at += header.size
    return found


def pool(Explorer explorer):
    """The freed anon_vmas as (serial, generation), the one that is used next first."""
    cdef kernel *k = <kernel *>arena_root(&explorer.x.arena)
    cdef anon_vma *av = k.free_anon_vma
    found = []
    while av != NULL:
        found.append((serial_of(av), (<arena_header *>av - 1).generation))
        av = av.next_free
    return found


# ---- the interval tree -------------------------------------------------------------------------------------------------


cdef list in_order(anon_vma_chain *node):
    if node == NULL:
        return []
    return [*in_order(node.left), (serial_of(node.vma), node.vma.vm_pgoff, vma_pages(node.vma)), *in_order(node.right)]


cdef list stabbed(anon_vma *av, uint64_t index):
    cdef anon_vma_chain *avc = anon_vma_interval_tree_first(av, index, index)
    found = []
    while avc != NULL:
        found.append(serial_of(avc.vma))
        avc = anon_vma_interval_tree_next(avc, index, index)
    return found


cdef anon_vma *anon_vma_of(Explorer explorer, int64_t serial) except NULL:
    cdef char *base = explorer.x.arena.base
    cdef uint64_t at = ARENA_START
    cdef arena_header *header
    while at < explorer.x.arena.now.used:
        header = <arena_header *>(base + at)
        if header.type == TYPE_ANON_VMA and not header.generation & 1 and header.serial == serial:
            return <anon_vma *>(header + 1)
        at += header.size
    raise KeyError(serial)


def tree_order(Explorer explorer, int64_t serial):
    """The entries of an anon_vma's tree in order, as (vma, vm_pgoff, pages)."""
    return in_order(anon_vma_of(explorer, serial).tree)


def tree_stab(Explorer explorer, int64_t serial, uint64_t index):
    """The vmas that a walk for page index `index` meets, in its order."""
    return stabbed(anon_vma_of(explorer, serial), index)


cdef class Tree:
    """One interval tree in the arena of an explorer, with vmas made for it: named by numbers, as they were inserted."""

    cdef Explorer explorer
    cdef anon_vma *av
    cdef anon_vma_chain *entry[4096]
    cdef int entries

    def __init__(self, Explorer explorer):
        self.explorer = explorer
        self.av = new_anon_vma(explorer.x, NULL)

    def insert(self, uint64_t pgoff, uint64_t pages):
        """Returns the number of the new entry."""
        cdef vm_area_struct *vma = <vm_area_struct *>arena_alloc(&self.explorer.x.arena, sizeof(vm_area_struct), TYPE_VMA)
        cdef anon_vma_chain *avc = <anon_vma_chain *>arena_alloc(&self.explorer.x.arena, sizeof(anon_vma_chain), TYPE_AVC)
        vma.vm_pgoff = pgoff
        vma.vm_end = pages << PAGE_SHIFT
        avc.vma = vma
        avc.anon_vma = self.av
        self.entry[self.entries] = avc
        self.entries += 1
        anon_vma_interval_tree_insert(self.av, avc)
        return self.entries - 1

    def remove(self, int number):
        anon_vma_interval_tree_remove(self.av, self.entry[number])

    def resize(self, int number, uint64_t pgoff, uint64_t pages):
        """As vma_adjust does it: out, changed, and in again."""
        anon_vma_interval_tree_remove(self.av, self.entry[number])
        self.entry[number].vma.vm_pgoff = pgoff
        self.entry[number].vma.vm_end = pages << PAGE_SHIFT
        anon_vma_interval_tree_insert(self.av, self.entry[number])

    cdef int number(self, anon_vma_chain *avc) except -1:
        cdef int i
        for i in range(self.entries):
            if self.entry[i] == avc:
                return i
        raise KeyError

    cdef list numbers(self, anon_vma_chain *node, int depth):
        if node == NULL:
            return []
        return self.numbers(node.left, depth + 1) + [(self.number(node), depth)] + self.numbers(node.right, depth + 1)

    def order(self):
        """All entries in order, as (number, depth)."""
        return self.numbers(self.av.tree, 0)

    def stab(self, uint64_t index):
        cdef anon_vma_chain *avc = anon_vma_interval_tree_first(self.av, index, index)
        found = []
        while avc != NULL:
            found.append(self.number(avc))
            avc = anon_vma_interval_tree_next(avc, index, index)
        return found


cdef int down(Task *t, int depth) noexcept nogil:
    """Goes down until the stack ends; the array keeps the compiler from making a loop of it."""
    cdef char waste[512]
    waste[depth & 511] = <char>depth
    point(t, OP_STORE, t)
    return down(t, depth + 1) + waste[(depth * 7) & 511]


cdef class Deep(Subject):
    """Task 0 overflows its stack, the others make a step each."""

    def __init__(self):
        self.tasks = 3

    cdef void body(self, Task *t) noexcept nogil:
        if t.id == 0:
            down(t, 0)
        else:
            point(t, OP_STORE, t)
