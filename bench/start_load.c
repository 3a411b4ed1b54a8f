/*
 * start_load.c - how long until a broker says `ready`, and what it holds when idle.
 *
 *   start_load [--name NAME] -- build/hawser serve --data DIR --kafka 127.0.0.1:0 ...
 *
 * The time runs from before fork() to the line on its standard output.
 */
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "load.h"

int main(int argc, char **argv)
{
	const char *name = "start";
	int at = 1, pipes[2];
	char line[512];
	pid_t pid;

	for (; at < argc && strcmp(argv[at], "--") != 0; at++) {
		if (!strcmp(argv[at], "--name") && at + 1 < argc)
			name = argv[++at];
	}
	if (at + 1 >= argc || pipe(pipes) < 0)
		die("usage: start_load [--name NAME] -- COMMAND...");

	int64_t began = now_ns(), ready = 0;
	pid = fork();
	if (pid == 0) {
		dup2(pipes[1], STDOUT_FILENO);
		execv(argv[at + 1], argv + at + 1);
		_exit(127);
	}
	close(pipes[1]);
	FILE *f = fdopen(pipes[0], "r");
	while (f && !ready && fgets(line, sizeof line, f)) {
		if (!strncmp(line, "ready", 5))
			ready = now_ns();
	}
	if (!ready)
		die("%s did not say that it is ready", argv[at + 1]);
	usleep(300000);
	struct usage u = usage_of(pid);
	kill(pid, SIGTERM);
	waitpid(pid, NULL, 0);
	printf("name=%s ready_ms=%.1f idle_mb=%.1f start_cpu_ms=%.0f\n", name, (double)(ready - began) / 1e6, u.resident_mb,
	       1e3 * (u.user_s + u.system_s));
	return 0;
}
