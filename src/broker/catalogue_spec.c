/*
 * catalogue_spec.c - what queues were declared as: kept once for all that were declared alike.
 *
 * A million queues of one kind have one specification.  They are found by a hash of their bytes; two that differ and
 * have the same hash are not shared.
 */
#include <stdlib.h>

#include "base/own.h"
#include "broker/catalogue_parts.h"

/* ------------------------------------------------------------------------------------- one block for many strings ---- */

struct slice pack(uint8_t **at, struct slice s)
{
	if (!s.p)
		return SLICE_NULL;

	struct slice copy = slice_of(*at, s.n);
	if (s.n)
		memcpy(*at, s.p, s.n);
	*at += s.n;
	return copy;
}

size_t settings_size(const struct setting *settings, uint32_t n)
{
	size_t size = n * sizeof *settings;

	for (uint32_t i = 0; i < n; i++)
		size += settings[i].name.n + settings[i].value.n;
	return size;
}

void pack_settings(struct setting *to, uint8_t **at, const struct setting *settings, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		to[i] = (struct setting){ pack(at, settings[i].name), pack(at, settings[i].value) };
}

/* -------------------------------------------------------------------------------------------- specifications ---- */

struct shared_spec {
	struct queue_spec spec;         /* must be first; its strings and settings lie behind */
	uint64_t hash;
	uint32_t uses;
	bool found;                     /* by its hash */
};

static size_t policy_size(const struct queue_policy *p)
{
	return p ? sizeof *p + p->dead_channel.n + p->dead_exchange.n + p->dead_key.n : 0;
}

static void pack_policy(struct queue_policy *to, uint8_t **at, const struct queue_policy *p)
{
	*to = *p;
	to->dead_channel = pack(at, p->dead_channel);
	to->dead_exchange = pack(at, p->dead_exchange);
	to->dead_key = pack(at, p->dead_key);
}

static struct shared_spec *copy(const struct queue_spec *s)
{
	struct shared_spec *made = malloc(sizeof *made + settings_size(s->settings, s->nsettings) + s->arguments.n +
					  policy_size(&s->policy) + policy_size(s->declared));

	if (!made)
		return NULL;
	struct queue_policy *declared = (struct queue_policy *)(made + 1);
	struct setting *settings = (struct setting *)(declared + (s->declared ? 1 : 0));
	uint8_t *at = (uint8_t *)(settings + s->nsettings);

	*made = (struct shared_spec){ .spec = *s, .uses = 1 };
	pack_settings(settings, &at, s->settings, s->nsettings);
	made->spec.settings = settings;
	made->spec.arguments = pack(&at, s->arguments);
	pack_policy(&made->spec.policy, &at, &s->policy);
	if (s->declared) {
		pack_policy(declared, &at, s->declared);
		made->spec.declared = declared;
	}
	return made;
}

/* As declared, and as it is by policies. */
static void encode(const struct queue_spec *s, struct bytes *out)
{
	struct queue_spec now = *s;

	view_encode(s, out);
	now.declared = NULL;
	if (s->declared)
		view_encode(&now, out);
}

static bool is_same(const struct queue_spec *s, struct slice encoded)
{
	OWN(bytes) struct bytes own = BYTES_MAX(UINT32_MAX);

	encode(s, &own);
	return !own.failed && slice_eq(bytes_slice(&own), encoded);
}

const struct queue_spec *spec_share(struct catalogue *c, const struct queue_spec *like)
{
	OWN(bytes) struct bytes encoded = BYTES_MAX(UINT32_MAX);

	encode(like, &encoded);
	if (encoded.failed)
		return NULL;

	uint64_t hash = hash_bytes(encoded.p, encoded.n, c->seed);
	struct shared_spec *there = map_get_number(&c->specs, hash);

	if (there && is_same(&there->spec, bytes_slice(&encoded))) {
		there->uses++;
		return &there->spec;
	}
	struct shared_spec *made = copy(like);
	if (!made)
		return NULL;
	made->hash = hash;
	made->found = !there;
	if (made->found && map_put_number(&c->specs, hash, made, NULL) < 0) {
		free(made);
		return NULL;
	}
	return &made->spec;
}

void spec_release(struct catalogue *c, const struct queue_spec *spec)
{
	struct shared_spec *s = (struct shared_spec *)(uintptr_t)spec;

	if (--s->uses)
		return;
	if (s->found)
		map_remove_number(&c->specs, s->hash);
	free(s);
}
