/* What a program may say to the lab that runs it. Optional: where something else compiles it, all of it is nothing.

   rt_check(condition, "text")    a violation with that text, unless the condition holds
   rt_mark()                      the next operation on shared memory is an interesting one, as SURW understands it
   rt_note("taken: %d", x)        a line in the history, as printf makes it
   rt_choose(3)                   0, 1 or 2: a choice of the schedule, so that each is tried; 0 elsewhere
   rt_call("push", 3)             an operation of the object under test begins: its name, its argument if it has one
   rt_return(0)                   and what it returned, if anything: rt_return()

   What was called and returned is compared with a sequential specification (--spec). Arguments and values are whole
   numbers of 64 bits; the smallest of them all stands for none. */

#ifndef ANONVMA_RT_PROGRAM
#define ANONVMA_RT_PROGRAM

#ifdef ANONVMA_RT

#ifdef __cplusplus
extern "C" {
#endif
void rt_check_failed(const char *text, const char *file, int line);
void rt_mark_next(void);
void rt_note_line(const char *form, ...) __attribute__((format(printf, 1, 2)));
int rt_choose(int n);
void rt_call_of(const char *name, int has_argument, long argument);
void rt_return_of(int has_value, long value);
#ifdef __cplusplus
}
static inline void rt_call(const char *name) { rt_call_of(name, 0, 0); }
static inline void rt_call(const char *name, long argument) { rt_call_of(name, 1, argument); }
static inline void rt_return() { rt_return_of(0, 0); }
static inline void rt_return(long value) { rt_return_of(1, value); }
#else
#define RT_FIRST_OF(a, ...) a
#define RT_SECOND_OF(a, b, ...) b
#define RT_THIRD_OF(a, b, c, ...) c
#define rt_call(...) \
    rt_call_of(RT_FIRST_OF(__VA_ARGS__, 0), RT_THIRD_OF(__VA_ARGS__, 1, 0, 0), (long)(RT_SECOND_OF(__VA_ARGS__, 0, 0)))
/* Nothing and + 0 is a number, too. */
#define rt_return(...) rt_return_of(sizeof(#__VA_ARGS__) > 1, (long)(__VA_ARGS__ + 0))
#endif

#define rt_check(condition, text) ((condition) ? (void)0 : rt_check_failed(text, __FILE__, __LINE__))
#define rt_mark() rt_mark_next()
#define rt_note(...) rt_note_line(__VA_ARGS__)

#else

#define rt_check(condition, text) ((void)sizeof(!(condition)))
#define rt_mark() ((void)0)
#define rt_note(...) ((void)0)
#define rt_choose(n) ((void)(n), 0)
#define rt_call(...) ((void)0)
#define rt_return(...) ((void)0)

#endif
#endif
