#include "broker/pieces.h"

#include "base/bytes.h"

static bool is_id(struct slice key)
{
	return key.n == PIECE_ID_KEY - 1;
}

bool piece_write(void *ctx, struct slice key, struct bytes *out)
{
	struct broker *b = ctx;
	struct slice rest = slice_of(key.p + 1, key.n - 1);

	if (key.p[0] == PIECE_QUEUE)
		return queue_piece_write(b, get_be32(rest.p), out);
	if (key.p[0] == PIECE_MOVE)
		return moves_piece_write(b, get_be32(rest.p), out);
	return catalogue_piece_write(b, (enum piece_part)key.p[0], rest, out);
}

int piece_read(void *ctx, struct slice key, struct slice value, struct why *why)
{
	struct broker *b = ctx;

	if (key.p[0] > PIECE_MOVE)
		return fail(why, -ERR_NEWER_FORMAT, "the checkpoint was written by a newer version: part %d is unknown", key.p[0]);
	if (key.p[0] >= PIECE_QUEUE && !is_id(slice_of(key.p + 1, key.n - 1)))
		return fail(why, -ERR_DAMAGED, "the checkpoint has a malformed key");
	if (key.p[0] == PIECE_QUEUE)
		return queues_restore(b, value, why);
	if (key.p[0] == PIECE_MOVE)
		return moves_piece_read(b, value, why);
	return catalogue_piece_read(b, (enum piece_part)key.p[0], slice_of(key.p + 1, key.n - 1), value, why);
}

void pieces_touch_all(void *ctx)
{
	struct broker *b = ctx;

	catalogue_touch_all(b);
	moves_touch_all(b);
	RADIX_EACH(const struct partition, p, &b->partitions)
		if (p->viewed && p->number == 0)
			queue_piece_touch(b, p->channel);
}
