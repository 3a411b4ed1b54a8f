#include "base/radix.h"

#include <stdlib.h>

#include "base/error.h"

enum { BITS = 6, FAN = 1 << BITS, LEVELS = (32 + BITS - 1) / BITS };

struct branch {
	void *at[FAN];          /* branches; in the lowest level the values */
	uint32_t n;             /* that are not NULL */
};

/* Which place of a branch of this level (1: the lowest)? */
static unsigned place(uint32_t number, uint32_t level)
{
	return number >> BITS * (level - 1) & (FAN - 1);
}

static uint64_t reach(uint32_t height)
{
	return (uint64_t)1 << BITS * height;
}

static void free_branch(struct branch *b, uint32_t level)
{
	for (unsigned i = 0; level > 1 && i < FAN; i++)
		if (b->at[i])
			free_branch(b->at[i], level - 1);
	free(b);
}

void radix_free(struct radix *r)
{
	if (r->root)
		free_branch(r->root, r->height);
	*r = (struct radix){ 0 };
}

void *radix_get(const struct radix *r, uint32_t number)
{
	void *p = r->root;

	if (number >= reach(r->height))
		return NULL;
	for (uint32_t level = r->height; p && level; level--)
		p = ((struct branch *)p)->at[place(number, level)];
	return p;
}

/* Another level on top, until the number is in reach. */
static int grow(struct radix *r, uint32_t number)
{
	while (!r->root || number >= reach(r->height)) {
		struct branch *top = calloc(1, sizeof *top);

		if (!top)
			return -ERR_NO_MEMORY;
		if (r->root) {
			top->at[0] = r->root;
			top->n = 1;
		}
		r->root = top;
		r->height++;
	}
	return 0;
}

/* Branches that have become empty on the way to this number; levels on top that lead nowhere else. */
static void shrink(struct radix *r, uint32_t number)
{
	struct branch *way[LEVELS + 1] = { 0 };
	uint32_t level = r->height;

	for (struct branch *b = r->root; b && level; level--) {
		way[level] = b;
		b = b->at[place(number, level)];
	}
	for (level++; level <= r->height && way[level]->n == 0; level++) {
		free(way[level]);
		if (level == r->height) {
			*r = (struct radix){ 0 };
			return;
		}
		way[level + 1]->at[place(number, level + 1)] = NULL;
		way[level + 1]->n--;
	}
	while (r->height > 1 && ((struct branch *)r->root)->n == 1 && ((struct branch *)r->root)->at[0]) {
		struct branch *top = r->root;

		r->root = top->at[0];
		r->height--;
		free(top);
	}
}

int radix_put(struct radix *r, uint32_t number, void *value)
{
	struct branch *b;

	if (grow(r, number) < 0) {
		shrink(r, 0);
		return -ERR_NO_MEMORY;
	}
	b = r->root;
	for (uint32_t level = r->height; level > 1; level--) {
		void **next = &b->at[place(number, level)];

		if (!*next) {
			*next = calloc(1, sizeof *b);
			if (!*next) {
				shrink(r, number);
				return -ERR_NO_MEMORY;
			}
			b->n++;
		}
		b = *next;
	}

	void **slot = &b->at[place(number, 1)];

	b->n += !*slot;
	r->count += !*slot;
	*slot = value;
	return 0;
}

void *radix_remove(struct radix *r, uint32_t number)
{
	struct branch *b = r->root;
	void *value = radix_get(r, number);

	if (!value)
		return NULL;
	for (uint32_t level = r->height; level > 1; level--)
		b = b->at[place(number, level)];
	b->at[place(number, 1)] = NULL;
	b->n--;
	r->count--;
	shrink(r, number);
	return value;
}

void *radix_next(const struct radix *r, uint64_t *at)
{
	while (*at < reach(r->height) && r->root) {
		struct branch *b = r->root;
		uint32_t number = (uint32_t)*at, level = r->height;

		while (level > 1 && b->at[place(number, level)]) {
			b = b->at[place(number, level)];
			level--;
		}
		/* From here on, the first place of this branch that has something; else behind the branch. */
		for (unsigned i = place(number, level); i < FAN; i++) {
			if (b->at[i] && level == 1) {
				*at += 1;
				return b->at[i];
			}
			if (b->at[i])
				break;
			*at = ((*at >> BITS * (level - 1)) + 1) << BITS * (level - 1);
		}
	}
	return NULL;
}
