#include "cli/question.h"

#include <getopt.h>
#include <stdlib.h>

#include "admin/admin.gen.h"
#include "wire/aws.h"

int complain(const struct why *why, int status)
{
	fprintf(stderr, "hawser: %s\n", why->text);
	return status;
}

void question_options(FILE *to)
{
	fprintf(to, "\n"
		"  --server URL    http[s]://[USER:PASSWORD@]HOST:PORT of the admin listener, or a part of it; else what the variable\n"
		"                  HAWSER_SERVER says, else 127.0.0.1:15672\n");
}

static int parse_count(const char *name, const char *text, int32_t *ret, struct why *why)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (end == text || *end || n < 1 || n > INT32_MAX)
		return fail(why, -ERR_BAD_ARGUMENT, "--%s %s: must be a number from 1 on", name, text);
	*ret = (int32_t)n;
	return 0;
}

static int add_word(const char **words, int *n, const char *word, struct why *why)
{
	if (*n == QUESTION_WORDS)
		return fail(why, -ERR_BAD_ARGUMENT, "'%s' is too much: %d at most", word, QUESTION_WORDS);
	words[(*n)++] = word;
	return 0;
}

int question_parse(int argc, char **argv, struct question *q, bool *help, struct why *why)
{
	static const struct option known[] = {
		{ "server", required_argument, NULL, 's' }, { "vhost", required_argument, NULL, 'v' },
		{ "limit", required_argument, NULL, 'l' },  { "json", no_argument, NULL, 'j' },
		{ "partitions", required_argument, NULL, 'p' }, { "remove", required_argument, NULL, 'r' },
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
			r = parse_count("limit", optarg, &q->limit, why);
			break;
		case 'p':
			r = parse_count("partitions", optarg, &q->partitions, why);
			break;
		case 'r':
			r = add_word(q->removed, &q->nremoved, optarg, why);
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
	for (; r == 0 && optind < argc; optind++)
		r = add_word(q->words, &q->nwords, argv[optind], why);
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

int question_ask(const struct question *q, const char *method, const char *path, struct slice body, const struct wire_msg *m,
		 struct answer *text, struct arena *arena, void *ret, struct why *why)
{
	int r = client_ask(&q->server, method, path, body, text, why);

	if (r < 0)
		return r;
	if (text->status != 200)
		return refused(text, arena, why);
	r = aws_decode_json(m, text->body, arena, ret, why);
	return r < 0 ? because(why, r, "the broker's answer is not understood; is it of another version?") : 0;
}
