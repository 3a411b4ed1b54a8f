#include "broker/queue_dedup.h"

#include <openssl/sha.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/error.h"

void dedup_init(struct dedup *d, int64_t window_ms, uint32_t max)
{
	*d = (struct dedup){ .window_ms = window_ms, .max = max };
	list_init(&d->order);
}

static void drop(struct dedup *d, struct dedup_entry *e)
{
	map_remove_number(&d->entries, e->key.h[0]);
	list_remove(&e->link);
	free(e);
}

void dedup_free(struct dedup *d)
{
	while (!list_empty(&d->order))
		drop(d, CONTAINER(struct dedup_entry, link, d->order.next));
	map_free(&d->entries);
}

/*
 * hash(hash(group), hash(id)).  The body counts as its SHA-256 in hexadecimal, as AWS documents it, so that a client
 * that computes the id itself gets the same key.
 */
struct dedup_key dedup_key(struct slice group, struct slice id, struct slice body)
{
	static const char digits[] = "0123456789abcdef";
	uint8_t sum[SHA256_DIGEST_LENGTH], hex[2 * SHA256_DIGEST_LENGTH], pair[2 * SHA256_DIGEST_LENGTH] = { 0 };

	if (!id.p) {
		SHA256(body.p, body.n, sum);
		for (unsigned i = 0; i < sizeof sum; i++) {
			hex[2 * i] = (uint8_t)digits[sum[i] >> 4];
			hex[2 * i + 1] = (uint8_t)digits[sum[i] & 15];
		}
		id = slice_of(hex, sizeof hex);
	}
	if (group.p)
		SHA256(group.p, group.n, pair);
	SHA256(id.p, id.n, pair + SHA256_DIGEST_LENGTH);
	SHA256(pair, sizeof pair, sum);
	return (struct dedup_key){ { get_be64(sum), get_be64(sum + 8) } };
}

void dedup_expire(struct dedup *d, int64_t now_ms)
{
	while (!list_empty(&d->order)) {
		struct dedup_entry *e = CONTAINER(struct dedup_entry, link, d->order.next);
		if (now_ms - e->at_ms < d->window_ms)
			return;
		drop(d, e);
	}
}

const struct dedup_entry *dedup_find(struct dedup *d, struct dedup_key key, int64_t now_ms)
{
	const struct dedup_entry *e = map_get_number(&d->entries, key.h[0]);

	if (!e || e->key.h[1] != key.h[1] || now_ms - e->at_ms >= d->window_ms)
		return NULL;
	return e;
}

int dedup_add(struct dedup *d, struct dedup_key key, uint32_t partition, int64_t offset, int64_t at_ms, struct slice id)
{
	struct dedup_entry *e = map_get_number(&d->entries, key.h[0]);

	if (e && e->partition == partition && e->offset >= offset)
		return 0;
	if (e)
		drop(d, e);
	e = malloc(sizeof *e);
	if (!e || map_put_number(&d->entries, key.h[0], e, NULL) < 0) {
		free(e);
		return -ERR_NO_MEMORY;
	}
	*e = (struct dedup_entry){ .key = key, .offset = offset, .at_ms = at_ms, .partition = partition };
	e->id_size = (uint8_t)(id.n < DEDUP_ID_MAX ? id.n : DEDUP_ID_MAX);
	if (e->id_size)
		memcpy(e->id, id.p, e->id_size);
	list_push(&d->order, &e->link);
	if (d->max && d->entries.count > d->max)
		drop(d, CONTAINER(struct dedup_entry, link, d->order.next));
	return 0;
}

void dedup_forget(struct dedup *d, uint32_t partition, int64_t from, int64_t to)
{
	LIST_EACH(n, &d->order) {
		struct dedup_entry *e = CONTAINER(struct dedup_entry, link, n);
		if (e->partition == partition && e->offset >= from && e->offset < to)
			drop(d, e);
	}
}

void dedup_undo(struct dedup *d, uint32_t partition, int64_t end)
{
	while (!list_empty(&d->order)) {
		struct dedup_entry *e = CONTAINER(struct dedup_entry, link, d->order.prev);
		if (e->partition != partition || e->offset < end)
			return;
		drop(d, e);
	}
}
