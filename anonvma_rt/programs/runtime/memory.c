/* The heap: objects of the lab's arena, which is brought back before each execution and tells a freed object from a live
   one. What the C library has allocated itself (strdup, getline) goes back to it. */

#include "runtime.h"

#include <errno.h>

extern void __libc_free(void *);
extern void *__libc_realloc(void *, size_t);
extern size_t malloc_usable_size(void *);

#define HERE __builtin_return_address(0)

/* More than this nobody has. */
#define LARGEST ((uint64_t)1 << 30)

static inline void *obtain(uint64_t size, uint64_t align, void *place)
{
    void *made;
    if (size > LARGEST || align > LARGEST) {
        errno = ENOMEM;
        return 0;
    }
    made = rt_host->allocate(rt_host->x, size, align);
    rt_host->made(rt_host->x, place);
    return made;
}

#define get(size, align) obtain(size, align, HERE)

/* What lies outside the arena is the C library's. */
enum { FREED = -1, NONE = -2, ELSEWHERE = -3 };

static int64_t size_of(void *p) { return rt_host->size_of(rt_host->x, p); }

void *malloc(size_t n) { return get(n, 16); }

void *calloc(size_t n, size_t size)
{
    size_t whole;
    if (__builtin_mul_overflow(n, size, &whole)) {
        errno = ENOMEM;
        return 0;
    }
    return get(whole, 16);
}

static inline void give_back(void *p, void *place)
{
    if (!p)
        return;
    switch (size_of(p)) {
    case FREED:
        rt_wrong(RT_DOUBLE_FREE, 0, p, (int64_t)place);
        break;
    case NONE:
        rt_wrong(RT_BAD_FREE, 0, p, (int64_t)place);
        break;
    case ELSEWHERE:
        __libc_free(p);
        break;
    default:
        rt_host->free(rt_host->x, p, place);
    }
}

void free(void *p) { give_back(p, HERE); }

void *realloc(void *p, size_t n)
{
    int64_t old;
    void *made;
    if (!p)
        return get(n, 16);
    old = size_of(p);
    if (old == ELSEWHERE)
        return __libc_realloc(p, n);
    if (old < 0) {
        give_back(p, HERE);
        return 0;
    }
    made = get(n, 16);
    if (made) {
        __builtin_memcpy(made, p, (size_t)old < n ? (size_t)old : n);
        give_back(p, HERE);
    }
    return made;
}

void *aligned_alloc(size_t align, size_t n) { return get(n, align); }
void *memalign(size_t align, size_t n) { return get(n, align); }
void *valloc(size_t n) { return get(n, 4096); }

int posix_memalign(void **out, size_t align, size_t n)
{
    if (align & (align - 1) || align % sizeof(void *))
        return EINVAL;
    rt_writes(out, sizeof *out);
    *out = get(n, align);
    return *out ? 0 : ENOMEM;
}

char *strdup(const char *text)
{
    size_t n = __builtin_strlen(text) + 1;
    char *made = get(n, 16);
    return made ? __builtin_memcpy(made, text, n) : 0;
}

char *strndup(const char *text, size_t most)
{
    size_t n = 0;
    char *made;
    while (n < most && text[n])
        n++;
    made = get(n + 1, 16);
    if (made)
        __builtin_memcpy(made, text, n);
    return made;
}

/* operator new and delete, by their names in an object. std::__throw_bad_alloc() is there where there is C++. */
extern void _ZSt17__throw_bad_allocv(void) __attribute__((weak));

static inline void *or_throw(void *made)
{
    if (!made && _ZSt17__throw_bad_allocv)
        _ZSt17__throw_bad_allocv();
    if (!made)
        rt_wrong(RT_UNCAUGHT, "St9bad_alloc", 0, 0);
    return made;
}

void *_Znwm(size_t n) { return or_throw(get(n, 16)); }
void *_Znam(size_t n) { return or_throw(get(n, 16)); }
void *_ZnwmSt11align_val_t(size_t n, size_t align) { return or_throw(get(n, align)); }
void *_ZnamSt11align_val_t(size_t n, size_t align) { return or_throw(get(n, align)); }
void *_ZnwmRKSt9nothrow_t(size_t n, const void *t) { return (void)t, get(n, 16); }
void *_ZnamRKSt9nothrow_t(size_t n, const void *t) { return (void)t, get(n, 16); }
void _ZdlPv(void *p) { give_back(p, HERE); }
void _ZdaPv(void *p) { give_back(p, HERE); }
void _ZdlPvm(void *p, size_t n) { (void)n; give_back(p, HERE); }
void _ZdaPvm(void *p, size_t n) { (void)n; give_back(p, HERE); }
void _ZdlPvSt11align_val_t(void *p, size_t align) { (void)align; give_back(p, HERE); }
void _ZdaPvSt11align_val_t(void *p, size_t align) { (void)align; give_back(p, HERE); }
void _ZdlPvmSt11align_val_t(void *p, size_t n, size_t align) { (void)n, (void)align; give_back(p, HERE); }
void _ZdaPvmSt11align_val_t(void *p, size_t n, size_t align) { (void)n, (void)align; give_back(p, HERE); }
void _ZdlPvRKSt9nothrow_t(void *p, const void *t) { (void)t; give_back(p, HERE); }
void _ZdaPvRKSt9nothrow_t(void *p, const void *t) { (void)t; give_back(p, HERE); }
