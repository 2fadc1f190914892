/* The race of the mremap patch of December 2011, in the words of the kernel: a walk of the reverse map passes a list of vmas
   while mremap moves entries from one vma to another, which stands before it in the list. The walk has seen the one before
   the entry came, and sees the other after it went.

     anonvma-rt hunt moveto_tail.c                  # a migration entry stays behind
     anonvma-rt verify moveto_tail.c -p PATCHED=1   # never: anon_vma_moveto_tail() makes the walk meet the source first */

#include <linux/bug.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>

#ifndef PATCHED
#define PATCHED 0
#endif
#ifndef PAGES
#define PAGES 1
#endif

#define MIGRATION 0x100ul

struct anon_vma {
    struct mutex lock;
    struct list_head head;
};

struct vm_area {
    struct list_head same_anon_vma;
    spinlock_t ptl; /* of its page table */
    unsigned long pte[PAGES];
};

static struct anon_vma av;
static struct vm_area dst, src;

static void anon_vma_moveto_tail(struct vm_area *dst)
{
    mutex_lock(&av.lock);
    list_move_tail(&dst->same_anon_vma, &av.head);
    mutex_unlock(&av.lock);
}

static int move_page_tables(void *unused)
{
    if (PATCHED)
        anon_vma_moveto_tail(&dst);
    for (int i = 0; i < PAGES; i++) {
        spin_lock(&src.ptl);
        spin_lock_nested(&dst.ptl, SINGLE_DEPTH_NESTING);
        dst.pte[i] = src.pte[i];
        src.pte[i] = 0;
        spin_unlock(&dst.ptl);
        spin_unlock(&src.ptl);
    }
    return 0;
}

/* Whoever shows `from` shows `to` from now on. */
static int rmap_walk(unsigned long from, unsigned long to)
{
    struct vm_area *vma;
    int changed = 0;

    mutex_lock(&av.lock);
    list_for_each_entry(vma, &av.head, same_anon_vma) {
        spin_lock(&vma->ptl);
        for (int i = 0; i < PAGES; i++) {
            if (vma->pte[i] == from) {
                vma->pte[i] = to;
                changed++;
            }
        }
        spin_unlock(&vma->ptl);
    }
    mutex_unlock(&av.lock);
    return changed;
}

static int migrate_page(void *unused)
{
    if (rmap_walk(1, MIGRATION | 1)) /* try_to_unmap() */
        rmap_walk(MIGRATION | 1, 2); /* remove_migration_ptes() */
    return 0;
}

int main(void)
{
    struct task_struct *mremap, *migrate;

    mutex_init(&av.lock);
    INIT_LIST_HEAD(&av.head);
    list_add_tail(&dst.same_anon_vma, &av.head); /* it grew by a merge, and is the older one */
    list_add_tail(&src.same_anon_vma, &av.head);
    for (int i = 0; i < PAGES; i++)
        src.pte[i] = i + 1;
    mremap = kthread_run(move_page_tables, NULL, "mremap");
    migrate = kthread_run(migrate_page, NULL, "migrate");
    kthread_join(mremap);
    kthread_join(migrate);
    for (int i = 0; i < PAGES; i++)
        BUG_ON(dst.pte[i] & MIGRATION);
    return 0;
}
