/* What a program says of itself by anonvma_rt.h: checks, marks, notes, and the operations of an object under test. */

#include "runtime.h"

#include <stdarg.h>
#include <stdio.h>

enum { LONGEST_NOTE = 480 };

void rt_check_failed(const char *text, const char *file, int line) { rt_wrong(RT_ASSERTION, text, file, line); }
void rt_mark_next(void) { rt_host->mark(rt_host->x); }

void rt_note_line(const char *form, ...)
{
    char line[LONGEST_NOTE];
    va_list arguments;
    int n;
    va_start(arguments, form);
    n = vsnprintf(line, sizeof line, form, arguments);
    va_end(arguments);
    if (n > 0)
        rt_host->note(rt_host->x, line, n < LONGEST_NOTE ? (uint64_t)n : LONGEST_NOTE - 1);
}

void rt_call_of(const char *name, int has_argument, long argument)
{ rt_host->call(rt_host->x, name, has_argument ? argument : INT64_MIN); }

void rt_return_of(int has_value, long value) { rt_host->returns(rt_host->x, has_value ? value : INT64_MIN); }
