#include "cli/ask.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "admin/admin.gen.h"
#include "base/arena.h"
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/show.h"
#include "wire/aws.h"

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

struct question {
	struct server server;
	const char *vhost;              /* NULL: "/" */
	int32_t limit;                  /* rows */
	bool json;
	const char *words[4];           /* what is not an option */
	int nwords;
};

static int complain(const struct why *why, int status)
{
	fprintf(stderr, "hawser: %s\n", why->text);
	return status;
}

static void say_usage(FILE *to, const char *name, bool is_noun)
{
	if (is_noun)
		fprintf(to, "usage: hawser %s list [--limit N]\n       hawser %s describe NAME\n", name, name);
	else
		fprintf(to, "usage: hawser %s\n", name);
	fprintf(to, "\n"
		"  --server URL   http://[USER:PASSWORD@]HOST:PORT of the admin listener, or a part of it; else what the variable\n"
		"                 HAWSER_SERVER says, else 127.0.0.1:15672\n");
	if (is_noun)
		fprintf(to, "  --vhost NAME   virtual host (default /)\n"
			"  --limit N      rows that are shown at most\n"
			"  --json         the broker's answers as they come, one a line\n");
}

static int parse_limit(const char *text, int32_t *ret, struct why *why)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (end == text || *end || n < 1 || n > INT32_MAX)
		return fail(why, -ERR_BAD_ARGUMENT, "--limit %s: must be a number from 1 on", text);
	*ret = (int32_t)n;
	return 0;
}

static int parse(int argc, char **argv, struct question *q, bool *help, struct why *why)
{
	static const struct option known[] = {
		{ "server", required_argument, NULL, 's' }, { "vhost", required_argument, NULL, 'v' },
		{ "limit", required_argument, NULL, 'l' },  { "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },         { 0 },
	};
	const char *server = getenv("HAWSER_SERVER");
	int letter, r = 0;

	*q = (struct question){ .limit = INT32_MAX };
	opterr = 0;
	optind = 0;                     /* glibc: start afresh */
	while (r == 0 && (letter = getopt_long(argc, argv, ":h", known, NULL)) != -1) {
		switch (letter) {
		case 's':
			server = optarg;
			break;
		case 'v':
			q->vhost = optarg;
			break;
		case 'l':
			r = parse_limit(optarg, &q->limit, why);
			break;
		case 'j':
			q->json = true;
			break;
		case 'h':
			*help = true;
			break;
		case ':':
			return fail(why, -ERR_BAD_ARGUMENT, "option %s needs a value", argv[optind - 1]);
		default:
			return fail(why, -ERR_BAD_ARGUMENT, "unknown option %s; see hawser %s --help", argv[optind - 1], argv[0]);
		}
	}
	for (; r == 0 && optind < argc; optind++) {
		if (q->nwords == sizeof q->words / sizeof *q->words)
			return fail(why, -ERR_BAD_ARGUMENT, "unexpected argument '%s'", argv[optind]);
		q->words[q->nwords++] = argv[optind];
	}
	return r ? r : server_parse(server, &q->server, why);
}

/* ---- one exchange with the broker ---- */

/* Not 200: the reason that it gives, if there is one. */
static int refused(const struct answer *a, struct arena *arena, struct why *why)
{
	struct failure f;

	if (aws_decode_json(&failure_msg, a->body, arena, &f, NULL) == 0)
		return fail(why, -ERR_REFUSED, "%.*s", SLICE_ARGS(f.message));
	return fail(why, -ERR_REFUSED, "the broker answers with status %d", a->status);
}

/* Ask, and read the answer into `ret` (as `m` says); its strings lie in *text and the arena. */
static int ask(const struct question *q, const char *path, const struct wire_msg *m, struct answer *text, struct arena *arena,
	       void *ret, struct why *why)
{
	int r = client_get(&q->server, path, text, why);

	if (r < 0)
		return r;
	if (text->status != 200)
		return refused(text, arena, why);
	r = aws_decode_json(m, text->body, arena, ret, why);
	return r < 0 ? because(why, r, "the broker's answer is not understood; is it of another version?") : 0;
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
	r = page && !path.failed ? ask(q, (char *)path.p, noun->rows, &text, &arena, page, why)
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
	r = one && !path.failed ? ask(q, (char *)path.p, noun->one, &text, &arena, one, why)
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
	bool help = false;

	if (parse(argc, argv, &q, &help, &why) < 0)
		return complain(&why, EXIT_USAGE);
	if (help) {
		say_usage(stdout, noun->name, true);
		return EXIT_SUCCESS;
	}
	if (q.nwords == 1 && !strcmp(q.words[0], "list"))
		return list(noun, &q, &why);
	if (q.nwords == 2 && !strcmp(q.words[0], "describe"))
		return describe(noun, &q, q.words[1], &why);
	say_usage(stderr, noun->name, true);
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
	int r = parse(argc, argv, &q, &help, &why);

	if (r == 0 && (q.nwords || q.vhost || q.json))
		r = fail(&why, -ERR_BAD_ARGUMENT, "hawser %s takes --server only", argv[0]);
	if (r < 0)
		return complain(&why, EXIT_USAGE);
	if (help) {
		say_usage(stdout, argv[0], false);
		return EXIT_SUCCESS;
	}
	r = client_get(&q.server, path, &answer, &why);
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
