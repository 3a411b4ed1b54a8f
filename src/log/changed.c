#include "log/changed.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/own.h"

enum { KEY_PARTITION = 0, PARTITION_KEY = 5, PARTITION_VALUE = 21, DEDICATED = 1 };

void log_touch(struct log *log, struct slice key)
{
	/* Without memory to remember what has changed, all has. */
	if (map_put(&log->changed, key, log, NULL) < 0)
		log->whole = true;
}

void log_touch_all(struct log *log)
{
	log->whole = true;
}

void partition_touch_number(struct log *log, uint32_t partition)
{
	uint8_t key[PARTITION_KEY] = { KEY_PARTITION };

	put_be32(key + 1, partition);
	log_touch(log, slice_of(key, sizeof key));
}

void partition_touch(struct log *log, struct partition *p)
{
	if (p->touched)
		return;
	p->touched = true;
	partition_touch_number(log, p->id);
}

/* ---- making them ---- */

static bool partition_piece(struct log *log, struct slice key, struct bytes *out)
{
	struct partition *p = partition_find(log, get_be32(key.p + 1));

	if (!p)
		return false;
	p->touched = false;
	bytes_add_le32(out, p->slot);
	bytes_add_u8(out, p->dedicated ? DEDICATED : 0);
	bytes_add_le64(out, (uint64_t)p->start);
	bytes_add_le64(out, (uint64_t)p->committed);
	return true;
}

static void add_piece(struct log *log, struct slice key, struct bytes *scratch, struct bytes *out)
{
	struct piece p = { .key = key };

	scratch->n = 0;
	if (key.p[0] == KEY_PARTITION)
		p.gone = !partition_piece(log, key, scratch);
	else
		p.gone = !log->client.piece(log->client.ctx, key, scratch);
	p.value = bytes_slice(scratch);
	out->failed |= scratch->failed;
	piece_encode(&p, out);
}

/* Most keys are told apart by their first bytes, without a look at where they are. */
struct sorted {
	uint64_t prefix;                /* big-endian, zeros behind a shorter key */
	struct map_entry *entry;
};

static uint64_t prefix_of(const struct map_entry *e)
{
	uint8_t first[8] = { 0 };

	memcpy(first, e->key, e->key_size < 8 ? e->key_size : 8);
	return get_be64(first);
}

static int by_key(const void *a, const void *b)
{
	const struct sorted *x = a, *y = b;
	const struct map_entry *k = x->entry, *l = y->entry;
	uint32_t n = k->key_size < l->key_size ? k->key_size : l->key_size;
	int r;

	if (x->prefix != y->prefix)
		return x->prefix < y->prefix ? -1 : 1;
	r = memcmp(k->key, l->key, n);
	return r ? r : (k->key_size > l->key_size) - (k->key_size < l->key_size);
}

static void touch_all(struct log *log)
{
	map_free(&log->changed);
	RADIX_EACH(struct partition, p, &log->partitions) {
		p->touched = true;
		partition_touch_number(log, p->id);
	}
	if (log->client.touch_all)
		log->client.touch_all(log->client.ctx);
}

void changed_leave(struct log *log, struct bytes *out)
{
	OWN(bytes) struct bytes scratch = BYTES_MAX(UINT32_MAX);
	OWN(free) struct sorted *sorted = NULL;
	bool whole = log->whole;
	uint32_t n = 0;

	log->whole = false;
	if (whole)
		touch_all(log);
	/* It fails again if there was no memory for all of them. */
	out->failed |= whole && log->whole;
	log->leaving = log->changed;
	log->leaving_whole = whole;
	log->changed = (struct map){ 0 };
	sorted = malloc((log->leaving.count + 1) * sizeof *sorted);
	if (!sorted) {
		out->failed = true;
		return;
	}
	MAP_EACH(&log->leaving, e)
		sorted[n++] = (struct sorted){ prefix_of(e), e };
	qsort(sorted, n, sizeof *sorted, by_key);
	for (uint32_t i = 0; i < n; i++)
		add_piece(log, map_key(sorted[i].entry), &scratch, out);
}

void changed_gone(struct log *log)
{
	map_free(&log->leaving);
	log->leaving_whole = false;
}

void changed_back(struct log *log)
{
	MAP_EACH(&log->leaving, e)
		log_touch(log, map_key(e));
	log->whole |= log->leaving_whole;
	changed_gone(log);
}

void changed_free(struct log *log)
{
	map_free(&log->changed);
	map_free(&log->leaving);
}

/* ---- and back ---- */

static int partition_restore(struct log *log, const struct piece *p, struct why *why)
{
	uint32_t id = get_be32(p->key.p + 1);
	struct partition *made;

	if (p->value.n != PARTITION_VALUE)
		return fail(why, -ERR_DAMAGED, "checkpoint: partition %u is malformed", id);
	if (partition_make(log, id, get_le32(p->value.p), p->value.p[4] & DEDICATED) < 0)
		return fail(why, -ERR_NO_MEMORY, "checkpoint: partition %u", id);
	made = partition_find(log, id);
	made->start = (int64_t)get_le64(p->value.p + 5);
	made->end = made->committed = (int64_t)get_le64(p->value.p + 13);
	return 0;
}

int piece_restore(struct log *log, const struct piece *p, struct why *why)
{
	if (piece_is_partition(p))
		return partition_restore(log, p, why);
	if (!p->key.n)
		return fail(why, -ERR_DAMAGED, "checkpoint: a piece without a key");
	return !log->client.restore_piece ? 0 : log->client.restore_piece(log->client.ctx, p->key, p->value, why);
}
