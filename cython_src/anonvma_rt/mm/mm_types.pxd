"""The structures of the memory manager, under the kernel's names (Linux 3.1 to 3.3), and their small accessors.

Addresses are in bytes, lengths inside structures in bytes, `pgoff` and `index` in pages. Which lock protects what is
said beside each field. Paging has three levels of 512 entries (39 bits, as arm64 and RISC-V have it).
"""

from libc.stdint cimport int8_t, int32_t, int64_t, uint16_t, uint32_t, uint64_t

from anonvma_rt.engine.audit.access cimport rt_glance, rt_glance_link
from anonvma_rt.engine.base.arena cimport arena_header_of, arena_root
from anonvma_rt.engine.base.klist cimport list_head
from anonvma_rt.engine.base.operation cimport OP_LOAD, OP_STORE, lock_word
from anonvma_rt.engine.base.os cimport (
    read_link, read_once32, read_once64, read_onceu, rt_unlikely, write_onceu,
)
from anonvma_rt.engine.run.sync cimport mutex_t, rwsem_t, spinlock_t
from anonvma_rt.engine.run.task cimport VIOLATION_USE_AFTER_FREE, Finding, Task, must_live, point, violate

cdef enum:
    PAGE_SHIFT = 12
    PAGE_SIZE = 1 << PAGE_SHIFT
    PTRS_PER_TABLE = 512
    PMD_SHIFT = 21
    PMD_SIZE = 1 << PMD_SHIFT
    PMD_ORDER = PMD_SHIFT - PAGE_SHIFT
    HPAGE_PMD_NR = 1 << PMD_ORDER
    PGDIR_SHIFT = 30
    PGDIR_SIZE = 1 << PGDIR_SHIFT
    # Pages whose ptes move under one hold of the two page-table locks (LATENCY_LIMIT of mm/mremap.c).
    LATENCY_LIMIT = 64
    # Processes of a scenario file; a Machine may have any number.
    MAX_PROCESSES = 64
    MOST_THREADS = 64
    # Ranges of pages that the threads of a scenario migrate.
    MAX_WATCHED = 8
    CHUNK_SHIFT = 6
    PAGES_PER_CHUNK = 1 << CHUNK_SHIFT
    MAX_MAP_COUNT = 65530

cdef enum:
    TYPE_KERNEL = 1
    TYPE_MM
    TYPE_VMA
    TYPE_ANON_VMA
    TYPE_AVC
    TYPE_PAGES
    TYPE_TABLE
    TYPE_DIRECTORY
    TYPE_SCRATCH
    TYPE_SWAP
    TYPE_PINS

# Lock classes, in the order of the head of mm/rmap.c; the one after a class is its nested subclass.
cdef enum:
    CLASS_MMAP_SEM = 1
    CLASS_MMAP_SEM_NESTED
    CLASS_PAGE
    CLASS_PAGE_NESTED
    CLASS_ANON_VMA
    CLASS_PTL
    CLASS_PTL_NESTED

cdef enum:
    VM_WRITE = 1
    VM_HUGEPAGE = 2
    # The stack of a program that exec still builds: the flag combination that cannot be, of a8bef8ff6ea1.
    VM_STACK_INCOMPLETE_SETUP = 4
    # It was writable once, so its pages are charged: two vmas that differ in this do not merge.
    VM_ACCOUNT = 8
    # Without it nobody may access it (PROT_NONE). Who may write may read, too.
    VM_READ = 16
    # MAP_NORESERVE: it is never charged for.
    VM_NORESERVE = 32
    # A fault below it makes it grow (MAP_GROWSDOWN), as the stack of a process does.
    VM_GROWSDOWN = 0x100
    # A private mapping of the file (filemap).
    VM_FILE = 0x200
    # Faults in it may get folios of 2**order pages, for an order from 2 on (mTHP).
    VM_ORDER_SHIFT = 12

# What a pte holds: a state in the low bits, rights, and a pfn. Page frame 0 is the zero page, which has no rmap.
ctypedef uint64_t pte_t
cdef enum:
    PTE_NONE = 0
    PTE_PRESENT = 1
    PTE_MIGRATION = 2
    # The page is in a slot of the swap area, whose number is in the place of the pfn.
    PTE_SWAP = 3
    PTE_STATE = 3
    PTE_WRITE = 4
    # The page is of this entry alone and was of no other since it was written to last: PageAnonExclusive, which fork
    # ends. Here it is of the entry, and a migration entry keeps it, as it does since 6.0.
    PTE_EXCLUSIVE = 8
    # A present entry that no user may access, of a vma without VM_READ: to the kernel it is present.
    PTE_PROTNONE = 16
    # A user wrote through it since it was made; kept only where something asks (reclaim).
    PTE_DIRTY = 32
    PTE_PFN_SHIFT = 8

# A pmd is none, the address of a page table, or huge: PMD_HUGE, perhaps splitting and writable, and the head's pfn, 0
# for the huge zero page. With PMD_MIGRATION it is no mapping but a migration entry of the whole huge page (4.14).
ctypedef uint64_t pmd_t
cdef enum:
    PMD_HUGE = 1
    PMD_SPLITTING = 2
    PMD_WRITE = 4
    PMD_EXCLUSIVE = PTE_EXCLUSIVE
    PMD_PROTNONE = PTE_PROTNONE
    PMD_DIRTY = PTE_DIRTY
    PMD_MIGRATION = 64

cdef enum Ordering:
    ORDERING_NONE
    ORDERING_TAIL_AFTER_MERGE
    ORDERING_TAIL
    ORDERING_RMAP_LOCKS
    ORDERING_NEED_RMAP_LOCKS
    ORDERING_FRESH_VMA
    ORDERING_DOUBLE_WALK
    ORDERING_STRICT_RMAP_LOCKS

cdef enum MergeRule:
    MERGE_3_0
    MERGE_SYMMETRIC
    MERGE_6_16
    MERGE_6_16_UNCLONED
    MERGE_6_16_FORKED
    MERGE_6_16_UNREPAIRED

cdef enum ReuseRule:
    REUSE_NO
    REUSE_DEGREE
    REUSE_COUNTERS

cdef enum ExecLock:
    EXEC_LOCK_WIDENING
    EXEC_LOCK_MOVE
    EXEC_LOCK_ACROSS

cdef enum VmaLocks:
    VMA_LOCKS_NO
    VMA_LOCKS_RACY
    VMA_LOCKS_FORK
    # By a sequence and an rwsem (mm/vma_lock); from 6.15 on by references. Behind each the mistakes that it had.
    VMA_LOCKS_6_4
    VMA_LOCKS_6_4_IMPORT
    VMA_LOCKS_6_4_EARLY
    VMA_LOCKS_6_4_RELEASED
    VMA_LOCKS_6_15
    VMA_LOCKS_6_15_ANY_MM
    VMA_LOCKS_6_15_UNPINNED

cdef enum Calls:
    CALLS_3_2
    CALLS_6_17

cdef enum Growth:
    GROWTH_ADJUST
    GROWTH_MERGE_FROM_ADDRESS
    GROWTH_MERGE

cdef enum UnstablePmd:
    UNSTABLE_PMD_WALKS
    UNSTABLE_PMD_FAULTS
    UNSTABLE_PMD_NO

cdef enum MovePages:
    MOVE_PAGES_3_2
    MOVE_PAGES_4_17
    MOVE_PAGES_4_3

cdef enum Batches:
    BATCHES_NO
    BATCHES_6_3
    BATCHES_WAITING

cdef enum CowReuse:
    COW_REUSE_MAPPED_ONCE
    COW_REUSE_5_9
    COW_REUSE_5_19

cdef enum Collapse:
    COLLAPSE_3_2
    COLLAPSE_4_1
    COLLAPSE_5_8

cdef enum HugePages:
    THP_3_2
    THP_4_5
    THP_4_14

cdef enum HugeZero:
    HUGE_ZERO_NO
    HUGE_ZERO_3_8
    HUGE_ZERO_5_8
    HUGE_ZERO_6_13

cdef enum SplitMigrating:
    SPLIT_MIGRATING_NO
    SPLIT_MIGRATING_COUNTS
    SPLIT_MIGRATING_REFERENCES

cdef enum Aligned:
    ALIGNED_NO
    ALIGNED_6_8
    ALIGNED_6_12

cdef enum Swapin:
    SWAPIN_CACHE
    SWAPIN_DIRECT
    SWAPIN_PREPARED

cdef enum UffdSwap:
    UFFD_SWAP_6_8
    UFFD_SWAP_6_14
    UFFD_SWAP_6_16

cdef enum GupCow:
    GUP_COW_NO
    GUP_COW_5_8
    GUP_COW_5_19

cdef enum MoveFlush:
    MOVE_FLUSH_END
    MOVE_FLUSH_EACH
    MOVE_FLUSH_DIRTY
    MOVE_FLUSH_LOCKED

cdef enum GatherFlush:
    GATHER_FLUSH_MM
    GATHER_FLUSH_REST
    GATHER_FLUSH_SHORT
    GATHER_FLUSH_GATHERED

# What does not flush, which no release forgot.
cdef enum MissingFlush:
    MISSING_FLUSH_NO
    MISSING_FLUSH_FORK
    MISSING_FLUSH_COW
    MISSING_FLUSH_PROTECT
    MISSING_FLUSH_UNMAP

# The kernel's choices. linux/choices.py explains each under the same name; mm/hooks/algorithm.pyx fills them in by
# name, and has the words for the enums above, in their order. A byte each, or adding one would move what stays in its
# place (kernel.unused).
cdef struct algorithm:
    int8_t ordering
    int8_t tree
    int8_t shared_walks
    int8_t whole_tables
    int8_t huge_ignores_locks
    int8_t single_ptl
    int8_t restore_peeks
    int8_t split_peeks
    int8_t decode_in_zap
    int8_t stack_flag
    int8_t exec_lock
    int8_t merge
    int8_t shift_locks
    int8_t place_before_clone
    int8_t reuse
    int8_t reuse_forked
    int8_t vma_locks
    int8_t calls
    int8_t import_ahead
    int8_t own_lock
    int8_t pin
    int8_t careful_pin
    int8_t lock_new
    int8_t recheck_mapped
    int8_t remember_root
    int8_t recheck_mapping
    int8_t free_root_first
    int8_t child_first
    int8_t tail_own_only
    int8_t walk_root_list
    int8_t move_pages
    int8_t wait_without_pin
    int8_t mremap_splits
    int8_t tables_unlocked
    int8_t pmd_twice
    int8_t uncounted_clone
    int8_t import_unset
    int8_t case_4_forgets
    int8_t case_3_keeps_pgoff
    int8_t growth
    int8_t refuse_copies
    int8_t unstable_pmd
    int8_t munmap_downgrades
    int8_t downgrade_beside_stack
    int8_t exclusive_growth
    int8_t restore_compares
    int8_t isolate
    int8_t batches
    int8_t cow_reuse
    int8_t aligned
    int8_t case_8_grows
    int8_t uncharges_at_0
    int8_t dontunmap_uncharges
    int8_t collapse
    int8_t collapse_stale_vma
    int8_t collapse_unlocked
    int8_t pud_moves
    int8_t swapin
    int8_t swapin_rechecks
    int8_t keeps_pinned
    int8_t uffd_swap
    int8_t gup_cow
    int8_t fork_copies_pinned
    int8_t write_protect_seq
    int8_t lazyfree_refs
    int8_t gup_rechecks_pmd
    int8_t move_flush
    int8_t gather_flush
    int8_t protect_counts
    int8_t nested_flush
    int8_t deferred_flush
    int8_t batched_pending
    int8_t missing_flush
    int8_t retract_asks_early
    int8_t thp
    int8_t cow_splits
    int8_t split_locks
    int8_t split_warns
    int8_t split_sync
    int8_t split_migrating
    int8_t huge_zero
    int8_t uffd_any_pmd
    int8_t split_zeroes
    int8_t large_folios

# An ordering of somebody else's (hooks/rule.pxd), or NULL: a Python object as a plain pointer, and its method.
cdef struct rule_hook:
    void *rule
    bint (*place)(void *rule, Task *t, vm_area_struct *source, vm_area_struct *destination, int arrival) noexcept nogil

cdef struct page:
    lock_word lock            # PG_locked
    int32_t mapcount          # present ptes (huge: pmds) minus one; a migration entry is not counted
    int32_t count             # references: one per present pte, one per other user; and PG_ISOLATED
    uint32_t tag              # stands for the content
    uint32_t index            # in the space of vm_pgoff
    uint32_t pfn
    uint32_t head             # pfn of the huge page's head; of itself for a small page
    uint32_t flags            # PG_*; the order of the folio whose head it is; its slot in the swap area
    # An anon_vma plus PAGE_MAPPING_ANON, or 0. The upper bits are its generation when it was set, which tells a reused
    # one from the page's own: one word, because walkers read it under no lock.
    uint64_t mapping

cdef enum:
    # Off the LRU: not PG_lru. Beside the references, because who takes a page off the LRU takes one in the same step.
    PG_ISOLATED = 1 << 24

# page.flags. Who changes them holds the page lock, unless it says otherwise.
cdef enum:
    PG_HEAD = 1
    # It is a part of a huge page whose references are all on the head, while each part counts its ptes (4.5).
    PG_COMPOUND = 2
    # Its content differs from that in the swap area.
    PG_DIRTY = 4
    # It is in the swap cache; the number of its slot is above PAGE_SLOT_SHIFT.
    PG_SWAPCACHE = 8
    # MADV_FREE: reclaim may drop it while it is clean.
    PG_LAZYFREE = 16
    # It is in the page cache: not anonymous, and with one reference more than it has entries.
    PG_FILE = 128
    # Of a head: its folio has 2**order pages.
    PAGE_ORDER_SHIFT = 8
    PAGE_ORDER_MASK = 15 << PAGE_ORDER_SHIFT
    PAGE_SLOT_SHIFT = 12

cdef enum:
    PAGE_MAPPING_ANON = 1
    GENERATION_SHIFT = 48

cdef struct page_table:
    spinlock_t ptl
    uint64_t address          # of its first entry; for reports
    pte_t pte[PTRS_PER_TABLE]

cdef struct page_directory:
    pmd_t entry[PTRS_PER_TABLE]

cdef struct anon_vma:
    anon_vma *root            # constant while the anon_vma has users; itself for a root
    mutex_t mutex             # only the root's is taken (own_lock: each its own); an rwsem where walks are shared
    int32_t refcount          # one for "the list is not empty", one per child and per pin
    list_head head            # root's mutex; anon_vma_chain.same_anon_vma, oldest first
    anon_vma_chain *tree      # root's mutex; the same entries by vm_pgoff, where the algorithm has the tree
    anon_vma *parent          # root's mutex, with the two counts: reuse by forks (3.19)
    int32_t num_children      # child anon_vmas, and for a root itself
    int32_t num_active_vmas   # vmas whose own anon_vma this is
    anon_vma *next_free       # the pool of freed ones
    uint32_t checked_round    # scratch of mm/check: its list was walked in this round
    mm_struct *checked_mm     # the first vma of that mm with this anon_vma
    vm_area_struct *checked

cdef struct anon_vma_chain:
    vm_area_struct *vma
    anon_vma *anon_vma
    list_head same_vma        # mmap_sem and page_table_lock; newest first
    list_head same_anon_vma   # the root's mutex
    anon_vma_chain *up        # the root's mutex; interval_tree
    anon_vma_chain *left
    anon_vma_chain *right
    uint64_t subtree_last     # the largest last index in this subtree
    uint32_t checked_round    # scratch of mm/check: it was met on its anon_vma's list in this round

cdef struct vm_area_struct:
    mm_struct *vm_mm
    # mmap_sem; the root's mutex in some cases only (vma_adjust), and always where a stack grows
    uint64_t vm_start
    uint64_t vm_end
    uint64_t vm_pgoff
    uint32_t vm_flags         # mmap_sem
    uint32_t vm_page_prot     # mmap_sem; what entries are made with, PTE_PROTNONE or 0: walkers read it under no lock
    vm_area_struct *vm_next   # mmap_sem; by address
    vm_area_struct *vm_prev
    vm_area_struct *left      # mmap_sem; vma_tree
    vm_area_struct *right
    list_head anon_vma_chain
    anon_vma *anon_vma        # set once under page_table_lock
    rwsem_t vm_lock           # of the words "racy" and "fork": held for reading by a fault without mmap_sem

# A vma where each has a lock of its own (mm/vma_lock); what is behind it outlives it.
cdef struct locked_vma:
    vm_area_struct vma
    rwsem_t lock              # up to 6.14; held for writing only while vm_lock_seq changes
    bint detached             # mmap_sem, and the lock for writing: it is in no tree any more, up to 6.14
    int64_t vm_lock_seq       # mm_lock_seq where whoever holds mmap_sem has it locked for writing
    int64_t vm_refcnt         # from 6.15 on: 0 in no tree, 1 in one, one more per reader, VMA_LOCK_OFFSET per writer
    uint64_t key_start        # the range under which the tree has it; told at mm.tree
    uint64_t key_end
    vm_area_struct *next_free  # the pool of freed ones

cdef struct mm_struct:
    rwsem_t mmap_sem
    spinlock_t page_table_lock
    int32_t map_count
    int32_t id
    vm_area_struct *mmap
    vm_area_struct *tree
    uint32_t mm_lock_seq      # mmap_sem for writing: how often it was given back, which unlocks all vmas
    int32_t charged           # mmap_sem; pages, as the calls have charged for them
    uint32_t tree_guard       # where tasks run at once: for lookups without mmap_sem
    uint32_t gone             # mmap_sem: it came to its end
    page_directory *pgd

cdef enum:
    # Pages that a gather holds before it flushes: in Linux more, while there is memory for that.
    MMU_GATHER_BUNDLE = 8

# What was cleared since the last flush, and the pages that are freed behind the next (mmu_gather.pxd).
cdef struct mmu_gather:
    mm_struct *mm
    uint64_t start
    uint64_t end
    int32_t n
    page *pages[MMU_GATHER_BUNDLE]

# A walk over the entries of a range of one vma (pagewalk.pxd).
cdef struct mm_walk:
    vm_area_struct *vma
    # A huge pmd all of which is in the range: False where it is one no more, and the walk looks again.
    bint (*huge)(Task *t, mm_walk *walk, pmd_t *pmd, uint64_t address) noexcept nogil
    # The entries of one table. 0, or an errno, which ends the walk.
    int (*ptes)(Task *t, mm_walk *walk, page_table *table, uint64_t address, uint64_t end) noexcept nogil
    # Of a fork: the vma that gets copies.
    vm_area_struct *child
    # Of a zap: where pages go until they are flushed; NULL without a TLB.
    mmu_gather *tlb
    # mmap_sem is held for reading, so a fault may map a huge page meanwhile.
    bint shared

cdef struct index_range:
    uint64_t first
    uint64_t last


# The nth allocation of a task, counted from 1.
cdef struct alloc_failure:
    int64_t task
    uint64_t nth


# What fails in an execution: an allocation by chance where a draw of 64 bits is at most `limit`, and those of a sorted
# list, whose memory is the subject's and not the arena's.
cdef struct alloc_plan:
    bint by_chance
    uint32_t kinds
    uint64_t limit
    alloc_failure *listed
    int64_t n_listed


# Of one task: allocations so far while it raced, and how many of these failed; during a call that was told to fail, of
# which kind (-1: none) and how many more succeed.
cdef struct alloc_turn:
    uint64_t asked
    uint64_t failed
    int64_t left
    int32_t armed
    bint racing


# Who is told of the root's lock by the code that takes it (hooks/root_lock.pxd).
cdef struct root_lock_hook:
    void (*tell)(void *data, int task, int event) noexcept nogil
    void *data


cdef struct kernel:
    algorithm algorithm
    rule_hook rule
    # Where an object lies is part of recorded events, so what follows stays where it was in the first ones.
    uint64_t unused[1]
    # What only some programs need: NULL elsewhere. The swap area, the translations of the CPUs, the queue of huge pages
    # that are mapped in part, the pages that tasks have pinned, and the file.
    void *swap
    void *tlb
    void *deferred
    void *pins
    void *file
    # The pool of vmas from 6.15 on, as that of anon_vmas below.
    vm_area_struct *free_vma
    mm_struct **mm
    int32_t n_mm
    int32_t mm_room
    uint32_t n_pages
    # mem_map: chunks of PAGES_PER_CHUNK pages.
    page **chunk
    uint32_t chunks
    uint32_t chunk_room
    # The pool of anon_vmas (SLAB_DESTROY_BY_RCU): a freed one stays an anon_vma and is the next one to be used.
    anon_vma *free_anon_vma
    # Where tasks run at once: held around a change of mem_map and of the pool.
    uint32_t frames_guard
    uint32_t pool_guard
    uint32_t check_round
    # Whether a call of the program takes the right to read away: else vm_page_prot is always 0, and is not looked at.
    bint prot_none
    # Ranges of the indices of the pages that the threads migrate, and the tasks for which hooks/watch.pxd marks them.
    index_range watched[MAX_WATCHED]
    int32_t n_watched
    uint64_t watchers
    # One row per task; NULL where no allocation can fail.
    alloc_turn *turn
    alloc_plan plan
    root_lock_hook *root_lock
    # Where a check lists all that it finds; NULL in executions, whose verdict is the first thing found.
    Finding *findings
    int32_t n_findings
    int32_t findings_room


cdef inline kernel *kernel_of(Task *t) noexcept nogil:
    return <kernel *>arena_root(&t.x.arena)


cdef inline page *pfn_to_page(kernel *k, uint64_t pfn) noexcept nogil:
    # Shifts, because whoever cimports this may have other rules for the division of integers.
    cdef page **chunk = <page **>rt_glance_link(&k.chunk)
    return <page *>rt_glance_link(&chunk[pfn >> CHUNK_SHIFT]) + (pfn & (PAGES_PER_CHUNK - 1))


cdef inline uint64_t poison() noexcept nogil:
    """Eight bytes of a freed object (ARENA_POISON)."""
    return 0x6B6B6B6B6B6B6B6BULL


cdef inline bint is_poison(uint64_t word) noexcept nogil:
    """Whether a word was read from a freed object: no entry and no pointer of a live one is that."""
    return rt_unlikely(word == poison())


cdef inline page *page_at(Task *t, uint64_t pfn) noexcept nogil:
    """pfn_to_page() for a number that was read from an entry: memory that is a page table no more has any."""
    cdef kernel *k = kernel_of(t)
    if rt_unlikely(pfn >= rt_glance(&k.n_pages)):
        violate(t, VIOLATION_USE_AFTER_FREE, TYPE_TABLE, 0, 0)
    return pfn_to_page(k, pfn)


cdef inline mm_struct *mm_of(Task *t, vm_area_struct *vma) noexcept nogil:
    """The mm of a vma that somebody may have freed meanwhile; a pointer that was read once is followed."""
    cdef mm_struct *mm
    must_live(t, vma, TYPE_VMA)
    mm = <mm_struct *>read_link(&vma.vm_mm)
    if is_poison(<uint64_t>mm):
        violate(t, VIOLATION_USE_AFTER_FREE, TYPE_VMA, <int64_t>(<char *>vma - t.x.arena.base), 0)
    return mm


cdef inline bint by_sequence(Task *t) noexcept nogil:
    """Whether faults go under the lock of a vma, and every writer takes it (mm/vma_lock)."""
    return kernel_of(t).algorithm.vma_locks >= VMA_LOCKS_6_4


cdef inline bint by_refcount(Task *t) noexcept nogil:
    """Whether that lock is a count of references, and a freed vma is the next one to be used."""
    return kernel_of(t).algorithm.vma_locks >= VMA_LOCKS_6_15


cdef inline bint one_object(Task *t) noexcept nogil:
    """Whether all vmas and lists are announced as one object, because many members are looked at together of which each
    changes by itself: by faults that no lock keeps apart from a writer, and in a tree where a vma is before it has its
    place."""
    cdef algorithm *a = &kernel_of(t).algorithm
    if VMA_LOCKS_NO < a.vma_locks < VMA_LOCKS_6_15 and a.vma_locks != VMA_LOCKS_6_4:
        return True
    return a.tree and not a.place_before_clone


cdef inline void *member_of(Task *t, void *member) noexcept nogil:
    """What is announced of an operation on a member of a vma, or on a list."""
    return &kernel_of(t).mm if one_object(t) else member


cdef inline void announce_vmas(Task *t, int op) noexcept nogil:
    """An operation on vmas or lists that a lock orders, but where all of them are one object."""
    if one_object(t):
        point(t, op, &kernel_of(t).mm)


cdef inline void announce_tree(Task *t, mm_struct *mm, int op) noexcept nogil:
    """An operation on the tree of an mm, in which faults look without mmap_sem."""
    if one_object(t):
        point(t, op, &kernel_of(t).mm)
    elif by_sequence(t):
        point(t, op, &mm.tree)


cdef inline void announce_flags(Task *t, vm_area_struct *vma) noexcept nogil:
    """A change of vm_flags, which a walk looks at together with vm_pgoff."""
    if kernel_of(t).algorithm.stack_flag or one_object(t):
        point(t, OP_STORE, member_of(t, &vma.vm_pgoff))


cdef inline uint32_t protection_of(uint64_t flags) noexcept nogil:
    """vm_get_page_prot(), of private memory: the right to write is never in it."""
    return 0 if flags & VM_READ else <uint32_t>PTE_PROTNONE


cdef inline pte_t vma_page_prot(Task *t, vm_area_struct *vma) noexcept nogil:
    """What a walk makes an entry of vma with, without mmap_sem."""
    if not kernel_of(t).prot_none:
        return 0
    point(t, OP_LOAD, member_of(t, &vma.vm_page_prot))
    must_live(t, vma, TYPE_VMA)
    return read_onceu(&vma.vm_page_prot)


cdef inline void vma_set_page_prot(Task *t, vm_area_struct *vma) noexcept nogil:
    """vm_page_prot as vm_flags want it; nobody else writes it now."""
    cdef uint32_t prot = protection_of(vma.vm_flags)
    if prot == vma.vm_page_prot:
        return
    point(t, OP_STORE, member_of(t, &vma.vm_page_prot))
    write_onceu(&vma.vm_page_prot, prot)


cdef inline uint64_t pte_pfn(pte_t pte) noexcept nogil:
    return pte >> PTE_PFN_SHIFT


cdef inline bint pte_present(pte_t pte) noexcept nogil:
    return pte & PTE_STATE == PTE_PRESENT


cdef inline bint is_migration_entry(pte_t pte) noexcept nogil:
    return pte & PTE_STATE == PTE_MIGRATION


cdef inline bint is_swap_pte(pte_t pte) noexcept nogil:
    return pte & PTE_STATE == PTE_SWAP


cdef inline uint32_t page_slot(page *page) noexcept nogil:
    """Its slot in the swap area; 0 where it is not in the swap cache. The page lock keeps that, and nothing else in the
    flags."""
    cdef uint32_t flags = rt_glance(&page.flags)
    return flags >> PAGE_SLOT_SHIFT if flags & PG_SWAPCACHE else 0


cdef inline pte_t make_pte(int state, uint64_t pfn, pte_t rights) noexcept nogil:
    """rights: PTE_WRITE and PTE_EXCLUSIVE; other bits of an entry are left out: PTE_PROTNONE is the vma's affair."""
    return pfn << PTE_PFN_SHIFT | <uint64_t>state | rights & (PTE_WRITE | PTE_EXCLUSIVE)


cdef inline int64_t noted(uint64_t entry) noexcept nogil:
    """A pte or huge pmd as notes have it, which had no exclusive pages at first, and no dirty bits."""
    return <int64_t>(entry & ~<uint64_t>(PTE_EXCLUSIVE | PTE_DIRTY))


cdef inline bint pmd_huge(pmd_t pmd) noexcept nogil:
    return pmd & PMD_HUGE


cdef inline bint is_huge_zero_pmd(pmd_t pmd) noexcept nogil:
    return pmd_huge(pmd) and pmd >> PTE_PFN_SHIFT == 0


cdef inline page_table *pmd_table(pmd_t pmd) noexcept nogil:
    return NULL if pmd & PMD_HUGE else <page_table *>pmd


cdef inline pmd_t make_huge_pmd(uint64_t pfn, bint writable) noexcept nogil:
    """Of a new page, which no other pmd shows."""
    return pfn << PTE_PFN_SHIFT | PMD_HUGE | PMD_EXCLUSIVE | <uint64_t>(PMD_WRITE if writable else 0)


cdef inline uint64_t vma_pages(vm_area_struct *vma) noexcept nogil:
    return (vma.vm_end - vma.vm_start) >> PAGE_SHIFT


cdef inline uint64_t start_of(Task *t, vm_area_struct *vma) noexcept nogil:
    """vm_start, for whoever holds mmap_sem for reading: that of a stack moves meanwhile."""
    if vma.vm_flags & VM_GROWSDOWN:
        point(t, OP_LOAD, member_of(t, &vma.vm_start))
    return read_once64(&vma.vm_start)


cdef inline uint64_t linear_page_index(vm_area_struct *vma, uint64_t address) noexcept nogil:
    return ((address - vma.vm_start) >> PAGE_SHIFT) + vma.vm_pgoff


cdef inline bint page_compound(page *page) noexcept nogil:
    """Whether it is the head of a huge page. Other flags change beside that one; a split announces it at the count."""
    return rt_glance(&page.flags) & PG_HEAD


cdef inline uint32_t compound_order(page *head) noexcept nogil:
    return (rt_glance(&head.flags) & PAGE_ORDER_MASK) >> PAGE_ORDER_SHIFT


cdef inline uint32_t compound_nr(page *head) noexcept nogil:
    """How many pages a head is the first of; 1 for a page that is none."""
    return <uint32_t>1 << compound_order(head)


cdef inline int32_t *compound_mapcount(page *head) noexcept nogil:
    """How many pmds map a huge page minus one, since 4.5: in the second page, whose index means nothing until a split.
    Then each page's own mapcount is of ptes."""
    return <int32_t *>&head[1].index


cdef inline bint page_in_compound(page *page) noexcept nogil:
    """Whether it is a part of a huge page as they are since 4.5. Who has an entry or a reference of it knows that this
    stays so."""
    return rt_unlikely(rt_glance(&page.flags) & PG_COMPOUND != 0)


cdef inline page *compound_head(Task *t, page *page) noexcept nogil:
    """Where the references, the anon_vma and the index of a page are."""
    return pfn_to_page(kernel_of(t), rt_glance(&page.head)) if page_in_compound(page) else page


cdef inline int32_t *pmd_mapcount(page *head) noexcept nogil:
    """How many pmds map a huge page minus one: where it is depends on the release."""
    return compound_mapcount(head) if page_in_compound(head) else &head.mapcount


cdef inline int32_t page_count(page *page) noexcept nogil:
    return read_once32(&page.count) & (PG_ISOLATED - 1)


cdef inline anon_vma *page_anon_vma(page *page) noexcept nogil:
    cdef uint64_t mapping = read_once64(&page.mapping)
    mapping &= (<uint64_t>1 << GENERATION_SHIFT) - 1
    return <anon_vma *>(mapping - PAGE_MAPPING_ANON) if mapping & PAGE_MAPPING_ANON else NULL


cdef inline uint16_t page_generation(page *page) noexcept nogil:
    """The generation of its anon_vma when it was set, modulo 2**16."""
    return <uint16_t>(read_once64(&page.mapping) >> GENERATION_SHIFT)


cdef inline anon_vma_chain *avc_of_same_vma(list_head *node) noexcept nogil:
    return <anon_vma_chain *>(<char *>node - <size_t>&(<anon_vma_chain *>NULL).same_vma)


cdef inline anon_vma_chain *avc_of_same_anon_vma(list_head *node) noexcept nogil:
    return <anon_vma_chain *>(<char *>node - <size_t>&(<anon_vma_chain *>NULL).same_anon_vma)


cdef inline int64_t serial_of(void *object) noexcept nogil:
    """The stable name of an object: its number among those of its type, in the order of allocation."""
    return arena_header_of(object).serial
