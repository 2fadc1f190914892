"""The one source of randomness of an execution: SplitMix64, seeded by (seed, execution index).

Every draw of a strategy comes from here and from integers only, so that an execution is the same on every machine.
Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (OOPSLA 2014); the bounded draw is
Lemire's (ACM TOMACS 2019), which has no modulo bias.
"""

from libc.stdint cimport uint32_t, uint64_t


cdef inline uint64_t mix64(uint64_t z) noexcept nogil:
    """A bijection of 64 bits in which every input bit reaches every output bit."""
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL
    return z ^ (z >> 31)


cdef inline uint64_t rng_start(uint64_t seed, uint64_t index) noexcept nogil:
    """The state with which execution `index` of a hunt with `seed` begins."""
    return mix64(mix64(seed + 0x9E3779B97F4A7C15ULL) ^ (index * 0xD1B54A32D192ED03ULL + 1))


cdef inline uint64_t rng_next(uint64_t *state) noexcept nogil:
    state[0] += 0x9E3779B97F4A7C15ULL
    return mix64(state[0])


cdef inline uint32_t rng_below(uint64_t *state, uint32_t n) noexcept nogil:
    """A number in [0, n), every one equally likely; n >= 1."""
    cdef uint64_t product = (rng_next(state) >> 32) * n
    cdef uint32_t low = <uint32_t>product
    cdef uint32_t reject
    if low < n:
        reject = (<uint32_t>(0 - n)) % n
        while low < reject:
            product = (rng_next(state) >> 32) * n
            low = <uint32_t>product
    return <uint32_t>(product >> 32)


cdef inline uint64_t rng_below64(uint64_t *state, uint64_t n) noexcept nogil:
    """The same for a large n, by rejection under the next power of two."""
    cdef uint64_t mask = n - 1
    cdef uint64_t draw
    mask |= mask >> 1
    mask |= mask >> 2
    mask |= mask >> 4
    mask |= mask >> 8
    mask |= mask >> 16
    mask |= mask >> 32
    draw = rng_next(state) & mask
    while draw >= n:
        draw = rng_next(state) & mask
    return draw
