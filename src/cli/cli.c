/* cli.c - the table of commands. */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

#include "cli/ask.h"
#include "cli/fsck.h"
#include "cli/rabbit.h"
#include "server/config.h"

static int settings(int argc, char **argv);
static int version(int argc, char **argv);
static int help(int argc, char **argv);

static const struct command {
	const char *name, *arguments, *help;
	int (*run)(int argc, char **argv);
} commands[] = {
	{ "serve",    "[OPTION]...", "run the broker; hawser serve --help has the options", serve },
	{ "topics",   "list|describe|create|alter|delete ...", "what a running broker has, and how it is kept; hawser topics --help", ask_topics },
	{ "queues",   "list|describe NAME", "", ask_queues },
	{ "groups",   "list|describe NAME", "", ask_groups },
	{ "users",    "list|add|delete|password|tags|check|limit|limits ...", "who may do what; hawser users alone has the words", rabbit_noun },
	{ "vhosts",   "list|add|delete|limit|limits ...", "", rabbit_noun },
	{ "permissions", "list|set|clear|of ...", "", rabbit_noun },
	{ "policies", "list|set|clear ...", "", rabbit_noun },
	{ "definitions", "export FILE | import [FILE]", "", rabbit_noun },
	{ "connections", "list|close ...", "", rabbit_noun },
	{ "stats",    "",            "all figures of a running broker", ask_stats },
	{ "health",   "",            "", ask_health },
	{ "fsck",     "[--repair] DIR", "is what is in a data directory whole?  No broker may be running on it", fsck },
	{ "settings", "",            "the names that a configuration file knows, with defaults", settings },
	{ "version",  "",            "", version },
	{ "help",     "",            "", help },
};

enum { COMMANDS = sizeof commands / sizeof *commands };

static int settings(int argc, char **argv)
{
	config_names(stdout);
	return EXIT_SUCCESS;
}

static int version(int argc, char **argv)
{
	puts("hawser " HAWSER_VERSION);
	return EXIT_SUCCESS;
}

static int help(int argc, char **argv)
{
	for (unsigned i = 0; i < COMMANDS; i++) {
		const struct command *c = &commands[i];

		printf("%s hawser %s%s%s\n", i ? "      " : "usage:", c->name, *c->arguments ? " " : "", c->arguments);
		if (*c->help)
			printf("           %s\n", c->help);
	}
	return EXIT_SUCCESS;
}

static const struct command *find(const char *name)
{
	static const struct { const char *alias, *name; } aliases[] = {
		{ "--help", "help" }, { "-h", "help" }, { "--version", "version" },
	};

	for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++)
		if (!strcmp(name, aliases[i].alias))
			name = aliases[i].name;
	for (unsigned i = 0; i < COMMANDS; i++)
		if (!strcmp(name, commands[i].name))
			return &commands[i];
	return NULL;
}

int cli_run(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "help";

	if (rabbit_is(argv[0]))
		return rabbit_run(argc, argv);
	const struct command *c = find(name);

	if (!c) {
		fprintf(stderr, "hawser: unknown command '%s'; see hawser help\n", name);
		return EXIT_USAGE;
	}
	return c->run(argc > 1 ? argc - 1 : argc, argc > 1 ? argv + 1 : argv);
}
