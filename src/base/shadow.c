#include "base/shadow.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH = 96 };

/* A file that is not what the disk below has. */
struct ghost {
	char path[PATH];
	bool there;                     /* false: deleted */
	uint8_t *data;
	size_t size;
};

struct handle {
	char path[PATH];                /* empty: free */
	int below;                      /* -1: there is nothing below */
};

struct shadow {
	struct disk disk;               /* first: a struct disk * is a struct shadow * */
	struct disk *under;
	struct ghost **ghosts;
	uint32_t nghosts;
	struct handle *handles;
	int nhandles;
};

static struct shadow *of(struct disk *d)
{
	return (struct shadow *)d;
}

static struct ghost *find(const struct shadow *s, const char *path)
{
	for (uint32_t i = 0; i < s->nghosts; i++)
		if (!strcmp(s->ghosts[i]->path, path))
			return s->ghosts[i];
	return NULL;
}

/* The ghost of that name, made if needed: not there. */
static struct ghost *ghost_of(struct shadow *s, const char *path)
{
	struct ghost *g = find(s, path), **more;

	if (g)
		return g;
	more = realloc(s->ghosts, (s->nghosts + 1) * sizeof *more);
	if (more)
		s->ghosts = more;
	g = more ? calloc(1, sizeof *g) : NULL;
	if (!g)
		return NULL;
	snprintf(g->path, sizeof g->path, "%s", path);
	s->ghosts[s->nghosts++] = g;
	return g;
}

static bool resize(struct ghost *g, size_t size)
{
	uint8_t *data = realloc(g->data, size ? size : 1);

	if (!data)
		return false;
	if (size > g->size)
		memset(data + g->size, 0, size - g->size);
	g->data = data;
	g->size = size;
	return true;
}

/* What is below becomes a ghost with the same content; *ret, or -errno. */
static int copy_up(struct shadow *s, const char *path, struct ghost **ret)
{
	const struct disk_calls *io = s->under->calls;
	struct ghost *g = find(s, path);
	int file;
	int64_t n;

	if (g) {
		*ret = g;
		return g->there ? 0 : -ENOENT;
	}
	file = io->open(s->under, path, DISK_RDONLY);
	if (file < 0)
		return file;
	n = io->size(s->under, file);
	g = n < 0 ? NULL : ghost_of(s, path);
	if (n >= 0 && (!g || !resize(g, (size_t)n)))
		n = -ENOMEM;
	if (n > 0)
		n = io->read(s->under, file, g->data, (size_t)n, 0);
	io->close(s->under, file);
	if (n < 0)
		return (int)n;
	g->there = true;
	*ret = g;
	return 0;
}

/* ---- the calls ---- */

static int new_handle(struct shadow *s, const char *path, int below)
{
	struct handle *more;
	int i = 0;

	while (i < s->nhandles && s->handles[i].path[0])
		i++;
	if (i == s->nhandles) {
		more = realloc(s->handles, (size_t)(i + 1) * sizeof *more);
		if (!more)
			return -ENOMEM;
		s->handles = more;
		s->nhandles++;
	}
	s->handles[i].below = below;
	snprintf(s->handles[i].path, PATH, "%s", path);
	return i;
}

static int shadow_open(struct disk *d, const char *path, int how)
{
	struct shadow *s = of(d);
	struct ghost *g = find(s, path);
	int below = g ? -1 : s->under->calls->open(s->under, path, DISK_RDONLY);
	bool there = g ? g->there : below >= 0;

	if (!g && below < 0 && below != -ENOENT)
		return below;
	if (there && how & DISK_CREATE) {
		if (below >= 0)
			s->under->calls->close(s->under, below);
		return -EEXIST;
	}
	if (!there && !(how & DISK_CREATE))
		return -ENOENT;
	if (!there) {
		g = ghost_of(s, path);
		if (!g || !resize(g, 0))
			return -ENOMEM;
		g->there = true;
		below = -1;
	}
	return new_handle(s, path, below);
}

static int shadow_close(struct disk *d, int file)
{
	struct shadow *s = of(d);

	if (s->handles[file].below >= 0)
		s->under->calls->close(s->under, s->handles[file].below);
	s->handles[file].path[0] = '\0';
	return 0;
}

static int64_t shadow_size(struct disk *d, int file)
{
	struct shadow *s = of(d);
	const struct ghost *g = find(s, s->handles[file].path);

	return g ? (int64_t)g->size : s->under->calls->size(s->under, s->handles[file].below);
}

static int64_t shadow_read(struct disk *d, int file, void *p, size_t n, int64_t at)
{
	struct shadow *s = of(d);
	const struct ghost *g = find(s, s->handles[file].path);

	if (!g)
		return s->under->calls->read(s->under, s->handles[file].below, p, n, at);
	if ((size_t)at >= g->size)
		return 0;
	if (n > g->size - (size_t)at)
		n = g->size - (size_t)at;
	memcpy(p, g->data + at, n);
	return (int64_t)n;
}

static int64_t shadow_write(struct disk *d, int file, const struct iovec *v, int n, int64_t at)
{
	struct shadow *s = of(d);
	struct ghost *g;
	int64_t total = 0;
	int r = copy_up(s, s->handles[file].path, &g);

	for (int i = 0; i < n; i++)
		total += (int64_t)v[i].iov_len;
	if (r < 0)
		return r;
	if ((size_t)(at + total) > g->size && !resize(g, (size_t)(at + total)))
		return -ENOMEM;
	for (int i = 0; i < n; i++) {
		memcpy(g->data + at, v[i].iov_base, v[i].iov_len);
		at += (int64_t)v[i].iov_len;
	}
	return total;
}

static void shadow_begin_sync(struct disk *d, int file, int64_t at, int64_t n)
{
}

static int shadow_sync(struct disk *d, int file)
{
	return 0;
}

static int shadow_sync_all(struct disk *d, const int *files, int n)
{
	return 0;
}

static int shadow_sync_dir(struct disk *d, const char *path)
{
	return 0;
}

static int shadow_reserve(struct disk *d, int file, int64_t size)
{
	struct shadow *s = of(d);
	struct ghost *g;
	int r = copy_up(s, s->handles[file].path, &g);

	return r < 0 ? r : resize(g, (size_t)size) ? 0 : -ENOMEM;
}

static int shadow_unlink(struct disk *d, const char *path)
{
	struct shadow *s = of(d);
	struct ghost *g;
	int r = copy_up(s, path, &g);

	if (r < 0)
		return r;
	g->there = false;
	return resize(g, 0) ? 0 : -ENOMEM;
}

static int shadow_rename(struct disk *d, const char *from, const char *to)
{
	struct shadow *s = of(d);
	struct ghost *a, *b;
	int r = copy_up(s, from, &a);

	if (r < 0)
		return r;
	b = ghost_of(s, to);
	if (!b)
		return -ENOMEM;
	free(b->data);
	*b = (struct ghost){ .there = true, .data = a->data, .size = a->size };
	snprintf(b->path, PATH, "%s", to);
	a->there = false;
	a->data = NULL;
	a->size = 0;
	/* Who has it open has it open under its new name. */
	for (int i = 0; i < s->nhandles; i++)
		if (!strcmp(s->handles[i].path, from))
			snprintf(s->handles[i].path, sizeof s->handles[i].path, "%s", to);
	return 0;
}

static int shadow_mkdir(struct disk *d, const char *path)
{
	return 0;
}

/* ---- listing: what is below and not gone, and what is only here ---- */

struct names {
	const struct shadow *s;
	const char *directory;
	char (*all)[PATH];
	uint32_t n;
};

static void full_name(char path[2 * PATH], const char *directory, const char *name)
{
	snprintf(path, 2 * PATH, "%s%s%s", strcmp(directory, ".") ? directory : "", strcmp(directory, ".") ? "/" : "", name);
}

static int add_name(struct names *l, const char *name)
{
	void *more = realloc(l->all, (l->n + 1) * sizeof *l->all);

	if (!more)
		return -ENOMEM;
	l->all = more;
	snprintf(l->all[l->n++], PATH, "%s", name);
	return 0;
}

static int note_below(void *ctx, const char *name)
{
	struct names *l = ctx;
	char path[2 * PATH];

	full_name(path, l->directory, name);
	return find(l->s, path) ? 0 : add_name(l, name);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* The name of a ghost in that directory, or NULL. */
static const char *name_in(const struct ghost *g, const char *directory)
{
	size_t n = strcmp(directory, ".") ? strlen(directory) : 0;
	const char *name = g->path + (n ? n + 1 : 0);

	if (!g->there || (n && (strncmp(g->path, directory, n) || g->path[n] != '/')) || strchr(name, '/'))
		return NULL;
	return name;
}

static int shadow_list(struct disk *d, const char *path, int (*each)(void *ctx, const char *name), void *ctx)
{
	struct shadow *s = of(d);
	struct names l = { .s = s, .directory = path };
	int r = s->under->calls->list(s->under, path, note_below, &l);

	if (r == -ENOENT)
		r = 0;
	for (uint32_t i = 0; i < s->nghosts && r == 0; i++) {
		const char *name = name_in(s->ghosts[i], path);

		if (name)
			r = add_name(&l, name);
	}
	if (l.n)
		qsort(l.all, l.n, sizeof *l.all, by_name);
	for (uint32_t i = 0; i < l.n && r == 0; i++)
		r = each(ctx, l.all[i]);
	free(l.all);
	return r;
}

static int shadow_share(struct disk *d, const char *path, struct shared_file **ret)
{
	return -ENOENT;
}

static void shadow_submit(struct disk *d, struct disk_op *op)
{
}

static const struct disk_calls calls = {
	.open = shadow_open, .close = shadow_close, .share = shadow_share, .size = shadow_size, .read = shadow_read,
	.write = shadow_write, .begin_sync = shadow_begin_sync, .sync = shadow_sync, .sync_all = shadow_sync_all,
	.sync_dir = shadow_sync_dir, .reserve = shadow_reserve, .rename = shadow_rename, .unlink = shadow_unlink, .mkdir = shadow_mkdir,
	.list = shadow_list, .submit = shadow_submit,
};

struct disk *shadow_new(struct disk *under)
{
	struct shadow *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	s->disk.calls = &calls;
	s->under = under;
	return &s->disk;
}

void shadow_free(struct disk *d)
{
	struct shadow *s = of(d);

	for (int i = 0; i < s->nhandles; i++)
		if (s->handles[i].path[0])
			shadow_close(d, i);
	for (uint32_t i = 0; i < s->nghosts; i++) {
		free(s->ghosts[i]->data);
		free(s->ghosts[i]);
	}
	free(s->ghosts);
	free(s->handles);
	free(s);
}

bool shadow_changed(struct disk *d, const char *path)
{
	return find(of(d), path) != NULL;
}
