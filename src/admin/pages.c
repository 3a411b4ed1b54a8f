/*
 * pages.c - lists in pages: of channels, in the order of creation.
 *
 * A token is "AT.ID": the place in the catalogue's order and the channel that stood before it.  If that one has moved,
 * because others were deleted, its place is looked for; channels that exist all the time are listed exactly once.
 */
#include <stdio.h>

#include "admin/parts.h"
#include "base/text.h"

uint32_t page_limit(struct admin *a, bool has_limit, int32_t limit)
{
	if (!has_limit)
		return PAGE_DEFAULT;
	if (limit >= 1 && limit <= PAGE_MAX)
		return (uint32_t)limit;
	admin_fail(a, -ERR_BAD_ARGUMENT, "limit must be from 1 to %d", PAGE_MAX);
	return 0;
}

bool page_number(struct admin *a, struct slice from, uint32_t *ret)
{
	int64_t n = 0;

	if (from.p && (!decimal_parse(from, &n) || n < 0 || n > UINT32_MAX)) {
		admin_fail(a, -ERR_BAD_ARGUMENT, "from is not what an earlier answer had as next");
		return false;
	}
	*ret = (uint32_t)n;
	return true;
}

static bool read_token(struct admin *a, struct slice token, struct page *p)
{
	const uint8_t *dot = token.p ? memchr(token.p, '.', token.n) : NULL;

	if (!token.p)
		return true;
	return page_number(a, dot ? slice_of(token.p, (size_t)(dot - token.p)) : slice_of("x", 1), &p->at) &&
	       page_number(a, slice_of(dot + 1, token.n - (size_t)(dot + 1 - token.p)), &p->after);
}

/* Is the channel that the last page ended with still before `at`?  Else begin again, and pass over what was shown. */
static void find_place(struct admin *a, struct page *p)
{
	uint32_t at = p->at - 1;
	const struct channel *ch;

	if (!p->at)
		return;
	ch = catalogue_next_channel(a->session.host->catalogue, p->vhost, &at);
	if (!ch || ch->id != p->after || at != p->at)
		p->at = 0;
}

bool page_begin(struct admin *a, struct slice vhost, struct slice from, uint32_t limit, struct page *ret)
{
	*ret = (struct page){ .vhost = admin_vhost(vhost), .max = limit };
	if (!limit)
		return false;
	if (!catalogue_has_vhost(a->session.host->catalogue, ret->vhost)) {
		admin_fail(a, -ERR_NO_SUCH_VHOST, "there is no virtual host '%.*s'", SLICE_ARGS(ret->vhost));
		return false;
	}
	if (!read_token(a, from, ret))
		return false;
	find_place(a, ret);
	return true;
}

/* Channel ids ascend in the order of creation. */
const struct channel *page_next(struct admin *a, struct page *p, bool queues_only)
{
	const struct channel *ch;
	uint32_t before = p->at;

	for (; (ch = catalogue_next_channel(a->session.host->catalogue, p->vhost, &p->at)); before = p->at) {
		if (ch->id <= p->after)
			continue;
		if (p->rows == p->max || p->scanned == SCAN_MAX || p->partitions > PARTITIONS_AT_ONCE) {
			p->more = true;
			p->at = before;
			return NULL;
		}
		p->scanned++;
		p->after = ch->id;
		if (queues_only && !ch->queue)
			continue;
		p->rows++;
		p->partitions += ch->partitions;
		return ch;
	}
	return NULL;
}

struct slice page_token(struct admin *a, const struct page *p)
{
	return p->more ? admin_printf(a, "%u.%u", p->at, p->after) : SLICE_NULL;
}
