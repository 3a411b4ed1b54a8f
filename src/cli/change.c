#include "cli/change.h"

#include <stdlib.h>
#include <string.h>

#include "admin/admin.gen.h"
#include "cli/cli.h"
#include "wire/aws.h"

enum { BODY_MAX = 60 << 10 };

const char change_usage[] =
	"       hawser topics create NAME [--partitions N] [SETTING=VALUE]...\n"
	"       hawser topics alter NAME [--partitions N] [--remove SETTING]... [SETTING=VALUE]...\n"
	"       hawser topics delete NAME\n";

/* Words from the third on: SETTING=VALUE. */
static int read_settings(const struct question *q, struct wire_pair *ret, int32_t *n, struct why *why)
{
	*n = 0;
	for (int i = 2; i < q->nwords; i++) {
		const char *equals = strchr(q->words[i], '=');

		if (!equals)
			return fail(why, -ERR_BAD_ARGUMENT, "'%s': write SETTING=VALUE", q->words[i]);
		ret[(*n)++] = (struct wire_pair){ slice_of(q->words[i], (size_t)(equals - q->words[i])), slice_cstr(equals + 1) };
	}
	return 0;
}

/* Tell the broker; what it says when all is well nobody needs to read. */
static int tell(const struct question *q, const char *method, const char *path, struct slice body, int *status, struct why *why)
{
	struct topic_change_answer done;
	struct arena arena = ARENA_MAX(1 << 20);
	struct answer text = { 0 };
	int r = question_ask(q, method, path, body, &topic_change_answer_msg, &text, &arena, &done, why);

	*status = r < 0 ? complain(why, EXIT_FAILURE) : EXIT_SUCCESS;
	answer_free(&text);
	arena_free(&arena);
	return r;
}

static void tell_json(const struct question *q, const char *method, const struct wire_msg *m, const void *request, int *status,
		      struct why *why)
{
	struct bytes body = BYTES_MAX(BODY_MAX);

	aws_encode_json(m, request, &body);
	if (body.failed) {
		fail(why, -ERR_TOO_LARGE, "that is more than fits into a request");
		*status = complain(why, EXIT_FAILURE);
	} else {
		tell(q, method, "/v1/topic", bytes_slice(&body), status, why);
	}
	bytes_free(&body);
}

static void create(const struct question *q, int *status, struct why *why)
{
	struct wire_pair pairs[QUESTION_WORDS];
	struct create_topic_request r;

	wire_init(&create_topic_request_msg, &r);
	r.name = slice_cstr(q->words[1]);
	r.vhost = slice_cstr(q->vhost);
	r.has_partitions = q->partitions;
	r.partitions = q->partitions;
	r.settings.v = (void *)pairs;
	if (read_settings(q, pairs, &r.settings.n, why) < 0)
		*status = complain(why, EXIT_USAGE);
	else
		tell_json(q, "POST", &create_topic_request_msg, &r, status, why);
}

static void alter(const struct question *q, int *status, struct why *why)
{
	struct wire_pair pairs[QUESTION_WORDS];
	struct slice removed[QUESTION_WORDS];
	struct alter_topic_request r;

	wire_init(&alter_topic_request_msg, &r);
	r.name = slice_cstr(q->words[1]);
	r.vhost = slice_cstr(q->vhost);
	r.has_partitions = q->partitions;
	r.partitions = q->partitions;
	r.settings.v = (void *)pairs;
	r.remove.v = removed;
	for (r.remove.n = 0; r.remove.n < q->nremoved; r.remove.n++)
		removed[r.remove.n] = slice_cstr(q->removed[r.remove.n]);
	if (read_settings(q, pairs, &r.settings.n, why) < 0)
		*status = complain(why, EXIT_USAGE);
	else
		tell_json(q, "PATCH", &alter_topic_request_msg, &r, status, why);
}

static void delete(const struct question *q, int *status, struct why *why)
{
	struct bytes path = BYTES_MAX(BODY_MAX);

	bytes_printf(&path, "/v1/topic");
	query_add(&path, "name", q->words[1]);
	if (q->vhost)
		query_add(&path, "vhost", q->vhost);
	bytes_add_u8(&path, 0);
	if (path.failed) {
		fail(why, -ERR_TOO_LARGE, "the name is too long");
		*status = complain(why, EXIT_FAILURE);
	} else {
		tell(q, "DELETE", (char *)path.p, SLICE_NULL, status, why);
	}
	bytes_free(&path);
}

bool change_topic(const struct question *q, int *status, struct why *why)
{
	static const struct {
		const char *name;
		void (*run)(const struct question *q, int *status, struct why *why);
		bool settings, removes;         /* what it takes */
	} changes[] = { { "create", create, true, false }, { "alter", alter, true, true }, { "delete", delete, false, false } };

	for (size_t i = 0; i < sizeof changes / sizeof *changes; i++)
		if (!strcmp(q->words[0], changes[i].name) && (!q->nremoved || changes[i].removes) &&
		    (changes[i].settings || (q->nwords == 2 && !q->partitions))) {
			changes[i].run(q, status, why);
			return true;
		}
	return false;
}
