/* rabbit_health.c - is it there, is it well, where does it listen? */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <netdb.h>

#include "cli/rabbit.h"

enum { AGAIN_MS = 100 };

/* Anybody may ask this. */
static bool is_up(const struct rabbit *r)
{
	struct answer answer = { 0 };
	struct why why = { "" };
	bool up = client_ask(&r->server, "GET", "/healthz", SLICE_NULL, &answer, &why) == 0 && answer.status == 200;

	answer_free(&answer);
	return up;
}

static int down(void)
{
	return rabbit_error(CODE_UNAVAILABLE, "Failed to connect and authenticate to hawser@localhost: is it running?");
}

int rabbit_ping(const struct rabbit *r)
{
	rabbit_say(r, "Will ping hawser@localhost. This only checks if the broker answers. Timeout: %d ms.", r->timeout_s * 1000);
	if (!is_up(r))
		return down();
	printf("Ping succeeded\n");
	return CODE_OK;
}

int rabbit_await_startup(const struct rabbit *r)
{
	const struct timespec pause = { .tv_nsec = AGAIN_MS * 1000000L };

	for (int waited_ms = 0; !is_up(r); waited_ms += AGAIN_MS) {
		if (waited_ms >= r->timeout_s * 1000)
			return rabbit_error(CODE_TEMPORARY, "operation await_startup on node hawser@localhost timed out");
		nanosleep(&pause, NULL);
	}
	return CODE_OK;
}

int rabbit_check_running(const struct rabbit *r)
{
	rabbit_say(r, "Checking if RabbitMQ is running on node hawser@localhost ...");
	if (!is_up(r))
		return down();
	printf("RabbitMQ on node hawser@localhost is fully booted and running\n");
	return CODE_OK;
}

/* One of the broker's own checks; `well` is said when it passes. */
static int check(const struct rabbit *r, const char *well, const char *first, const char *second, const char *third)
{
	struct reply reply;
	int code = rabbit_ask(r, "GET", NULL, &reply, first, second, third, NULL);

	if (code == CODE_OK)
		code = rabbit_check(r, &reply, CODE_UNAVAILABLE);
	if (code == CODE_OK)
		rabbit_say(r, "%s", well);
	reply_free(&reply);
	return code;
}

int rabbit_check_alarms(const struct rabbit *r)
{
	rabbit_say(r, "Asking node hawser@localhost to report any local resource alarms ...");
	return check(r, "Node hawser@localhost reported no local alarms", "health", "checks", "local-alarms");
}

int rabbit_check_vhosts(const struct rabbit *r)
{
	rabbit_say(r, "Checking if all vhosts are running on node hawser@localhost ...");
	return check(r, "Node hawser@localhost reported all vhosts as running", "health", "checks", "virtual-hosts");
}

int rabbit_node_health_check(const struct rabbit *r)
{
	int code;

	rabbit_say(r, "Timeout: %d seconds ...\nChecking health of node hawser@localhost ...", r->timeout_s);
	code = check(r, "Health check passed", "healthchecks", "node", NULL);
	return code;
}

static int check_listener(const struct rabbit *r, const char *kind)
{
	struct reply reply;
	int code = rabbit_ask(r, "GET", NULL, &reply, "health", "checks", kind, r->words[0], NULL);

	if (code == CODE_OK)
		code = rabbit_check(r, &reply, CODE_UNAVAILABLE);
	reply_free(&reply);
	return code;
}

int rabbit_check_port(const struct rabbit *r)
{
	int code;

	rabbit_say(r, "Asking node hawser@localhost if there's an active listener on port %s ...", r->words[0]);
	code = check_listener(r, "port-listener");
	if (code == CODE_OK)
		rabbit_say(r, "A listener for port %s is running on node hawser@localhost.", r->words[0]);
	return code;
}

int rabbit_check_protocol(const struct rabbit *r)
{
	int code;

	rabbit_say(r, "Asking node hawser@localhost if there's an active listener for protocol %s ...", r->words[0]);
	code = check_listener(r, "protocol-listener");
	if (code == CODE_OK)
		rabbit_say(r, "A listener for protocol %s is running on node hawser@localhost.", r->words[0]);
	return code;
}

/* ------------------------------------------------------------------------------------------------------------- ports ---- */

static json_t *get_overview(const struct rabbit *r, int *code)
{
	struct reply reply;

	*code = rabbit_ask(r, "GET", NULL, &reply, "overview", NULL);
	if (*code == CODE_OK)
		*code = rabbit_check(r, &reply, CODE_UNAVAILABLE);
	if (*code == CODE_OK)
		return reply.body;
	reply_free(&reply);
	return NULL;
}

static bool connects(const char *host, int port)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *found = NULL;
	char service[8];
	bool ok = false;
	int fd;

	snprintf(service, sizeof service, "%d", port);
	if (getaddrinfo(host, service, &hints, &found) != 0)
		return false;
	fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0) {
		ok = connect(fd, found->ai_addr, found->ai_addrlen) == 0;
		close(fd);
	}
	freeaddrinfo(found);
	return ok;
}

static const char *reachable(const char *address)
{
	return !strcmp(address, "0.0.0.0") ? "127.0.0.1" : !strcmp(address, "[::]") ? "::1" : address;
}

int rabbit_check_ports(const struct rabbit *r)
{
	char ports[256] = "";
	int code;
	json_t *overview, *l;
	size_t i;

	rabbit_say(r, "Testing TCP connections to all active listeners on node hawser@localhost ...");
	overview = get_overview(r, &code);
	json_array_foreach(json_object_get(overview, "listeners"), i, l) {
		int port = (int)json_integer_value(json_object_get(l, "port"));
		size_t n = strlen(ports);

		snprintf(ports + n, sizeof ports - n, "%s%d", n ? ", " : "", port);
		if (code == CODE_OK && !connects(reachable(json_string_value(json_object_get(l, "ip_address"))), port))
			code = rabbit_error(CODE_UNAVAILABLE, "Connection to port %d of node hawser@localhost failed", port);
	}
	if (code == CODE_OK)
		rabbit_say(r, "Successfully connected to ports %s on node hawser@localhost.", ports);
	json_decref(overview);
	return code;
}

/* ------------------------------------------------------------------------------------------------------------ status ---- */

static void print_listeners(const json_t *overview)
{
	json_t *l;
	size_t i;

	json_array_foreach(json_object_get(overview, "listeners"), i, l)
		printf("Interface: %s, port: %d, protocol: %s\n", json_string_value(json_object_get(l, "ip_address")),
		       (int)json_integer_value(json_object_get(l, "port")), json_string_value(json_object_get(l, "protocol")));
}

static void print_json(const json_t *v)
{
	json_dumpf(v, stdout, JSON_COMPACT);
	printf("\n");
}

static int show_overview(const struct rabbit *r, void (*print)(const json_t *overview))
{
	int code;
	json_t *overview = get_overview(r, &code);

	if (code == CODE_OK && !strcmp(r->formatter, "json"))
		print_json(overview);
	else if (code == CODE_OK)
		print(overview);
	json_decref(overview);
	return code;
}

static long long total(const json_t *overview, const char *name)
{
	return (long long)json_integer_value(json_object_get(json_object_get(overview, "object_totals"), name));
}

static void print_status(const json_t *overview)
{
	printf("Runtime\n\nProduct name: %s\nProduct version: %s\n\n", json_string_value(json_object_get(overview, "product_name")),
	       json_string_value(json_object_get(overview, "product_version")));
	printf("Totals\n\nConnection count: %lld\nQueue count: %lld\n\n", total(overview, "connections"), total(overview, "queues"));
	printf("Listeners\n\n");
	print_listeners(overview);
}

int rabbit_status(const struct rabbit *r)
{
	rabbit_say(r, "Status of node hawser@localhost ...");
	return show_overview(r, print_status);
}

int rabbit_listeners(const struct rabbit *r)
{
	rabbit_say(r, "Asking node hawser@localhost to report its protocol listeners ...");
	return show_overview(r, print_listeners);
}

static void print_cluster(const json_t *overview)
{
	printf("Basics\n\nCluster name: %s\n\nDisk Nodes\n\nhawser@localhost\n\nRunning Nodes\n\nhawser@localhost\n",
	       json_string_value(json_object_get(overview, "cluster_name")));
}

int rabbit_cluster_status(const struct rabbit *r)
{
	json_t *short_form;
	int code;

	rabbit_say(r, "Cluster status of node hawser@localhost ...");
	if (strcmp(r->formatter, "json"))
		return show_overview(r, print_cluster);
	json_t *overview = get_overview(r, &code);
	if (code == CODE_OK) {
		short_form = json_pack("{s:[], s:O, s:[s], s:[s], s:{}}", "alarms", "cluster_name", json_object_get(overview,
														    "cluster_name"),
				       "disk_nodes", "hawser@localhost", "running_nodes", "hawser@localhost", "partitions");
		print_json(short_form);
		json_decref(short_form);
	}
	json_decref(overview);
	return code;
}

int rabbit_version(const struct rabbit *r)
{
	printf("%s\n", HAWSER_VERSION);
	return CODE_OK;
}

int rabbit_refused(const struct rabbit *r)
{
	return rabbit_error(CODE_USAGE, "%s is not supported by Hawser", r->command);
}
