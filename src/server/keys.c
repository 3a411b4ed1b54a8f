#include "server/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/crc.h"

enum { DIGITS = 2 * SEAL_KEY_BYTES, TEXT_MAX = DIGITS + 32 };

static int digit(char c)
{
	const char *all = "0123456789abcdef", *at = c ? strchr(all, c | 0x20) : NULL;

	return at && (c != ' ') ? (int)(at - all) : -1;
}

/* The second line of files that we make: a key of which one digit is another opens nothing, and seals all the same. */
static void checksum_line(const char *text, char line[32])
{
	snprintf(line, 32, "crc32c %08x\n", crc32c(0, text, DIGITS + 1));
}

static bool has_another_checksum(const char *text)
{
	char line[32];

	checksum_line(text, line);
	return text[DIGITS] && !strncmp(text + DIGITS + 1, line, strlen("crc32c ")) && strcmp(text + DIGITS + 1, line) != 0;
}

static int read_key(const char *path, uint8_t key[SEAL_KEY_BYTES], struct why *why)
{
	char text[TEXT_MAX + 1] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC), r = 0;
	ssize_t n = fd < 0 ? -1 : read(fd, text, TEXT_MAX);

	if (n < 0)
		r = fail(why, -ERR_DISK, "key file %s: %m", path);
	for (int i = 0; r == 0 && i < SEAL_KEY_BYTES; i++) {
		int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
		if (high < 0 || low < 0)
			r = fail(why, -ERR_MALFORMED, "key file %s: must be 64 hexadecimal digits", path);
		else
			key[i] = (uint8_t)(high << 4 | low);
	}
	if (r == 0 && n > DIGITS && text[DIGITS] != '\n')
		r = fail(why, -ERR_MALFORMED, "key file %s: must be 64 hexadecimal digits", path);
	if (r == 0 && has_another_checksum(text))
		r = fail(why, -ERR_DAMAGED, "key file %s is damaged: its second line is not the checksum of the first", path);
	if (fd >= 0)
		close(fd);
	OPENSSL_cleanse(text, sizeof text);
	return r;
}

/* Whole or not at all, wherever the power fails; its name is synced by the caller. */
static int make_key(const char *path, struct why *why)
{
	uint8_t key[SEAL_KEY_BYTES];
	char text[TEXT_MAX + 1], made[PATH_MAX];
	int fd, r = 0;
	size_t n;

	if (access(path, F_OK) == 0)
		return 0;
	if (errno != ENOENT)            /* who cannot see whether there is one must not make another */
		return fail(why, -ERR_DISK, "key file %s: %m", path);
	snprintf(made, sizeof made, "%s.new", path);
	fd = open(made, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return fail(why, -ERR_DISK, "make key file %s: %m", made);
	if (RAND_bytes(key, sizeof key) != 1)
		r = fail(why, -ERR_INTERNAL, "make key file %s: no random numbers", path);
	for (int i = 0; i < SEAL_KEY_BYTES; i++)
		snprintf(text + 2 * i, 3, "%02x", key[i]);
	text[DIGITS] = '\n';
	checksum_line(text, text + DIGITS + 1);
	n = strlen(text);
	if (r == 0 && (write(fd, text, n) != (ssize_t)n || fsync(fd) < 0 || rename(made, path) < 0))
		r = fail(why, -ERR_DISK, "make key file %s: %m", path);
	close(fd);
	if (r < 0)
		unlink(made);
	OPENSSL_cleanse(key, sizeof key);
	OPENSSL_cleanse(text, sizeof text);
	return r;
}

/* A body may be sealed only when the key cannot vanish any more.  (A folder that cannot be written to cannot lose it either.) */
static int sync_folder_of(const char *path, struct why *why)
{
	char folder[PATH_MAX];
	char *slash;
	int fd, r = 0;

	snprintf(folder, sizeof folder, "%s", path);
	slash = strrchr(folder, '/');
	if (slash)
		slash[slash == folder] = '\0';
	fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || (fsync(fd) < 0 && errno != EROFS && errno != EINVAL))
		r = fail(why, -ERR_DISK, "sync the folder of key file %s: %m", path);
	if (fd >= 0)
		close(fd);
	return r;
}

int keys_load(const struct config *c, struct seal_keys *ret, struct why *why)
{
	char standard[sizeof c->data + 16];
	const char *path = *c->sqs_sse_key_file ? c->sqs_sse_key_file : standard;
	int r;

	snprintf(standard, sizeof standard, "%s/sse.key", c->data);
	r = make_key(path, why);
	if (r == 0)
		r = sync_folder_of(path, why);
	if (r == 0)
		r = read_key(path, ret->key[SEAL_MANAGED], why);
	ret->has[SEAL_MANAGED] = r == 0;
	if (r == 0 && *c->sqs_kms_key_id) {
		snprintf(ret->kms_id, sizeof ret->kms_id, "%s", c->sqs_kms_key_id);
		r = read_key(c->sqs_kms_key_file, ret->key[SEAL_KMS], why);
		ret->has[SEAL_KMS] = r == 0;
	}
	return r;
}
