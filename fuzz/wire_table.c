/* wire_table.c - any bytes as an AMQP field table: what table_check() lets pass is read to the end and written again. */
#include "fuzz/fuzz.h"
#include "wire/table.h"

static void rewrite(struct slice table, struct bytes *out)
{
	struct table_entry e;

	while (table_next(&table, &e)) {
		table_same(&e.value, &e.value);
		table_equivalent(&e.value, &e.value);
		table_put(out, e.name, &e.value);
	}
	MUST(table.n == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct slice table = slice_of(p, n), rest = table;
	struct bytes out = BYTES_MAX(n + 16);
	struct table_entry e;

	while (table_next(&rest, &e))
		table_type_name(e.value.type);
	if (table_check(table, NULL) == 0) {
		rewrite(table, &out);
		MUST(!out.failed && out.n == n && table_check(bytes_slice(&out), NULL) == 0);
		MUST(table_count(bytes_slice(&out)) == table_count(table));
	}
	bytes_free(&out);
	return 0;
}
