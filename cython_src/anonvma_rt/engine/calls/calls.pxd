"""Calls and returns of an object under test: kept for each execution, and judged at its end.

A task says that an operation begins (call) and what it returned (returns). Which call came before which return is all
that a judge may go by, so it is all that is announced: a call looks at a word and a return shares it, as operations on
one lock do. Calls commute with each other, returns too, and a call and a return do not: so every order of these is
explored, and no other. Nobody ever holds or changes that word.
"""

from libc.stdint cimport int16_t, int32_t, int64_t, uint32_t, uint64_t

from anonvma_rt.engine.base.operation cimport MAX_TASKS, lock_word
from anonvma_rt.engine.base.table cimport Table
from anonvma_rt.engine.run.subject cimport JudgeCalls, Subject
from anonvma_rt.engine.run.task cimport Execution, Task

cdef enum:
    # Calls and returns of an execution, together; names of operations, and their length.
    MOST_CALLS = 1 << 16
    MOST_NAMES = 64
    LONGEST_NAME = 63
    # Of notes.
    NOTE_CALL = -1
    NOTE_RETURN = -2
    # Of a refusal (HALT_REFUSED), which nobody else's is: finding.b is a text.
    REFUSED_TEXT = -3
    # Of VIOLATION_BAD_CALL.
    NESTED_CALL = 1
    RETURN_WITHOUT_CALL = 2

cdef extern from "<stdint.h>":
    # In the place of an argument or a value that an operation does not have.
    const int64_t NOTHING "INT64_MIN"

cdef struct Call:
    int32_t task
    int16_t name
    int16_t returns
    int64_t value

# What is brought back before each execution: an object of the arena. open: for each task its operation that has not
# returned, by the number of its name from 1 on; 0: none.
cdef struct CallsNow:
    lock_word word
    uint32_t unused
    uint64_t n
    int16_t open[MAX_TASKS]

# offset: of the word in the arena. state: a futex word, by which the thread that judges is asked. asked: the calls that
# it is asked about. verdict: the index of the return that cannot be, or less than 0; text: why nobody could say.
cdef struct Calls:
    CallsNow *now
    uint64_t offset
    Call *call
    Call *asked
    uint64_t n_asked
    uint32_t state
    int64_t verdict
    char text[1024]
    int names
    uint32_t naming
    char name[MOST_NAMES][LONGEST_NAME + 1]
    # The histories that were judged, by two hashes, and what was found.
    Table known
    uint64_t *second
    int64_t *found
    uint64_t room
    # Of all executions: calls that were judged.
    uint64_t total

cdef void add_call(Calls *c, Task *t, bint returning, const char *name, int64_t value) noexcept nogil


cdef inline void call(Task *t, const char *name, int64_t argument) noexcept nogil:
    """An operation of the object under test begins: its name, and its argument (NOTHING for none)."""
    cdef Calls *c = <Calls *>(<Subject>t.x.subject.self).judging.self
    if c != NULL and c.now != NULL:
        add_call(c, t, False, name, argument)


cdef inline void returns(Task *t, int64_t value) noexcept nogil:
    """The operation of the object under test that t began last has returned `value` (NOTHING for none)."""
    cdef Calls *c = <Calls *>(<Subject>t.x.subject.self).judging.self
    if c != NULL and c.now != NULL:
        add_call(c, t, True, NULL, value)


cdef inline void judge_now(Execution *x, int task) noexcept nogil:
    """Judges what was called so far; task: who ends the execution with that, and is told of as the one who found it."""
    cdef JudgeCalls *judging = &(<Subject>x.subject.self).judging
    if judging.self != NULL:
        judging.check(judging.self, x, task)
