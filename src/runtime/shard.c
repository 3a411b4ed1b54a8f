#include "runtime/shard.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runtime/connection.h"
#include "runtime/files.h"
#include "runtime/runtime.h"
#include "security/gate.h"

enum {
	EVENTS = 256,
	ACCEPTS = 64,                   /* connections taken in one turn */
	ACCEPT_REST_MS = 100,
	ACCEPT_NOTE_MS = 60000,
	COMMANDS = 20000,               /* carried out in one turn before sockets are looked at again */
	SCRATCH_BYTES = 256 * 1024,
	STATS_MS = 100,
	HANDLE_BITS = 20,               /* of a handle: the place in the table; the rest is its generation */
	MAX_CONNECTIONS = 1 << HANDLE_BITS,
};

static struct ring *ring_between(const struct shard *from, uint16_t to)
{
	const struct runtime *rt = from->runtime;

	return &rt->rings[from->id * rt->options.shards + to];
}

/* Nothing more can be promised: say why and go. */
static _Noreturn void end_process(const char *what, const char *why)
{
	fprintf(stderr, "hawser: %s: %s\n", what, why);
	fflush(NULL);
	_exit(EXIT_FAILURE);
}

void shard_wake(struct shard *s)
{
	uint64_t one = 1;

	/* Only a sleeper needs the call; it looks at everything again after it has said that it sleeps. */
	if (!atomic_exchange(&s->asleep, false))
		return;
	while (write(s->wake, &one, sizeof one) < 0 && errno != EAGAIN)
		if (errno != EINTR)
			end_process("a shard cannot be woken", strerror(errno));
}

static void wake_from_disk(void *ctx)
{
	shard_wake(ctx);
}

/* -------------------------------------------------------------------------------------------------- connections ---- */

uint32_t shard_add(struct shard *s, struct connection *c)
{
	uint32_t at = s->free_from;

	while (at < s->nslots && s->slots[at].connection)
		at++;
	if (at == s->nslots) {
		uint32_t n = s->nslots ? s->nslots * 2 : 64;
		struct slot *slots = n <= MAX_CONNECTIONS ? realloc(s->slots, n * sizeof *slots) : NULL;
		if (!slots)
			return 0;
		memset(slots + s->nslots, 0, (n - s->nslots) * sizeof *slots);
		s->slots = slots;
		s->nslots = n;
	}
	s->free_from = at + 1;
	s->connections++;
	atomic_fetch_add(&s->runtime->connections, 1);
	atomic_fetch_add(&s->runtime->connections_total, 1);

	struct slot *slot = &s->slots[at];
	slot->connection = c;
	slot->generation = (uint16_t)((slot->generation + 1) & 0xfff);
	if (!slot->generation)
		slot->generation = 1;
	return (uint32_t)slot->generation << HANDLE_BITS | at;
}

void shard_remove(struct shard *s, uint32_t handle)
{
	uint32_t at = handle & (MAX_CONNECTIONS - 1);

	s->slots[at].connection = NULL;
	if (at < s->free_from)
		s->free_from = at;
	s->connections--;
	atomic_fetch_sub(&s->runtime->connections, 1);
}

struct connection *shard_find(const struct shard *s, uint32_t handle)
{
	uint32_t at = handle & (MAX_CONNECTIONS - 1);

	if (at >= s->nslots || s->slots[at].generation != handle >> HANDLE_BITS)
		return NULL;
	return s->slots[at].connection;
}

void shard_activate(struct shard *s, struct connection *c)
{
	list_remove(&c->active);
	list_push(&s->active, &c->active);
}

void shard_touch(struct shard *s, struct connection *c)
{
	list_remove(&c->touched);
	list_push(&s->touched, &c->touched);
}

/* Connections wait in the kernel for a while. */
static void rest_from_accepting(struct shard *s, const char *why)
{
	s->accept_again_ms = s->now_ms + ACCEPT_REST_MS;
	if (s->now_ms - s->accept_note_ms >= ACCEPT_NOTE_MS) {
		s->accept_note_ms = s->now_ms;
		runtime_note("server", "", why);
	}
}

/* The listeners are shared by all shards: EPOLLEXCLUSIVE wakes one of them per connection. */
static void watch_listeners(struct shard *s, bool on)
{
	struct runtime *rt = s->runtime;

	for (unsigned i = 0; i < rt->options.nlisteners; i++) {
		struct listener *l = &rt->options.listeners[i];
		struct epoll_event event = { .events = EPOLLIN | EPOLLEXCLUSIVE, .data.ptr = l };
		if (epoll_ctl(s->epoll, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, l->socket, &event) < 0 && on && errno != EEXIST)
			rest_from_accepting(s, "the kernel has no room to watch a listener: its connections wait");
	}
}

static void run_out_of_descriptors(struct shard *s)
{
	if (s->accept_again_ms)
		return;
	watch_listeners(s, false);              /* or we would be told of them all the time */
	rest_from_accepting(s, "no file descriptors are left for more connections: they wait (see ulimit -n)");
}

static void accept_some(struct shard *s, const struct listener *l)
{
	struct runtime *rt = s->runtime;

	for (int i = 0; i < ACCEPTS && !s->stopping; i++) {
		int socket = -1;

		/* Some descriptors are the log's: it could not go on without. */
		if (atomic_load(&rt->connections) < rt->connections_max)
			socket = accept4(l->socket, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		else
			errno = EMFILE;
		if (socket >= 0) {
			connection_open(s, l->protocol, l->tls, socket);
		} else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
			run_out_of_descriptors(s);
			return;
		} else if (errno != EINTR && errno != ECONNABORTED) {
			return;
		}
	}
}

static const struct listener *as_listener(const struct shard *s, const void *p)
{
	const struct listener *first = s->runtime->options.listeners;

	return (const struct listener *)p >= first && (const struct listener *)p < first + LISTENERS_MAX ? p : NULL;
}

/* ----------------------------------------------------------------------------------------------------- commands ---- */

void shard_route(struct shard *s, struct cmd *c)
{
	bool back = cmd_goes_back(c);
	uint16_t to = back ? c->from_shard : c->to_shard;

	if (to == s->id)
		list_push(&s->local, &c->link);
	else
		ring_put(ring_between(s, to), c);
}

static void outlet_send(void *ctx, struct cmd *c)
{
	shard_route(ctx, c);
}

static void outlet_failed(void *ctx, const struct why *why)
{
	runtime_note("disk", "", why->text);
	end_process("the disk failed, nothing more can be acknowledged", why->text);
}

static void outlet_notice(void *ctx, const struct why *why)
{
	runtime_note("disk", "", why->text);
}

static void deliver(struct shard *s, struct cmd *c)
{
	bool back = cmd_goes_back(c);
	struct connection *to;

	if (!back || c->session == 0) {
		broker_handle(s->broker, c, s->now_ms);
		return;
	}
	to = shard_find(s, c->session);
	if (!to || !to->session || to->closing) {
		cmd_free(c);
		return;
	}
	to->protocol->reply(to->session, c);
	to->flush = true;
	shard_touch(s, to);
}

static void run_commands(struct shard *s)
{
	struct node *n;

	for (int i = 0; i < COMMANDS && (n = list_pop(&s->local)); i++)
		deliver(s, CONTAINER(struct cmd, link, n));
}

static void read_rings(struct shard *s)
{
	for (uint16_t i = 0; i < s->runtime->options.shards; i++) {
		struct ring *r = &s->runtime->rings[i * s->runtime->options.shards + s->id];
		struct cmd *c;
		for (int n = 0; i != s->id && n < COMMANDS && (c = ring_get(r)); n++)
			deliver(s, c);
	}
}

static void flush_rings(struct shard *s)
{
	for (uint16_t i = 0; i < s->runtime->options.shards; i++)
		if (i != s->id && ring_flush(ring_between(s, i)))
			shard_wake(&s->runtime->shards[i]);
}

static bool rings_have_work(const struct shard *s)
{
	for (uint16_t i = 0; i < s->runtime->options.shards; i++)
		if (i != s->id && (!ring_empty(&s->runtime->rings[i * s->runtime->options.shards + s->id]) ||
				   ring_waiting(ring_between(s, i))))
			return true;
	return false;
}

/* -------------------------------------------------------------------------------------------------------- turns ---- */

static void fire_timers(struct shard *s)
{
	struct heap_node *n;

	while ((n = heap_pop_until(&s->session_timers, s->now_ms)))
		connection_expire(CONTAINER(struct connection, timer, n));
	if (broker_next_timer(s->broker) <= s->now_ms)
		broker_tick(s->broker, s->now_ms);
	if (s->accept_again_ms && s->accept_again_ms <= s->now_ms) {
		s->accept_again_ms = 0;
		if (!s->stopping)
			watch_listeners(s, true);
	}
}

static void read_connections(struct shard *s)
{
	struct node now;

	s->handshakes = 0;
	list_take(&s->active, &now);
	for (struct node *n; (n = list_pop(&now));)
		connection_read(CONTAINER(struct connection, active, n));
}

static void flush_sessions(struct shard *s)
{
	/* A flush may touch its own connection again, which then moves to the end: look at each once. */
	struct node now;

	list_take(&s->touched, &now);
	for (struct node *n; (n = list_pop(&now));) {
		struct connection *c = CONTAINER(struct connection, touched, n);
		list_push(&s->touched, n);
		if (c->flush)
			connection_flush(c);
	}
}

static void send_outputs(struct shard *s)
{
	struct node now;

	list_take(&s->touched, &now);
	for (struct node *n; (n = list_pop(&now));)
		connection_send(CONTAINER(struct connection, touched, n));
}

static void change_blocked(struct shard *s)
{
	bool blocked = atomic_load(&s->runtime->blocked);

	if (blocked == s->blocked)
		return;
	s->blocked = blocked;
	broker_set_blocked(s->broker, blocked);
	for (uint32_t i = 0; i < s->nslots; i++) {
		struct connection *c = s->slots[i].connection;
		if (!c)
			continue;
		c->host.blocked = blocked;
		if (c->session && c->protocol->blocked && !c->closing && !c->broken) {
			c->protocol->blocked(c->session);
			c->flush = true;
			shard_touch(s, c);
		}
	}
}

static void publish_stats(struct shard *s)
{
	struct broker_stats stats;

	broker_stats(s->broker, &stats);
	pthread_mutex_lock(&s->runtime->stats_lock);
	s->runtime->stats[s->id] = stats;
	pthread_mutex_unlock(&s->runtime->stats_lock);
	s->stats_ms = s->now_ms;
	s->stats_stale = false;
}

/* Milliseconds to sleep: 0 when there is work, -1 for ever. */
static int patience(struct shard *s)
{
	int64_t until = broker_next_timer(s->broker);
	const struct heap_node *first = heap_first(&s->session_timers);

	if (!list_empty(&s->local) || !list_empty(&s->active) || !list_empty(&s->touched))
		return 0;
	if (first && first->key < until)
		until = first->key;
	if (s->accept_again_ms && s->accept_again_ms < until)
		until = s->accept_again_ms;
	if (s->stats_stale && s->stats_ms + STATS_MS < until)
		until = s->stats_ms + STATS_MS;
	if (until == INT64_MAX)
		return -1;
	if (until <= s->now_ms)
		return 0;
	return until - s->now_ms > 60000 ? 60000 : (int)(until - s->now_ms);
}

static void on_event(struct shard *s, const struct epoll_event *e)
{
	const struct listener *l = as_listener(s, e->data.ptr);
	uint64_t count;

	if (e->data.ptr == s) {
		while (read(s->wake, &count, sizeof count) > 0)
			;
	} else if (l) {
		accept_some(s, l);
	} else {
		struct connection *c = e->data.ptr;
		if (e->events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
			c->readable = true;
		if (e->events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
			c->hung_up = true;
		if (e->events & (EPOLLHUP | EPOLLERR))
			c->reset = true;
		if (e->events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
			c->writable = true;
		shard_activate(s, c);
		shard_touch(s, c);
	}
}

static bool has_orders(const struct shard *s)
{
	const struct runtime *rt = s->runtime;

	return atomic_load(&rt->stopping) != s->stopping || atomic_load(&rt->blocked) != s->blocked ||
	       (s->id == 0 && atomic_load(&rt->inner) >= 0) || atomic_load(&rt->accepting) != s->accepting || atomic_load(&rt->dispose);
}

static void wait_for_events(struct shard *s)
{
	struct epoll_event events[EVENTS];
	int timeout = patience(s), n;

	if (timeout != 0) {
		atomic_store(&s->asleep, true);
		if (rings_have_work(s) || files_finished(s->files) || has_orders(s))
			timeout = 0;
	}
	n = epoll_wait(s->epoll, events, EVENTS, timeout);
	atomic_store(&s->asleep, false);
	s->now_ms = clock_now_ms(&s->runtime->clock);
	s->stats_stale |= n > 0;
	for (int i = 0; i < n; i++)
		on_event(s, &events[i]);
}

static void close_connections(struct shard *s)
{
	for (uint32_t i = 0; i < s->nslots; i++)
		if (s->slots[i].connection)
			connection_close(s->slots[i].connection, true);
}

/* Accept, stop: what the main thread has decided meanwhile. */
static void follow_orders(struct shard *s)
{
	struct runtime *rt = s->runtime;

	if (atomic_load(&rt->accepting) && !s->accepting && !s->stopping) {
		watch_listeners(s, true);
		s->accepting = true;
	}
	if (s->id == 0 && atomic_load(&rt->inner) >= 0)
		connection_open(s, rt->inner_protocol, NULL, atomic_exchange(&rt->inner, -1));
	change_blocked(s);
	if (atomic_load(&rt->stopping) && !s->stopping) {
		if (s->accepting)
			watch_listeners(s, false);
		s->accept_again_ms = 0;
		s->stopping = true;
		close_connections(s);
		broker_stop(s->broker, s->now_ms);
		broker_flush(s->broker);                /* the last checkpoint begins now: nothing else may wake us */
	}
	if (atomic_load(&s->phase) == SHARD_OPEN && broker_ready(s->broker))
		atomic_store(&s->phase, SHARD_READY);
	if (s->stopping && !broker_busy(s->broker) && !s->loads && list_empty(&s->local) && !rings_have_work(s)) {
		atomic_fetch_add(&s->rests, 1);
		atomic_store(&s->phase, SHARD_DRAINED);
	}
}

static void turn(struct shard *s)
{
	wait_for_events(s);
	if (s->stopping)
		atomic_store(&s->phase, SHARD_READY);   /* before a ring is read: see runtime.c, is_quiet() */
	if (files_reap(s->files))
		broker_flush(s->broker);        /* what was waiting meanwhile need not wait for what is about to be read */
	read_rings(s);
	read_connections(s);
	fire_timers(s);
	run_commands(s);
	flush_sessions(s);
	run_commands(s);
	broker_flush(s->broker);
	send_outputs(s);
	flush_rings(s);
	follow_orders(s);
	if (s->stats_stale && s->now_ms - s->stats_ms >= STATS_MS)
		publish_stats(s);
}

/* --------------------------------------------------------------------------------------------------- begin, end ---- */

/* Many with one call; none is left in memory once it is somebody's. */
static uint64_t random_from_kernel(struct env *env)
{
	struct shard *s = CONTAINER(struct shard, env, env);
	uint64_t v;

	if (s->nrandom == 0) {
		/* No more than 256 bytes: those the kernel gives all or nothing. */
		while (getrandom(s->random, sizeof s->random, 0) != sizeof s->random)
			;
		s->nrandom = sizeof s->random / sizeof v;
	}
	v = s->random[--s->nrandom];
	s->random[s->nrandom] = 0;
	return v;
}

static int open_broker(struct shard *s)
{
	struct runtime *rt = s->runtime;
	struct broker_options options = rt->options.broker;
	const struct outlet outlet = { .ctx = s, .send = outlet_send, .failed = outlet_failed,
				       .notice = outlet_notice };
	char path[4096];

	snprintf(path, sizeof path, "%s/shard-%u", rt->options.data, s->id);
	if (files_open(path, wake_from_disk, s, &s->files, &s->why) < 0)
		return -ERR_DISK;
	s->env = (struct env){ .disk = files_disk(s->files), .random = random_from_kernel };
	options.shard = s->id;
	options.shards = rt->options.shards;
	s->now_ms = clock_now_ms(&rt->clock);
	int r = broker_open(&s->env, &options, &outlet, s->now_ms, &s->broker, &s->why);
	return r < 0 ? r : gate_over(rt->options.gate, catalogue_decrees(broker_catalogue(s->broker)), &s->gate);
}

static void tell_of_damage(const struct shard *s)
{
	struct broker_stats stats;
	char text[160];

	broker_stats(s->broker, &stats);
	if (!stats.damaged_batches)
		return;
	snprintf(text, sizeof text, "shard-%u: %llu batches are damaged and are not served; `hawser fsck` says which, when the broker "
		 "is stopped", s->id, (unsigned long long)stats.damaged_batches);
	runtime_note("disk", "", text);
}

/* Why it does not open; and if a file is damaged, what to do about that. */
static void explain(struct shard *s, int error)
{
	struct why cause = s->why;

	if (error == -ERR_DAMAGED)
		fail(&s->why, error, "%s; run `hawser fsck %s`: it says what of this can be mended or given up", cause.text,
		     s->runtime->options.data);
	because(&s->why, error, "shard-%u", s->id);
}

static void *run(void *arg)
{
	struct shard *s = arg;
	int error = open_broker(s);

	if (error < 0) {
		explain(s, error);
		atomic_store(&s->phase, SHARD_FAILED);
		return NULL;
	}
	tell_of_damage(s);
	atomic_store(&s->phase, SHARD_OPEN);
	while (!atomic_load(&s->runtime->dispose) || atomic_load(&s->phase) != SHARD_DRAINED)
		turn(s);
	gate_free(s->gate);
	broker_close(s->broker);
	files_close(s->files);
	free(s->slots);
	free(s->scratch);
	heap_free(&s->session_timers);
	atomic_store(&s->phase, SHARD_CLOSED);
	return NULL;
}

int shard_start(struct shard *s)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET, .data.ptr = s };
	sigset_t all, old;
	int r;

	list_init(&s->local);
	list_init(&s->active);
	list_init(&s->touched);
	s->scratch = malloc(SCRATCH_BYTES);
	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	s->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (!s->scratch || s->epoll < 0 || s->wake < 0 || epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->wake, &event) < 0)
		return -ERR_NO_MEMORY;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&s->thread, NULL, run, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return r ? -ERR_NO_MEMORY : 0;
}
