#include "log/recovery.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc.h"
#include "base/own.h"

/* ---- looking for it ---- */

static struct jfile *file_of(const struct recovery *r, const struct echo *e)
{
	struct jfile *f = of_generation(r, get_le64(e->header.p + 8));

	if (!f || (f->generation == r->place.generation ? e->at != r->place.at : e->at != BLOCK || f->generation < r->place.generation))
		return NULL;
	return f;
}

/* Is it about the commit that is missing?  Its checksums say so, and the place that it had in the chain. */
static struct jfile *is_missing(const struct recovery *r, const struct echo *e, const struct commit *by)
{
	struct jfile *f = file_of(r, e);
	struct commit c;

	if (!f || !commit_decode(e->header.p, f->seed, e->at, &c) || c.crc != by->prev || !continues(r, f, e->at, &c))
		return NULL;
	if (e->rest.n < c.meta_size - COMMIT_HEADER ||
	    crc32c(f->seed, e->rest.p, c.meta_size - COMMIT_HEADER) != c.meta_crc)
		return NULL;
	return f;
}

int heal_note(struct recovery *r, const struct jfile *f, uint64_t at, const struct commit *c)
{
	struct found_echo *found = &r->found;
	OWN(bytes) struct bytes said = BYTES_MAX(0);
	struct echo echo;
	struct jfile *of;
	int error = 0;
	const uint8_t *p = NULL;

	/* If a start has written the commit anew, what a later term says is right. */
	if (c->seq != r->place.seq + 1 || !c->echo || (found->f && found->seq == r->place.seq && found->term > c->term))
		return 0;
	if (c->size <= f->size - at && c->echo <= c->size - COMMIT_HEADER)
		p = look(r, f, at + c->size - c->echo, c->echo, &error);
	if (!p || !echo_unpack(slice_of(p, c->echo), f->seed, &said, &echo))
		return error;
	of = is_missing(r, &echo, c);
	if (!of)
		return 0;
	bytes_free(&found->said);
	*found = (struct found_echo){ said, echo, r->place.seq, c->term, of };
	said = BYTES_MAX(0);
	return 0;
}

/* ---- putting it together ---- */

/* Of the payloads of state, those that are damaged come from the echo, if they are in it. */
static int put_states(const struct jfile *f, const struct commit *c, uint8_t *bytes, struct slice states)
{
	struct slice meta = slice_of(bytes + COMMIT_HEADER, c->meta_size - COMMIT_HEADER);
	uint64_t at = c->meta_size;
	uint32_t said = 0;

	for (uint32_t i = 0; i < c->entries && !MUTANT_half_healed; i++) {
		struct item *item = take_item(&meta);
		uint32_t size = item && !item->noted ? item->info.size : 0, crc = item ? item->crc : 0;
		bool is_said = item && item->entry.kind == LOG_STATE && echo_has_room(&said, size);

		if (!item)
			return -ERR_NO_MEMORY;
		item_free(item);
		if (is_said && (size > states.n || size > c->size - at))
			return 0;
		if (is_said) {
			if (crc32c(f->seed, bytes + at, size) != crc)
				memcpy(bytes + at, states.p, size);
			states.p += size;
			states.n -= size;
		}
		at += size;
	}
	return 0;
}

static int put_together(const struct found_echo *found, const struct commit *c, uint8_t *bytes)
{
	const struct echo *e = &found->echo;
	uint32_t described = c->meta_size - COMMIT_HEADER;

	memcpy(bytes, e->header.p, COMMIT_HEADER);
	memcpy(bytes + COMMIT_HEADER, e->rest.p, described);
	return put_states(found->f, c, bytes, slice_of(e->rest.p + described, e->rest.n - described));
}

int heal(struct recovery *r, struct jfile **ret_f, uint64_t *ret_at)
{
	const struct found_echo *found = &r->found;
	struct log *log = r->log;
	OWN(free) uint8_t *bytes = NULL;
	struct commit c;
	int64_t n;
	int error;

	if (!found->f || found->seq != r->place.seq || found->seq > r->proven || MUTANT_never_healed)
		return 0;
	commit_decode(found->echo.header.p, found->f->seed, found->echo.at, &c);
	*ret_f = found->f;
	*ret_at = found->echo.at;
	bytes = malloc(c.size);
	if (!bytes)
		return -ERR_NO_MEMORY;
	n = log->io->read(log->disk, found->f->file, bytes, c.size, (int64_t)*ret_at);
	if (n < c.size)
		return disk_error(n < 0 ? n : -EIO);
	error = put_together(found, &c, bytes);
	if (error)
		return error;
	n = log->io->write(log->disk, found->f->file, &(struct iovec){ bytes, c.size }, 1, (int64_t)*ret_at);
	if (n >= 0)
		n = log->io->sync(log->disk, found->f->file);
	forget_window(r);
	return n < 0 ? disk_error(n) : 1;
}

/* ---- the last one ---- */

int heal_remember(struct recovery *r)
{
	struct journal *j = &r->log->journal;
	uint32_t said = 0;
	struct commit c;
	struct slice meta;
	int error = 0;
	uint64_t at;
	const uint8_t *p = r->last.f ? look(r, r->last.f, r->last.at, r->last.size, &error) : NULL;

	if (!p || !commit_decode(p, r->last.f->seed, r->last.at, &c))
		return error;
	echo_begin(&j->said, r->last.at, slice_of(p, c.meta_size));
	meta = slice_of(p + COMMIT_HEADER, c.meta_size - COMMIT_HEADER);
	at = c.meta_size;
	for (uint32_t i = 0; i < c.entries; i++) {
		struct item *item = take_item(&meta);
		uint32_t size = item && !item->noted ? item->info.size : 0;

		if (!item)
			return -ERR_NO_MEMORY;
		if (item->entry.kind == LOG_STATE && echo_has_room(&said, size))
			bytes_add(&j->said, p + at, size);
		at += size;
		item_free(item);
	}
	journal_remember(j);
	return 0;
}
