/* cli_test.c - what the user wrote is completed or refused, and answers become tables. */
#include "base/test.h"

#include <stdio.h>
#include <stdlib.h>

#include "admin/admin.gen.h"
#include "cli/client.h"
#include "cli/show.h"

TEST(an_address_is_completed)
{
	static const struct { const char *text, *host, *port, *credentials; } rows[] = {
		{ NULL,                           "127.0.0.1",  "15672", "" },
		{ "",                             "127.0.0.1",  "15672", "" },
		{ "broker",                       "broker",     "15672", "" },
		{ "broker:1",                     "broker",     "1",     "" },
		{ ":1",                           "127.0.0.1",  "1",     "" },
		{ "http://broker",                "broker",     "15672", "" },
		{ "https://broker",               "broker",     "15671", "" },
		{ "https://broker:1/",            "broker",     "1",     "" },
		{ "http://broker:1/",             "broker",     "1",     "" },
		{ "http://ada:se:cr@et@broker:1", "broker",     "1",     "ada:se:cr@et" },
		{ "ada:x@",                       "127.0.0.1",  "15672", "ada:x" },
		{ "[::1]",                        "::1",        "15672", "" },
		{ "[::1]:1",                      "::1",        "1",     "" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct why why = { "" };
		struct server s;

		CHECK(server_parse(rows[i].text, &s, &why) == 0);
		CHECK(!strcmp(s.host, rows[i].host) && !strcmp(s.port, rows[i].port) && !strcmp(s.credentials, rows[i].credentials));
	}
}

TEST(what_is_no_address_is_refused)
{
	static const char *const rows[] = {
		"ftp://broker", "broker:", "broker:x", "broker:70000", "broker:1/topics", "[::1", "[::1]x", "ada@broker",
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct why why = { "" };
		struct server s;

		CHECK(server_parse(rows[i], &s, &why) == -ERR_BAD_ARGUMENT && *why.text);
	}
}

TEST(a_parameter_may_be_anything)
{
	struct bytes path = BYTES_MAX(1000);

	query_add(&path, "name", "a b&c=d/\xc3\xa9");
	query_add(&path, "limit", "1");
	CHECK(slice_is(bytes_slice(&path), "?name=a%20b%26c%3Dd%2F%C3%A9&limit=1"));
	bytes_free(&path);
}

TEST(rows_become_a_table)
{
	struct groups_answer_group rows[2] = {
		{ .group = SLICE("readers"), .state = SLICE("Stable"), .protocol_type = SLICE("consumer"), .has_shard = true, .shard = 10 },
		{ .group = SLICE("\xc3\xa9\n"), .state = SLICE("Empty") },
	};
	struct groups_answer answer = { .groups = { 2, rows } };
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	CHECK(show_rows(f, &groups_answer_msg, &answer, 2, true) == 2);
	CHECK(show_rows(f, &groups_answer_msg, &answer, 1, false) == 1);
	CHECK(show_rows(NULL, &groups_answer_msg, &answer, 5, false) == 2);
	fclose(f);
	CHECK(strcmp(text, "group    state   protocol_type  shard\n"
			   "readers  Stable  consumer          10\n"
			   "\xc3\xa9?       Empty   -                  -\n"
			   "readers  Stable  consumer          10\n") == 0);
	free(text);
}
