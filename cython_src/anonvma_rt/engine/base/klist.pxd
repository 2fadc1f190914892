# The kernel's intrusive doubly linked list, for the rebuilt subject, the engine and whoever cimports it. Names,
# argument order and results are those of Linux include/linux/list.h (v3.1, and later additions such as list_swap,
# list_cut_before and list_bulk_move_tail); the text is this project's own. All of it is inline and costs what C costs
# (stress/bench/lists.py measures it).
#
# A struct carries a list_head as a member, and the head of a list is one too, so that an entry needs no allocation and
# leaves its list without a search:
#
#     from anonvma_rt.engine.base.klist cimport *
#
#     cdef struct item:
#         int value
#         list_head link
#
#     cdef int total(list_head *head) noexcept nogil:
#         cdef list_cursor c = list_for_each(head)
#         cdef int sum = 0
#         while list_step(&c):
#             sum += (<item *>container_of(c.pos, <size_t>&(<item *>NULL).link)).value
#         return -1 if c.corrupt else sum
#
# The operations trust their arguments, as the kernel's do; list_del_valid, list_add_valid and the cursor are what
# notices a broken list. Locking is the caller's affair.

from libc.stdint cimport uintptr_t

cdef struct list_head:
    list_head *next
    list_head *prev

# What list_del_valid, list_add_valid and list_cursor.corrupt say.
cdef enum list_fault:
    LIST_OK = 0
    LIST_NEXT_POISONED  # next is LIST_POISON1: the entry was deleted before
    LIST_PREV_POISONED  # prev is LIST_POISON2: the entry was deleted before
    LIST_NEXT_WILD      # next is NULL or no address at all: never initialised, or its memory was reused
    LIST_PREV_WILD
    LIST_NEXT_BROKEN    # next.prev does not lead back
    LIST_PREV_BROKEN    # prev.next does not lead back
    LIST_ADDED_TWICE    # the entry to add is already one of its two neighbours
    LIST_SELF_LINKED    # a walk stands on an entry that list_del_init took out: in the kernel it spins there for ever

# ---- broken links ----------------------------------------------------------------------------------------------------

# The offset is in no process's address space on 64 bit, so that following a deleted entry faults instead of reading.
# (v3.1 had 0x00100100 and 0x00200200 in place of 0x100 and 0x122.)
cdef inline list_head *LIST_POISON1() noexcept nogil:
    return <list_head *><uintptr_t>(0xdead000000000100ULL if sizeof(void *) == 8 else 0x100)

cdef inline list_head *LIST_POISON2() noexcept nogil:
    return <list_head *><uintptr_t>(0xdead000000000122ULL if sizeof(void *) == 8 else 0x122)

# One unsigned comparison refuses NULL, both poisons and the fill patterns of freed memory: Linux hands out neither the
# first page nor, on 64 bit, an address with a top byte.
cdef inline bint list_link_sane(const list_head *link) noexcept nogil:
    cdef uintptr_t end = <uintptr_t>((1ULL << 56) if sizeof(void *) == 8 else 0xffffffffULL)
    return <uintptr_t>link - 4096 < end - 4096

cdef inline int _list_next_fault(const list_head *link) noexcept nogil:
    return LIST_NEXT_POISONED if link == LIST_POISON1() else LIST_NEXT_WILD

cdef inline int _list_prev_fault(const list_head *link) noexcept nogil:
    return LIST_PREV_POISONED if link == LIST_POISON2() else LIST_PREV_WILD

# May list_del(entry) run? LIST_OK or the reason why not. Follows no link that cannot be followed.
cdef inline int list_del_valid(const list_head *entry) noexcept nogil:
    if not list_link_sane(entry.next):
        return _list_next_fault(entry.next)
    if not list_link_sane(entry.prev):
        return _list_prev_fault(entry.prev)
    if entry.prev.next != entry:
        return LIST_PREV_BROKEN
    if entry.next.prev != entry:
        return LIST_NEXT_BROKEN
    return LIST_OK

# May `new` be linked between prev and next? list_add(new, head) asks for (new, head, head.next), list_add_tail for
# (new, head.prev, head).
cdef inline int list_add_valid(const list_head *new, const list_head *prev, const list_head *next) noexcept nogil:
    if not list_link_sane(next):
        return _list_next_fault(next)
    if not list_link_sane(prev):
        return _list_prev_fault(prev)
    if next.prev != prev:
        return LIST_NEXT_BROKEN
    if prev.next != next:
        return LIST_PREV_BROKEN
    if new == prev or new == next:
        return LIST_ADDED_TWICE
    return LIST_OK

# ---- entries ---------------------------------------------------------------------------------------------------------

# The struct around a link: <item *>container_of(p, <size_t>&(<item *>NULL).link). Cython has no macro that takes a
# type, so a file that does this often writes one inline function per struct.
cdef inline void *container_of(const list_head *link, size_t offset) noexcept nogil:
    return <char *>link - offset

# The links that list_first_entry and list_last_entry start from; of an empty list, the head itself.
cdef inline list_head *list_first(const list_head *head) noexcept nogil:
    return head.next

cdef inline list_head *list_last(const list_head *head) noexcept nogil:
    return head.prev

cdef inline list_head *list_first_or_null(const list_head *head) noexcept nogil:
    return head.next if head.next != head else NULL

# ---- questions -------------------------------------------------------------------------------------------------------

cdef inline bint list_is_first(const list_head *entry, const list_head *head) noexcept nogil:
    return entry.prev == head

cdef inline bint list_is_last(const list_head *entry, const list_head *head) noexcept nogil:
    return entry.next == head

cdef inline bint list_is_head(const list_head *entry, const list_head *head) noexcept nogil:
    return entry == head

cdef inline bint list_empty(const list_head *head) noexcept nogil:
    return head.next == head

cdef inline bint list_is_singular(const list_head *head) noexcept nogil:
    return head.next != head and head.next == head.prev

# ---- one entry -------------------------------------------------------------------------------------------------------

# Every operation below is a few of these, so that each link is written together with the one that leads back.
cdef inline void _list_join(list_head *left, list_head *right) noexcept nogil:
    right.prev = left
    left.next = right

cdef inline void INIT_LIST_HEAD(list_head *head) noexcept nogil:
    _list_join(head, head)

# Right after head (or after any entry): last in, first out.
cdef inline void list_add(list_head *new, list_head *head) noexcept nogil:
    _list_join(new, head.next)
    _list_join(head, new)

# Right before head: first in, first out.
cdef inline void list_add_tail(list_head *new, list_head *head) noexcept nogil:
    cdef list_head *last = head.prev
    _list_join(new, head)
    _list_join(last, new)

cdef inline void list_del(list_head *entry) noexcept nogil:
    _list_join(entry.prev, entry.next)
    entry.next = LIST_POISON1()
    entry.prev = LIST_POISON2()

# The entry may be deleted again, and list_empty(entry) says that it is out.
cdef inline void list_del_init(list_head *entry) noexcept nogil:
    _list_join(entry.prev, entry.next)
    INIT_LIST_HEAD(entry)

# Reads old.prev only after the first join: with an empty head as `old`, that is what makes `new` an empty head.
cdef inline void list_replace(list_head *old, list_head *new) noexcept nogil:
    _list_join(new, old.next)
    _list_join(old.prev, new)

cdef inline void list_replace_init(list_head *old, list_head *new) noexcept nogil:
    list_replace(old, new)
    INIT_LIST_HEAD(old)

# Two different entries, of one list or of two. The poison that list_del leaves makes a swap with itself fault at once.
cdef inline void list_swap(list_head *entry1, list_head *entry2) noexcept nogil:
    cdef list_head *before = entry2.prev
    list_del(entry2)
    list_replace(entry1, entry2)
    list_add(entry1, entry2 if before == entry1 else before)

cdef inline void list_move(list_head *entry, list_head *head) noexcept nogil:
    _list_join(entry.prev, entry.next)
    list_add(entry, head)

cdef inline void list_move_tail(list_head *entry, list_head *head) noexcept nogil:
    _list_join(entry.prev, entry.next)
    list_add_tail(entry, head)

# ---- many entries ----------------------------------------------------------------------------------------------------

# Everything from first to last, in order, to the place right before head.
cdef inline void list_bulk_move_tail(list_head *head, list_head *first, list_head *last) noexcept nogil:
    _list_join(first.prev, last.next)
    _list_join(head.prev, first)
    _list_join(last, head)

# The first entry becomes the last.
cdef inline void list_rotate_left(list_head *head) noexcept nogil:
    if not list_empty(head):
        list_move_tail(head.next, head)

# Turns the ring until entry is the first: it is the head that moves.
cdef inline void list_rotate_to_front(list_head *entry, list_head *head) noexcept nogil:
    list_move_tail(head, entry)

# Moves the front of head, up to and including entry, to `list`, whose former contents are lost. As in the kernel, an
# empty head leaves `list` as it was, while entry == head makes it empty.
cdef inline void list_cut_position(list_head *list, list_head *head, list_head *entry) noexcept nogil:
    cdef list_head *rest
    if list_empty(head):
        return
    if list_is_singular(head) and entry != head and entry != head.next:
        return
    if entry == head:
        INIT_LIST_HEAD(list)
        return
    rest = entry.next
    _list_join(list, head.next)
    _list_join(entry, list)
    _list_join(head, rest)

# Moves what stands before entry to `list`; with entry == head, everything.
cdef inline void list_cut_before(list_head *list, list_head *head, list_head *entry) noexcept nogil:
    if head.next == entry:
        INIT_LIST_HEAD(list)
        return
    _list_join(list, head.next)
    _list_join(entry.prev, list)
    _list_join(head, entry)

cdef inline void _list_splice_between(const list_head *list, list_head *prev, list_head *next) noexcept nogil:
    cdef list_head *last = list.prev
    _list_join(prev, list.next)
    _list_join(last, next)

# The contents of `list`, in order, right after head. `list` itself keeps its old links: INIT it or forget it.
cdef inline void list_splice(const list_head *list, list_head *head) noexcept nogil:
    if not list_empty(list):
        _list_splice_between(list, head, head.next)

cdef inline void list_splice_tail(const list_head *list, list_head *head) noexcept nogil:
    if not list_empty(list):
        _list_splice_between(list, head.prev, head)

cdef inline void list_splice_init(list_head *list, list_head *head) noexcept nogil:
    if not list_empty(list):
        _list_splice_between(list, head, head.next)
        INIT_LIST_HEAD(list)

cdef inline void list_splice_tail_init(list_head *list, list_head *head) noexcept nogil:
    if not list_empty(list):
        _list_splice_between(list, head.prev, head)
        INIT_LIST_HEAD(list)

# ---- walks -----------------------------------------------------------------------------------------------------------

# Cython has no statement macros; `c = list_for_each(head)` and `while list_step(&c):` are the loop. In the body c.pos
# is the entry. After the last one c.pos is the head, as after the kernel's macros. If a link was broken the loop ends
# with c.corrupt set and c.pos on the entry whose link it is.
cdef struct list_cursor:
    list_head *pos
    list_head *head
    list_head *ahead  # only of a safe walk: where the next step goes, whatever the body does to pos
    int corrupt       # a list_fault
    bint backward     # both are constants of the loop once the calls are inlined
    bint safe

cdef inline list_head *_list_follow(const list_head *link, bint backward) noexcept nogil:
    return link.prev if backward else link.next

cdef inline int _list_walk_fault(const list_head *to, bint backward) noexcept nogil:
    if list_link_sane(to):
        return LIST_SELF_LINKED
    return _list_prev_fault(to) if backward else _list_next_fault(to)

cdef inline list_cursor _list_walk(list_head *head, bint backward, bint safe) noexcept nogil:
    cdef list_cursor c
    c.pos = c.head = head
    c.ahead = _list_follow(head, backward) if safe else NULL
    c.corrupt = LIST_OK
    c.backward = backward
    c.safe = safe
    return c

cdef inline list_cursor list_for_each(list_head *head) noexcept nogil:
    return _list_walk(head, False, False)

cdef inline list_cursor list_for_each_prev(list_head *head) noexcept nogil:
    return _list_walk(head, True, False)

# The body may delete or move c.pos; nobody may do that to the entry after it.
cdef inline list_cursor list_for_each_safe(list_head *head) noexcept nogil:
    return _list_walk(head, False, True)

cdef inline list_cursor list_for_each_prev_safe(list_head *head) noexcept nogil:
    return _list_walk(head, True, True)

# To the next entry; False at the end. A safe walk also looks at the link out of the entry it arrives at, so that it
# stops before the body sees an entry that was deleted while it was next; in the kernel the body would run on it. The
# two checks cost up to 0.2 ns a step where a short list is in the cache and the body does next to nothing.
cdef inline bint list_step(list_cursor *c) noexcept nogil:
    cdef list_head *to = c.ahead if c.safe else _list_follow(c.pos, c.backward)
    if to == c.head:
        c.pos = to
        return False
    if to == c.pos or not list_link_sane(to):
        c.corrupt = _list_walk_fault(to, c.backward)
        return False
    c.pos = to
    if c.safe:
        c.ahead = _list_follow(to, c.backward)
        if c.ahead == to or not list_link_sane(c.ahead):
            c.corrupt = _list_walk_fault(c.ahead, c.backward)
            return False
    return True

cdef inline size_t list_count_nodes(list_head *head) noexcept nogil:
    cdef list_cursor c = list_for_each(head)
    cdef size_t count = 0
    while list_step(&c):
        count += 1
    return count
