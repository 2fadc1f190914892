"""Loading a compiled program, once per process and place (see image.pxd).

A program is linked to a fixed address, so that its pointers are the same in every process. Its globals and its heap are
one block, which the lab brings back before each execution: the first page is the lab's, then come the globals where the
linker put them, and what follows is reserved for the heap. Behind it each task has its stack, at the same address
whoever carries it.
"""

from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy
from posix.dlfcn cimport RTLD_LOCAL, RTLD_NOW, dlclose, dlerror, dlopen, dlsym
from posix.mman cimport (
    MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_NONE, PROT_READ, PROT_WRITE, mmap, mprotect, munmap,
)

from anonvma_rt.engine.base.arena cimport Arena, arena_open_at
from anonvma_rt.engine.base.operation cimport (
    OP_ATOMIC, OP_AWAIT, OP_LOAD, OP_LOCK, OP_READ_LOCK, OP_READ_TRYLOCK, OP_READ_UNLOCK, OP_STORE, OP_TAKE, OP_TRYLOCK,
    OP_UNLOCK,
)
from anonvma_rt.engine.base.tasks cimport has

cdef extern from "<sys/mman.h>":
    const int MAP_FIXED_NOREPLACE
    const int MAP_NORESERVE

assert [<int>OP_LOCK, <int>OP_READ_LOCK, <int>OP_AWAIT, <int>OP_UNLOCK, <int>OP_READ_UNLOCK, <int>OP_TRYLOCK,
        <int>OP_LOAD, <int>OP_STORE, <int>OP_ATOMIC, <int>OP_READ_TRYLOCK, <int>OP_TAKE] == [
    <int>RT_LOCK, <int>RT_READ_LOCK, <int>RT_AWAIT, <int>RT_UNLOCK, <int>RT_READ_UNLOCK, <int>RT_TRYLOCK, <int>RT_LOAD,
    <int>RT_STORE, <int>RT_ATOMIC, <int>RT_READ_TRYLOCK, <int>RT_TAKE]

cdef enum:
    PAGE = 4096
    STACK = RT_STACK_GUARD + RT_STACK_BYTES

# Of a program, main among them.
MOST_THREADS = <int>RT_MOST_TASKS

# Address space only: of the heap, and of all stacks.
cdef uint64_t RESERVED = <uint64_t>8 << 30
cdef uint64_t STACKS = <uint64_t>RT_MOST_TASKS * STACK


cdef class Image:
    """The program in the file `path`, loaded until it is closed. Raises OSError with what the loader said."""

    def __init__(self, str path):
        cdef void *handle
        cdef uint64_t loaded
        cdef void *rest
        if self.path is not None:
            raise RuntimeError("an image is loaded once")
        handle = self.handle = dlopen(path.encode(), RTLD_NOW | RTLD_LOCAL)
        if handle == NULL:
            raise OSError((<bytes>dlerror()).decode(errors="replace"))
        self.at.base = <char *>entry(handle, b"rt_gap")
        self.at.end = (<char **>entry(handle, b"rt_image_end"))[0]
        self.at.host = <rt_host **>entry(handle, b"rt_host")
        self.at.thread = <rt_state **>entry(handle, b"rt_states")
        self.at.construct = <void (*)() noexcept nogil>entry(handle, b"rt_construct")
        self.at.body = <void (*)(int, int, char **, char *) noexcept nogil>entry(handle, b"rt_body")
        loaded = self.at.end - self.at.base
        self.pristine = <char *>malloc(loaded)
        if self.pristine == NULL:
            raise MemoryError("no memory for a copy of the program")
        memcpy(self.pristine, self.at.base, loaded)
        loaded = (loaded + PAGE - 1) & ~<uint64_t>(PAGE - 1)
        rest = mmap(self.at.base + loaded, RESERVED + STACKS, PROT_NONE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0)
        if rest == MAP_FAILED or <char *>rest != self.at.base + loaded:
            raise OSError(f"the addresses behind {hex(<uint64_t>self.at.base)} are taken")
        self.reserved = loaded + RESERVED
        self.stacks = self.at.base + self.reserved
        self.path = path

    def __dealloc__(self):
        free(self.pristine)

    def close(self):
        """Unloads it: its place is free for another one."""
        if self.used:
            raise RuntimeError("an explorer has this image")
        if self.reserved:
            munmap(self.stacks - RESERVED, RESERVED + STACKS)
            dlclose(self.handle)
            self.reserved = 0

    cdef int take(self, Arena *arena, int tasks) except -1:
        """Makes the memory as it was, and an arena of it, for so many tasks."""
        cdef uint64_t loaded = self.at.end - self.at.base
        memcpy(self.at.base, self.pristine, loaded)
        arena_open_at(arena, self.at.base, (loaded + PAGE - 1) & ~<uint64_t>(PAGE - 1), self.reserved)
        arena.stacks = self.stacks
        arena.stacks_size = STACKS
        arena.stack_bytes = RT_STACK_BYTES
        while self.n_stacks < tasks:
            mprotect(self.stacks + <uint64_t>self.n_stacks * STACK + RT_STACK_GUARD, RT_STACK_BYTES,
                     PROT_READ | PROT_WRITE)
            self.n_stacks += 1
        self.tasks = tasks
        return 0

    cdef char *stack_of(self, int task) noexcept nogil:
        """Where the stack of a task begins."""
        return self.stacks + <uint64_t>(task + 1) * STACK

    cdef bint lost_wakeup(self, Execution *x) noexcept nogil:
        """Whether all that wait do so until somebody wakes them, or for the end of those who do."""
        cdef int asleep = 0
        cdef int i
        for i in range(x.tasks):
            if has(x.blocked, i, x.words) and not has(x.outside, i, x.words):
                if not self.at.thread[0][i].asleep:
                    return False
                asleep |= self.at.thread[0][i].asleep
        return asleep & RT_UNTIL_WOKEN != 0

    @property
    def table(self):
        """Of the table of its tasks: the address, how many there are, and how large each is."""
        if self.at.thread == NULL:
            raise RuntimeError("this image was not made: it has no tasks")
        return <uint64_t>self.at.thread[0], self.tasks, sizeof(rt_state)

    @property
    def base(self):
        """The address of its changing memory."""
        return <uint64_t>self.at.base


cdef void *entry(void *handle, const char *name) except NULL:
    cdef void *found = dlsym(handle, name)
    if found == NULL:
        raise OSError(f"it has no {name.decode()}: it was not built by this lab")
    return found
