#include <stdlib.h>

#include "log/core.h"

static bool is_unsynced(const struct log *log, const struct jfile *f, const struct jfile *except)
{
	return f != except && f->last_seq > log->journal.durable;
}

static uint32_t count(const struct node *list)
{
	uint32_t n = 0;

	LIST_EACH(node, list)
		n++;
	return n;
}

int unsynced_gather(const struct log *log, const struct jfile *except, uint64_t own, struct unsynced *ret)
{
	const struct journal *j = &log->journal;
	uint32_t n = count(&log->unsynced);

	*ret = (struct unsynced){ 0 };
	for (uint32_t i = 0; i < j->nlive; i++)
		ret->nfiles += is_unsynced(log, j->live[i], except);
	ret->files = ret->nfiles ? malloc(ret->nfiles * sizeof *ret->files) : NULL;
	ret->segments = n ? malloc(n * sizeof *ret->segments) : NULL;
	if ((ret->nfiles && !ret->files) || (n && !ret->segments)) {
		unsynced_free(ret);
		return -ERR_NO_MEMORY;
	}
	ret->nfiles = 0;
	for (uint32_t i = 0; i < j->nlive; i++)
		if (is_unsynced(log, j->live[i], except))
			ret->files[ret->nfiles++] = j->live[i]->file;
	LIST_EACH(node, &log->unsynced) {
		const struct segment *s = CONTAINER(struct segment, unsynced, node);

		if (s->last_seq != own)
			ret->segments[ret->nsegments++] = s->number;
		ret->names |= !s->named && (s->last_seq != own || s->created);
	}
	return 0;
}

static int64_t sync_segment(struct disk *disk, uint64_t number)
{
	char path[LOG_PATH_SIZE];
	int64_t r;
	int file;

	segment_path(path, number, ".seg");
	file = disk->calls->open(disk, path, DISK_RDWR);
	if (file < 0)
		return file;
	r = log_final(disk->calls->sync(disk, file));
	disk->calls->close(disk, file);
	return r;
}

int64_t unsynced_sync(struct disk *disk, const struct unsynced *u)
{
	int64_t r = 0;

	for (uint32_t i = 0; i < u->nsegments && r >= 0; i++)
		r = sync_segment(disk, u->segments[i]);
	if (r >= 0 && u->names && !MUTANT_skip_dir_sync)
		r = log_final(disk->calls->sync_dir(disk, "segments"));
	for (uint32_t i = 0; i < u->nfiles && r >= 0; i++)
		r = log_final(disk->calls->sync(disk, u->files[i]));
	return r;
}

void unsynced_done(struct log *log, uint64_t seq)
{
	LIST_EACH(node, &log->unsynced) {
		struct segment *s = CONTAINER(struct segment, unsynced, node);

		if (s->last_seq > seq)
			continue;
		s->named = true;
		list_remove(&s->unsynced);
	}
	if (seq > log->journal.durable)
		log->journal.durable = seq;
}

void unsynced_free(struct unsynced *u)
{
	free(u->files);
	free(u->segments);
	*u = (struct unsynced){ 0 };
}
