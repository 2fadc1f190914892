"""What the kernel's files report by number: what they do (Note), which assertion failed (Bug), what was broken (Kind).

Python's names are made of these (notes.pyx): NOTE_FRESH_VMA is "fresh-vma" there. A note has three numbers,
a, b and c; "address" and "pte" are raw, "vma" and "anon_vma" serial numbers.
"""

cpdef enum Note:
    NOTE_STEP = 1        # a: index of the call in the scenario; b: 0 begins, 1 ends; c: its result
    NOTE_WALK            # a: 1 unmap walk, 2 restore walk; b: pfn of the page walked for; c: 0 begins, 1 ends
    NOTE_LOOK            # a: vma; b: address; c: the pte that was seen
    NOTE_NO_LOOK         # a: vma; b: pfn; the page would not be inside this vma
    NOTE_UNMAP           # a: vma; b: address; c: pfn; the pte became a migration entry
    NOTE_RESTORE         # a: vma; b: address; c: pfn of the page now mapped
    NOTE_CLEAR           # a: vma; b: address; c: the pte that move_ptes took out
    NOTE_SET             # a: vma; b: address; c: the pte that move_ptes put in
    NOTE_MERGE           # a: vma that grows; b: case of vma_merge; c: 1 if the root's mutex is taken for it
    NOTE_FRESH_VMA       # a: new vma; b: its start; c: vma it was cloned from
    NOTE_MOVE            # a: source vma; b: destination vma; c: 1 when moving back
    NOTE_TAIL            # a: vma whose entries went to the tail of their lists
    NOTE_SPLIT           # a: vma that shrinks; b: new vma; c: its start
    NOTE_VMA_GONE        # a: vma
    NOTE_MIGRATE         # a: pfn; b: pfn of the new page; c: 0 begins, 1 done, 2 tries again, 3 given up
    NOTE_FAULT           # a: mm; b: address; c: pfn
    NOTE_ZAP             # a: mm; b: address; c: the pte
    NOTE_FREE_PAGE       # a: pfn
    NOTE_WAIT            # a: pfn whose lock a fault waits for; b: address
    NOTE_ALLOC_FAILS     # a: Allocation; b: its number among those of the task; c: 1 by chance or list
    NOTE_LIST            # a: anon_vma; b: vma; c: position in the list, oldest 0
    NOTE_FORK            # a: mm of the parent; b: mm of the child; c: 0 begins, 1 ends
    NOTE_CHILD_VMA       # a: new vma; b: its start; c: vma of the parent
    NOTE_COPY            # a: vma of the child; b: address; c: the pte that fork put in
    NOTE_COW             # a: mm; b: address; c: pfn of the page that is written to now
    NOTE_PROTECT         # a: mm; b: address; c: the pte as it is now
    NOTE_RANGE           # a: vma; b: its new start; c: its new vm_pgoff
    NOTE_HUGE_FAULT      # a: mm; b: address; c: pfn of the head
    NOTE_HUGE_LOOK       # a: vma; b: address; c: the pmd that was seen
    NOTE_HUGE_MOVE       # a: destination vma; b: address; c: the pmd that moved
    NOTE_HUGE_SPLIT      # a: pfn of the head; b: 0 begins, 1 pmds marked, 2 ends, 3 done, 4 given up; c: pmds counted
    NOTE_TABLE_MOVE      # a: destination vma; b: address; the page table now serves it
    NOTE_COLLAPSE        # a: mm; b: address; c: pfn of the head; small pages became a huge one
    NOTE_SWAP            # a: pfn; b: slot; c: 0 has it in the swap cache, 1 is written to it, 2 leaves it, 3 is read
    NOTE_SWAP_OUT        # a: vma; b: address; c: pfn; the pte became a swap entry
    NOTE_DISCARD         # a: vma; b: address; c: pfn; the pte of a lazily freed page became none
    NOTE_KEEP            # a: vma; b: address; c: pfn; reclaim put the pte back
    NOTE_SWAP_IN         # a: mm; b: address; c: pfn; a fault mapped what was swapped out
    NOTE_RECLAIM         # a: pfn; b: 0 begins, 1 it is freed, 2 it is kept
    NOTE_PIN             # a: mm; b: address; c: pfn; a reference from outside
    NOTE_UNPIN           # a: mm; b: address; c: pfn
    NOTE_DMA             # a: pfn; b: the content written through a reference
    NOTE_TLB_FILL        # a: mm; b: address; c: pfn; the task's CPU keeps this translation
    NOTE_TLB_HIT         # a: mm; b: address; c: pfn; an access by it
    NOTE_TLB_FLUSH       # a: mm; b: start; c: 1 if a CPU had a translation of the range
    NOTE_RETRACT         # a: mm; b: address; the page table of a mapping of the file is freed
    NOTE_PMD_SPLIT       # a: vma; b: address; c: 0 the huge pmd became a table of entries, 1 of migration entries

# The kernel's own assertions: Finding.a of a BUG_ON violation.
cpdef enum Bug:
    BUG_PAGE_NOT_LOCKED = 1    # decoding a migration entry; b: pfn, c: address
    BUG_DOUBLE_FREE            # a reference too many was dropped; b: pfn
    BUG_SELF_MERGE             # a faulted source merged with itself in copy_vma; b: vma
    BUG_DESTINATION_NOT_NONE   # a move writes over a pte; b: address, c: pte
    BUG_ORDER                  # the algorithm promises that the source is listed before the destination; b, c: vmas
    BUG_MAPCOUNT               # mapcount went below -1; b: pfn
    BUG_PAGE_LOCK              # unlock of a page that is not locked; b: pfn
    BUG_NEW_PAGE_LOCKED        # the page just allocated for a migration is locked; b: pfn
    BUG_SPLIT_COUNT            # split_huge_page counted b pmds, and c are mapped
    BUG_BAD_PMD                # a huge pmd where page tables are freed; c: its address
    BUG_NO_ANON_VMA            # a page is to be mapped in a vma that has no anon_vma; b: vma
    BUG_SECOND_ROOT            # a vma's chain leads to two roots; b: the anon_vma with the second one
    BUG_RMAP_ROOT              # a page is mapped in a vma of another root than its anon_vma's; b: pfn, c: address
    BUG_RMAP_INDEX             # a page is mapped where its index does not belong; b: pfn, c: address
    BUG_SPLIT_WRITABLE         # a huge page is split that a writable pmd shows, and another one; b: head, c: how many
    BUG_NO_TABLE               # a walk follows a pmd as a page table, and it is none; b: vma, c: address
    BUG_COUNTERS               # an anon_vma is freed whose counters are not 0; b: anon_vma, c: children and users
    BUG_FOREIGN_VMA            # a fault is handled in a vma of another process; b: vma, c: mm
    BUG_BAD_SWAP               # a slot that nobody uses is freed, c = 1: or gets one more entry; b: slot
    BUG_SPLIT_MAPPED           # a huge page is to be split that is mapped still; b: head, c: how often
    BUG_MIGRATION_PMD          # a pmd is asked for its page, and is a migration entry; c: address

# The lab's rules, as numbers of violations behind the engine's own.
cpdef enum Kind:
    STALE_MIGRATION_ENTRY = 16
    MAPCOUNT_MISMATCH
    LOST_PAGE
    UNREACHABLE_PTE
    BUG_ON
    WRONG_MERGE
    LEAK
    WRITABLE_PTE
    WRONG_PROTECTION
    WRONG_CHARGE
    SWAP_MISMATCH
    LOST_PIN
    LEAKED_WRITE
    STALE_TRANSLATION
    SHARED_WRITABLE

# Execution.counters.
cpdef enum Counter:
    BENIGN_MISSES
    MIGRATED
    ABORTED
    FAILED_ALLOCATIONS

# What there may be no memory for (mm/failslab).
cpdef enum Allocation:
    ALLOC_VMA
    ALLOC_ANON_VMA
    ALLOC_ANON_VMA_CHAIN
    ALLOC_PAGE
    ALLOC_TABLE
