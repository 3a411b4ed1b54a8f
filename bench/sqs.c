/* sqs.c - see sqs.h. */
#include "sqs.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* -------------------------------------------------------------------------------------------------- signing ---- */

static void hex(const uint8_t *p, size_t n, char *to)
{
	for (size_t i = 0; i < n; i++)
		sprintf(to + 2 * i, "%02x", p[i]);
}

static void sha256_hex(const void *p, size_t n, char to[65])
{
	uint8_t hash[32];

	EVP_Digest(p, n, hash, NULL, EVP_sha256(), NULL);
	hex(hash, sizeof hash, to);
}

static void hmac(const void *key, size_t nkey, const char *text, uint8_t to[32])
{
	HMAC(EVP_sha256(), key, (int)nkey, (const uint8_t *)text, strlen(text), to, NULL);
}

static void signature_of(const struct sqs_server *s, const char *day, const char *date, const char *target, const char *content,
			 char to[65])
{
	char canonical[1024], text[512], hash[65], secret[160];
	uint8_t k[32];

	sha256_hex(content, strlen(content), hash);
	snprintf(canonical, sizeof canonical,
		 "POST\n/\n\nhost:%s:%u\nx-amz-date:%s\nx-amz-target:AmazonSQS.%s\n\nhost;x-amz-date;x-amz-target\n%s",
		 s->host, s->port, date, target, hash);
	sha256_hex(canonical, strlen(canonical), hash);
	snprintf(text, sizeof text, "AWS4-HMAC-SHA256\n%s\n%s/us-east-1/sqs/aws4_request\n%s", date, day, hash);
	snprintf(secret, sizeof secret, "AWS4%s", s->secret);
	hmac(secret, strlen(secret), day, k);
	hmac(k, sizeof k, "us-east-1", k);
	hmac(k, sizeof k, "sqs", k);
	hmac(k, sizeof k, "aws4_request", k);
	hmac(k, sizeof k, text, k);
	hex(k, sizeof k, to);
}

void sqs_text(struct out *to, const char *text)
{
	out_add(to, text, strlen(text));
}

void sqs_format(struct out *to, const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	sqs_text(to, text);
}

static void add_signature(struct out *to, const struct sqs_server *s, const char *target, const char *content)
{
	char date[32], day[16], signature[65], line[512];
	time_t now = time(NULL);
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(date, sizeof date, "%Y%m%dT%H%M%SZ", &tm);
	strftime(day, sizeof day, "%Y%m%d", &tm);
	signature_of(s, day, date, target, content, signature);
	snprintf(line, sizeof line,
		 "X-Amz-Date: %s\r\nAuthorization: AWS4-HMAC-SHA256 Credential=%s/%s/us-east-1/sqs/aws4_request, "
		 "SignedHeaders=host;x-amz-date;x-amz-target, Signature=%s\r\n", date, s->key, day, signature);
	sqs_text(to, line);
}

/* ------------------------------------------------------------------------------------------------- requests ---- */

void sqs_request(struct out *to, const struct sqs_server *s, const char *target, const char *content)
{
	char head[512];

	snprintf(head, sizeof head, "POST / HTTP/1.1\r\nHost: %s:%u\r\nContent-Type: application/x-amz-json-1.0\r\n"
		 "X-Amz-Target: AmazonSQS.%s\r\n", s->host, s->port, target);
	sqs_text(to, head);
	if (*s->key)
		add_signature(to, s, target, content);
	snprintf(head, sizeof head, "Content-Length: %zu\r\n\r\n", strlen(content));
	sqs_text(to, head);
	sqs_text(to, content);
}

/* -------------------------------------------------------------------------------------------------- answers ---- */

char *sqs_answer(struct in *in, size_t *size)
{
	char *head, *end, *length, *content;
	size_t n;

	if (in->n == 0 || !(end = memmem(in->p, in->n, "\r\n\r\n", 4)))
		return NULL;
	head = (char *)in->p;
	*end = '\0';
	length = strcasestr(head, "\r\ncontent-length:");
	if (!length)
		die("an answer without its length");
	n = strtoul(length + 17, NULL, 10);
	*end = '\r';
	content = end + 4;
	*size = (size_t)(content - head) + n;
	if (in->n < *size)
		return NULL;
	in->p[in->n] = '\0';    /* there is always room behind what was received */
	if (strncmp(head, "HTTP/1.1 200", 12) != 0 || strstr(content, "\"Failed\":[{"))
		die("refused: %.200s ... %.300s", head, content);
	return content;
}

/* ------------------------------------------------------------------------------------------------ connections ---- */

void sqs_create_queue(const struct sqs_server *s, const char *name, const char *attributes)
{
	struct out out = { 0 }, content = { 0 };
	struct in in = { 0 };
	int socket = connect_to(s->host, s->port);
	size_t size;

	sqs_format(&content, "{\"QueueName\":\"%s\"%s}", name, attributes);
	out_u8(&content, 0);
	sqs_request(&out, s, "CreateQueue", (char *)content.p);
	send_all(socket, &out);
	do
		in_wait(&in, socket);
	while (!sqs_answer(&in, &size));
	close(socket);
	free(content.p);
	free(out.p);
	free(in.p);
}

void sqs_read_server(struct sqs_server *s, int argc, char **argv)
{
	*s = (struct sqs_server){
		.host = option_text(argc, argv, "host", "127.0.0.1"),
		.port = (uint16_t)option(argc, argv, "port", 4566),
		.key = option_text(argc, argv, "key", ""),
		.secret = option_text(argc, argv, "secret", ""),
	};
}
