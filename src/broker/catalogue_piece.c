/*
 * catalogue_piece.c - the catalogue in a checkpoint: a piece for the head, and one for each channel, exchange and binding.
 */
#include "base/bytes.h"
#include "base/own.h"
#include "broker/catalogue_parts.h"
#include "broker/pieces.h"

/* ---- keys ---- */

static struct bytes key_in(enum piece_part part, const struct vhost *v, struct slice rest)
{
	struct bytes key = BYTES_MAX(UINT32_MAX);

	bytes_add_u8(&key, (uint8_t)part);
	bytes_add_be16(&key, (uint16_t)v->name.n);
	bytes_add_slice(&key, v->name);
	bytes_add_slice(&key, rest);
	return key;
}

/* The virtual host of such a key, and what follows; NULL: there is none. */
static const struct vhost *vhost_of_key(const struct catalogue *c, struct slice key, struct slice *ret_rest)
{
	size_t n = key.n < 2 ? 0 : get_be16(key.p);

	if (key.n < n + 2)
		return NULL;
	*ret_rest = slice_of(key.p + 2 + n, key.n - n - 2);
	return find_vhost(c, slice_of(key.p + 2, n));
}

static void touch_in(struct catalogue *c, enum piece_part part, const struct vhost *v, struct slice rest)
{
	OWN(bytes) struct bytes key = key_in(part, v, rest);

	if (key.failed)
		log_touch_all(c->log);
	else
		log_touch(c->log, bytes_slice(&key));
}

void entry_touch(struct catalogue *c, const struct entry *e)
{
	uint8_t key[PIECE_ID_KEY];

	piece_id_key(PIECE_CHANNEL, e->channel.id, key);
	if (c->log)
		log_touch(c->log, slice_of(key, sizeof key));
}

void exchange_touch(struct catalogue *c, const struct exchange *x)
{
	if (c->log && !x->predeclared)
		touch_in(c, PIECE_EXCHANGE, x->vhost, x->name);
}

void binding_touch(struct catalogue *c, const struct binding *bind)
{
	if (!c->log)
		return;
	OWN(bytes) struct bytes id = identity_of(bind);
	if (id.failed)
		log_touch_all(c->log);
	else
		touch_in(c, PIECE_BINDING, bind->source->vhost, bytes_slice(&id));
}

/* Behind the head and before all others: channels need their virtual hosts, queues the policies. */
void decree_touch(struct catalogue *c, struct decree_name name)
{
	OWN(bytes) struct bytes id = decree_identity(name), key = BYTES_MAX(UINT32_MAX);

	if (!c->log)
		return;
	bytes_add_u8(&key, PIECE_HEAD);
	bytes_add_slice(&key, bytes_slice(&id));
	if (id.failed || key.failed)
		log_touch_all(c->log);
	else
		log_touch(c->log, bytes_slice(&key));
}

void catalogue_touch_head(struct broker *b)
{
	static const uint8_t key[] = { PIECE_HEAD };

	log_touch(b->log, slice_of(key, sizeof key));
}

void catalogue_touch_all(struct broker *b)
{
	struct catalogue *c = b->catalogue;
	const struct decree *decree;

	catalogue_touch_head(b);
	for (uint32_t at = 0; (decree = decrees_next_said(&c->decrees, &at));)
		decree_touch(c, decree->is);
	RADIX_EACH(const struct entry, e, &c->by_id)
		entry_touch(c, e);
	MAP_EACH(&c->vhosts, each) {
		const struct vhost *v = each->value;

		MAP_EACH(&v->exchanges, m)
			exchange_touch(c, m->value);
		MAP_EACH(&v->bindings, m)
			binding_touch(c, m->value);
	}
}

/* ---- writing ---- */

static bool write_channel(const struct catalogue *c, struct slice key, struct bytes *out)
{
	const struct entry *e = find_entry_by_id(c, get_be32(key.p));

	if (e)
		entry_encode(e, out);
	return e;
}

static bool write_exchange(const struct catalogue *c, struct slice key, struct bytes *out)
{
	struct slice name;
	const struct vhost *v = vhost_of_key(c, key, &name);
	const struct exchange *x = v ? find_exchange(v, name) : NULL;

	if (x)
		exchange_encode(x, out);
	return x;
}

static bool write_binding(const struct catalogue *c, struct slice key, struct bytes *out)
{
	struct slice identity;
	const struct vhost *v = vhost_of_key(c, key, &identity);
	const struct binding *bind = v ? map_get(&v->bindings, identity) : NULL;

	if (bind)
		binding_encode(bind, out);
	return bind;
}

static bool write_head(const struct catalogue *c, struct slice identity, struct bytes *out)
{
	const struct decree *decree = identity.n ? decrees_find_said(&c->decrees, identity) : NULL;

	if (decree)
		decree_encode(decree, out);
	else if (!identity.n)
		head_encode(c, out);
	return decree || !identity.n;
}

bool catalogue_piece_write(struct broker *b, enum piece_part part, struct slice key, struct bytes *out)
{
	switch (part) {
	case PIECE_CHANNEL:
		return write_channel(b->catalogue, key, out);
	case PIECE_EXCHANGE:
		return write_exchange(b->catalogue, key, out);
	case PIECE_BINDING:
		return write_binding(b->catalogue, key, out);
	default:
		return write_head(b->catalogue, key, out);
	}
}

/* ---- reading ---- */

static int read_channel(struct broker *b, struct record_reader *in)
{
	struct entry *e;
	int r = entry_load(b->catalogue, in, &e);

	if (r == 0 && entry_is_ours(b, e))
		r = partitions_open(b, e);
	if (r == 0 && entry_is_ours(b, e) && e->channel.queue)
		r = view_open(b, e);
	return r;
}

int catalogue_piece_read(struct broker *b, enum piece_part part, struct slice key, struct slice value, struct why *why)
{
	struct record_reader in = { .rest = value, .arena = ARENA_MAX(RECORD_ARENA_BYTES), .why = why };
	struct log *log = b->catalogue->log;
	struct catalogue_head head;
	int r;

	/* Nothing changes: it is as the checkpoint has it. */
	b->restoring = true;
	b->catalogue->log = NULL;
	if (part == PIECE_HEAD)
		r = key.n ? decree_load(b->catalogue, &in) : head_load(b->catalogue, &in, /* version = */ 0, &head);
	else if (part == PIECE_CHANNEL)
		r = read_channel(b, &in);
	else
		r = part == PIECE_EXCHANGE ? exchange_load(b->catalogue, &in) : binding_load(b->catalogue, &in);
	b->catalogue->log = log;
	b->restoring = false;
	arena_free(&in.arena);
	return r;
}
