/* kmalloc and its kin, and caches of objects.

   kfree() and kmem_cache_free() give the memory back for good, so whoever uses it later is found. Only a cache that is
   SLAB_TYPESAFE_BY_RCU keeps its objects: a freed one is the next that is handed out, at once, with the content that it
   has, and no other object's memory. That is the worst that the kernel may do. */

#ifndef ANONVMA_RT_LINUX_SLAB
#define ANONVMA_RT_LINUX_SLAB

#pragma GCC system_header

#include "rcu.h"

#define GFP_KERNEL 1u
#define GFP_ATOMIC 2u
#define GFP_NOWAIT 2u
#define GFP_NOFS 1u
#define GFP_NOIO 1u
#define GFP_USER 1u
#define GFP_KERNEL_ACCOUNT 1u
#define __GFP_ZERO 4u
#define __GFP_NOWARN 0u
#define __GFP_NOFAIL 0u
#define __GFP_ACCOUNT 0u

#define kmalloc(size, flags) ({ might_sleep_if((flags) & GFP_KERNEL); (flags) & __GFP_ZERO ? calloc(1, size) : malloc(size); })
#define kzalloc(size, flags) ({ might_sleep_if((flags) & GFP_KERNEL); calloc(1, size); })
#define kcalloc(n, size, flags) ({ might_sleep_if((flags) & GFP_KERNEL); calloc(n, size); })
#define kmalloc_array(n, size, flags) kcalloc(n, size, flags)
#define kmalloc_node(size, flags, node) kmalloc(size, flags)
#define kvmalloc(size, flags) kmalloc(size, flags)
#define kvzalloc(size, flags) kzalloc(size, flags)
#define vmalloc(size) kmalloc(size, GFP_KERNEL)
#define vzalloc(size) kzalloc(size, GFP_KERNEL)
#define kstrdup(text, flags) strdup(text)
LAB_USUAL void kfree(const void *p) { free((void *)p); }
LAB_USUAL void kvfree(const void *p) { free((void *)p); }
LAB_USUAL void vfree(const void *p) { free((void *)p); }
#define kfree_sensitive(p) kfree(p)

#define SLAB_HWCACHE_ALIGN 0x2000u
#define SLAB_PANIC 0x40000u
#define SLAB_ACCOUNT 0x4000000u
#define SLAB_RECLAIM_ACCOUNT 0x20000u
#define SLAB_TYPESAFE_BY_RCU 0x80000u
#define SLAB_DESTROY_BY_RCU SLAB_TYPESAFE_BY_RCU

/* In front of an object of a cache that keeps them. */
struct lab_slab_object { struct lab_slab_object *next; int64_t freed; };

struct kmem_cache {
    struct lab_slab_object *free;
    size_t size;
    unsigned flags;
    void (*ctor)(void *);
    const char *name;
};

LAB_CODE struct kmem_cache *lab_new_cache(const char *name, size_t size, unsigned flags, void (*ctor)(void *))
{
    struct kmem_cache *cache = malloc(sizeof *cache);
    *cache = (struct kmem_cache){ NULL, size, flags, ctor, name };
    return cache;
}
#define kmem_cache_create(name, size, align, flags, ctor) ((void)(align), lab_new_cache(name, size, flags, ctor))
#define KMEM_CACHE(type, flags) kmem_cache_create(#type, sizeof(struct type), 0, flags, NULL)
LAB_USUAL void kmem_cache_destroy(struct kmem_cache *cache) { free(cache); }

/* Taking from the list and putting on it are one step each. */
LAB_CODE void *lab_cache_take(struct kmem_cache *cache)
{
    struct lab_slab_object *o;
    lab_point(RT_ATOMIC, cache);
    o = cache->free;
    if (o) {
        cache->free = o->next;
        o->freed = 0;
        return o + 1;
    }
    o = malloc(sizeof *o + cache->size);
    o->freed = 0;
    if (cache->ctor)
        cache->ctor(o + 1);
    return o + 1;
}
LAB_CODE int lab_cache_put(struct kmem_cache *cache, void *p)
{
    struct lab_slab_object *o = (struct lab_slab_object *)p - 1;
    lab_point(RT_ATOMIC, cache);
    if (o->freed)
        return 0;
    o->freed = 1;
    o->next = cache->free;
    cache->free = o;
    return 1;
}

LAB_USUAL void *kmem_cache_alloc(struct kmem_cache *cache, gfp_t flags)
{
    void *p;
    might_sleep_if(flags & GFP_KERNEL);
    if (cache->flags & SLAB_TYPESAFE_BY_RCU) {
        p = lab_cache_take(cache);
    } else {
        p = malloc(cache->size);
        if (cache->ctor)
            cache->ctor(p);
    }
    if (flags & __GFP_ZERO)
        memset(p, 0, cache->size);
    return p;
}
LAB_USUAL void *kmem_cache_zalloc(struct kmem_cache *cache, gfp_t flags) { return kmem_cache_alloc(cache, flags | __GFP_ZERO); }
LAB_USUAL void kmem_cache_free(struct kmem_cache *cache, void *p)
{
    if (!(cache->flags & SLAB_TYPESAFE_BY_RCU))
        free(p);
    else if (p)
        LAB_FAIL_IF(!lab_cache_put(cache, p), "kmem_cache_free() of an object that is free");
}

#endif
