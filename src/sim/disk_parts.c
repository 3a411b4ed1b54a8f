/*
 * disk_parts.c - inodes and the paths to them.
 */
#include "sim/disk_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SECTOR = 512, PAGE = 4096 };

void *need(void *p)
{
	if (!p)
		abort();
	return p;
}

void *copy_of(const void *p, size_t n)
{
	void *q = need(malloc(n ? n : 1));

	if (n)
		memcpy(q, p, n);
	return q;
}

/* ---- contents ---- */

void content_resize(struct content *c, int64_t size)
{
	if (size > c->capacity) {
		c->capacity = size + size / 4 + 4096;
		c->p = need(realloc(c->p, (size_t)c->capacity));
	}
	if (size > c->size)
		memset(c->p + c->size, 0, (size_t)(size - c->size));
	c->size = size;
}

void content_write(struct content *c, int64_t at, const void *p, int64_t n)
{
	if (n <= 0)
		return;
	if (at + n > c->size)
		content_resize(c, at + n);
	memcpy(c->p + at, p, (size_t)n);
}

struct content content_copy(const struct content *c)
{
	struct content n = { .size = c->size, .capacity = c->size };

	n.p = copy_of(c->p, (size_t)c->size);
	return n;
}

/* ---- the page cache ---- */

void inode_set_resident(struct inode *i, int64_t at, int64_t n, bool resident)
{
	int64_t end = (at + n + PAGE - 1) / PAGE;

	if (n <= 0)
		return;
	if (end > i->npages) {
		i->resident = need(realloc(i->resident, (size_t)end * sizeof *i->resident));
		memset(i->resident + i->npages, 0, (size_t)(end - i->npages) * sizeof *i->resident);
		i->npages = end;
	}
	for (int64_t page = at / PAGE; page < end; page++)
		i->resident[page] = resident;
}

bool inode_is_resident(const struct inode *i, int64_t at, int64_t n)
{
	for (int64_t page = at / PAGE; page * PAGE < at + n; page++)
		if (page >= i->npages || !i->resident[page])
			return false;
	return true;
}

/* ---- inodes ---- */

struct inode *inode_new(struct simdisk *d)
{
	struct inode *i = need(calloc(1, sizeof *i));

	if (d->ninodes == d->inodes_capacity) {
		d->inodes_capacity = d->inodes_capacity ? d->inodes_capacity * 2 : 16;
		d->inodes = need(realloc(d->inodes, d->inodes_capacity * sizeof *d->inodes));
	}
	return d->inodes[d->ninodes++] = i;
}

void inode_forget(struct inode *i)
{
	for (uint32_t k = 0; k < i->npending; k++)
		free(i->pending[k]);
	i->npending = 0;
}

void inode_free(struct inode *i)
{
	inode_forget(i);
	free(i->pending);
	free(i->resident);
	free(i->now.p);
	free(i->safe.p);
	free(i);
}

void inode_remember(struct inode *i, int64_t at, const void *p, int64_t n)
{
	struct pending *w = need(malloc(sizeof *w + (n > 0 ? (size_t)n : 0)));

	w->at = at;
	w->n = n;
	if (n > 0)
		memcpy(w->data, p, (size_t)n);
	if (i->npending == i->pending_capacity) {
		i->pending_capacity = i->pending_capacity ? i->pending_capacity * 2 : 8;
		i->pending = need(realloc(i->pending, i->pending_capacity * sizeof *i->pending));
	}
	i->pending[i->npending++] = w;
}

static void inode_apply(struct content *c, const struct pending *w)
{
	if (w->n < 0)
		content_resize(c, w->at);
	else
		content_write(c, w->at, w->data, w->n);
}

void inode_sync(struct inode *i)
{
	for (uint32_t k = 0; k < i->npending; k++)
		inode_apply(&i->safe, i->pending[k]);
	inode_forget(i);
}

/* What a power cut makes of one pending write: sector by sector kept, dropped, or torn in the middle. */
void inode_tear(struct inode *i, const struct pending *w, struct rng *rng, unsigned keep_percent)
{
	int64_t end = w->n < 0 ? w->at : w->at + w->n;

	if (w->n < 0) {
		if (rng_below(rng, 100) < keep_percent)
			content_resize(&i->safe, w->at);
		return;
	}
	if (end > i->safe.size && rng_below(rng, 4) == 0)
		content_resize(&i->safe, end);
	for (int64_t at = w->at; at < end;) {
		int64_t next = (at / SECTOR + 1) * SECTOR, n = (next < end ? next : end) - at;

		if (rng_below(rng, 100) < keep_percent) {
			if (rng_below(rng, 64) == 0)
				n = (int64_t)rng_below(rng, (uint64_t)n);
			content_write(&i->safe, at, w->data + (at - w->at), n);
		}
		at = next;
	}
}

/* ---- paths ---- */

static uint32_t paths_at(const struct paths *s, const char *path)
{
	uint32_t low = 0, high = s->n;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (strcmp(s->all[middle].path, path) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct inode *paths_get(const struct paths *s, const char *path)
{
	uint32_t at = paths_at(s, path);

	return at < s->n && strcmp(s->all[at].path, path) == 0 ? s->all[at].inode : NULL;
}

void paths_set(struct paths *s, const char *path, struct inode *inode)
{
	uint32_t at = paths_at(s, path);
	bool there = at < s->n && strcmp(s->all[at].path, path) == 0;

	if (there && inode) {
		s->all[at].inode = inode;
	} else if (there) {
		memmove(&s->all[at], &s->all[at + 1], (s->n - at - 1) * sizeof *s->all);
		s->n--;
	} else if (inode) {
		if (s->n == s->capacity) {
			s->capacity = s->capacity ? s->capacity * 2 : 16;
			s->all = need(realloc(s->all, s->capacity * sizeof *s->all));
		}
		memmove(&s->all[at + 1], &s->all[at], (s->n - at) * sizeof *s->all);
		s->n++;
		snprintf(s->all[at].path, PATH_SIZE, "%s", path);
		s->all[at].inode = inode;
	}
}

void change_apply(struct paths *s, const struct change *c)
{
	paths_set(s, c->path, c->inode);
	if (c->two)
		paths_set(s, c->path2, c->inode2);
}

void change_paths(struct simdisk *d, struct change c)
{
	if (d->nchanges == d->changes_capacity) {
		d->changes_capacity = d->changes_capacity ? d->changes_capacity * 2 : 16;
		d->changes = need(realloc(d->changes, d->changes_capacity * sizeof *d->changes));
	}
	d->changes[d->nchanges++] = c;
	change_apply(&d->now, &c);
}

bool in_directory(const char *path, const char *directory)
{
	size_t n = strlen(directory);

	if (strcmp(directory, ".") == 0)
		return !strchr(path, '/');
	return strncmp(path, directory, n) == 0 && path[n] == '/' && !strchr(path + n + 1, '/');
}

void inodes_sweep(struct simdisk *d)
{
	uint32_t kept = 0;

	for (uint32_t k = 0; k < d->ninodes; k++)
		d->inodes[k]->reached = false;
	for (uint32_t k = 0; k < d->now.n; k++)
		d->now.all[k].inode->reached = true;
	for (uint32_t k = 0; k < d->safe.n; k++)
		d->safe.all[k].inode->reached = true;
	for (uint32_t k = 0; k < d->nchanges; k++) {
		if (d->changes[k].inode)
			d->changes[k].inode->reached = true;
		if (d->changes[k].inode2)
			d->changes[k].inode2->reached = true;
	}
	for (int k = 0; k < MAX_FILES; k++)
		if (d->open[k])
			d->open[k]->reached = true;

	for (uint32_t k = 0; k < d->ninodes; k++) {
		if (d->inodes[k]->reached || d->inodes[k]->sharers)
			d->inodes[kept++] = d->inodes[k];
		else
			inode_free(d->inodes[k]);
	}
	d->ninodes = kept;
}
