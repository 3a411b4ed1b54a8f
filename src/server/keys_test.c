/* keys_test.c - the file of the key for sealed bodies: made once, and never believed when it is another than was made. */
#include "server/keys.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/test.h"

static struct config c;
static char path[80];

static bool begin(void)
{
	config_defaults(&c);
	snprintf(c.data, sizeof c.data, "/tmp/hawser-keys-XXXXXX");
	return mkdtemp(c.data) && snprintf(path, sizeof path, "%s/sse.key", c.data) > 0;
}

static bool end(void)
{
	return unlink(path) == 0 && rmdir(c.data) == 0;
}

static ssize_t read_file(char *text, size_t size)
{
	int fd = open(path, O_RDONLY);
	ssize_t n = read(fd, text, size);

	close(fd);
	return n;
}

static bool write_file(const char *text, size_t n)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	bool ok = write(fd, text, n) == (ssize_t)n;

	return close(fd) == 0 && ok;
}

TEST(a_key_is_made_once_and_read_ever_after)
{
	struct seal_keys first = { .has = { false } }, again = { .has = { false } };
	struct why why = { "" };

	CHECK(begin() && keys_load(&c, &first, &why) == 0 && first.has[SEAL_MANAGED]);
	CHECK(keys_load(&c, &again, &why) == 0 && !memcmp(first.key[SEAL_MANAGED], again.key[SEAL_MANAGED], SEAL_KEY_BYTES));
	CHECK(end());
}

TEST(a_flipped_bit_makes_no_other_key)
{
	struct seal_keys key = { .has = { false } }, other = { .has = { false } };
	struct why why = { "" };
	char text[256];
	unsigned refused = 0;

	CHECK(begin() && keys_load(&c, &key, &why) == 0);
	ssize_t n = read_file(text, sizeof text);
	CHECK(n > 64 && n < 128);
	for (ssize_t bit = 0; bit < n * 8; bit++) {
		text[bit / 8] ^= (char)(1 << bit % 8);
		CHECK(write_file(text, (size_t)n));
		if (keys_load(&c, &other, &why) < 0)
			refused++;
		else
			CHECK(!memcmp(key.key[SEAL_MANAGED], other.key[SEAL_MANAGED], SEAL_KEY_BYTES));
		text[bit / 8] ^= (char)(1 << bit % 8);
	}
	CHECK(refused > 64 * 8);
	CHECK(end());
}

TEST(a_key_that_somebody_brought_needs_no_checksum)
{
	static const char digits[] = "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F";
	struct seal_keys key = { .has = { false } };
	struct why why = { "" };

	CHECK(begin() && write_file(digits, 64));
	CHECK(keys_load(&c, &key, &why) == 0 && key.key[SEAL_MANAGED][31] == 0x1f);
	CHECK(write_file(digits, 63) && keys_load(&c, &key, &why) == -ERR_MALFORMED && strstr(why.text, "64 hexadecimal digits"));
	CHECK(end());
}

/* Whoever cannot see whether there is a key makes none. */
TEST(where_no_key_can_be_looked_for_none_is_made)
{
	struct seal_keys key = { .has = { false } };
	struct why why = { "" };

	CHECK(begin() && write_file("", 0));
	snprintf(c.sqs_sse_key_file, sizeof c.sqs_sse_key_file, "%s/under", path);
	CHECK(keys_load(&c, &key, &why) == -ERR_DISK && strstr(why.text, "Not a directory"));
	CHECK(end());
}
