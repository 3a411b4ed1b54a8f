/*
 * cli.h - the commands of `hawser`, one file each; cli.c has the table of them.
 *
 * A command gets its own name as argv[0] and returns the exit status of the process.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdlib.h>

#include "server/serve.h"       /* EXIT_USAGE, beside EXIT_SUCCESS and EXIT_FAILURE: understood, and could not be done */

/* What main() was given: find the command and run it.  Returns the exit status. */
int cli_run(int argc, char **argv);

#endif
