"""What a process sees of its memory, in plain Python: which pages are mapped, writable, and what they hold.

Nothing here knows of vmas, indexes, page frames or the reverse map. Pages are numbers, address / 4096. A verb returns
the errnos that are right (0 for none); `done` is what the Machine said, for the few cases that the model leaves open.
Only whether a range lies inside one vma is asked of the Machine, as `one_vma`.
"""

from errno import EFAULT, EINVAL, ENOMEM

TASK_PAGES = 1 << 27
TOP = TASK_PAGES - 512  # below it the kernel looks for a place of its own


class Memory:
    """One process. content: {page: tag}; writable: the pages that may be written; copies: old length 0 is right;
    aligned: what is as long as a huge page begins where one can (the algorithm's word)."""

    def __init__(self, rules, content=(), writable=(), copies=True, aligned="no"):
        self.copies, self.aligned = copies, aligned
        self.rules, self.content, self.writable = rules, dict(content), set(writable)

    def fork(self):
        return Memory(self.rules, self.content, self.writable, self.copies, self.aligned)

    def ranges(self):
        """[first, end, writable] of everything mapped, by address, as few as possible."""
        found = []
        for page in sorted(self.content):
            right = page in self.writable
            if found and found[-1][1] == page and found[-1][2] == right:
                found[-1][1] = page + 1
            else:
                found.append([page, page + 1, right])
        return found

    def mapped(self, page, pages):
        return all(p in self.content for p in range(page, page + max(1, pages)))

    def any_mapped(self, page, pages):
        return any(p in self.content for p in range(page, page + pages))

    def map(self, page, pages, writable):
        self.unmap(page, pages)
        for p in range(page, page + pages):
            self.content[p] = 0
            if writable:
                self.writable.add(p)

    def unmap(self, page, pages):
        for p in range(page, page + pages):
            self.content.pop(p, None)
            self.writable.discard(p)

    def highest_gap(self, pages):
        top = TOP
        for first, end, _ in reversed(self.ranges()):
            if end <= top and top - end >= pages:
                break
            top = min(top, first)
        return top - pages

    def place(self, pages):
        """Where the kernel puts so many pages."""
        if self.aligned == "no" or pages < 512 or (self.aligned == "6.12" and pages % 512):
            return self.highest_gap(pages)
        return (self.highest_gap(pages + 512) + 512) // 512 * 512

    def mmap(self, page, pages, writable):
        self.map(page, pages, writable)
        return {0}

    def munmap(self, page, pages):
        self.unmap(page, pages)
        return {0}

    def mprotect(self, page, pages, writable):
        for p in range(page, page + pages):
            if p not in self.content:
                return {ENOMEM}
            (self.writable.add if writable else self.writable.discard)(p)
        return {0}

    def brk(self, page, pages):
        if self.any_mapped(page, pages + 1):
            return {ENOMEM}
        self.map(page, pages, True)
        return {0}

    def read(self, page, pages):
        return {0} if self.mapped(page, pages) else {EFAULT}

    def write(self, page, pages, tag):
        """tag None: what is there is written once more."""
        for p in range(page, page + pages):
            if p not in self.writable:
                return {EFAULT}
            if tag is not None:
                self.content[p] = tag
        return {0}

    # ---- mremap ----------------------------------------------------------------------------------------------------

    def move(self, page, pages, to, new_pages, dontunmap):
        right = page in self.writable
        moved = [self.content[page + i] if i < pages else 0 for i in range(new_pages)]
        if dontunmap:
            self.content |= dict.fromkeys(range(page, page + pages), 0)
        else:
            self.unmap(page, pages)
        self.map(to, new_pages, right)
        self.content |= {to + i: tag for i, tag in enumerate(moved)}

    def mremap(self, page, pages, new, to, maymove, dontunmap, fails, one_vma, done):
        """one_vma(page, pages): whether one vma holds the range, asked before the call. fails: no table is left."""
        if dontunmap and (not maymove or pages != new):
            return {EINVAL}
        if to is not None and (not maymove or self.overlap(page, pages, to, new)):
            return {EINVAL}
        if self.rules == "6.17":
            refused = self.refused_today(page, pages, new, to, dontunmap, one_vma)
            if refused:
                return {refused}
            if to is not None and pages == new:
                return self.move_range(page, pages, to, dontunmap, fails, done)
        if to is not None:
            self.unmap(to, new)
        if pages > new:
            self.unmap(page + new, pages - new)
            pages = new
        if to is None and new <= pages and not dontunmap:
            return {0}
        if pages == 0 and page in self.content and not self.copies:
            return {EINVAL}
        # What was unmapped just now cannot have joined two vmas, but perhaps it took the range away.
        if not self.mapped(page, pages) or not one_vma(page, pages):
            return {EFAULT}
        if to is None:
            end = page + pages
            if not dontunmap and one_vma(page, pages) == end and not self.any_mapped(end, new - pages):
                self.map(end, new - pages, page in self.writable)
                return {0}
            if not maymove:
                return {ENOMEM}
            to = self.place(new)
        if fails and done == ENOMEM:
            return {ENOMEM}
        self.move(page, pages, to, new, dontunmap)
        return {0}

    def overlap(self, page, pages, to, new):
        if self.rules == "6.17":
            return page + pages > to and to + new > page
        return to <= page < to + new or page <= to < page + pages

    def refused_today(self, page, pages, new, to, dontunmap, one_vma):
        """Since 6.17 everything is asked before anything is unmapped: an errno or 0."""
        if page not in self.content:
            return EFAULT
        if to is not None and pages == new:
            return 0
        if pages == 0 and (to is not None or new > pages):
            return EINVAL
        needed = min(pages, new) if to is not None else pages if new > pages or dontunmap else 1
        return 0 if one_vma(page, needed) else EFAULT

    def move_range(self, page, pages, to, dontunmap, fails, done):
        """Each run of mapped pages moves by itself, and holes take along nothing."""
        if fails and done == ENOMEM:
            # How far it came is not for the model to say: the caller uses ranges of one vma.
            self.unmap(to, pages)
            return {ENOMEM}
        mapped = [p for p in range(page, page + pages) if p in self.content]
        moved = [(p - page + to, self.content[p], p in self.writable) for p in mapped]
        if dontunmap:
            self.content |= dict.fromkeys(mapped, 0)
        else:
            self.unmap(page, pages)
        for p, tag, right in moved:
            self.map(p, 1, right)
            self.content[p] = tag
        return {0}
