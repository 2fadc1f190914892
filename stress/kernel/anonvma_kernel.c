// The program of December 2011, against the kernel that it runs on.
//
//     cc -O2 -static -o anonvma_kernel anonvma_kernel.c
//
// Rounds are repeated until the time is over. In each, a process moves the upper pages of a mapping to another place
// and back with mremap, again and again, while the kernel migrates these pages to other frames:
//
//   shot        a forked child, which shares the pages, sends them from one NUMA node to the other with move_pages
//   compaction  memory is full of one-page holes, and somebody asks the kernel to compact it; nobody shares the pages
//
// Migration puts an entry that means "wait" where the page was mapped, and takes it away when the page has arrived. The
// bug of 2011 was an entry which mremap carried out of sight meanwhile, and which stayed for ever. So, when nobody
// migrates any more, /proc/self/pagemap is searched for such entries, and then the contents are compared. Touching a
// stale entry brings down an old kernel, so nothing touches it before the report is out: not even the exit of its
// process, which therefore waits.
//
// Who is who: the first process supervises and reports, and touches none of the pages. It forks a tracer, which counts
// the entries that mremap moved in flight, and per round a mover, which forks a migrator. Each dies with its parent.
//
// Without /proc and as process 1 it takes itself for the init of a virtual machine: it mounts what it needs, runs every
// mode that the machine allows, and powers off. Exit codes: 0 all is well, 1 it is not, 2 the host lacks something or
// an option is wrong (one line says what), 130 interrupted.
//
// MIT licence, like the rest of anonvma_rt.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ALL_IS_WELL = 0, NOT_WELL = 1, REFUSED = 2, INTERRUPTED = 130 };
enum mode { SHOT, COMPACTION, MODES };
enum { PASSES = 40 };             // of a migrator in one shot: some milliseconds
enum { GRACE = 10 };              // seconds: a round that takes so long to end hangs
enum { MOST_STALE_ROUNDS = 100 }; // each leaves a process behind until the report
enum { NOT_KNOWN = -1 };          // among the counters

// What <linux/mempolicy.h> calls MPOL_MF_MOVE_ALL: migrate pages that others map, too.
enum { MOVE_ALL = 1 << 2 };

// Of a pagemap entry. A page table holds migration entries in the form of swap entries, with one of the highest of the
// 32 swap types; the kernel has taken at most nine for such uses, and swap files are numbered from 0.
#define PRESENT (1ULL << 63)
#define SWAPPED (1ULL << 62)
#define FRAME ((1ULL << 55) - 1)
#define SWAP_TYPE 31ULL
enum { LOWEST_SPECIAL_TYPE = 32 - 9 };

static const char *const MODE_NAMES[MODES] = {"shot", "compaction"};
static const char COMPACT[] = "/proc/sys/vm/compact_memory";
static const char TRACEFS[] = "/sys/kernel/tracing", INSTANCES[] = "/sys/kernel/tracing/instances";

static struct {
    enum mode mode;
    double seconds;
    size_t page, pages, moved; // bytes of a page; pages of the mapping; how many of them move
    uint64_t *home, *upper, *away;
    int nodes[2];
    bool swap_in_use, frames_visible;
} plan;

// Shared by all processes.
static struct board {
    atomic_bool halt, interrupted;
    _Atomic double deadline;
    atomic_long rounds, round_trips, attempted, succeeded, frames_changed;
    atomic_long entries_set, moved_in_flight, trace_gaps; // from tracepoints
    atomic_long stale, stale_rounds, content_errors, killed, hung;
    char trouble[160];
} *board;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static bool over(void)
{
    return board->halt || now() >= board->deadline;
}

__attribute__((format(printf, 1, 2))) static int refuse(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("anonvma_kernel: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    return REFUSED;
}

// For what should not happen; the report comes first.
static void halt(const char *what)
{
    snprintf(board->trouble, sizeof board->trouble, "%s: %s", what, strerror(errno));
    board->halt = true;
}

static _Noreturn void give_up(const char *what)
{
    halt(what);
    _exit(REFUSED);
}

static pid_t fork_that_dies_with_parent(void)
{
    const pid_t parent = getpid(), child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) // it died before the line above
            _exit(REFUSED);
    }
    return child;
}

// Empty text if there is nothing to read.
static void read_file(const char *path, char *text, size_t size)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t length = 0;
    for (ssize_t got; fd >= 0 && (got = read(fd, text + length, size - 1 - length)) > 0;)
        length += (size_t)got;
    text[length] = 0;
    if (fd >= 0)
        close(fd);
}

static bool write_file(const char *folder, const char *name, const char *text)
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    const bool good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return good;
}

// ---- the page tables, as pagemap shows them -------------------------------------------------------------------------

static uint64_t *read_pagemap(const void *start, size_t pages, uint64_t *entries)
{
    const int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    char *to = (char *)entries;
    off_t from = (off_t)((uintptr_t)start / plan.page * sizeof *entries);
    for (size_t left = pages * sizeof *entries; left;) {
        const ssize_t got = pread(fd, to, left, from);
        if (got <= 0) {
            close(fd);
            return NULL;
        }
        left -= (size_t)got, to += got, from += got;
    }
    close(fd);
    return entries;
}

// Whoever may not see frames sees no swap types either; then every swap entry must be of this kind, without swap.
static bool is_migration_entry(uint64_t entry)
{
    if (!(entry & SWAPPED) || entry & PRESENT)
        return false;
    return !plan.swap_in_use || (entry & SWAP_TYPE) >= LOWEST_SPECIAL_TYPE;
}

// Leaves in `entries` what is there when nobody migrates any more. Somebody else on this host may migrate just now,
// so an entry is stale only if it does not go away for a while.
static long find_stale(uint64_t *entries)
{
    for (int attempt = 0;; attempt++) {
        long found = 0;
        if (!read_pagemap(plan.home, plan.pages, entries))
            give_up("/proc/self/pagemap");
        for (size_t i = 0; i < plan.pages; i++)
            found += is_migration_entry(entries[i]);
        if (found == 0 || attempt == 20)
            return found;
        sleep_ms(10);
    }
}

// ---- one round ------------------------------------------------------------------------------------------------------

static uint64_t *page_at(size_t number)
{
    return plan.home + number * (plan.page / sizeof(uint64_t));
}

static uint64_t tag(size_t number, size_t word)
{
    return (number + 1) * 0x9E3779B97F4A7C15ULL + word;
}

// Compaction is for memory with holes, so that mode gives every other page back.
static bool is_kept(size_t number)
{
    return plan.mode == SHOT || number % 2;
}

static void *map(void *place, int fixed)
{
    const size_t bytes = plan.pages * plan.page;
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | fixed;
    void *const mapping = mmap(place, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (mapping == MAP_FAILED)
        give_up("mmap");
    madvise(mapping, bytes, MADV_NOHUGEPAGE); // fails where there are no huge pages anyhow
    return mapping;
}

// For a mover that has touched nothing that migrates.
static void leave_if_over(void)
{
    if (over())
        _exit(ALL_IS_WELL);
}

static void fill(void)
{
    const size_t words = plan.page / sizeof(uint64_t);
    uint64_t *ballast = NULL;
    if (plan.mode == COMPACTION) {
        // It takes the frames that are handed out first: those to which compaction moved the pages of the last round,
        // and from which it would move none.
        ballast = map(NULL, 0);
        for (size_t i = 0; i < plan.pages; i++, leave_if_over())
            ballast[i * words] = 1;
    }
    map(plan.home, MAP_FIXED);
    for (size_t i = 0; i < plan.pages; i++, leave_if_over())
        for (size_t word = 0; word < words; word++)
            page_at(i)[word] = tag(i, word);
    for (size_t i = 0; i < plan.pages; i++, leave_if_over())
        if (!is_kept(i) && madvise(page_at(i), plan.page, MADV_DONTNEED))
            give_up("madvise");
    if (ballast)
        munmap(ballast, plan.pages * plan.page);
}

static long count_content_errors(const uint64_t *entries)
{
    long errors = 0;
    for (size_t i = 0; i < plan.pages; i++) {
        if (!is_kept(i) || is_migration_entry(entries[i]))
            continue;
        bool good = true;
        for (size_t word = 0; good && word < plan.page / sizeof(uint64_t); word++)
            good = page_at(i)[word] == tag(i, word);
        errors += !good;
    }
    return errors;
}

static void migrate_between_nodes(void)
{
    void **addresses = calloc(plan.moved, sizeof *addresses);
    int *targets = calloc(plan.moved, sizeof *targets), *status = calloc(plan.moved, sizeof *status);
    if (!addresses || !targets || !status)
        give_up("calloc");
    for (int pass = 0; pass < PASSES && !over(); pass++) {
        for (size_t i = 0; i < plan.moved; i++) {
            addresses[i] = page_at(plan.pages - plan.moved + i);
            targets[i] = plan.nodes[(pass + 1) % 2];
            status[i] = -EAGAIN; // the kernel leaves it alone if it does not get to that page
        }
        if (syscall(SYS_move_pages, 0, plan.moved, addresses, targets, status, MOVE_ALL) < 0)
            give_up("move_pages");
        board->attempted += (long)plan.moved;
        for (size_t i = 0; i < plan.moved; i++)
            board->succeeded += status[i] == targets[i];
    }
}

// The migrator waits until the mover closes its end of the gate.
static pid_t start_migrator(int *gate)
{
    int ends[2];
    if (pipe(ends))
        give_up("pipe");
    const pid_t migrator = fork_that_dies_with_parent();
    if (migrator < 0)
        give_up("fork");
    if (migrator == 0) {
        char nothing;
        close(ends[1]);
        while (read(ends[0], &nothing, 1) < 0 && errno == EINTR)
            ;
        if (plan.mode == SHOT)
            migrate_between_nodes();
        else if (!write_file("/proc/sys/vm", "compact_memory", "1"))
            give_up(COMPACT);
        _exit(ALL_IS_WELL);
    }
    close(ends[0]);
    *gate = ends[1];
    return migrator;
}

static void round_trip(void)
{
    const size_t bytes = plan.moved * plan.page;
    const int flags = MREMAP_MAYMOVE | MREMAP_FIXED;
    if (mremap(plan.upper, bytes, bytes, flags, plan.away) != plan.away)
        give_up("mremap to the other place");
    if (mremap(plan.away, bytes, bytes, flags, plan.upper) != plan.upper)
        give_up("mremap back");
    board->round_trips++;
}

// The life of a mover. It ends with the round if the page tables are clean; `told` reports that they are not.
static _Noreturn void run_round(int told)
{
    uint64_t *before = calloc(plan.pages, sizeof *before), *after = calloc(plan.pages, sizeof *after);
    pid_t migrator = 0;
    int gate = -1, status;
    bool killed_here = false;
    if (!before || !after)
        give_up("calloc");
    if (plan.mode == COMPACTION) // before there is anything to share
        migrator = start_migrator(&gate);
    fill();
    if (!read_pagemap(plan.home, plan.pages, before))
        give_up("/proc/self/pagemap");
    if (plan.mode == SHOT)
        migrator = start_migrator(&gate);

    close(gate);
    while (waitpid(migrator, &status, WNOHANG) == 0) {
        if (over() && !killed_here)
            killed_here = kill(migrator, SIGKILL) == 0; // a walk in progress ends before the signal is seen
        round_trip();
    }
    board->killed += WIFSIGNALED(status) && !killed_here;

    const long stale = find_stale(after);
    for (size_t i = 0; plan.frames_visible && i < plan.pages; i++)
        board->frames_changed += before[i] & after[i] & PRESENT && (before[i] & FRAME) != (after[i] & FRAME);
    board->rounds++;
    board->stale += stale;
    board->stale_rounds += stale > 0;
    board->content_errors += count_content_errors(after);
    if (stale == 0)
        _exit(ALL_IS_WELL);
    for (size_t i = 0; i < plan.pages; i++) // the next rounds need memory, too
        if (!is_migration_entry(after[i]))
            madvise(page_at(i), plan.page, MADV_DONTNEED);
    if (write(told, "s", 1) == 1)
        for (;;)
            pause();
    _exit(NOT_WELL);
}

// ---- tracepoints ----------------------------------------------------------------------------------------------------

// A page that moves is mapped at upper, or else at away, and in a shot also at the child's upper, which never leaves. A
// migration sets an entry for each mapping and then removes them all. So mremap has moved the entry in flight if the
// entries that were set and those that were removed at the other place are not equally many.
struct sighting {
    bool unclear; // events were lost, so this migration does not count
    int set, removed, away; // away: how many more were set there than removed there
};

static void settle(struct sighting *page)
{
    board->moved_in_flight += page->removed && page->away && !page->unclear;
    *page = (struct sighting){0};
}

static void see_line(const char *line, struct sighting *sightings)
{
    if (strstr(line, "[LOST ")) {
        board->trace_gaps++;
        for (size_t i = 0; i < plan.moved; i++)
            sightings[i] = (struct sighting){.unclear = true};
        return;
    }
    const char *const field = strstr(line, "_migration_pte: addr=");
    if (!field)
        return;
    const uint64_t *const address = (uint64_t *)(uintptr_t)strtoull(strchr(field, '=') + 1, NULL, 16);
    const bool sets = strstr(line, " set_migration_pte"), away = address >= plan.away;
    const size_t number = (size_t)(address - (away ? plan.away : plan.upper)) / (plan.page / sizeof *address);
    if (address < plan.upper || number >= plan.moved)
        return;
    struct sighting *const page = &sightings[number];
    const int mappings = plan.mode == SHOT ? 2 : 1;
    if (sets && (page->removed || (page->set == mappings && !page->unclear)))
        settle(page);
    page->set += sets;
    page->removed += !sets;
    page->away += sets ? away : -away;
    board->entries_set += sets;
}

static void see_all_lines(int pipe, struct sighting *sightings)
{
    static char text[1 << 16];
    static size_t kept;
    for (ssize_t got; (got = read(pipe, text + kept, sizeof text - 1 - kept)) > 0;) {
        char *line = text;
        text[kept += (size_t)got] = 0;
        for (char *end; (end = strchr(line, '\n')); line = end + 1) {
            *end = 0;
            see_line(line, sightings);
        }
        kept -= (size_t)(line - text);
        memmove(text, line, kept);
    }
}

// Counts until the other end of the leash is closed. All that the host could notice is an instance of its own, which it
// removes, also if the supervisor was killed; tracefs is mounted where nobody else sees it.
static void trace(int leash)
{
    static const char *const EVENTS[] = {"events/migrate/set_migration_pte", "events/migrate/remove_migration_pte"};
    char instance[80], filter[80], folder[160];
    if (access(INSTANCES, F_OK) &&
        (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
         mount("tracefs", TRACEFS, "tracefs", 0, NULL)))
        return;
    snprintf(instance, sizeof instance, "%s/anonvma_kernel-%d", INSTANCES, (int)getpid());
    if (mkdir(instance, 0700))
        return;
    const uintptr_t last = (uintptr_t)plan.away + plan.moved * plan.page - 1;
    snprintf(filter, sizeof filter, "addr >= 0x%" PRIxPTR " && addr <= 0x%" PRIxPTR, (uintptr_t)plan.upper, last);
    bool good = write_file(instance, "trace_clock", "global"); // one order for the events of all processors
    for (int i = 0; i < 2; i++) {
        snprintf(folder, sizeof folder, "%s/%s", instance, EVENTS[i]);
        good = good && write_file(folder, "filter", filter) && write_file(folder, "enable", "1");
    }
    snprintf(folder, sizeof folder, "%s/trace_pipe", instance);
    struct sighting *const sightings = calloc(plan.moved, sizeof *sightings);
    const int pipe = open(folder, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (good && pipe >= 0 && sightings) {
        board->entries_set = board->moved_in_flight = board->trace_gaps = 0;
        const bool told = write(leash, "r", 1) == 1;
        while (told && poll(&(struct pollfd){.fd = leash, .events = POLLIN}, 1, 5) <= 0)
            see_all_lines(pipe, sightings);
        see_all_lines(pipe, sightings);
        for (size_t i = 0; i < plan.moved; i++)
            settle(&sightings[i]);
    }
    close(pipe);
    rmdir(instance);
}

// Returns when it traces, or is sure not to.
static int start_tracer(void)
{
    int leash[2];
    char ready;
    board->entries_set = board->moved_in_flight = board->trace_gaps = NOT_KNOWN;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, leash))
        return -1;
    const pid_t tracer = fork();
    if (tracer == 0) {
        close(leash[0]);
        trace(leash[1]);
        _exit(ALL_IS_WELL);
    }
    close(leash[1]);
    while (read(leash[0], &ready, 1) < 0 && errno == EINTR)
        ;
    return leash[0];
}

static void stop_tracer(int leash)
{
    shutdown(leash, SHUT_WR);
    poll(&(struct pollfd){.fd = leash, .events = POLLIN}, 1, GRACE * 1000); // its exit closes the other end
    close(leash);
}

// ---- what the host has ----------------------------------------------------------------------------------------------

static int find_nodes(int nodes[2])
{
    static const char *const LISTS[] = {"has_memory", "has_normal_memory"}; // 3.2 has only the second
    char path[80], list[4096];
    int found = 0;
    for (int i = 0; i < 2 && !found; i++) {
        snprintf(path, sizeof path, "/sys/devices/system/node/%s", LISTS[i]);
        read_file(path, list, sizeof list);
        char *at = list, *end;
        for (long first, last; (first = strtol(at, &end, 10), end != at); at = end + (*end == ',')) {
            last = *end == '-' ? strtol(end + 1, &end, 10) : first;
            for (long node = first; node <= last; node++, found++)
                if (found < 2)
                    nodes[found] = (int)node;
        }
    }
    return found ? found : 1;
}

// NULL, or one sentence about what this host lacks.
static const char *lack_of(enum mode mode)
{
    uint64_t entry;
    if (mode == SHOT && find_nodes(plan.nodes) < 2)
        return "mode shot needs two NUMA nodes, and this host has one (mode compaction needs none)";
    if (mode == SHOT && syscall(SYS_move_pages, 0, 0UL, NULL, NULL, NULL, MOVE_ALL) < 0)
        return errno == EPERM ? "mode shot needs root (CAP_SYS_NICE), to migrate pages that two processes share"
                              : "mode shot needs move_pages, and this kernel was built without CONFIG_MIGRATION";
    if (mode == COMPACTION && access(COMPACT, F_OK))
        return "mode compaction needs /proc/sys/vm/compact_memory, and this kernel was built without CONFIG_COMPACTION";
    if (mode == COMPACTION && geteuid())
        return "mode compaction needs root";
    if (mode == COMPACTION && access(COMPACT, W_OK))
        return "mode compaction needs /proc/sys/vm/compact_memory, which cannot be written here";
    if (!read_pagemap(&mode, 1, &entry))
        return "the search for stale entries needs /proc/self/pagemap (CONFIG_PROC_PAGE_MONITOR)";
    plan.frames_visible = (entry & FRAME) != 0;
    char swaps[4096];
    read_file("/proc/swaps", swaps, sizeof swaps);
    const char *const heading_end = strchr(swaps, '\n');
    plan.swap_in_use = heading_end && heading_end[1];
    if (plan.swap_in_use && !plan.frames_visible)
        return "the search for stale entries needs root (CAP_SYS_ADMIN) while swap is in use";
    return NULL;
}

static long count_in_vmstat(const char *name)
{
    static char text[1 << 16];
    char line[80];
    read_file("/proc/vmstat", text, sizeof text);
    const int length = snprintf(line, sizeof line, "\n%s ", name);
    const char *const found = strstr(text, line);
    return found ? atol(found + length) : NOT_KNOWN;
}

// ---- a whole run ----------------------------------------------------------------------------------------------------

static pid_t waiting[MODES * (MOST_STALE_ROUNDS + 1)]; // movers, until the report is out
static size_t waiters;

static void watch_round(pid_t mover, int told)
{
    const double patience = GRACE + (double)plan.pages * 20e-6; // much memory is slow to compare and to free
    int status;
    char stale;
    while (poll(&(struct pollfd){.fd = told, .events = POLLIN}, 1, 100) <= 0) {
        if (board->halt && now() < board->deadline)
            board->deadline = now();
        if (now() > board->deadline + patience) {
            board->hung++;
            board->halt = true;
            waiting[waiters++] = mover;
            return;
        }
    }
    if (read(told, &stale, 1) == 1) {
        waiting[waiters++] = mover;
        return;
    }
    while (waitpid(mover, &status, 0) < 0 && errno == EINTR)
        ;
    board->killed += WIFSIGNALED(status);
}

static void run_rounds(void)
{
    board->deadline = now() + plan.seconds;
    while (!over() && board->stale_rounds < MOST_STALE_ROUNDS) {
        int told[2];
        if (pipe(told)) {
            halt("pipe");
            break;
        }
        const pid_t mover = fork_that_dies_with_parent();
        if (mover == 0) {
            close(told[0]);
            run_round(told[1]);
        }
        close(told[1]);
        if (mover > 0)
            watch_round(mover, told[0]);
        else
            halt("fork");
        close(told[0]);
    }
}

// Movers that wait with a stale entry may go now, at their own risk.
static void end_children(void)
{
    while (waiters)
        kill(waiting[--waiters], SIGKILL);
    for (int tries = 0; tries < 200 && waitpid(-1, NULL, WNOHANG) >= 0; tries++)
        sleep_ms(10);
}

static void report(double seconds, bool json)
{
    const struct {
        const char *name;
        long value;
    } fields[] = {
        {"rounds", board->rounds},
        {"round_trips", board->round_trips},
        {"migrations_attempted", board->attempted},
        {"migrations_succeeded", board->succeeded},
        {"frames_changed", plan.frames_visible ? board->frames_changed : NOT_KNOWN},
        {"entries_set", board->entries_set},
        {"moved_in_flight", board->moved_in_flight},
        {"trace_gaps", board->trace_gaps},
        {"stale_entries", board->stale},
        {"stale_rounds", board->stale_rounds},
        {"content_errors", board->content_errors},
        {"killed", board->killed},
        {"hung", board->hung},
    };
    struct utsname system;
    uname(&system);
    printf(json ? "{\"mode\": \"%s\", \"kernel\": \"%s\", \"pages\": %zu, \"mapping_pages\": %zu, \"seconds\": %.3f"
                : "mode %s on Linux %s: %zu of %zu pages moved to and fro for %.3f seconds\n",
           MODE_NAMES[plan.mode], system.release, plan.moved, plan.pages, seconds);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        char value[24] = "null";
        if (fields[i].value != NOT_KNOWN)
            snprintf(value, sizeof value, "%ld", fields[i].value);
        printf(json ? ", \"%s\": %s" : "  %-22s%s\n", fields[i].name, value);
    }
    if (json)
        printf(", \"interrupted\": %s}\n", board->interrupted ? "true" : "false");
    if (fflush(stdout))
        halt("the report");
}

static int run(bool json, bool init)
{
    // The odd distance between the two places keeps mremap from moving whole page tables instead of entries.
    const size_t words = plan.page / sizeof(uint64_t), gap = 16 + (plan.moved + 1) % 2;
    const size_t bytes = (plan.pages + gap + plan.moved) * plan.page;
    plan.home = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (plan.home == MAP_FAILED)
        return refuse("no room for the pages: %s", strerror(errno));
    plan.upper = page_at(plan.pages - plan.moved);
    plan.away = page_at(plan.pages) + gap * words;

    const long succeeded = count_in_vmstat("pgmigrate_success"), failed = count_in_vmstat("pgmigrate_fail");
    const int leash = start_tracer();
    const double begun = now();
    run_rounds();
    stop_tracer(leash);
    if (plan.mode == COMPACTION) { // the kernel tells it of the whole host only
        const bool known = succeeded != NOT_KNOWN && failed != NOT_KNOWN;
        board->succeeded = known ? count_in_vmstat("pgmigrate_success") - succeeded : NOT_KNOWN;
        board->attempted = known ? board->succeeded + count_in_vmstat("pgmigrate_fail") - failed : NOT_KNOWN;
    }
    report(now() - begun, json);
    if (!init) // a virtual machine is gone in a moment, and old kernels do not survive this
        end_children();
    munmap(plan.home, bytes);
    if (board->interrupted)
        return INTERRUPTED;
    if (board->trouble[0])
        return refuse("%s", board->trouble);
    if (!board->round_trips && !board->killed && !board->hung)
        return refuse("%g seconds are too short for a round trip of so many pages", plan.seconds);
    return board->stale || board->content_errors || board->killed || board->hung ? NOT_WELL : ALL_IS_WELL;
}

// ---- the command line -----------------------------------------------------------------------------------------------

struct options {
    const char *mode;
    double seconds;
    long pages, megabytes; // 0: the mode's own
    bool json;
};

static int run_mode(enum mode mode, const struct options *options, bool init)
{
    struct sysinfo memory;
    const long megabytes = options->megabytes ? options->megabytes : 64;
    plan.mode = mode;
    plan.seconds = options->seconds;
    plan.moved = options->pages ? (size_t)options->pages : mode == SHOT ? 64 : 2048;
    plan.pages = mode == SHOT ? 2 * plan.moved : ((size_t)megabytes << 20) / plan.page;
    if (plan.moved > plan.pages / 2 && options->pages)
        return refuse("--pages must be at most %zu, which is half of %ld MB", plan.pages / 2, megabytes);
    if (plan.moved > plan.pages / 2)
        plan.moved = plan.pages / 2;
    sysinfo(&memory);
    const double mb = (double)plan.pages * (double)plan.page / (1 << 20);
    const double free_mb = (double)memory.freeram * memory.mem_unit / (1 << 20);
    if (mb > free_mb / 4) // compaction takes twice as much for a moment
        return refuse("%.0f MB of pages are more than a quarter of the free memory (%.0f MB)", mb, free_mb);
    return run(options->json, init);
}

// Without a mode: the first that this host allows, and every such mode of a virtual machine that is here for this only.
static int choose_and_run(const struct options *options, bool init)
{
    const bool every = init && !options->mode;
    const char *lacks[MODES] = {NULL, NULL};
    int worst = -1;
    for (int mode = 0; mode < MODES; mode++) {
        if (options->mode && strcmp(options->mode, MODE_NAMES[mode]))
            continue;
        lacks[mode] = lack_of(mode);
        if (lacks[mode] && (options->mode || every))
            refuse("%s", lacks[mode]);
        if (!lacks[mode]) {
            const int code = run_mode(mode, options, init);
            worst = code > worst ? code : worst;
            if (!every)
                break;
            memset(board, 0, sizeof *board);
        }
    }
    if (worst < 0 && !options->mode && !every)
        refuse("%s; %s", lacks[SHOT], lacks[COMPACTION]);
    return worst < 0 ? REFUSED : worst;
}

static int command(int count, char **words, bool init)
{
    static const char USAGE[] = "--mode shot|compaction --seconds N --pages N --megabytes N --json";
    static const struct option LONG[] = {
        {"seconds", required_argument, NULL, 0}, {"pages", required_argument, NULL, 1},
        {"megabytes", required_argument, NULL, 2}, {"mode", required_argument, NULL, 'm'},
        {"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0},
    };
    static const double LEAST[] = {0.1, 1, 1}, MOST[] = {86400, 1 << 28, 1 << 20};
    double numbers[] = {10, 0, 0};
    struct options options = {0};
    if (init && count > 1 && !strcmp(words[1], "--")) // old kernels hand this over, too
        words++, count--;
    opterr = 0;
    for (int option; (option = getopt_long(count, words, "", LONG, NULL)) != -1;) {
        if (option == 'j') {
            options.json = true;
        } else if (option == 'm') {
            options.mode = optarg;
            if (strcmp(optarg, MODE_NAMES[SHOT]) && strcmp(optarg, MODE_NAMES[COMPACTION]))
                return refuse("--mode must be shot or compaction");
        } else if (option == 'h') {
            printf("anonvma_kernel %s\n", USAGE);
            return ALL_IS_WELL;
        } else if (option == '?') {
            return refuse("there is no such option, or its value is missing; the options are %s", USAGE);
        } else {
            char *end;
            const double number = strtod(optarg, &end);
            const bool good = end != optarg && !*end && number >= LEAST[option] && number <= MOST[option];
            if (!good || (option && number != (double)(long)number))
                return refuse("--%s must be a %snumber from %g to %.0f", LONG[option].name, option ? "whole " : "",
                              LEAST[option], MOST[option]);
            numbers[option] = number;
        }
    }
    if (optind < count && !init) // a kernel hands the words that it does not know to init
        return refuse("only options, please: %s", USAGE);
    options.seconds = numbers[0], options.pages = (long)numbers[1], options.megabytes = (long)numbers[2];
    return choose_and_run(&options, init);
}

static void interrupt(int number)
{
    (void)number;
    board->interrupted = board->halt = true;
}

int main(int count, char **words)
{
    const bool init = getpid() == 1 && access("/proc/self", F_OK);
    plan.page = (size_t)sysconf(_SC_PAGESIZE);
    board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (board == MAP_FAILED)
        return refuse("mmap: %s", strerror(errno));
    if (init) {
        mkdir("/proc", 0755);
        mkdir("/sys", 0755);
        if (mount("proc", "/proc", "proc", 0, NULL) || mount("sysfs", "/sys", "sysfs", 0, NULL))
            refuse("/proc and /sys cannot be mounted: %s", strerror(errno));
        mount("tracefs", TRACEFS, "tracefs", 0, NULL); // fails on a kernel that traces nothing
    }
    static const int SIGNALS[] = {SIGINT, SIGTERM, SIGHUP};
    for (int i = 0; i < 3; i++)
        sigaction(SIGNALS[i], &(struct sigaction){.sa_handler = interrupt, .sa_flags = SA_RESTART}, NULL);
    const int code = command(count, words, init);
    if (init) {
        sync();
        reboot(RB_POWER_OFF);
    }
    return code;
}
