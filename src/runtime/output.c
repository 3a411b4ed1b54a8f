#include "runtime/output.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "runtime/files.h"

enum {
	GATHER_BYTES = 16384,           /* size of the buffers that gather small writes */
	COPY_BYTES = 1024,              /* views up to this size are copied: an iovec of their own costs more */
	SEND_PIECES = 64,
	SLICE_BYTES = 256 * 1024,       /* larger calls of sendfile are slower */
	READ_BYTES = 64 * 1024,         /* taken into memory at once of what is resident, for who cannot send from files */
	TURN_BYTES = 1024 * 1024,       /* then other connections have their turn */
};

static struct piece *at(const struct output *o, uint32_t i)
{
	return &o->pieces[(o->first + i) % o->capacity];
}

static struct piece *newest(struct output *o)
{
	return o->count ? at(o, o->count - 1) : NULL;
}

static void release(struct piece *p)
{
	buf_unref(p->buf);
	stretch_unref(p->stretch);
}

static bool grow(struct output *o)
{
	uint32_t capacity = o->capacity ? o->capacity * 2 : 8;
	struct piece *pieces = malloc(capacity * sizeof *pieces);

	if (!pieces) {
		o->failed = true;
		return false;
	}
	for (uint32_t i = 0; i < o->count; i++)
		pieces[i] = *at(o, i);
	free(o->pieces);
	o->pieces = pieces;
	o->first = 0;
	o->capacity = capacity;
	return true;
}

static void push(struct output *o, struct piece p)
{
	if (o->failed || (o->count == o->capacity && !grow(o))) {
		release(&p);
		return;
	}
	o->unsent += p.size;
	*at(o, o->count++) = p;
}

/* Room behind the newest piece, if that is a gathering buffer of ours: nobody else refers to it. */
static size_t room(const struct piece *p)
{
	if (!p || !p->buf || atomic_load_explicit(&p->buf->refs, memory_order_relaxed) != 1 ||
	    p->buf->size != p->offset + p->size)
		return 0;
	return p->buf->capacity - p->buf->size;
}

void output_write(struct output *o, const void *p, size_t n)
{
	while (n > 0 && !o->failed) {
		struct piece *tail = newest(o);
		size_t step = room(tail);

		if (step == 0) {
			struct buf *b = buf_new(n > GATHER_BYTES ? n : GATHER_BYTES);
			if (!b) {
				o->failed = true;
				return;
			}
			push(o, (struct piece){ .buf = b });
			continue;
		}
		if (step > n)
			step = n;
		memcpy(tail->buf->data + tail->buf->size, p, step);
		tail->buf->size += (uint32_t)step;
		tail->size += (uint32_t)step;
		o->unsent += step;
		p = (const uint8_t *)p + step;
		n -= step;
	}
}

void output_view(struct output *o, struct view v)
{
	if (v.size <= COPY_BYTES) {
		output_write(o, view_slice(v).p, v.size);
		buf_unref(v.buf);
		return;
	}
	push(o, (struct piece){ .buf = v.buf, .offset = v.offset, .size = v.size });
}

void output_span(struct output *o, struct span s)
{
	push(o, (struct piece){ .stretch = s.stretch, .offset = s.offset, .size = s.size });
}

void output_drop(struct output *o, size_t n)
{
	o->unsent -= n;
	while (o->count) {
		struct piece *p = at(o, 0);

		if (n < p->size) {
			p->offset += (uint32_t)n;
			p->size -= (uint32_t)n;
			return;
		}
		n -= p->size;
		release(p);
		o->first = (o->first + 1) % o->capacity;
		o->count--;
	}
}

/* Send the memory up to the next span.  What a span follows is held back by the kernel, to go out with it. */
static int64_t send_memory(struct output *o, int socket)
{
	struct iovec pieces[SEND_PIECES];
	struct msghdr message = { .msg_iov = pieces };
	int flags = MSG_NOSIGNAL | MSG_DONTWAIT;
	size_t asked = 0;
	uint32_t i;

	for (i = 0; i < o->count && i < SEND_PIECES && at(o, i)->buf; i++) {
		const struct piece *p = at(o, i);

		pieces[message.msg_iovlen++] = (struct iovec){ p->buf->data + p->offset, p->size };
		asked += p->size;
	}
	if (i < o->count && at(o, i)->stretch)
		flags |= MSG_MORE;
	ssize_t r = sendmsg(socket, &message, flags);
	o->full = r >= 0 ? (size_t)r < asked : errno == EAGAIN;
	return r;
}

static struct span slice(const struct output *o)
{
	const struct piece *p = at(o, 0);

	return (struct span){ p->stretch, p->offset, p->size < SLICE_BYTES ? p->size : SLICE_BYTES };
}

static int64_t send_file(struct output *o, int socket)
{
	struct span s = slice(o);
	off_t offset = s.stretch->at + s.offset;

	if (!span_resident(&s)) {
		o->cold = true;
		return 0;
	}
	ssize_t r = sendfile(socket, files_descriptor(s.stretch->file), &offset, s.size);
	if (r == 0) {                   /* somebody has cut the file */
		errno = EIO;
		return -1;
	}
	o->full = r < 0 && errno == EAGAIN;
	return r;
}

int64_t output_send(struct output *o, int socket)
{
	int64_t total = 0;

	o->full = o->cold = false;
	while (o->count && !o->full && !o->cold && total < TURN_BYTES) {
		int64_t r = at(o, 0)->stretch ? send_file(o, socket) : send_memory(o, socket);

		if (r < 0 && errno != EINTR && !o->full)
			return -errno;
		if (r > 0) {
			output_drop(o, (size_t)r);
			total += r;
		}
	}
	return total;
}

struct span output_slice(const struct output *o)
{
	struct span s = slice(o);

	stretch_ref(s.stretch);
	return s;
}

void output_load(struct output *o, struct view v)
{
	struct piece *p = at(o, 0);
	struct piece loaded = { .buf = v.buf, .offset = v.offset, .size = v.size };

	assert(p->stretch && v.size <= p->size);
	p->offset += v.size;
	p->size -= v.size;
	if (!p->size) {
		release(p);
		*p = loaded;
		return;
	}
	if (o->count == o->capacity && !grow(o)) {
		release(&loaded);
		return;
	}
	o->first = (o->first + o->capacity - 1) % o->capacity;
	o->count++;
	*at(o, 0) = loaded;
}

void output_free(struct output *o)
{
	for (uint32_t i = 0; i < o->count; i++)
		release(at(o, i));
	free(o->pieces);
	*o = (struct output){ 0 };
}

/* What is resident is read at once: nobody waits for that.  False: it is cold, or memory is short. */
static bool read_slice(struct output *o)
{
	struct span s = slice(o);
	struct buf *b;
	int64_t n;

	if (!span_resident(&s)) {
		o->cold = true;
		return false;
	}
	s.size = s.size < READ_BYTES ? s.size : READ_BYTES;
	b = buf_new(s.size);
	n = b ? s.stretch->file->calls->read(s.stretch->file, b->data, s.size, s.stretch->at + s.offset) : -ENOMEM;
	if (n != (int64_t)s.size) {
		buf_unref(b);
		o->failed = true;
		return false;
	}
	b->size = s.size;
	output_load(o, (struct view){ .buf = b, .size = s.size });
	return !o->failed;
}

/* Memory from `at` on, as far as `size` goes and no further than to the next span. */
static size_t gather(const struct output *o, uint8_t *room, size_t size)
{
	size_t n = 0;

	for (uint32_t i = 0; i < o->count && n < size && at(o, i)->buf; i++) {
		const struct piece *p = at(o, i);
		size_t step = p->size < size - n ? p->size : size - n;

		memcpy(room + n, p->buf->data + p->offset, step);
		n += step;
	}
	return n;
}

struct slice output_front(struct output *o, uint8_t *room, size_t size)
{
	const struct piece *p;

	if (!o->count || (at(o, 0)->stretch && !read_slice(o)))
		return (struct slice){ 0 };
	p = at(o, 0);
	if (p->size >= size || o->count == 1)
		return slice_of(p->buf->data + p->offset, p->size < size ? p->size : size);
	return slice_of(room, gather(o, room, size));
}
