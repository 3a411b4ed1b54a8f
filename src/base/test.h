/*
 * test.h - unit tests: a TEST is a sentence, a CHECK is its evidence.
 *
 * Put tests in NAME_test.c beside the code; one file of the folder (main_test.c) says TEST_MAIN.  Every TEST in the
 * folder's test program runs; a failed CHECK prints where and what, fails the program, and returns from the test.
 */
#ifndef BASE_TEST_H
#define BASE_TEST_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct test {
	const char *file, *name;
	void (*run)(void);
	struct test *next;
};

extern struct test *test_first;
extern int test_failures;

#define TEST(id)                                                                                                     \
	static void test_##id(void);                                                                                 \
	static struct test test_entry_##id = { __FILE__, #id, test_##id, NULL };                                     \
	__attribute__((constructor)) static void test_add_##id(void)                                                 \
	{                                                                                                            \
		struct test **at = &test_first;                                                                      \
		while (*at)                                                                                          \
			at = &(*at)->next;                                                                           \
		*at = &test_entry_##id;                                                                              \
	}                                                                                                            \
	static void test_##id(void)

#define CHECK(condition)                                                                                             \
	do {                                                                                                         \
		if (!(condition)) {                                                                                  \
			fprintf(stderr, "%s:%d: %s: CHECK(%s) failed\n", __FILE__, __LINE__, __func__, #condition);  \
			test_failures++;                                                                             \
			return;                                                                                      \
		}                                                                                                    \
	} while (0)

/* With an argument, only the tests whose name contains it.  Prints "N passed, N failed". */
#define TEST_MAIN                                                                                                    \
	struct test *test_first;                                                                                     \
	int test_failures;                                                                                           \
	int main(int argc, char **argv)                                                                              \
	{                                                                                                            \
		int passed = 0, failed = 0;                                                                          \
		for (struct test *t = test_first; t; t = t->next) {                                                  \
			if (argc > 1 && !strstr(t->name, argv[1]))                                                   \
				continue;                                                                            \
			int before_ = test_failures;                                                                 \
			t->run();                                                                                    \
			if (test_failures == before_) {                                                              \
				passed++;                                                                            \
			} else {                                                                                     \
				failed++;                                                                            \
				fprintf(stderr, "FAILED %s (%s)\n", t->name, t->file);                               \
			}                                                                                            \
		}                                                                                                    \
		printf("%d passed, %d failed\n", passed, failed);                                                    \
		return failed ? EXIT_FAILURE : EXIT_SUCCESS;                                                         \
	}

#endif
