/* message.c - what a message may hold, and its digests. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/bytes.h"
#include "base/utf8.h"
#include "protocols/sqs/sqs.h"

enum { ATTRIBUTES_PER_MESSAGE = 10, NAME_BYTES = 256, ID_BYTES = 128 };

/* -------------------------------------------------------------------------------------------------------- digests ---- */

void to_hex(const uint8_t *p, size_t n, char *ret)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		*ret++ = digits[p[i] >> 4];
		*ret++ = digits[p[i] & 15];
	}
	*ret = '\0';
}

static void digest_part(struct digests *d, struct slice s)
{
	uint8_t size[4];

	put_be32(size, (uint32_t)s.n);
	digest_add(d, size, sizeof size);
	digest_add(d, s.p, s.n);
}

static bool is_binary(struct slice type)
{
	return slice_starts(type, SLICE("Binary"));
}

static int by_name(const void *a, const void *b)
{
	return slice_cmp(((const struct sqs_attribute *)a)->name, ((const struct sqs_attribute *)b)->name);
}

/* Names ascending; for each: length and name, length and type, transport type, length and value. */
void md5_attributes(struct sqs *s, const struct sqs_attribute *a, uint32_t n, char ret[33])
{
	struct sqs_attribute *sorted = n ? sqs_alloc(s, n * sizeof *sorted) : NULL;
	uint8_t digest[DIGEST_MAX];

	ret[0] = '\0';
	if (!sorted)
		return;
	memcpy(sorted, a, n * sizeof *sorted);
	if (n > 1)
		qsort(sorted, n, sizeof *sorted, by_name);
	digest_begin(s->digests, DIGEST_MD5);
	for (uint32_t i = 0; i < n; i++) {
		digest_part(s->digests, sorted[i].name);
		digest_part(s->digests, sorted[i].type);
		digest_add(s->digests, is_binary(sorted[i].type) ? "\2" : "\1", 1);
		digest_part(s->digests, sorted[i].value);
	}
	digest_end(s->digests, digest);
	to_hex(digest, 16, ret);
}

/* ---------------------------------------------------------------------------------------------------------- checks ---- */

/* #x9 | #xA | #xD | #x20-#xD7FF | #xE000-#xFFFD | #x10000-#x10FFFF */
static bool is_legal_text(struct slice s)
{
	while (s.n > 0) {
		uint32_t c = ' ';
		size_t n = utf8_plain(s);

		if (n == 0)
			n = utf8_next(s, &c);
		if (!n || (c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0xfffe || c == 0xffff)
			return false;
		s.p += n;
		s.n -= n;
	}
	return true;
}

static bool illegal_text(struct sqs_error *e)
{
	return sqs_fail(e, "InvalidMessageContents", "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | "
			"#x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF");
}

static bool is_id(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= ' ' || s.p[i] >= 0x7f)
			return false;
	return s.n >= 1 && s.n <= ID_BYTES;
}

bool check_id(struct slice s, const char *what, struct sqs_error *e)
{
	if (!s.p || is_id(s))
		return true;
	return sqs_fail(e, "InvalidParameterValueException", "Value %.*s for parameter %s is invalid. Reason: %s can only include "
			"alphanumeric and punctuation characters. 1 to 128 in length.",
			(int)(s.n < 200 ? s.n : 200), (const char *)s.p, what, what);
}

static bool has_prefix_nocase(struct slice s, const char *prefix)
{
	return s.n >= strlen(prefix) && strncasecmp((const char *)s.p, prefix, strlen(prefix)) == 0;
}

static bool check_attribute_name(struct slice name, struct sqs_error *e)
{
	bool ok = name.n >= 1 && name.n <= NAME_BYTES && name.p[0] != '.' && name.p[name.n - 1] != '.' &&
		  !has_prefix_nocase(name, "AWS.") && !has_prefix_nocase(name, "Amazon.");

	for (size_t i = 0; ok && i < name.n; i++) {
		uint8_t c = name.p[i];
		ok = (isalnum(c) || c == '_' || c == '-' || c == '.') && !(c == '.' && i > 0 && name.p[i - 1] == '.');
	}
	if (ok)
		return true;
	return sqs_fail(e, "InvalidParameterValueException", "Message (user) attribute name '%.*s' is invalid. It can contain "
			"alphanumeric characters, hyphens, underscores and periods, must not start with AWS. or Amazon., or begin, end "
			"or repeat a period, and is 1 to 256 characters long.",
			(int)(name.n < 200 ? name.n : 200), (const char *)name.p);
}

/* "String", "Number.int", ...: the part before the label; 0 if it is none of the three. */
static char type_of(struct slice type)
{
	static const struct { const char *name; char letter; } types[] = { { "String", 'S' }, { "Number", 'N' }, { "Binary", 'B' } };

	for (size_t i = 0; type.n <= NAME_BYTES && i < 3; i++) {
		size_t n = strlen(types[i].name);
		if (slice_starts(type, slice_cstr(types[i].name)) && (type.n == n || type.p[n] == '.'))
			return types[i].letter;
	}
	return 0;
}

/* Up to 38 digits with sign, point and exponent. */
static bool is_number(struct slice s)
{
	size_t i = 0, digits = 0;

	if (i < s.n && (s.p[i] == '-' || s.p[i] == '+'))
		i++;
	for (bool point = false; i < s.n && (isdigit(s.p[i]) || (s.p[i] == '.' && !point)); i++) {
		point |= s.p[i] == '.';
		digits += s.p[i] != '.';
	}
	if (digits == 0 || digits > 38)
		return false;
	if (i < s.n && (s.p[i] | 0x20) == 'e') {
		i++;
		if (i < s.n && (s.p[i] == '-' || s.p[i] == '+'))
			i++;
		size_t from = i;
		while (i < s.n && isdigit(s.p[i]))
			i++;
		if (i == from || i - from > 3)
			return false;
	}
	return i == s.n;
}

static bool check_attribute(const struct message_attribute_value_entry *in, struct sqs_attribute *ret, struct sqs_error *e)
{
	int shown = (int)(in->key.n < 200 ? in->key.n : 200);
	const char *name = (const char *)in->key.p;
	char type = type_of(in->value.data_type);
	const char *kind = type == 'B' ? "Binary" : type == 'N' ? "Number" : "String";

	if (!check_attribute_name(in->key, e))
		return false;
	if (!in->value.data_type.n)
		return sqs_fail(e, "InvalidParameterValueException", "The message attribute '%.*s' must contain non-empty message "
				"attribute type.", shown, name);
	if (!type)
		return sqs_fail(e, "InvalidParameterValueException", "The message attribute '%.*s' has an invalid message attribute "
				"type, the set of supported type prefixes is Binary, Number, and String.", shown, name);
	if (in->value.string_list_values.n > 0 || in->value.binary_list_values.n > 0)
		return sqs_fail(e, "UnsupportedOperation", "Message attribute list values in SendMessage operation are not supported.");
	*ret = (struct sqs_attribute){ in->key, in->value.data_type, type == 'B' ? in->value.binary_value : in->value.string_value };
	if (ret->value.n == 0)
		return sqs_fail(e, "InvalidParameterValueException", "Message (user) attribute '%.*s' must contain a non-empty value of "
				"type '%s'.", shown, name, kind);
	if (type == 'N' && !is_number(ret->value))
		return sqs_fail(e, "InvalidParameterValueException", "Can't cast the value of message (user) attribute '%.*s' to a "
				"number.", shown, name);
	return type == 'B' || is_legal_text(ret->value) || illegal_text(e);
}

static bool check_attributes(struct sqs *s, const struct send_fields *f, struct outgoing *ret, struct sqs_error *e)
{
	struct sqs_native *native = &ret->native;

	if (f->nattributes > ATTRIBUTES_PER_MESSAGE)
		return sqs_fail(e, "InvalidParameterValueException", "Number of message attributes [%d] exceeds the allowed maximum "
				"[%d].", f->nattributes, ATTRIBUTES_PER_MESSAGE);
	if (f->nattributes <= 0)
		return true;
	native->attributes = sqs_alloc(s, (size_t)f->nattributes * sizeof *native->attributes);
	if (!native->attributes)
		return sqs_fail(e, "ServiceUnavailable", "out of memory");
	for (int32_t i = 0; i < f->nattributes; i++) {
		struct sqs_attribute *a = &native->attributes[native->nattributes++];
		if (!check_attribute(&f->attributes[i], a, e))
			return false;
		ret->size += a->name.n + a->type.n + a->value.n;
	}
	md5_attributes(s, native->attributes, native->nattributes, ret->md5_attributes);
	return true;
}

/* There is one: AWSTraceHeader. */
static bool check_system(struct sqs *s, const struct send_fields *f, struct outgoing *ret, struct sqs_error *e)
{
	for (int32_t i = 0; i < f->nsystem; i++) {
		struct sqs_attribute a;

		if (!slice_is(f->system[i].key, "AWSTraceHeader"))
			return sqs_fail(e, "InvalidParameterValueException", "Message system attribute name '%.*s' is invalid.",
					(int)(f->system[i].key.n < 200 ? f->system[i].key.n : 200), (const char *)f->system[i].key.p);
		a = (struct sqs_attribute){ f->system[i].key, f->system[i].value.data_type, f->system[i].value.string_value };
		if (!slice_is(a.type, "String") || a.value.n == 0)
			return sqs_fail(e, "InvalidParameterValueException", "Message (system) attribute 'AWSTraceHeader' must contain a "
					"non-empty value of type 'String'.");
		ret->native.trace = a.value;
		md5_attributes(s, &a, 1, ret->md5_system);
	}
	return true;
}

static bool check_fifo(const struct channel *ch, const struct send_fields *f, bool in_batch, struct sqs_error *e)
{
	const struct queue_policy *p = &ch->queue->spec->policy;

	if (!check_id(f->group, "MessageGroupId", e) || !check_id(f->dedup_id, "MessageDeduplicationId", e))
		return false;
	if (!p->fifo) {
		if (f->dedup_id.p)
			return sqs_fail(e, "InvalidParameterValueException", "Value %.*s for parameter MessageDeduplicationId is invalid. "
					"Reason: The request includes a parameter that is not valid for this queue type.",
					SLICE_ARGS(f->dedup_id));
		return true;
	}
	if (!f->group.p)
		return sqs_fail(e, in_batch ? "InvalidParameterValueException" : "MissingRequiredParameterException",
				"The request must contain the parameter MessageGroupId.");
	if (!f->dedup_id.p && !p->content_dedup)
		return sqs_fail(e, "InvalidParameterValueException", "The queue should either have ContentBasedDeduplication enabled or "
				"MessageDeduplicationId provided explicitly");
	if (f->has_delay && f->delay > 0)
		return sqs_fail(e, "InvalidParameterValueException", "Value %d for parameter DelaySeconds is invalid. Reason: The request "
				"include parameter that is not valid for this queue type.", f->delay);
	return true;
}

static bool check_body(const struct send_fields *f, struct sqs_error *e)
{
	if (f->body.n == 0)
		return sqs_fail(e, "MissingRequiredParameterException", "The request must contain the parameter MessageBody.");
	return is_legal_text(f->body) || illegal_text(e);
}

static bool check_delay(const struct send_fields *f, struct sqs_error *e)
{
	if (!f->has_delay || (f->delay >= 0 && f->delay <= 900))
		return true;
	return sqs_fail(e, "InvalidParameterValueException", "Value %d for parameter DelaySeconds is invalid. Reason: DelaySeconds must "
			"be >= 0 and <= 900.", f->delay);
}

static bool check_size(struct sqs *s, const struct channel *ch, const struct outgoing *m, bool in_batch, struct sqs_error *e)
{
	int64_t most = max_message_size(s, ch);

	if ((int64_t)m->size <= most)
		return true;
	return sqs_fail(e, "InvalidParameterValueException", "One or more parameters %s. Reason: Message must be shorter than %lld bytes.",
			in_batch ? "cannot be validated" : "are invalid", (long long)most);
}

/* Content-based deduplication: the id is the SHA-256 of the body, and receivers see it. */
static bool digest_as_id(struct sqs *s, struct outgoing *m, struct sqs_error *e)
{
	char *text = sqs_alloc(s, 65);

	if (!text || !digest_hex(s->digests, DIGEST_SHA256, m->body, text))
		return sqs_fail(e, "ServiceUnavailable", "out of memory");
	m->native.dedup_id = slice_of(text, 64);
	return true;
}

bool outgoing_check(struct sqs *s, const struct channel *ch, const struct send_fields *f, bool in_batch,
		    struct outgoing *ret, struct sqs_error *e)
{
	*ret = (struct outgoing){ .body = f->body, .size = f->body.n };
	ret->native = (struct sqs_native){
		.group = f->group, .dedup_id = f->dedup_id, .trace = s->request.trace, .delay_ms = -1,
		.sender = slice_cstr(s->request.principal.name),
	};
	/* On a FIFO queue zero means the queue's own delay. */
	if (f->has_delay && !(ch->queue->spec->policy.fifo && f->delay == 0))
		ret->native.delay_ms = (int64_t)f->delay * 1000;
	if (!check_body(f, e) || !check_fifo(ch, f, in_batch, e) || !check_delay(f, e) || !check_attributes(s, f, ret, e) ||
	    !check_system(s, f, ret, e) || !check_size(s, ch, ret, in_batch, e))
		return false;
	if (ch->queue->spec->policy.fifo && !f->dedup_id.p && !digest_as_id(s, ret, e))
		return false;
	sqs_make_uuid(s, ret->id);
	digest_hex(s->digests, DIGEST_MD5, ret->body, ret->md5_body);
	return true;
}
