#include "security/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>

struct pattern {
	pcre2_code *code;
	pcre2_match_data *match;
	pcre2_match_context *limits;
	bool all;                       /* ".*": nothing is to be searched */
};

void pattern_free(struct pattern *p)
{
	if (!p)
		return;
	pcre2_match_context_free(p->limits);
	pcre2_match_data_free(p->match);
	pcre2_code_free(p->code);
	free(p);
}

static int refuse(struct slice text, int error, size_t at, struct why *why)
{
	PCRE2_UCHAR message[128] = "";

	pcre2_get_error_message(error, message, sizeof message);
	return fail(why, -ERR_BAD_ARGUMENT, "invalid regular expression '%.*s': %s at offset %zu", SLICE_ARGS(text),
		    (const char *)message, at);
}

int pattern_new(struct slice text, struct pattern **ret, struct why *why)
{
	struct pattern *p;
	int error = 0;
	size_t at = 0;

	if (text.n > PATTERN_MAX_BYTES)
		return fail(why, -ERR_BAD_ARGUMENT, "a regular expression is at most %d bytes", PATTERN_MAX_BYTES);
	p = calloc(1, sizeof *p);
	if (!p)
		return -ERR_NO_MEMORY;
	p->code = pcre2_compile(text.n ? text.p : (const uint8_t *)"", text.n, 0, &error, &at, NULL);
	if (!p->code) {
		pattern_free(p);
		return refuse(text, error, at, why);
	}
	p->match = pcre2_match_data_create(1, NULL);
	p->limits = pcre2_match_context_create(NULL);
	if (!p->match || !p->limits) {
		pattern_free(p);
		return -ERR_NO_MEMORY;
	}
	pcre2_set_match_limit(p->limits, MATCH_STEPS);
	pcre2_set_depth_limit(p->limits, MATCH_DEPTH);
	pcre2_set_heap_limit(p->limits, MATCH_KIB);
	p->all = slice_is(text, ".*");
	*ret = p;
	return 0;
}

bool pattern_matches(const struct pattern *p, struct slice text)
{
	if (!p || p->all)
		return p;
	return pcre2_match(p->code, text.n ? text.p : (const uint8_t *)"", text.n, 0, 0, p->match, p->limits) >= 0;
}
