/* serve.h - `hawser serve`: the broker, from its options to the signal that ends it. */
#ifndef SERVER_SERVE_H
#define SERVER_SERVE_H

enum { EXIT_USAGE = 2 };        /* of every command: the arguments make no sense */

/* argv[0] is the command's name.  Returns the exit status: EXIT_USAGE when options or settings are wrong. */
int serve(int argc, char **argv);

#endif
