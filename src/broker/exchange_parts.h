/*
 * exchange_parts.h - inside routing only: a route under way, and the kinds of exchange that are not in exchange.c.
 */
#ifndef BROKER_EXCHANGE_PARTS_H
#define BROKER_EXCHANGE_PARTS_H

#include "broker/catalogue.h"
#include "broker/catalogue_parts.h"

struct route {
	struct catalogue *c;
	const struct routing *routing;
	struct slice key;
	uint32_t *ret;
	int max, found;
	struct exchange *work, **tail;
	bool matched;                   /* this exchange has sent it somewhere */
	bool followed;                  /* it is not the first exchange any more */
};

/* ---- exchange.c ---- */
void route_follow(struct route *r, const struct binding *bind);
void route_reach(struct route *r, struct entry *e);
void route_fanout(struct route *r, struct exchange *x);
void route_by(struct route *r, struct exchange *x, enum exchange_type t);      /* as an exchange of that type */

/* ---- exchange_spread.c: one of the bindings ---- */
void route_random(struct route *r, struct exchange *x);
void route_modulus(struct route *r, struct exchange *x);
void route_hash(struct route *r, struct exchange *x);
int  hash_check_arguments(struct slice arguments, struct why *why);
int  hash_check_key(struct slice key, struct why *why);

/* ---- exchange_behind.c: exchanges with a queue behind them ---- */
void route_delayed(struct route *r, struct exchange *x);
void route_history(struct route *r, struct exchange *x);
void route_once(struct route *r, struct exchange *x);
/* -ERR_BAD_ARGUMENT, with RabbitMQ's (or the plugin's) text. */
int  delayed_check_arguments(struct slice arguments, struct why *why);
int  history_check_arguments(struct slice arguments, struct why *why);
int  once_check_arguments(struct slice arguments, struct why *why);

#endif
