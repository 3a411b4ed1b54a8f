/*
 * disk_crash.c - the disk that the next start finds: after a power cut, or after the process alone has died.
 */
#include <stdio.h>
#include <string.h>

#include "sim/disk_parts.h"

/* The inode of `to` that stands for number k of `from`: they are copied in order. */
static struct inode *twin(const struct simdisk *from, const struct simdisk *to, const struct inode *inode)
{
	for (uint32_t k = 0; k < from->ninodes; k++)
		if (from->inodes[k] == inode)
			return to->inodes[k];
	return NULL;
}

static void names_copy(const struct simdisk *from, const struct paths *names, struct simdisk *to, struct paths *ret)
{
	for (uint32_t k = 0; k < names->n; k++)
		paths_set(ret, names->all[k].path, twin(from, to, names->all[k].inode));
}

static void inode_copy(struct simdisk *to, const struct inode *from, bool pending)
{
	struct inode *i = inode_new(to);

	i->directory = from->directory;
	i->safe = content_copy(&from->safe);
	if (!pending)
		return;
	i->now = content_copy(&from->now);
	inode_set_resident(i, 0, i->now.size, true);
	for (uint32_t k = 0; k < from->npending; k++)
		inode_remember(i, from->pending[k]->at, from->pending[k]->data, from->pending[k]->n);
}

/* Names whose directory did not survive are gone with it. */
static void drop_orphans(struct paths *s)
{
	for (uint32_t k = s->n; k-- > 0;) {
		char parent[PATH_SIZE];
		char *slash;

		snprintf(parent, sizeof parent, "%s", s->all[k].path);
		slash = strrchr(parent, '/');
		if (!slash)
			continue;
		*slash = 0;
		if (!paths_get(s, parent))
			paths_set(s, s->all[k].path, NULL);
	}
}

static void crash_power(const struct simdisk *d, struct simdisk *to, struct rng *rng)
{
	static const unsigned keeps[] = { 0, 20, 50, 80, 97, 100 };
	unsigned keep = keeps[rng_below(rng, 6)], keep_names = keeps[rng_below(rng, 6)];

	for (uint32_t k = 0; k < d->ninodes; k++) {
		for (uint32_t w = 0; w < d->inodes[k]->npending; w++)
			inode_tear(to->inodes[k], d->inodes[k]->pending[w], rng, keep);
		to->inodes[k]->now = content_copy(&to->inodes[k]->safe);
	}
	names_copy(d, &d->safe, to, &to->safe);
	for (uint32_t k = 0; k < d->nchanges; k++) {
		struct change c = d->changes[k];

		c.inode = twin(d, to, c.inode);
		c.inode2 = twin(d, to, c.inode2);
		if (rng_below(rng, 100) < keep_names)
			change_apply(&to->safe, &c);
	}
	drop_orphans(&to->safe);
	names_copy(to, &to->safe, to, &to->now);
}

static void crash_process(const struct simdisk *d, struct simdisk *to)
{
	names_copy(d, &d->safe, to, &to->safe);
	names_copy(d, &d->safe, to, &to->now);
	for (uint32_t k = 0; k < d->nchanges; k++) {
		struct change c = d->changes[k];

		c.inode = twin(d, to, c.inode);
		c.inode2 = twin(d, to, c.inode2);
		change_paths(to, c);
	}
}

struct simdisk *simdisk_crash(const struct simdisk *d, enum simdisk_crash kind, uint64_t seed)
{
	struct simdisk *to = simdisk_new(d->capacity);
	struct rng rng = { seed };

	to->rng.state = seed ^ 0x5eed;
	for (uint32_t k = 0; k < d->ninodes; k++)
		inode_copy(to, d->inodes[k], kind == CRASH_PROCESS);
	if (kind == CRASH_POWER)
		crash_power(d, to, &rng);
	else
		crash_process(d, to);
	inodes_sweep(to);
	return to;
}
