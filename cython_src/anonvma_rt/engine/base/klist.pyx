"""Linux's intrusive list for Python: every operation of klist.pxd, checked.

A `List` is a head, a `Node` an entry that carries a value. The operations are functions with the kernel's names, less
`list_`, and the kernel's argument order: `list_add_tail(&n->link, &head)` is `add_tail(n, head)`, `list_del` is `del_`.
Source: Linux include/linux/list.h, v3.1 and the additions since.

What the kernel would only corrupt raises here: `ListCorruption` for links that are broken or would be, `ValueError`
for arguments that an operation cannot mean. Where the kernel leaves old links in something that is no longer a list
(`splice`, `replace`), they are poisoned, so that a second use is caught. Locking is the caller's affair, as in the
kernel.

>>> head = List("abc")
>>> b = first(head).next
>>> move_tail(b, head)
>>> head
List(['a', 'c', 'b'])
>>> del_(b)
>>> del_(b)
Traceback (most recent call last):
    ...
anonvma_rt.engine.base.klist.ListCorruption: list_del: next is LIST_POISON1, the entry was deleted before
"""

from libc.stdint cimport uintptr_t

from enum import IntEnum

POISON1 = <uintptr_t>LIST_POISON1()
POISON2 = <uintptr_t>LIST_POISON2()

class Fault(IntEnum):
    """What is wrong with a link: the codes of `list_del_valid`, `list_add_valid` and `list_cursor.corrupt`.

    >>> Fault(1).name, Fault(1).text
    ('NEXT_POISONED', 'next is LIST_POISON1, the entry was deleted before')
    """

    def __new__(cls, code, text):
        self = int.__new__(cls, code)
        self._value_ = code
        self.text = text
        return self

    OK = LIST_OK, "nothing is wrong"
    NEXT_POISONED = LIST_NEXT_POISONED, "next is LIST_POISON1, the entry was deleted before"
    PREV_POISONED = LIST_PREV_POISONED, "prev is LIST_POISON2, the entry was deleted before"
    NEXT_WILD = LIST_NEXT_WILD, "next is no address, the entry was never initialised or its memory was reused"
    PREV_WILD = LIST_PREV_WILD, "prev is no address, the entry was never initialised or its memory was reused"
    NEXT_BROKEN = LIST_NEXT_BROKEN, "next.prev does not lead back"
    PREV_BROKEN = LIST_PREV_BROKEN, "prev.next does not lead back"
    ADDED_TWICE = LIST_ADDED_TWICE, "the entry is on a list already"
    SELF_LINKED = LIST_SELF_LINKED, "the entry under the walk was taken out by list_del_init, the walk would spin"
    ESCAPED = 100, "the entry under the walk was moved to another list, the walk would never meet its own head"

class ListCorruption(RuntimeError):
    """A list is broken, or the operation would have broken it; nothing was changed.

    >>> try:
    ...     add(first(head := List("a")), head)
    ... except ListCorruption as error:
    ...     error.operation, error.fault.name
    ('list_add', 'ADDED_TWICE')
    """

    def __init__(self, operation, fault):
        super().__init__(operation, Fault(fault))
        self.operation, self.fault = self.args

    def __str__(self):
        return f"{self.operation}: {self.fault.text}"

cdef class Link:
    """What `List` and `Node` have in common: one `list_head`, linked to itself at first."""

    cdef list_head link

    def __cinit__(self):
        INIT_LIST_HEAD(&self.link)

    @property
    def links(self):
        """The addresses in next and prev, for a look at the poison.

        >>> a = first(List("a")); del_(a); a.links == (POISON1, POISON2)
        True
        """
        return <uintptr_t>self.link.next, <uintptr_t>self.link.prev

cdef class List(Link):
    """The head of a list, over `Node(value)` for each value. It keeps its nodes alive, and they keep it.

    >>> len(List("abc")), [node.value for node in reversed(List("abc"))]
    (3, ['c', 'b', 'a'])
    """

    # By the address of the link: a walk that strays is found out before a foreign pointer is taken for a Node.
    cdef dict nodes

    def __cinit__(self):
        self.nodes = {}

    def __init__(self, values=()):
        for value in values:
            add_tail(Node(value), self)

    def __iter__(self):
        return Walk(self, False, False)

    def __reversed__(self):
        return Walk(self, True, False)

    def __len__(self):
        return list_count_nodes(&self.link)

    def __contains__(self, node):
        return isinstance(node, Node) and (<Node>node).owner is self

    def __repr__(self):
        return f"List({[node.value for node in self]!r})"

cdef class Node(Link):
    """An entry with a value; `owner` is the List that it is on, or None.

    >>> node = Node(7); head = List(); add(node, head); node.owner is head
    True
    """

    cdef public object value
    cdef readonly List owner

    def __init__(self, value=None):
        self.value = value

    @property
    def next(self):
        """The Node after this one, None at the end and off any list.

        >>> first(List("ab")).next.value
        'b'
        """
        return None if self.owner is None else self.owner.nodes.get(<uintptr_t>self.link.next)

    @property
    def prev(self):
        """The Node before this one, None at the front and off any list.

        >>> last(List("ab")).prev.value
        'a'
        """
        return None if self.owner is None else self.owner.nodes.get(<uintptr_t>self.link.prev)

    def __repr__(self):
        return f"Node({self.value!r})"

cdef class Walk:
    """The iterator behind `for_each` and its kin; raises ListCorruption where the kernel would go astray."""

    cdef list_cursor cursor
    cdef List head
    cdef Node pos
    cdef Node ahead  # holds what cursor.ahead points to, whatever the body does to it

    def __cinit__(self, List head not None, bint backward, bint safe):
        self.head = head
        self.cursor = _list_walk(&head.link, backward, safe)
        self.ahead = head.nodes.get(<uintptr_t>self.cursor.ahead)

    def __iter__(self):
        return self

    def __next__(self):
        if self.head is None:
            raise StopIteration
        if not list_step(&self.cursor):
            self.head = None
            if self.cursor.corrupt:
                raise ListCorruption("walk", self.cursor.corrupt)
            raise StopIteration
        self.pos = self.head.nodes.get(<uintptr_t>self.cursor.pos)
        if self.pos is None:
            self.head = None
            raise ListCorruption("walk", Fault.ESCAPED)
        self.ahead = self.head.nodes.get(<uintptr_t>self.cursor.ahead)
        return self.pos

cdef int _refuse(str operation, int fault) except -1:
    if fault:
        raise ListCorruption(operation, fault)
    return 0

cdef int _sound(str operation, Link link) except -1:
    return _refuse(operation, list_del_valid(&link.link))

cdef int _on(str operation, Node entry, List head) except -1:
    _sound(operation, entry)
    _sound(operation, head)
    if entry.owner is not head:
        raise ValueError(f"{operation}: {entry!r} is not on that list")
    return 0

cdef List _home(str operation, Link place):
    cdef List home = <List>place if isinstance(place, List) else (<Node?>place).owner
    if home is None:
        raise ValueError(f"{operation}: {place!r} is on no list")
    return home

cdef bint _linked(Link link) except -1:
    return bool((<List>link).nodes) if isinstance(link, List) else (<Node?>link).owner is not None

cdef _book(Node node, List home):
    if node.owner is not None:
        del node.owner.nodes[<uintptr_t>&node.link]
    node.owner = home
    if home is not None:
        home.nodes[<uintptr_t>&node.link] = node

cdef _book_all(List source, List home):
    for node in list(source.nodes.values()):
        _book(node, home)

cdef _spoil(Link link):
    link.link.next = LIST_POISON1()
    link.link.prev = LIST_POISON2()

# ---- walks -----------------------------------------------------------------------------------------------------------

def for_each(List head not None):
    """The nodes from first to last, as `for node in head`. The body must not take the current one out.

    >>> head = List("abc")
    >>> for node in for_each(head): del_(node)
    Traceback (most recent call last):
        ...
    anonvma_rt.engine.base.klist.ListCorruption: walk: next is LIST_POISON1, the entry was deleted before
    """
    return Walk(head, False, False)

def for_each_prev(List head not None):
    """The nodes from last to first, as `reversed(head)`.

    >>> [node.value for node in for_each_prev(List("abc"))]
    ['c', 'b', 'a']
    """
    return Walk(head, True, False)

def for_each_safe(List head not None):
    """As `for_each`, and the body may take the current node out (but not the one after it).

    >>> head = List("abc")
    >>> for node in for_each_safe(head): del_(node)
    >>> head
    List([])
    """
    return Walk(head, False, True)

def for_each_prev_safe(List head not None):
    """As `for_each_prev`, and the body may take the current node out (but not the one before it).

    >>> a, b = List("abc"), List()
    >>> for node in for_each_prev_safe(a): move_tail(node, b)
    >>> b
    List(['c', 'b', 'a'])
    """
    return Walk(head, True, True)

# ---- questions -------------------------------------------------------------------------------------------------------

def first(List head not None):
    """The first node, None if there is none (`list_first_entry_or_null`).

    >>> first(List("ab")).value
    'a'
    """
    _sound("list_first_entry", head)
    return head.nodes.get(<uintptr_t>list_first(&head.link))

def last(List head not None):
    """The last node, None if there is none.

    >>> last(List("ab")).value
    'b'
    """
    _sound("list_last_entry", head)
    return head.nodes.get(<uintptr_t>list_last(&head.link))

def is_first(Link entry not None, Link head not None):
    """Is entry the first on head?

    >>> ab = List("ab"); is_first(first(ab), ab), is_first(last(ab), ab)
    (True, False)
    """
    return list_is_first(&entry.link, &head.link)

def is_last(Link entry not None, Link head not None):
    """Is entry the last on head?

    >>> ab = List("ab"); is_last(first(ab), ab), is_last(last(ab), ab)
    (False, True)
    """
    return list_is_last(&entry.link, &head.link)

def is_head(Link entry not None, Link head not None):
    """Is entry the head itself?

    >>> ab = List("ab"); is_head(ab, ab), is_head(first(ab), ab)
    (True, False)
    """
    return list_is_head(&entry.link, &head.link)

def empty(Link head not None):
    """Is head empty? Of a node: is it out, by `del_init` or because it never was on a list?

    >>> empty(List()), empty(List("a")), empty(Node())
    (True, False, True)
    """
    return list_empty(&head.link)

def is_singular(List head not None):
    """Has head exactly one node?

    >>> is_singular(List()), is_singular(List("a")), is_singular(List("ab"))
    (False, True, False)
    """
    return list_is_singular(&head.link)

# ---- one entry -------------------------------------------------------------------------------------------------------

def init(Link head not None):
    """INIT_LIST_HEAD: makes a list, or a node that is on no list, usable again.

    >>> a, b = List("a"), List("b"); splice(a, b); init(a); a, b
    (List([]), List(['a', 'b']))
    """
    if _linked(head):
        raise ValueError("INIT_LIST_HEAD: what is linked would be lost")
    INIT_LIST_HEAD(&head.link)

cdef List _place(str operation, Node new, Link place, list_head *prev, list_head *next):
    _refuse(operation, list_add_valid(&new.link, prev, next))
    if new.owner is not None:
        raise ListCorruption(operation, Fault.ADDED_TWICE)
    return _home(operation, place)

def add(Node new not None, Link head not None):
    """Puts new right after head, which is a List or a node on one: last in, first out.

    >>> head = List("a"); add(Node("b"), head); head
    List(['b', 'a'])
    """
    cdef List home = _place("list_add", new, head, &head.link, head.link.next)
    list_add(&new.link, &head.link)
    _book(new, home)

def add_tail(Node new not None, Link head not None):
    """Puts new right before head, which is a List or a node on one: first in, first out.

    >>> head = List("a"); add_tail(Node("b"), head); head
    List(['a', 'b'])
    """
    cdef List home = _place("list_add_tail", new, head, head.link.prev, &head.link)
    list_add_tail(&new.link, &head.link)
    _book(new, home)

def del_(Node entry not None):
    """Takes entry out and poisons its links; a second time raises ListCorruption.

    >>> head = List("abc"); del_(first(head).next); head
    List(['a', 'c'])
    """
    _sound("list_del", entry)
    list_del(&entry.link)
    _book(entry, None)

def del_init(Node entry not None):
    """Takes entry out and links it to itself; a second time does nothing.

    >>> head = List("ab"); b = last(head); del_init(b); del_init(b); head, empty(b)
    (List(['a']), True)
    """
    _sound("list_del_init", entry)
    list_del_init(&entry.link)
    _book(entry, None)

cdef _before_replace(str operation, Link old, Link new):
    _sound(operation, old)
    if isinstance(old, List) is not isinstance(new, List):
        raise ValueError(f"{operation}: a List replaces a List, a Node replaces a Node")
    _linked(old)
    if old is new or _linked(new):
        raise ListCorruption(operation, Fault.ADDED_TWICE)

cdef _after_replace(Link old, Link new):
    if isinstance(old, List):
        return _book_all(<List>old, <List>new)
    cdef List home = (<Node>old).owner
    _book(<Node>old, None)
    _book(<Node>new, home)

def replace(Link old not None, Link new not None):
    """Puts new where old is: a node for a node, or an empty List for a List. The links of old are poisoned.

    >>> head = List("abc"); replace(first(head), Node("x")); head
    List(['x', 'b', 'c'])
    """
    _before_replace("list_replace", old, new)
    list_replace(&old.link, &new.link)
    _after_replace(old, new)
    _spoil(old)

def replace_init(Link old not None, Link new not None):
    """As `replace`, and old is empty afterwards.

    >>> a, b = List("ab"), List(); replace_init(a, b); a, b
    (List([]), List(['a', 'b']))
    """
    _before_replace("list_replace_init", old, new)
    list_replace_init(&old.link, &new.link)
    _after_replace(old, new)

def swap(Node entry1 not None, Node entry2 not None):
    """Exchanges the places of two different nodes, of one list or of two.

    >>> head = List("abc"); swap(first(head), last(head)); head
    List(['c', 'b', 'a'])
    """
    cdef List home1 = _home("list_swap", entry1)
    cdef List home2 = _home("list_swap", entry2)
    if entry1 is entry2:
        raise ValueError("list_swap: a node has no place to exchange with itself")
    list_swap(&entry1.link, &entry2.link)
    _book(entry1, home2)
    _book(entry2, home1)

cdef List _before_move(str operation, Node entry, Link head):
    _sound(operation, entry)
    _sound(operation, head)
    if entry is head:
        raise ListCorruption(operation, Fault.ADDED_TWICE)
    return _home(operation, head)

def move(Node entry not None, Link head not None):
    """`del_` and `add` in one: entry goes right after head, from whatever list it is on.

    >>> head = List("abc"); move(last(head), head); head
    List(['c', 'a', 'b'])
    """
    cdef List home = _before_move("list_move", entry, head)
    list_move(&entry.link, &head.link)
    _book(entry, home)

def move_tail(Node entry not None, Link head not None):
    """`del_` and `add_tail` in one: entry goes right before head, from whatever list it is on.

    >>> head = List("abc"); move_tail(first(head), head); head
    List(['b', 'c', 'a'])
    """
    cdef List home = _before_move("list_move_tail", entry, head)
    list_move_tail(&entry.link, &head.link)
    _book(entry, home)

# ---- many entries ----------------------------------------------------------------------------------------------------

def bulk_move_tail(List head not None, Node first not None, Node last not None):
    """Moves the nodes of head from first to last, in order, to its end.

    >>> head = List("abcd"); a = next(iter(head)); bulk_move_tail(head, a, a.next); head
    List(['c', 'd', 'a', 'b'])
    """
    _on("list_bulk_move_tail", first, head)
    _on("list_bulk_move_tail", last, head)
    node = first
    while node is not last:
        node = node.next
        if node is None:
            raise ValueError(f"list_bulk_move_tail: {last!r} comes before {first!r}")
    list_bulk_move_tail(&head.link, &first.link, &last.link)

def rotate_left(List head not None):
    """The first node becomes the last.

    >>> head = List("abc"); rotate_left(head); head
    List(['b', 'c', 'a'])
    """
    _sound("list_rotate_left", head)
    list_rotate_left(&head.link)

def rotate_to_front(Node entry not None, List head not None):
    """Turns the list until entry is the first.

    >>> head = List("abcd"); rotate_to_front(last(head), head); head
    List(['d', 'a', 'b', 'c'])
    """
    _on("list_rotate_to_front", entry, head)
    list_rotate_to_front(&entry.link, &head.link)

cdef _before_cut(str operation, List list, List head, Link entry):
    _sound(operation, head)
    if list is head or list.nodes:
        raise ValueError(f"{operation}: the list to fill must be another one, and empty")
    if _home(operation, entry) is not head:
        raise ValueError(f"{operation}: {entry!r} is not on the list to cut")

cdef _after_cut(List list, List head):
    cdef list_cursor c = list_for_each(&list.link)
    while list_step(&c):
        _book(head.nodes[<uintptr_t>c.pos], list)

def cut_position(List list not None, List head not None, Link entry not None):
    """Moves the front of head, up to and including entry, to the empty `list`; nothing if entry is head.

    >>> front, head = List(), List("abc"); cut_position(front, head, first(head)); front, head
    (List(['a']), List(['b', 'c']))
    """
    _before_cut("list_cut_position", list, head, entry)
    list_cut_position(&list.link, &head.link, &entry.link)
    _after_cut(list, head)

def cut_before(List list not None, List head not None, Link entry not None):
    """Moves what stands before entry to the empty `list`; everything if entry is head.

    >>> front, head = List(), List("abc"); cut_before(front, head, last(head)); front, head
    (List(['a', 'b']), List(['c']))
    """
    _before_cut("list_cut_before", list, head, entry)
    list_cut_before(&list.link, &head.link, &entry.link)
    _after_cut(list, head)

cdef List _before_splice(str operation, List list, Link head):
    _sound(operation, list)
    _sound(operation, head)
    cdef List home = _home(operation, head)
    if home is list:
        raise ValueError(f"{operation}: a list cannot be spliced into itself")
    return home

cdef _leave_stale(List list, List home):
    if list.nodes:
        _spoil(list)
    _book_all(list, home)

def splice(List list not None, Link head not None):
    """Moves the nodes of `list` right after head; `list`, unless it was empty, is poisoned until `init(list)`.

    >>> a, b = List("ab"), List("cd"); splice(a, b); b
    List(['a', 'b', 'c', 'd'])
    """
    cdef List home = _before_splice("list_splice", list, head)
    list_splice(&list.link, &head.link)
    _leave_stale(list, home)

def splice_tail(List list not None, Link head not None):
    """Moves the nodes of `list` right before head; `list`, unless it was empty, is poisoned until `init(list)`.

    >>> a, b = List("ab"), List("cd"); splice_tail(a, b); b
    List(['c', 'd', 'a', 'b'])
    """
    cdef List home = _before_splice("list_splice_tail", list, head)
    list_splice_tail(&list.link, &head.link)
    _leave_stale(list, home)

def splice_init(List list not None, Link head not None):
    """As `splice`, and `list` is empty afterwards.

    >>> a, b = List("ab"), List("cd"); splice_init(a, b); a, b
    (List([]), List(['a', 'b', 'c', 'd']))
    """
    cdef List home = _before_splice("list_splice_init", list, head)
    list_splice_init(&list.link, &head.link)
    _book_all(list, home)

def splice_tail_init(List list not None, Link head not None):
    """As `splice_tail`, and `list` is empty afterwards.

    >>> a, b = List("ab"), List("cd"); splice_tail_init(a, b); a, b
    (List([]), List(['c', 'd', 'a', 'b']))
    """
    cdef List home = _before_splice("list_splice_tail_init", list, head)
    list_splice_tail_init(&list.link, &head.link)
    _book_all(list, home)
