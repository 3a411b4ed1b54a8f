/* ask.h - `hawser topics`, `queues`, `groups`, `stats` and `health`: what a running broker says of itself. */
#ifndef CLI_ASK_H
#define CLI_ASK_H

int ask_topics(int argc, char **argv);
int ask_queues(int argc, char **argv);
int ask_groups(int argc, char **argv);
int ask_stats(int argc, char **argv);
int ask_health(int argc, char **argv);

#endif
