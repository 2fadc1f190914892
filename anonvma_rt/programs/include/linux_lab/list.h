/* list_head and hlist: rings and chains that run through their members, as the kernel's documentation describes them.

   The link by which a list is entered is read and written by volatile accesses, so that list_empty() without a lock is a
   step that others see. What was taken off points to addresses that nobody has. */

#ifndef ANONVMA_RT_LINUX_LIST
#define ANONVMA_RT_LINUX_LIST

#pragma GCC system_header

#include "base.h"

struct list_head { struct list_head *next, *prev; };
struct hlist_node { struct hlist_node *next, **pprev; };
struct hlist_head { struct hlist_node *first; };

#define LIST_POISON1 ((void *)0x100)
#define LIST_POISON2 ((void *)0x122)
#define LIST_HEAD_INIT(name) { &(name), &(name) }
#define LIST_HEAD(name) struct list_head name = LIST_HEAD_INIT(name)
#define HLIST_HEAD_INIT { .first = NULL }
#define HLIST_HEAD(name) struct hlist_head name = HLIST_HEAD_INIT
#define INIT_HLIST_HEAD(head) ((head)->first = NULL)

LAB_USUAL void INIT_LIST_HEAD(struct list_head *head)
{
    WRITE_ONCE(head->next, head);
    head->prev = head;
}

/* Makes two neighbours. */
LAB_USUAL void lab_join_list(struct list_head *before, struct list_head *after)
{
    after->prev = before;
    WRITE_ONCE(before->next, after);
}

LAB_USUAL void lab_put_between(struct list_head *node, struct list_head *before, struct list_head *after)
{
    node->next = after;
    node->prev = before;
    lab_join_list(node, after);
    WRITE_ONCE(before->next, node);
}

LAB_USUAL void list_add(struct list_head *node, struct list_head *head) { lab_put_between(node, head, head->next); }
LAB_USUAL void list_add_tail(struct list_head *node, struct list_head *head) { lab_put_between(node, head->prev, head); }
LAB_USUAL void __list_del_entry(struct list_head *node) { lab_join_list(node->prev, node->next); }

LAB_USUAL void list_del(struct list_head *node)
{
    __list_del_entry(node);
    node->next = LIST_POISON1;
    node->prev = LIST_POISON2;
}

LAB_USUAL void list_del_init(struct list_head *node)
{
    __list_del_entry(node);
    INIT_LIST_HEAD(node);
}

LAB_USUAL void list_move(struct list_head *node, struct list_head *head)
{
    __list_del_entry(node);
    list_add(node, head);
}

LAB_USUAL void list_move_tail(struct list_head *node, struct list_head *head)
{
    __list_del_entry(node);
    list_add_tail(node, head);
}

LAB_USUAL void list_replace(struct list_head *old, struct list_head *node) { lab_put_between(node, old->prev, old->next); }
LAB_USUAL void list_replace_init(struct list_head *old, struct list_head *node)
{
    list_replace(old, node);
    INIT_LIST_HEAD(old);
}

LAB_USUAL int list_empty(const struct list_head *head) { return READ_ONCE(head->next) == head; }
LAB_USUAL int list_empty_careful(const struct list_head *head)
{
    struct list_head *next = READ_ONCE(head->next);
    return next == head && READ_ONCE(head->prev) == next;
}
LAB_USUAL int list_is_singular(const struct list_head *head) { return !list_empty(head) && head->next == head->prev; }
LAB_USUAL int list_is_first(const struct list_head *node, const struct list_head *head) { return node->prev == head; }
LAB_USUAL int list_is_last(const struct list_head *node, const struct list_head *head) { return node->next == head; }
LAB_USUAL int list_is_head(const struct list_head *node, const struct list_head *head) { return node == head; }

/* Puts what is on `list` between two neighbours; `list` itself is left as it is. */
LAB_USUAL void lab_splice(struct list_head *list, struct list_head *before, struct list_head *after)
{
    struct list_head *first = list->next, *last = list->prev;
    if (list_empty(list))
        return;
    lab_join_list(last, after);
    lab_join_list(before, first);
}

LAB_USUAL void list_splice(struct list_head *list, struct list_head *head) { lab_splice(list, head, head->next); }
LAB_USUAL void list_splice_tail(struct list_head *list, struct list_head *head) { lab_splice(list, head->prev, head); }
LAB_USUAL void list_splice_init(struct list_head *list, struct list_head *head)
{
    list_splice(list, head);
    INIT_LIST_HEAD(list);
}
LAB_USUAL void list_splice_tail_init(struct list_head *list, struct list_head *head)
{
    list_splice_tail(list, head);
    INIT_LIST_HEAD(list);
}

#define list_entry(p, type, member) container_of(p, type, member)
#define list_first_entry(head, type, member) list_entry((head)->next, type, member)
#define list_last_entry(head, type, member) list_entry((head)->prev, type, member)
#define list_first_entry_or_null(head, type, member) (list_empty(head) ? NULL : list_first_entry(head, type, member))
#define list_next_entry(p, member) list_entry((p)->member.next, __typeof__(*(p)), member)
#define list_prev_entry(p, member) list_entry((p)->member.prev, __typeof__(*(p)), member)
#define list_entry_is_head(p, head, member) (&(p)->member == (head))

#define list_for_each(p, head) for (p = (head)->next; p != (head); p = p->next)
#define list_for_each_prev(p, head) for (p = (head)->prev; p != (head); p = p->prev)
#define list_for_each_safe(p, n, head) for (p = (head)->next, n = p->next; p != (head); p = n, n = p->next)
#define list_for_each_entry(p, head, member) \
    for (p = list_first_entry(head, __typeof__(*p), member); !list_entry_is_head(p, head, member); \
         p = list_next_entry(p, member))
#define list_for_each_entry_reverse(p, head, member) \
    for (p = list_last_entry(head, __typeof__(*p), member); !list_entry_is_head(p, head, member); \
         p = list_prev_entry(p, member))
#define list_for_each_entry_continue(p, head, member) \
    for (p = list_next_entry(p, member); !list_entry_is_head(p, head, member); p = list_next_entry(p, member))
#define list_for_each_entry_from(p, head, member) \
    for (; !list_entry_is_head(p, head, member); p = list_next_entry(p, member))
#define list_for_each_entry_safe(p, n, head, member) \
    for (p = list_first_entry(head, __typeof__(*p), member), n = list_next_entry(p, member); \
         !list_entry_is_head(p, head, member); p = n, n = list_next_entry(n, member))
#define list_for_each_entry_safe_reverse(p, n, head, member) \
    for (p = list_last_entry(head, __typeof__(*p), member), n = list_prev_entry(p, member); \
         !list_entry_is_head(p, head, member); p = n, n = list_prev_entry(n, member))

/* ---- hlist ------------------------------------------------------------------------------------------------------------ */

LAB_USUAL void INIT_HLIST_NODE(struct hlist_node *node)
{
    node->next = NULL;
    node->pprev = NULL;
}
LAB_USUAL int hlist_unhashed(const struct hlist_node *node) { return !node->pprev; }
LAB_USUAL int hlist_empty(const struct hlist_head *head) { return !READ_ONCE(head->first); }

LAB_USUAL void lab_hlist_put(struct hlist_node *node, struct hlist_node **at)
{
    node->next = *at;
    node->pprev = at;
    if (node->next)
        node->next->pprev = &node->next;
    WRITE_ONCE(*at, node);
}

LAB_USUAL void hlist_add_head(struct hlist_node *node, struct hlist_head *head) { lab_hlist_put(node, &head->first); }
LAB_USUAL void hlist_add_before(struct hlist_node *node, struct hlist_node *next) { lab_hlist_put(node, next->pprev); }
LAB_USUAL void hlist_add_behind(struct hlist_node *node, struct hlist_node *prev) { lab_hlist_put(node, &prev->next); }

LAB_USUAL void __hlist_del(struct hlist_node *node)
{
    struct hlist_node *next = node->next;
    WRITE_ONCE(*node->pprev, next);
    if (next)
        next->pprev = node->pprev;
}

LAB_USUAL void hlist_del(struct hlist_node *node)
{
    __hlist_del(node);
    node->next = LIST_POISON1;
    node->pprev = LIST_POISON2;
}

LAB_USUAL void hlist_del_init(struct hlist_node *node)
{
    if (!hlist_unhashed(node)) {
        __hlist_del(node);
        INIT_HLIST_NODE(node);
    }
}

#define hlist_entry(p, type, member) container_of(p, type, member)
#define hlist_entry_safe(p, type, member) \
    ({ __typeof__(p) lab_node = (p); lab_node ? hlist_entry(lab_node, type, member) : NULL; })
#define hlist_for_each(p, head) for (p = (head)->first; p; p = p->next)
#define hlist_for_each_safe(p, n, head) for (p = (head)->first; p && ({ n = p->next; 1; }); p = n)
#define hlist_for_each_entry(p, head, member) \
    for (p = hlist_entry_safe((head)->first, __typeof__(*p), member); p; \
         p = hlist_entry_safe(p->member.next, __typeof__(*p), member))
#define hlist_for_each_entry_safe(p, n, head, member) \
    for (p = hlist_entry_safe((head)->first, __typeof__(*p), member); p && ({ n = p->member.next; 1; }); \
         p = hlist_entry_safe(n, __typeof__(*p), member))

#endif
