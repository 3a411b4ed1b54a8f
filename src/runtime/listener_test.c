#include "runtime/listener.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "base/test.h"
#include "runtime/address.h"

static const struct protocol test = { .name = "test" };

/* Every row is one way to say it wrong, and the sentence that it is refused with. */
TEST(a_wrong_address_is_refused_with_a_sentence)
{
	static const struct { const char *where, *sentence; } rows[] = {
		{ "9092", "'9092' is not an address: write ADDR:PORT" },
		{ "127.0.0.1:", "'' in '127.0.0.1:' is not a port: 0 to 65535" },
		{ "127.0.0.1:65536", "'65536' in '127.0.0.1:65536' is not a port: 0 to 65535" },
		{ "127.0.0.1:99999999999999999999", "'99999999999999999999' in '127.0.0.1:99999999999999999999' is not a port: 0 to 65535" },
		{ "127.0.0.1:-1", "'-1' in '127.0.0.1:-1' is not a port: 0 to 65535" },
		{ "127.0.0.1:9092x", "'9092x' in '127.0.0.1:9092x' is not a port: 0 to 65535" },
		{ "192.0.2.1:0", "cannot listen for test on 192.0.2.1:0: Cannot assign requested address" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct listener l = { .socket = -1 };
		struct why why = { "" };
		CHECK(listener_open(&test, rows[i].where, &l, &why) < 0);
		if (!strstr(why.text, rows[i].sentence))
			fprintf(stderr, "%s: %s\n", rows[i].where, why.text);
		CHECK(strstr(why.text, rows[i].sentence) && l.socket == -1);
	}
}

TEST(a_port_in_use_is_refused_and_port_zero_finds_a_free_one)
{
	struct listener a, b;
	struct why why;

	CHECK(listener_open(&test, "127.0.0.1:0", &a, &why) == 0 && a.loopback);
	CHECK(strncmp(a.address, "127.0.0.1:", 10) == 0 && strcmp(a.address, "127.0.0.1:0") != 0);
	CHECK(listener_open(&test, a.address, &b, &why) == -ERR_IN_USE && strstr(why.text, "Address already in use"));
	listener_close(&a);
	CHECK(a.socket == -1);
}

TEST(a_name_with_an_address_that_this_machine_lacks_is_tried_on)
{
	struct listener l;
	struct why why;

	CHECK(listener_open(&test, "localhost:0", &l, &why) == 0 && l.loopback);
	listener_close(&l);
	CHECK(listener_open(&test, ":0", &l, &why) == 0 && !l.loopback);
	listener_close(&l);
}

/* Every row is one address as text, and whether it is this machine's own. */
TEST(addresses_are_written_as_people_write_them)
{
	static const struct { int family; const char *host; const char *text; bool loopback; } rows[] = {
		{ AF_INET, "127.0.0.1", "127.0.0.1:5672", true },
		{ AF_INET, "127.9.9.9", "127.9.9.9:5672", true },
		{ AF_INET, "10.0.0.1", "10.0.0.1:5672", false },
		{ AF_INET6, "::1", "[::1]:5672", true },
		{ AF_INET6, "::ffff:127.0.0.1", "127.0.0.1:5672", true },
		{ AF_INET6, "::ffff:10.0.0.1", "10.0.0.1:5672", false },
		{ AF_INET6, "2001:db8::1", "[2001:db8::1]:5672", false },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct sockaddr_storage a = { .ss_family = (sa_family_t)rows[i].family };
		struct sockaddr_in6 *six = (struct sockaddr_in6 *)&a;
		struct sockaddr_in *four = (struct sockaddr_in *)&a;
		char text[64];

		four->sin_port = htons(5672);
		CHECK(inet_pton(rows[i].family, rows[i].host,
				rows[i].family == AF_INET ? (void *)&four->sin_addr : (void *)&six->sin6_addr) == 1);
		address_text(&a, text, sizeof text);
		CHECK(strcmp(text, rows[i].text) == 0 && address_is_loopback(&a) == rows[i].loopback);
	}
}
