/*
 * amqp_peer.h - an AMQP client's connection with one or two channels: frames out as real bytes, methods back.
 */
#ifndef SIM_AMQP_PEER_H
#define SIM_AMQP_PEER_H

#include "protocols/amqp/amqp.gen.h"
#include "sim/world.h"

enum { AMQP_CHANNELS = 3 };     /* numbers 0 to 2; 1 is opened with the connection */

struct amqp_content {
	struct basic_properties properties;
	struct slice body;
};

struct amqp_peer {
	struct client client;
	bool open;                      /* channel 1 is */
	uint16_t heartbeat_s;           /* asked for; 0: none */
	uint32_t frame_max;
	struct event beat;
	struct {
		const struct wire_msg *method;          /* whose content is coming; NULL: none */
		struct bytes arguments, properties, body;
		uint64_t size;
	} channels[AMQP_CHANNELS];

	void (*opened)(struct amqp_peer *);     /* channel 1 may be used */
	/* `content` is NULL for methods without. */
	void (*method)(struct amqp_peer *, uint16_t channel, const struct wire_msg *m, const void *args,
		       const struct amqp_content *content);
	void (*lost)(struct amqp_peer *);
	void *ctx;
};

void amqp_init(struct amqp_peer *p, struct world *w, const char *name);
void amqp_free(struct amqp_peer *p);
bool amqp_connect(struct amqp_peer *p);
void amqp_send(struct amqp_peer *p, uint16_t channel, const struct wire_msg *m, const void *args);
void amqp_publish(struct amqp_peer *p, uint16_t channel, const struct basic_publish *args,
		  const struct basic_properties *properties, struct slice body);
/*
 * Send and run the world until a method with id `answer` comes back on this channel; its arguments are copied to `ret`
 * (strings in it are gone).  False: something else came, or the connection is lost.  For set-up and stories.
 */
bool ask_amqp(struct amqp_peer *p, uint16_t channel, const struct wire_msg *m, const void *args, uint32_t answer, void *ret);
/* The same for a connection: until channel 1 is open. */
bool ask_amqp_open(struct amqp_peer *p);

#endif
