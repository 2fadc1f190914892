/* Where the program's changing memory begins and ends, and what runs before main: see image.ld, which puts them there. */

#include "runtime.h"

#include <link.h>

#define ENTRY __attribute__((visibility("default")))

/* One page in front of the globals, for the lab. */
ENTRY __attribute__((section(".rt_gap"), aligned(4096))) char rt_gap[4096] = {1};

extern char _end[] __attribute__((visibility("hidden")));
ENTRY char *rt_image_end = _end;

typedef void (*constructor)(int, char **, char **);
extern constructor rt_first[] __attribute__((visibility("hidden")));
extern constructor rt_last[] __attribute__((visibility("hidden")));

extern const ElfW(Ehdr) __ehdr_start __attribute__((visibility("hidden")));

/* Thread-local variables begin as the file says. */
static void find_thread_locals(void)
{
    const char *file = (const char *)&__ehdr_start;
    const ElfW(Phdr) *p = (const ElfW(Phdr) *)(file + __ehdr_start.e_phoff);
    const char *bias = 0;
    for (int i = 0; i < __ehdr_start.e_phnum; i++)
        if (p[i].p_type == PT_LOAD && p[i].p_offset == 0)
            bias = file - p[i].p_vaddr;
    for (int i = 0; i < __ehdr_start.e_phnum; i++) {
        if (p[i].p_type == PT_TLS) {
            rt_tls_image = bias + p[i].p_vaddr;
            rt_tls_filled = p[i].p_filesz;
            rt_tls_size = p[i].p_memsz;
            rt_tls_align = p[i].p_align < 16 ? 16 : p[i].p_align;
        }
    }
}

/* What the loader would call, called by the lab instead, when there is somebody to answer. */
ENTRY void rt_construct(void)
{
    find_thread_locals();
    for (constructor *call = rt_first; call < rt_last; call++)
        (*call)(0, 0, 0);
}
