#include "runtime/output.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum {
	GATHER_BYTES = 16384,   /* size of the buffers that gather small writes */
	COPY_BYTES = 1024,      /* views up to this size are copied: an iovec of their own costs more */
	SEND_PIECES = 64,
};

static struct view *newest(struct output *o)
{
	return o->count ? &o->views[(o->first + o->count - 1) % o->capacity] : NULL;
}

static void grow(struct output *o)
{
	uint32_t capacity = o->capacity ? o->capacity * 2 : 8;
	struct view *views = malloc(capacity * sizeof *views);

	if (!views) {
		o->failed = true;
		return;
	}
	for (uint32_t i = 0; i < o->count; i++)
		views[i] = o->views[(o->first + i) % o->capacity];
	free(o->views);
	o->views = views;
	o->first = 0;
	o->capacity = capacity;
}

static void push(struct output *o, struct view v)
{
	if (o->count == o->capacity)
		grow(o);
	if (o->failed) {
		buf_unref(v.buf);
		return;
	}
	o->views[(o->first + o->count++) % o->capacity] = v;
}

/* Room behind the newest piece, if that is a gathering buffer of ours: nobody else refers to it. */
static size_t room(const struct view *v)
{
	if (!v || atomic_load_explicit(&v->buf->refs, memory_order_relaxed) != 1 || v->buf->size != v->offset + v->size)
		return 0;
	return v->buf->capacity - v->buf->size;
}

void output_write(struct output *o, const void *p, size_t n)
{
	while (n > 0 && !o->failed) {
		struct view *v = newest(o);
		size_t step = room(v);

		if (step == 0) {
			struct buf *b = buf_new(n > GATHER_BYTES ? n : GATHER_BYTES);
			if (!b) {
				o->failed = true;
				return;
			}
			push(o, (struct view){ .buf = b });
			continue;
		}
		if (step > n)
			step = n;
		memcpy(v->buf->data + v->buf->size, p, step);
		v->buf->size += (uint32_t)step;
		v->size += (uint32_t)step;
		o->unsent += step;
		p = (const uint8_t *)p + step;
		n -= step;
	}
}

void output_view(struct output *o, struct view v)
{
	if (v.size <= COPY_BYTES || o->failed) {
		output_write(o, view_slice(v).p, v.size);
		buf_unref(v.buf);
		return;
	}
	o->unsent += v.size;
	push(o, v);
}

static void consume(struct output *o, size_t n)
{
	o->unsent -= n;
	while (o->count) {
		struct view *v = &o->views[o->first];
		if (n < v->size) {
			v->offset += (uint32_t)n;
			v->size -= (uint32_t)n;
			return;
		}
		n -= v->size;
		buf_unref(v->buf);
		o->first = (o->first + 1) % o->capacity;
		o->count--;
	}
}

int64_t output_send(struct output *o, int socket)
{
	int64_t total = 0;

	while (o->count) {
		struct iovec pieces[SEND_PIECES];
		struct msghdr message = { .msg_iov = pieces };
		size_t asked = 0;

		for (uint32_t i = 0; i < o->count && i < SEND_PIECES; i++) {
			struct slice s = view_slice(o->views[(o->first + i) % o->capacity]);
			pieces[message.msg_iovlen++] = (struct iovec){ (void *)(uintptr_t)s.p, s.n };
			asked += s.n;
		}
		ssize_t r = sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return errno == EAGAIN ? total : -errno;
		consume(o, (size_t)r);
		total += r;
		if ((size_t)r < asked)
			break;
	}
	return total;
}

void output_free(struct output *o)
{
	for (; o->count; o->count--, o->first = (o->first + 1) % o->capacity)
		buf_unref(o->views[o->first].buf);
	free(o->views);
	*o = (struct output){ 0 };
}
