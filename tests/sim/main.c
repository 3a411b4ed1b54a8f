/*
 * hawser_sim - runs seeds.  Each is a whole life of a node: see src/sim/sim.h and docs/simulator.md.
 *
 *   hawser_sim --seeds 1..2000          every seed in a process of its own; prints "N passed, N failed"
 *   hawser_sim --seed 7 --trace         one, with every event
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sim/sim.h"

enum { SECONDS_MAX = 600, TWICE_EVERY = 20 };

struct settings {
	struct sim_options options;
	uint64_t from, to;
	bool in_process, quiet, twice, keep_going;
};

static const char usage[] =
	"usage: hawser_sim [--seed N | --seeds A..B] [--shards 1|2|4] [--trace] [--twice] [--no-fork] [--stop]\n"
	"  --trace     every event on standard error\n"
	"  --twice     run each seed twice and compare (else every 20th)\n"
	"  --no-fork   all in this process (for sanitizers and debuggers)\n"
	"  --stop      end at the first seed that fails\n";

static int one(const struct settings *s, uint64_t seed)
{
	struct sim_options o = s->options;
	struct sim_result r, again;

	o.seed = seed;
	sim_run(&o, &r);
	if (!r.failed && (s->twice || seed % TWICE_EVERY == 0)) {
		sim_run(&o, &again);
		if (again.hash != r.hash || again.failed) {
			r.failed = true;
			snprintf(r.failure, sizeof r.failure, "the same seed ran twice and differed: %016llx after %llu events, "
				 "%016llx after %llu", (unsigned long long)r.hash, (unsigned long long)r.steps,
				 (unsigned long long)again.hash, (unsigned long long)again.steps);
		}
	}
	if (r.failed)
		printf("seed %llu: %s\n", (unsigned long long)seed, r.failure);
	else if (!s->quiet)
		printf("seed %llu: %u shards, %u starts, %.0f virtual s, %llu events, %llu acknowledged, %llu delivered, "
		       "%llu known settled, hash %016llx\n", (unsigned long long)seed, r.shards, r.starts,
		       (double)r.virtual_us / SIM_S, (unsigned long long)r.steps, (unsigned long long)r.acked,
		       (unsigned long long)r.delivered, (unsigned long long)r.settled, (unsigned long long)r.hash);
	fflush(stdout);
	return r.failed;
}

/* In a child, so that an assertion, too, is one failed seed and no more. */
static int one_apart(const struct settings *s, uint64_t seed)
{
	int status;
	pid_t child;

	fflush(NULL);
	child = fork();
	if (child == 0) {
		alarm(SECONDS_MAX);
		_exit(one(s, seed));
	}
	if (child < 0 || waitpid(child, &status, 0) < 0) {
		perror("hawser_sim");
		exit(EXIT_FAILURE);
	}
	if (WIFSIGNALED(status)) {
		printf("seed %llu: ended by signal %d (%s)\n", (unsigned long long)seed, WTERMSIG(status), strsignal(WTERMSIG(status)));
		return 1;
	}
	return WEXITSTATUS(status) != 0;
}

static int run(const struct settings *s)
{
	unsigned long long passed = 0, failed = 0;

	for (uint64_t seed = s->from; seed <= s->to; seed++) {
		if (!(s->in_process ? one(s, seed) : one_apart(s, seed))) {
			passed++;
			continue;
		}
		failed++;
		printf("    replay: script/sim %llu", (unsigned long long)seed);
		if (s->options.shards)
			printf(" --shards %u", s->options.shards);
		printf(" --trace\n");
		if (!s->keep_going)
			break;
	}
	printf("%llu passed, %llu failed\n", passed, failed);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	static const struct option known[] = {
		{ "seed", required_argument, NULL, 's' },   { "seeds", required_argument, NULL, 'r' },
		{ "shards", required_argument, NULL, 'n' }, { "trace", no_argument, NULL, 't' },
		{ "twice", no_argument, NULL, '2' },        { "no-fork", no_argument, NULL, 'f' },
		{ "stop", no_argument, NULL, 'x' },         { "help", no_argument, NULL, 'h' }, { 0 },
	};
	struct settings s = { .from = 1, .to = 1, .keep_going = true };
	int letter;

	while ((letter = getopt_long(argc, argv, "", known, NULL)) != -1) {
		char *end = NULL;
		switch (letter) {
		case 's': s.from = s.to = strtoull(optarg, NULL, 0); break;
		case 'r':
			s.from = strtoull(optarg, &end, 0);
			s.to = strncmp(end, "..", 2) == 0 ? strtoull(end + 2, NULL, 0) : s.from;
			s.quiet = true;
			break;
		case 'n': s.options.shards = (uint16_t)atoi(optarg); break;
		case 't': s.options.trace = s.in_process = true; break;
		case '2': s.twice = true; break;
		case 'f': s.in_process = true; break;
		case 'x': s.keep_going = false; break;
		default:  fputs(usage, letter == 'h' ? stdout : stderr); return letter == 'h' ? EXIT_SUCCESS : 2;
		}
	}
	if (s.options.shards > SHARDS_MAX || optind < argc) {
		fputs(usage, stderr);
		return 2;
	}
	return run(&s);
}
