#include "broker/key_map.h"

#include <stdlib.h>

#include "base/error.h"

enum { SMALLEST = 256 };

/* Beyond nine tenths of a table, looking things up takes too long. */
static bool is_full(uint64_t size, uint64_t count)
{
	return count * 10 > size * 9;
}

static struct key_cell *cell_of(struct key_cell *cells, uint32_t size, struct siphash h)
{
	for (uint32_t i = (uint32_t)h.low & (size - 1);; i = (i + 1) & (size - 1)) {
		struct key_cell *c = &cells[i];

		if (!c->offset || (c->hash.low == h.low && c->hash.high == h.high))
			return c;
	}
}

static int grow(struct key_map *m)
{
	uint32_t size = m->size ? m->size * 2 : SMALLEST;
	struct key_cell *cells = size > m->size ? calloc(size, sizeof *cells) : NULL;

	if (!cells)
		return -ERR_NO_MEMORY;
	for (uint32_t i = 0; i < m->size; i++)
		if (m->cells[i].offset)
			*cell_of(cells, size, m->cells[i].hash) = m->cells[i];
	free(m->cells);
	m->cells = cells;
	m->size = size;
	return 0;
}

bool key_map_has_room(const struct key_map *m, uint32_t keys)
{
	uint64_t size = m->size ? m->size : SMALLEST, count = (uint64_t)m->count + keys;

	while (is_full(size, count))
		size *= 2;
	return size == m->size || size * sizeof *m->cells <= m->max_bytes;
}

int key_map_put(struct key_map *m, struct slice key, int64_t offset)
{
	struct siphash h = siphash(key, m->key);
	struct key_cell *c;

	if (is_full(m->size, (uint64_t)m->count + 1) && grow(m) < 0)
		return -ERR_NO_MEMORY;
	c = cell_of(m->cells, m->size, h);
	if (!c->offset) {
		c->hash = h;
		m->count++;
	}
	if (offset >= c->offset)
		c->offset = offset + 1;
	return 0;
}

int64_t key_map_get(const struct key_map *m, struct slice key)
{
	return m->size ? cell_of(m->cells, m->size, siphash(key, m->key))->offset - 1 : -1;
}

void key_map_free(struct key_map *m)
{
	free(m->cells);
	m->cells = NULL;
	m->size = m->count = 0;
}
