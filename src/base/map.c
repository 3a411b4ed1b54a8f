#include "base/map.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/error.h"

/* wyhash-like mixing: 64x64 -> 128 multiply, folded. */
static uint64_t mix(uint64_t a, uint64_t b)
{
	__uint128_t m = (__uint128_t)a * b;

	return (uint64_t)m ^ (uint64_t)(m >> 64);
}

uint64_t hash_bytes(const void *data, size_t n, uint64_t seed)
{
	const uint8_t *p = data;
	uint64_t h = seed ^ 0x9e3779b97f4a7c15u;
	uint8_t tail[16] = { 0 };

	for (size_t left = n; left >= 16; left -= 16, p += 16)
		h = mix(get_le64(p) ^ h, get_le64(p + 8) ^ 0xe7037ed1a0b428dbu);
	if (n % 16)
		memcpy(tail, p, n % 16);
	h = mix(get_le64(tail) ^ h, get_le64(tail + 8) ^ 0x8ebc6af09c88c6e3u);
	return mix(h ^ n, 0x589965cc75374cc3u);
}

void map_init(struct map *m, uint64_t seed)
{
	*m = (struct map){ .seed = seed };
}

void map_free(struct map *m)
{
	for (uint32_t i = 0; i < m->used; i++)
		free(m->entries[i].key);
	free(m->entries);
	free(m->index);
	*m = (struct map){ .seed = m->seed };
}

static bool same_key(const struct map_entry *e, uint32_t hash, struct slice key, bool numeric, uint64_t number)
{
	if (!e->live || e->hash != hash)
		return false;
	if (numeric)
		return e->number == number;
	return slice_eq(map_key(e), key);
}

/* The index cell that refers to the key, or NULL. */
static uint32_t *find(const struct map *m, uint32_t hash, struct slice key, bool numeric, uint64_t number)
{
	if (!m->index_size)
		return NULL;
	for (uint32_t i = hash & (m->index_size - 1);; i = (i + 1) & (m->index_size - 1)) {
		if (!m->index[i])
			return NULL;
		if (same_key(&m->entries[m->index[i] - 1], hash, key, numeric, number))
			return &m->index[i];
	}
}

static void index_add(struct map *m, uint32_t entry)
{
	uint32_t i = m->entries[entry].hash & (m->index_size - 1);

	while (m->index[i])
		i = (i + 1) & (m->index_size - 1);
	m->index[i] = entry + 1;
}

/* Squeeze out the holes and make room for one more; the index is rebuilt. */
static int make_room(struct map *m)
{
	uint32_t capacity = m->capacity, live = 0;

	if (m->used < m->capacity)
		return 0;
	if (m->count >= m->capacity / 2 + m->capacity / 4)
		capacity = m->capacity ? m->capacity * 2 : 8;

	uint32_t *index = calloc((size_t)capacity * 2, sizeof *index);
	if (!index)
		return -ERR_NO_MEMORY;
	struct map_entry *entries = m->entries;
	if (capacity != m->capacity) {
		entries = realloc(entries, (size_t)capacity * sizeof *entries);
		if (!entries) {
			free(index);
			return -ERR_NO_MEMORY;
		}
	}

	for (uint32_t i = 0; i < m->used; i++)
		if (entries[i].live)
			entries[live++] = entries[i];
	free(m->index);
	m->entries = entries;
	m->index = index;
	m->capacity = capacity;
	m->index_size = capacity * 2;
	m->used = live;
	for (uint32_t i = 0; i < live; i++)
		index_add(m, i);
	return 0;
}

static int put(struct map *m, uint32_t hash, struct slice key, bool numeric, uint64_t number, void *value, void **ret_old)
{
	uint32_t *cell = find(m, hash, key, numeric, number);
	uint8_t *copy = NULL;

	if (ret_old)
		*ret_old = cell ? m->entries[*cell - 1].value : NULL;
	if (cell) {
		m->entries[*cell - 1].value = value;
		return 0;
	}

	if (make_room(m) < 0)
		return -ERR_NO_MEMORY;
	if (!numeric) {
		copy = malloc(key.n ? key.n : 1);
		if (!copy)
			return -ERR_NO_MEMORY;
		if (key.n)
			memcpy(copy, key.p, key.n);
	}
	m->entries[m->used] = (struct map_entry){
		.key = copy, .key_size = (uint32_t)key.n, .hash = hash, .number = number, .value = value, .live = true,
	};
	index_add(m, m->used++);
	m->count++;
	return 0;
}

/* Entries stay as holes until make_room(); the index is closed up by moving later cells back (no tombstones). */
static void *take(struct map *m, uint32_t *cell)
{
	if (!cell)
		return NULL;

	struct map_entry *e = &m->entries[*cell - 1];
	void *value = e->value;
	uint32_t mask = m->index_size - 1, hole = (uint32_t)(cell - m->index);

	free(e->key);
	*e = (struct map_entry){ 0 };
	m->count--;
	for (uint32_t i = (hole + 1) & mask; m->index[i]; i = (i + 1) & mask) {
		uint32_t home = m->entries[m->index[i] - 1].hash & mask;
		if (((i - home) & mask) >= ((i - hole) & mask)) {
			m->index[hole] = m->index[i];
			hole = i;
		}
	}
	m->index[hole] = 0;
	return value;
}

static uint32_t hash_slice(const struct map *m, struct slice key)
{
	return (uint32_t)hash_bytes(key.p, key.n, m->seed);
}

static uint32_t hash_number(const struct map *m, uint64_t key)
{
	return (uint32_t)mix(key ^ m->seed ^ 0x9e3779b97f4a7c15u, 0xe7037ed1a0b428dbu);
}

void *map_get(const struct map *m, struct slice key)
{
	uint32_t *cell = find(m, hash_slice(m, key), key, false, 0);

	return cell ? m->entries[*cell - 1].value : NULL;
}

int map_put(struct map *m, struct slice key, void *value, void **ret_old)
{
	return put(m, hash_slice(m, key), key, false, 0, value, ret_old);
}

void *map_remove(struct map *m, struct slice key)
{
	return take(m, find(m, hash_slice(m, key), key, false, 0));
}

void *map_get_number(const struct map *m, uint64_t key)
{
	uint32_t *cell = find(m, hash_number(m, key), SLICE_NULL, true, key);

	return cell ? m->entries[*cell - 1].value : NULL;
}

int map_put_number(struct map *m, uint64_t key, void *value, void **ret_old)
{
	return put(m, hash_number(m, key), SLICE_NULL, true, key, value, ret_old);
}

void *map_remove_number(struct map *m, uint64_t key)
{
	return take(m, find(m, hash_number(m, key), SLICE_NULL, true, key));
}

struct map_entry *map_next(const struct map *m, uint32_t *at)
{
	while (*at < m->used) {
		struct map_entry *e = &m->entries[(*at)++];
		if (e->live)
			return e;
	}
	return NULL;
}
