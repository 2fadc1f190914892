"""The signature of a step: what is comparable between carriers of an announced operation, in SIGNATURE_BITS bits.

A recorded storm keeps one per step, and a replay compares its own with them.
"""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.base.arena cimport Arena
from anonvma_rt.engine.base.rng cimport mix64

cdef enum:
    SIGNATURE_BITS = 12
    # The operation is below the object.
    OP_BITS = 4


cdef inline uint64_t step_signature(Arena *arena, int op, void *object) noexcept nogil:
    """The operation, and 8 bits of where, for objects that were there from the beginning; later ones, 0, lie elsewhere
    in another execution."""
    cdef uint64_t offset = <uint64_t>object - <uint64_t>arena.base
    return <uint64_t>op | (1 + mix64(offset) % 255 if offset < arena.saved.used else 0) << OP_BITS


cdef inline bint same_step(uint64_t recorded, uint64_t now) noexcept nogil:
    """Where the record says nothing of the object it may be any."""
    return recorded == now or (recorded >> OP_BITS == 0 and recorded == now & ((1 << OP_BITS) - 1))
