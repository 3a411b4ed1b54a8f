/*
 * amqp_plans.c - what a seed may have of AMQP: queues, exchanges and bindings, and who works with them.
 */
#include "base/own.h"
#include "sim/sim.h"
#include "wire/table.h"

/* -------------------------------------------------------------------------------------------------- declarations ---- */

void declare_queue(struct sim *s, struct amqp_peer *p, const char *name, struct slice arguments)
{
	struct queue_declare q = { .queue = slice_cstr(name), .durable = true, .arguments = arguments };

	if (!ask_amqp(p, 1, &queue_declare_msg, &q, AMQP_QUEUE_DECLARE_OK, NULL))
		sim_fail(s->world, "set-up: queue %s is refused", name);
}

static void declare_exchange(struct sim *s, struct amqp_peer *p, const char *name, const char *type, struct slice arguments)
{
	struct exchange_declare e = { .exchange = slice_cstr(name), .type = slice_cstr(type), .durable = true, .arguments = arguments };

	if (!ask_amqp(p, 1, &exchange_declare_msg, &e, AMQP_EXCHANGE_DECLARE_OK, NULL))
		sim_fail(s->world, "set-up: exchange %s is refused", name);
}

static void bind_queue(struct sim *s, struct amqp_peer *p, const char *exchange, const char *queue, const char *key)
{
	struct queue_bind b = {
		.queue = slice_cstr(queue), .exchange = slice_cstr(exchange), .routing_key = slice_cstr(key), .arguments = SLICE(""),
	};

	if (!ask_amqp(p, 1, &queue_bind_msg, &b, AMQP_QUEUE_BIND_OK, NULL))
		sim_fail(s->world, "set-up: binding %s to %s is refused", queue, exchange);
}

static int add_amqp_queue(struct sim *s, struct amqp_peer *p, const char *name, struct slice arguments)
{
	struct model_channel *ch = model_channel(s->model, name);

	ch->queue = true;
	declare_queue(s, p, name, arguments);
	return (int)(ch - s->model->channels);
}

/* An exchange for what dies, and the queue behind it. */
static int add_grave(struct sim *s, struct amqp_peer *p, const char *exchange, const char *queue, struct slice arguments)
{
	declare_exchange(s, p, exchange, "fanout", SLICE(""));
	int grave = add_amqp_queue(s, p, queue, arguments);
	bind_queue(s, p, exchange, queue, "");
	return grave;
}

/* --------------------------------------------------------------------------------------------------------- plans ---- */

void plan_amqp(struct sim *s, struct kafka_peer *k, struct amqp_peer *p)
{
	OWN(bytes) struct bytes arguments = BYTES_MAX(1024);
	int dead = add_grave(s, p, "dead", "jobs-dead", SLICE(""));

	table_put_text(&arguments, SLICE("x-dead-letter-exchange"), SLICE("dead"));
	int jobs = add_amqp_queue(s, p, "jobs", bytes_slice(&arguments));
	s->model->channels[jobs].dead = dead;
	int line = add_amqp_queue(s, p, "line", SLICE(""));
	s->model->channels[line].single = true;
	declare_exchange(s, p, "fan", draw(s, 0, 1) ? "fanout" : "topic", SLICE(""));
	bind_queue(s, p, "fan", "jobs", "#");
	bind_queue(s, p, "fan", "line", "#");

	amqp_publisher(s, "", "jobs", &jobs, 1);
	amqp_publisher(s, "fan", "a.b", (int[]){ jobs, line }, 2);
	if (draw(s, 0, 1))
		amqp_publisher(s, "", "line", &line, 1);
	for (unsigned n = draw(s, 1, 3); n > 0; n--)
		amqp_consumer(s, jobs, (uint16_t)draw(s, 1, 20));
	if (draw(s, 0, 2) == 0)
		sqs_receiver(s, jobs);
	amqp_consumer(s, dead, 10);
	amqp_consumer(s, line, 1);
	if (draw(s, 0, 1)) {
		learn_id(s, k, jobs);
		kafka_consumer(s, jobs, 0);
	}
}

/* A queue that gets everything late. */
void plan_delays(struct sim *s, struct amqp_peer *p)
{
	OWN(bytes) struct bytes arguments = BYTES_MAX(1024);
	int later = add_amqp_queue(s, p, "later", SLICE(""));

	table_put_text(&arguments, SLICE("x-delayed-type"), SLICE("direct"));
	declare_exchange(s, p, "wait", "x-delayed-message", bytes_slice(&arguments));
	bind_queue(s, p, "wait", "later", "later");
	amqp_delayer(s, "wait", "later", later, 1 << draw(s, 6, 13));
	amqp_consumer(s, later, (uint16_t)draw(s, 1, 20));
}

/* One stream that keeps everything, and one that keeps so many bytes. */
void plan_streams(struct sim *s, struct amqp_peer *p)
{
	static const char *const names[] = { "tale", "news" };
	unsigned kind = draw(s, 0, 1);
	OWN(bytes) struct bytes arguments = BYTES_MAX(1024);
	struct model_channel *ch = model_channel(s->model, names[kind]);
	int stream = (int)(ch - s->model->channels);
	int64_t keeps = kind ? 1 << draw(s, 12, 17) : 0;

	table_put_text(&arguments, SLICE("x-queue-type"), SLICE("stream"));
	if (keeps)
		table_put_integer(&arguments, SLICE("x-max-length-bytes"), keeps);
	declare_queue(s, p, names[kind], bytes_slice(&arguments));
	for (unsigned n = draw(s, 1, 2); n > 0; n--)
		amqp_publisher(s, "", names[kind], &stream, keeps ? 0 : 1);
	for (unsigned n = draw(s, 1, 2); n > 0; n--)
		stream_reader(s, stream, keeps, (uint16_t)draw(s, 1, 30));
}

/* What is rejected must arrive, and where it goes refuses publishers most of the time, because it is full. */
void plan_full_grave(struct sim *s, struct amqp_peer *p)
{
	OWN(bytes) struct bytes tight = BYTES_MAX(1024), risky = BYTES_MAX(1024);

	table_put_integer(&tight, SLICE("x-max-length"), draw(s, 1, 3));
	table_put_text(&tight, SLICE("x-overflow"), SLICE("reject-publish"));
	int dead = add_grave(s, p, "fall", "tight", bytes_slice(&tight));
	table_put_text(&risky, SLICE("x-queue-type"), SLICE("quorum"));
	table_put_integer(&risky, SLICE("x-delivery-limit"), -1);
	table_put_text(&risky, SLICE("x-dead-letter-exchange"), SLICE("fall"));
	table_put_text(&risky, SLICE("x-dead-letter-strategy"), SLICE("at-least-once"));
	table_put_text(&risky, SLICE("x-overflow"), SLICE("reject-publish"));
	int jobs = add_amqp_queue(s, p, "risky", bytes_slice(&risky));
	s->model->channels[jobs].dead = dead;
	amqp_publisher(s, "", "risky", &jobs, 1);
	for (unsigned n = draw(s, 1, 2); n > 0; n--)
		amqp_rejecter(s, jobs, (uint16_t)draw(s, 5, 20));
	amqp_consumer(s, dead, 1);
}
