#include "cli/ask.h"

#include <string.h>

#include "admin/admin.gen.h"
#include "cli/change.h"
#include "cli/cli.h"
#include "cli/question.h"
#include "cli/show.h"

enum { DECODED_MAX = 256 << 20, PATH_MAX_BYTES = 16 << 10 };

struct noun {
	const char *name;               /* "topics" */
	const char *list, *describe;    /* paths */
	const struct wire_msg *rows, *one;
	bool has_vhost;
};

static const struct noun topics = { "topics", "/v1/topics", "/v1/topic", &topics_answer_msg, &topic_answer_msg, true };
static const struct noun queues = { "queues", "/v1/queues", "/v1/queue", &queues_answer_msg, &queue_answer_msg, true };
static const struct noun groups = { "groups", "/v1/groups", "/v1/group", &groups_answer_msg, &group_answer_msg, false };

static void say_usage(FILE *to, const struct noun *noun)
{
	fprintf(to, "usage: hawser %s list [--limit N]\n       hawser %s describe NAME\n", noun->name, noun->name);
	if (noun == &topics)
		fputs(change_usage, to);
	question_options(to);
	fprintf(to, "  --vhost NAME    virtual host (default /)\n"
		"  --limit N       rows that are shown at most\n"
		"  --json          the broker's answers as they come, one a line\n");
}

static void put_json(const struct answer *a)
{
	fwrite(a->body.p, 1, a->body.n, stdout);
}

/* What has to be sent as `from` for the next page: the member `next` of every answer that has pages. */
static struct slice next_of(const struct wire_msg *m, const void *answer)
{
	for (unsigned i = 0; i < m->nfields; i++)
		if (!strcmp(m->fields[i].name, "next"))
			return *(const struct slice *)((const uint8_t *)answer + m->fields[i].offset);
	return SLICE_NULL;
}

/* ---- list and describe ---- */

/* One page.  Returns how many rows were shown; *from becomes where the next begins, or "". */
static int32_t list_page(const struct noun *noun, const struct question *q, char *from, size_t room, int32_t left, bool first,
			 struct why *why)
{
	struct bytes path = BYTES_MAX(PATH_MAX_BYTES);
	struct arena arena = ARENA_MAX(DECODED_MAX);
	struct answer text = { 0 };
	void *page = wire_new(noun->rows, &arena, 1);
	char limit[16];
	int32_t r;

	snprintf(limit, sizeof limit, "%d", left < 1000 ? left : 1000);
	bytes_printf(&path, "%s", noun->list);
	query_add(&path, "limit", limit);
	if (q->vhost && noun->has_vhost)
		query_add(&path, "vhost", q->vhost);
	if (*from)
		query_add(&path, "from", from);
	bytes_add_u8(&path, 0);
	r = page && !path.failed ? question_ask(q, "GET", (char *)path.p, SLICE_NULL, noun->rows, &text, &arena, page, why)
				 : fail(why, -ERR_TOO_LARGE, "a name is too long");
	if (r == 0) {
		if (q->json)
			put_json(&text);
		r = show_rows(q->json ? NULL : stdout, noun->rows, page, left, first);
		snprintf(from, room, "%.*s", SLICE_ARGS(next_of(noun->rows, page)));
	}
	answer_free(&text);
	arena_free(&arena);
	bytes_free(&path);
	return r;
}

static int list(const struct noun *noun, const struct question *q, struct why *why)
{
	char from[1024] = "";
	int32_t left = q->limit, n;
	bool first = true;

	do {
		n = list_page(noun, q, from, sizeof from, left, first, why);
		if (n < 0)
			return complain(why, EXIT_FAILURE);
		left -= n;
		first = false;
	} while (*from && left > 0);
	return EXIT_SUCCESS;
}

static int describe(const struct noun *noun, const struct question *q, const char *name, struct why *why)
{
	struct bytes path = BYTES_MAX(PATH_MAX_BYTES);
	struct arena arena = ARENA_MAX(DECODED_MAX);
	struct answer text = { 0 };
	void *one = wire_new(noun->one, &arena, 1);
	int r;

	bytes_printf(&path, "%s", noun->describe);
	query_add(&path, "name", name);
	if (noun != &queues)
		query_add(&path, "limit", "1000");
	if (q->vhost && noun->has_vhost)
		query_add(&path, "vhost", q->vhost);
	bytes_add_u8(&path, 0);
	r = one && !path.failed ? question_ask(q, "GET", (char *)path.p, SLICE_NULL, noun->one, &text, &arena, one, why)
				: fail(why, -ERR_TOO_LARGE, "the name is too long");
	if (r == 0 && q->json)
		put_json(&text);
	else if (r == 0)
		show_all(stdout, noun->one, one);
	if (r == 0 && !q->json && next_of(noun->one, one).p)
		puts("\n(there are more; --json has `next`)");
	answer_free(&text);
	arena_free(&arena);
	bytes_free(&path);
	return r < 0 ? complain(why, EXIT_FAILURE) : EXIT_SUCCESS;
}

static int run(const struct noun *noun, int argc, char **argv)
{
	struct question q;
	struct why why = { "" };
	int status = EXIT_USAGE;
	bool help = false;

	if (question_parse(argc, argv, &q, &help, &why) < 0)
		return complain(&why, EXIT_USAGE);
	if (help) {
		say_usage(stdout, noun);
		return EXIT_SUCCESS;
	}
	bool asks = !q.partitions && !q.nremoved && (!q.vhost || noun->has_vhost);

	if (asks && q.nwords == 1 && !strcmp(q.words[0], "list"))
		return list(noun, &q, &why);
	if (asks && q.nwords == 2 && q.limit == INT32_MAX && !strcmp(q.words[0], "describe"))
		return describe(noun, &q, q.words[1], &why);
	if (noun == &topics && q.nwords >= 2 && q.limit == INT32_MAX && !q.json && change_topic(&q, &status, &why))
		return status;
	say_usage(stderr, noun);
	return EXIT_USAGE;
}

int ask_topics(int argc, char **argv)
{
	return run(&topics, argc, argv);
}

int ask_queues(int argc, char **argv)
{
	return run(&queues, argc, argv);
}

int ask_groups(int argc, char **argv)
{
	return run(&groups, argc, argv);
}

/* ---- figures ---- */

/* The lines of the Prometheus format that are not comments, without our prefix. */
static void show_figures(struct slice text)
{
	static const char prefix[] = "hawser_";

	while (text.n) {
		const uint8_t *end = memchr(text.p, '\n', text.n);
		struct slice line = end ? slice_of(text.p, (size_t)(end - text.p)) : text;
		const uint8_t *blank = memrchr(line.p, ' ', line.n);

		text = slice_of(text.p + line.n + !!end, text.n - line.n - !!end);
		if (line.n == 0 || line.p[0] == '#' || !blank)
			continue;
		if (slice_starts(line, SLICE("hawser_")))
			line = slice_of(line.p + sizeof prefix - 1, line.n - (sizeof prefix - 1));
		printf("%-40.*s %.*s\n", (int)(blank - line.p), line.p, (int)(line.p + line.n - blank - 1), blank + 1);
	}
}

static int ask_plain(int argc, char **argv, const char *path, void (*show)(struct slice text))
{
	struct question q;
	struct answer answer = { 0 };
	struct why why = { "" };
	bool help = false;
	int r = question_parse(argc, argv, &q, &help, &why);

	if (r == 0 && (q.nwords || q.vhost || q.json))
		r = fail(&why, -ERR_BAD_ARGUMENT, "hawser %s takes --server only", argv[0]);
	if (r < 0)
		return complain(&why, EXIT_USAGE);
	if (help) {
		printf("usage: hawser %s\n", argv[0]);
		question_options(stdout);
		return EXIT_SUCCESS;
	}
	r = client_ask(&q.server, "GET", path, SLICE_NULL, &answer, &why);
	if (r == 0 && answer.status != 200)
		r = fail(&why, -ERR_REFUSED, "the broker answers with status %d", answer.status);
	if (r == 0)
		show(answer.body);
	answer_free(&answer);
	return r < 0 ? complain(&why, EXIT_FAILURE) : EXIT_SUCCESS;
}

int ask_stats(int argc, char **argv)
{
	return ask_plain(argc, argv, "/metrics", show_figures);
}

static void show_text(struct slice text)
{
	fwrite(text.p, 1, text.n, stdout);
}

int ask_health(int argc, char **argv)
{
	return ask_plain(argc, argv, "/healthz", show_text);
}
