"""Loading a compiled program, once per process and place (see image.pxd).

A program is linked to a fixed address, so that its pointers are the same in every process. Its globals and its heap are
one block, which the lab brings back before each execution: the first page is the lab's, then come the globals where the
linker put them, and what follows is reserved for the heap.
"""

from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy
from posix.dlfcn cimport RTLD_LOCAL, RTLD_NOW, dlclose, dlerror, dlopen, dlsym
from posix.mman cimport MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_NONE, mmap, munmap

from anonvma_rt.engine.base.arena cimport Arena, arena_open_at

cdef extern from "<sys/mman.h>":
    const int MAP_FIXED_NOREPLACE
    const int MAP_NORESERVE

cdef enum:
    PAGE = 4096

# Of the heap: address space only.
cdef uint64_t RESERVED = <uint64_t>8 << 30


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
        self.at.thread = <rt_state *>entry(handle, b"rt_states")
        self.at.construct = <void (*)() noexcept nogil>entry(handle, b"rt_construct")
        self.at.body = <void (*)(int, int, char **, char **) noexcept nogil>entry(handle, b"rt_body")
        loaded = self.at.end - self.at.base
        self.pristine = <char *>malloc(loaded)
        if self.pristine == NULL:
            raise MemoryError("no memory for a copy of the program")
        memcpy(self.pristine, self.at.base, loaded)
        loaded = (loaded + PAGE - 1) & ~<uint64_t>(PAGE - 1)
        rest = mmap(self.at.base + loaded, RESERVED, PROT_NONE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0)
        if rest == MAP_FAILED or <char *>rest != self.at.base + loaded:
            raise OSError(f"the addresses behind {hex(<uint64_t>self.at.base)} are taken")
        self.reserved = loaded + RESERVED
        self.path = path

    def __dealloc__(self):
        free(self.pristine)

    def close(self):
        """Unloads it: its place is free for another one."""
        if self.used:
            raise RuntimeError("an explorer has this image")
        if self.reserved:
            munmap(self.at.base + self.reserved - RESERVED, RESERVED)
            dlclose(self.handle)
            self.reserved = 0

    cdef int take(self, Arena *arena) except -1:
        """Makes the memory as it was, and an arena of it."""
        cdef uint64_t loaded = self.at.end - self.at.base
        memcpy(self.at.base, self.pristine, loaded)
        arena_open_at(arena, self.at.base, (loaded + PAGE - 1) & ~<uint64_t>(PAGE - 1), self.reserved)
        return 0

    @property
    def base(self):
        """The address of its changing memory."""
        return <uint64_t>self.at.base


cdef void *entry(void *handle, const char *name) except NULL:
    cdef void *found = dlsym(handle, name)
    if found == NULL:
        raise OSError(f"it has no {name.decode()}: it was not built by this lab")
    return found
