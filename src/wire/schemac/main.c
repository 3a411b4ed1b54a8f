/* main.c - schemac IN.schema INCLUDE-PATH OUT.gen.h OUT.gen.c */
#include "schemac.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

_Noreturn void die(const char *file, int line, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "%s:%d: error: ", file, line);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

/* A word starts at a capital after a small letter or digit, and at the last capital of a run before a small letter. */
static bool word_starts(const char *name, const char *p)
{
	if (p == name || !isupper((unsigned char)*p) || p[-1] == '_')
		return false;
	return !isupper((unsigned char)p[-1]) || islower((unsigned char)p[1]);
}

const char *snake(const char *name)
{
	char *s = malloc(2 * strlen(name) + 1), *to = s;

	for (const char *p = name; *p; p++) {
		if (word_starts(name, p))
			*to++ = '_';
		*to++ = *p == '-' ? '_' : (char)tolower((unsigned char)*p);
	}
	*to = '\0';
	return s;
}

const char *upper(const char *name)
{
	char *s = strdup(snake(name));

	for (char *p = s; *p; p++)
		*p = (char)toupper((unsigned char)*p);
	return s;
}

static void write_file(const char *path, const struct schema *s, const char *header)
{
	FILE *out = fopen(path, "w");

	if (!out)
		die(path, 0, "%s", strerror(errno));
	if (header)
		write_tables(s, header, out);
	else
		write_header(s, out);
	if (ferror(out) | fclose(out))
		die(path, 0, "cannot write");
}

int main(int argc, char **argv)
{
	struct schema s = { 0 };

	if (argc != 5) {
		fprintf(stderr, "usage: schemac IN.schema INCLUDE-PATH OUT.h OUT.c\n");
		return 2;
	}
	read_schema(argv[1], &s);
	write_file(argv[3], &s, NULL);
	write_file(argv[4], &s, argv[2]);
	return 0;
}
