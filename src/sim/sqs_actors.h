/*
 * sqs_actors.h - what the actors that speak SQS share.
 */
#ifndef SIM_SQS_ACTORS_H
#define SIM_SQS_ACTORS_H

#include "sim/sim.h"

struct text {
	char t[96];
};

struct text url_of(const struct model_channel *ch);
struct slice arena_text(struct arena *a, const char *format, unsigned n);       /* one number in it */

#endif
