"""What each choice of the kernel means, and what Linux 3.2 chose: the fields of an Algorithm (kernel/algorithm.py).

A release is a row of these (releases.toml). The kernel's own list of them is the struct of mm/mm_types.pxd, which is
filled in by name; the words of those that are no switches are in mm/hooks/algorithm.
"""

from dataclasses import dataclass

__all__ = ["Choices"]


@dataclass(frozen=True)
class Choices:
    """What a kernel does, choice by choice. The defaults are Linux 3.2's.

    Order and locks of a move:

    ordering
        what mremap does about the order in which a walker meets source and destination. "none": nothing (3.0 to 3.2);
        "tail-after-merge": anon_vma_moveto_tail() of the destination after copy_vma() merged into an existing vma, the
        first half of 948f017b (3.3); "tail": that, and once more with the source before a failed move is moved back:
        all of 948f017b; "rmap-locks": the order is left alone, and the root's lock is held around each extent of the
        move (108d6642ad81); "need-rmap-locks": the same, but only where the destination's vm_pgoff is not above the
        source's, and when moving back (38a76013ad80, 3.7; meant for the tree); "fresh-vma": copy_vma never merges, the
        merge is made up for after the move (proposed, never merged); "double-walk": walks that must not miss go round
        the list twice (proposed, never merged); "strict-rmap-locks": as "need-rmap-locks", but where both vm_pgoff are
        equal the move goes without (a question of 2024, never merged; docs/zoo.md has the answer).
    tree
        vmas of an anon_vma are an interval tree by vm_pgoff and not a list by age (3.7).
    shared_walks
        walkers take the root's lock shared (an rwsem, 3.8).
    whole_tables
        a page table that moves as a whole moves by its pmd, always under the root's lock (5.1, locked since 5.14), and
        extents have no latency limit of 64 pages (4.19).
    tables_unlocked
        under that lock only where single ptes would move under it (5.1 to 5.13, until 97113eb39fa7).
    huge_ignores_locks
        huge pmds move without the root's lock even where ptes would have it (3.7 until dd18dbc2d42a in 3.15).
    single_ptl
        one page-table lock per mm, as in kernels for few processors, and not one per table of 512 entries.

    How entries are looked at and moved, and what is held meanwhile:

    restore_peeks
        remove_migration_pte() looks at the pte before it takes the page-table lock (until 486cf46f3f9b in 3.1).
    split_peeks
        split_huge_page() looks at the pmd before it takes its lock (3.13, until b5a8cad376ee in 3.15).
    decode_in_zap
        fork, munmap and exit decode migration entries to count them (3.3), and can hit the BUG of swapops.h.
    stack_flag
        the unmap walk passes over the stack that exec still builds (a8bef8ff6ea1, 2.6.35).
    exec_lock
        where exec holds the root's lock: "widening" of the vma only, each "move" of ptes as well, or "across" both.
    move_pages
        "3.2": mmap_sem is held from the lookup to the last walk, so that it cannot race with an mremap of the same mm;
        "4.3": the same, and the zero page's status is EFAULT (d899844e9c98), not ENOENT; "4.17": that, and it is held
        for the lookup of a page only (a49bd4d71637).
    wait_without_pin
        a fault that waits for a migration drops its reference first, which made that one fail (9a1ea439b16b, 5.0).
    mremap_splits
        mremap splits a huge page before it moves any of it (until 37a1c49a91ad in 3.2).
    pmd_twice
        a walk for a small page asks a pmd twice, whether it is there and whether it is huge (until f72e7dcdd252, 3.16).
    unstable_pmd
        who looks at a pmd twice, for a huge page and for a table, where mmap_sem is only shared: "walks" of madvise
        (until 1a5a9906d4e8 in 3.4) and faults that got no huge page; "faults" only (until ad33bb04b2a6 in 4.5); "no".
    munmap_downgrades
        munmap, and an mremap that shrinks in place, zap and free page tables with mmap_sem held for reading only: what
        they unmap is in no tree by then (dd2283f2605e and 85a06835f6f1, 4.20).
    downgrade_beside_stack
        they do so where a stack follows, which may grow into what they unmap (4.20 until 246c320a8cfe in 5.8).
    exclusive_growth
        a fault that makes a stack grow holds mmap_sem for writing meanwhile (8d7071af8907, 6.5).
    restore_compares
        the restore walk compares page frames and decodes no entry (0d665e7b109d, 4.15); until then it decodes every
        migration entry that it meets, and so can hit the page-not-locked BUG.
    isolate
        who migrates a page takes it off the LRU first, so that nobody else does.
    batches
        whether move_pages() migrates its pages together: "no"; "6.3": all are unmapped, then all are moved
        (5dfab109d519), and nobody waits for a page's lock while he has others; "waiting": he does, which no release did
        where pages are isolated.
    cow_reuse
        when a page is written to and not copied: "mapped-once", what nobody else maps, and it then belongs to the vma's
        own anon_vma; "5.9": what has one reference, and nobody has locked (09854ba94c6a), and it stays where it
        belonged; "5.19": that, but it belongs to the vma's own again (6c54dc6c7437), and what was not shared since it
        was last written to without a question (6c287605fd56).

    Huge pages:

    collapse
        which small pages become a huge one. "3.2": those that one writable entry shows; "4.1": also read-only ones, if
        one of them is writable (10359213d05a, 4.0), and the zero page counts as none (ca0984caa823); "5.8": also those
        that several processes map (9445689f3b61).
    collapse_stale_vma
        khugepaged goes on with the vma that it found before it dropped mmap_sem (4.8-rc, until c131f751ab1a).
    retract_asks_early
        khugepaged asks whether a mapping of a file has an anon_vma before it holds mmap_sem, and then frees its page
        table (4.8 until 023f47a8250c in 6.2).
    pud_moves
        a whole table of pmds moves by its pud (c49dd3401802, 5.11).
    thp
        "3.2": a split makes small pages of a huge one everywhere; "4.5": a pmd is split by itself, so a huge page may
        be mapped by ptes, and the page is split through migration entries (eef1b3ba053a, e9b61f19858a); "4.14": and it
        migrates as a whole, by a migration entry in the pmd (616b8371539a).
    cow_splits
        a write to a huge page that others map, too, splits the pmd and copies one small page (3917c80280c9, 5.8); until
        then all of it is copied.
    split_locks
        a pmd is split under the page lock, which keeps the mapcounts from changing while somebody asks whether a page
        is his alone (c444eb564fb1, 5.8; who asks for references does without since 5.19).
    split_warns
        a page that is still mapped when it is to be split is left alone (504e070dc08f, 5.13); until then that is a BUG.
    split_sync
        the walk that unmaps it looks at every entry under its lock (up to 4.5, and again since 732ed55823fc in 5.13).
    split_migrating
        what a split of a pmd that is a migration entry counts: "counts", entries and references, as if the page were
        mapped (4.14 until ec0abae6dcdf in 5.9); "references", these only (until 9d84604b845c in 5.18); "no".
    split_zeroes
        a split puts the zero page in the place of parts that hold nothing but zeroes (b1f202060afe, 6.12).
    large_folios
        a fault may map folios of other sizes than a huge page's (19eaf44954df, 6.8; with thp=4.14).
    huge_zero
        what a write does where a read mapped the huge zero page: "no", there is none, and a read gets a huge page, too;
        "3.8", maps a huge page (97ae17497e99); "5.8", splits the pmd and maps a small one (3917c80280c9); "6.13", maps
        a huge page again.

    Swap, reclaim, and references from outside the page tables:

    swapin
        how a fault reads what only one entry names, from a device in memory: through the swap "cache"; "direct", past
        it (0bcac06f27d7, 4.15), with a slot that nobody keeps; "prepared", and the slot is kept (13ddaf26be32, 6.8).
    swapin_rechecks
        who finds a page in the swap cache asks again, when it is locked, whether it is the slot's (4969c1192d15).
    uffd_swap
        what UFFDIO_MOVE does about the page of a swapped entry: "6.8", nothing; "6.14", moves the one that it found in
        the swap cache (c50f8e6053b0); "6.16", and looks again under the locks of both entries (0ea148a79919).
    uffd_any_pmd
        a UFFDIO_MOVE that has to split a huge pmd asks it for its page, also where it is a migration entry (6.8 until
        aba6faec0103 in 6.17).
    lazyfree_refs
        reclaim keeps a page of MADV_FREE that somebody has a reference of (6c8e2a256915, 5.18).
    keeps_pinned
        reclaim does not touch what may be pinned (feb889fb40fa, 5.11).
    fork_copies_pinned
        fork gives the child a copy of what may be pinned, at once (70e806e4e645, 5.9).
    write_protect_seq
        a pin without a lock is given back where the mm forked meanwhile (57efa1fe5957, 5.11).
    gup_rechecks_pmd
        a reference without a lock is given back where the table has gone meanwhile (70cbc3cc78a9, 6.1).
    gup_cow
        when a reference for reading breaks copy on write: "no"; "5.8", always (17839856fd58, until a308c71bf1e6 in
        5.9); "5.19", for a pin, where the entry has not got its page alone (a7f226604170).

    Vmas and their anon_vmas:

    merge
        when a range may join a neighbour. "3.0": a faulted range never joins an unfaulted neighbour (3.0 to 6.15);
        "symmetric": it may, without a second thought, the usual mistake; "6.16": it may, and the neighbour is put on
        the lists of the source (879bca0a2c4f with its repairs); "6.16-uncloned": mremap forgets that in some shapes
        (until 61f67c230a5e); "6.16-forked": also if the source was forked (until 3b617fd3d317); "6.16-unrepaired":
        both, as it was released.
    shift_locks
        vma_adjust() locks the root for a border shift although the shrinking vma has no anon_vma (ca42b26ab8d1, 3.7).
    place_before_clone
        copy_vma() sets a fresh vma's range before it goes on the lists (523d4e2008fd, 3.7).
    reuse
        whether fork may use an ancestor's anon_vma again: "no"; by "degree" (3.19); by "counters" (2555283eb40d, 6.0).
    reuse_forked
        a first fault may share the anon_vma of a neighbour that was forked (2.6.34-rc, until d0e9fe1758f2).
    vma_locks
        whose lock a fault takes. "no": mmap_sem. "6.4" (5e31275cc997, as 6.5 repaired it): that of the vma if it can,
        an rwsem and a sequence, and every writer locks the vmas that it changes; "6.4-unlocked-import": but a
        neighbour's anon_vma is taken over before the vma is locked (until d8ab9f7b644a); "6.4-early-look": a fault
        asks for the anon_vma before it has the lock (until 657b5146955e); "6.4-released": both, and fork locks no vma
        (until fb49c455323f). "6.15": the lock is a count of references, and a freed vma is used again at once;
        "6.15-unpinned-mm": and whoever got a vma of another process does not keep that process alive (until
        9bbffee67ffd in 6.17); "6.15-any-mm": or does not see that it is another's (no release). Of older days, with no
        writer that locks: "racy", in which faults have a lock of their own, and "fork", where fork takes it, too.
    calls
        what mremap and mprotect refuse and merge. "6.17": mremap looks before it unmaps, moves several vmas at once
        (d23cb648e365) and merges what grows in place with what is behind (ca3d76b0aa80); memory that mprotect makes
        read-only before its first fault is charged for no longer, so that it merges.
    growth
        how mremap lets a vma grow in place: "adjust", it alone; "merge", and with what is behind (ca3d76b0aa80);
        "merge-from-address", with the wrong index where only the end of a vma is named (6.1, until 6f12be792fde).
    refuse_copies
        an old length of 0 is EINVAL for private memory (dba58d3b8c50, 4.14), of which it would make an empty mapping.
    aligned
        what the kernel places where a huge page can begin: "no", nothing; "6.8", what is as long as one or longer
        (efa7df3e3bb5 of 6.7, with 96204e15310c); "6.12", what is as long as some (d4148aeab412).
    import_unset
        who takes over a neighbour's pages is on the lists before it has the anon_vma (3.19-rc, until b800c91a0517).
    uncounted_clone
        a vma that cannot be put on all lists is taken off a count in which it is not (3.19 until 3fe89b3e2a7b; 7.0-rc).
    case_4_forgets
        mprotect gives pages to the next vma, which is put on no list for them (6.3-rc, until 4c6759967826).
    case_8_grows
        a whole vma that mprotect makes as its next one is swallows that, and not the reverse (until e86f15ee64d8, 4.9).
    case_3_keeps_pgoff
        a vma that grows downwards keeps its vm_pgoff (6.3-rc, until 7e7757876f25).
    uncharges_at_0
        mremap takes VM_ACCOUNT off what stays below, if that begins at address 0 (6.3 until 937582ee8e8d in 6.15).
    dontunmap_uncharges
        MREMAP_DONTUNMAP takes it off the source (6.15 until 0e59f47c15ce in 6.18).
    import_ahead
        a vma that grows over two others takes what it needs of both before the first one is gone (734537c9cb72, 4.8);
        until then a want of memory in the middle leaves mprotect() with a freed vma.

    Lifetime:

    own_lock
        every anon_vma is locked by its own lock and not by its root's (2.6.34 and .35).
    pin
        migration keeps the page's anon_vma alive by a reference.
    careful_pin
        and makes sure that it still is the page's (1ce82b69e96c, 2.6.38).
    lock_new
        a new anon_vma is locked while the first vma is linked to it (d9d332e0874f, 2.6.28).
    recheck_mapped
        page_lock_anon_vma() asks again whether the page is mapped once it has the lock (f18194275c39, 2.6.36).
    remember_root
        and when it is not, unlocks the root that it locked (3.0).
    recheck_mapping
        a walker asks again whether the page still has the same anon_vma (880a99b60d46, 6.8).
    free_root_first
        the last put of an anon_vma drops its root before itself (until 624483f3ea82 in 3.16).

    When translations are flushed, in programs whose threads have CPUs with a TLB:

    move_flush
        of old addresses that mremap moved: "each", as its pte moves (up to 3.1); "end", all of them when the last one
        has moved and no page-table lock is held (7b6efc2bc4f1, 3.2); "dirty", those of an extent with a dirty pte
        before the source's lock is dropped (5d1904204c99, 4.9); "locked", each extent before both locks are
        (eb66ae030829, 4.19). A whole table is flushed under the lock of pmds in every release.
    gather_flush
        what is flushed before a full gather frees its pages: "mm", everything of the process; "rest", from the last
        page on (3.6); "short", what is before the last page (e6c495a96ce0, 3.11); "gathered", that page as well
        (ce9ec37bddb6, 3.18).
    protect_counts
        mprotect flushes only where it met a present entry (7da4d641c58d, 3.8).
    nested_flush
        a call that clears entries flushes its range even if it met none, while another one has not flushed yet
        (99baac21e458, 4.13).
    deferred_flush
        reclaim flushes when it has unmapped all its pages, and not each (72b252aed506, 4.3). Migration does so where it
        makes batches (7e12beb8ca2a, 6.3).
    batched_pending
        whoever changes entries flushes first what an unmap walk has left to be flushed (3ea277194daa, 4.13).

    Mistakes that no release made, to see that the lab would notice:

    missing_flush
        what does not flush translations: "fork" those of the parent, "cow" the old page's, "protect" (mprotect) those
        of its range, "unmap" (the unmap walk) the page's.
    child_first
        fork puts the child's vma before the parent's.
    tail_own_only
        anon_vma_moveto_tail() moves the entry in dst.anon_vma only, and not those of the whole chain.
    collapse_unlocked
        khugepaged takes the pmd away without the root's lock.
    walk_root_list
        a walker goes through the root's list instead of that of the page's own anon_vma.
    """

    name: str
    ordering: str = "none"
    tree: bool = False
    shared_walks: bool = False
    whole_tables: bool = False
    huge_ignores_locks: bool = False
    single_ptl: bool = False
    restore_peeks: bool = False
    split_peeks: bool = False
    decode_in_zap: bool = False
    stack_flag: bool = True
    exec_lock: str = "widening"
    merge: str = "3.0"
    shift_locks: bool = False
    place_before_clone: bool = False
    reuse: str = "no"
    reuse_forked: bool = False
    vma_locks: str = "no"
    calls: str = "3.2"
    import_ahead: bool = False
    own_lock: bool = False
    pin: bool = True
    careful_pin: bool = True
    lock_new: bool = True
    recheck_mapped: bool = True
    remember_root: bool = True
    recheck_mapping: bool = False
    free_root_first: bool = True
    child_first: bool = False
    tail_own_only: bool = False
    walk_root_list: bool = False
    move_pages: str = "3.2"
    wait_without_pin: bool = False
    mremap_splits: bool = False
    tables_unlocked: bool = False
    pmd_twice: bool = True
    uncounted_clone: bool = False
    import_unset: bool = False
    case_4_forgets: bool = False
    case_3_keeps_pgoff: bool = False
    growth: str = "adjust"
    refuse_copies: bool = False
    unstable_pmd: str = "walks"
    munmap_downgrades: bool = False
    downgrade_beside_stack: bool = False
    exclusive_growth: bool = False
    restore_compares: bool = False
    isolate: bool = True
    batches: str = "no"
    cow_reuse: str = "mapped-once"
    aligned: str = "no"
    case_8_grows: bool = True
    uncharges_at_0: bool = False
    dontunmap_uncharges: bool = False
    collapse: str = "3.2"
    collapse_stale_vma: bool = False
    collapse_unlocked: bool = False
    pud_moves: bool = False
    swapin: str = "cache"
    swapin_rechecks: bool = True
    keeps_pinned: bool = False
    uffd_swap: str = "6.8"
    gup_cow: str = "no"
    fork_copies_pinned: bool = False
    write_protect_seq: bool = False
    lazyfree_refs: bool = False
    gup_rechecks_pmd: bool = False
    move_flush: str = "end"
    gather_flush: str = "mm"
    protect_counts: bool = False
    nested_flush: bool = False
    deferred_flush: bool = False
    batched_pending: bool = False
    missing_flush: str = "no"
    retract_asks_early: bool = False
    thp: str = "3.2"
    cow_splits: bool = False
    split_locks: bool = False
    split_warns: bool = False
    split_sync: bool = False
    split_migrating: str = "no"
    huge_zero: str = "no"
    uffd_any_pmd: bool = False
    split_zeroes: bool = False
    large_folios: bool = False
