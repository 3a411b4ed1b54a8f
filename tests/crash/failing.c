/*
 * failing.c - preloaded into a broker: one chosen call of the C library fails, once.  For tests/crash/syscalls.
 *
 *     LD_PRELOAD=libfailing.so HAWSER_FAIL=pwritev:EIO:17 HAWSER_FAIL_RECORD=FILE hawser serve ...
 *
 * Counted are the calls that the program itself makes, of all its threads together; what libraries do among themselves goes
 * on.  The 17th pwritev is not made, and says EIO.  "SHORT" instead of an error: it is made with half of the bytes.  FILE is a
 * struct record afterwards, whatever became of the process.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

struct record {
	_Atomic uint64_t calls;         /* of the chosen kind */
	_Atomic uint64_t struck;        /* 1: one has failed */
	_Atomic uint64_t site;          /* where it would have returned to, as the program's file has it */
};

enum { SHORT = -1 };                    /* in place of an error's number */

static const struct { const char *name; int number; } errors[] = {
	{ "EIO", EIO }, { "ENOSPC", ENOSPC }, { "EINTR", EINTR }, { "EMFILE", EMFILE }, { "ENFILE", ENFILE }, { "ENOMEM", ENOMEM },
	{ "EAGAIN", EAGAIN }, { "ECONNRESET", ECONNRESET }, { "ECONNABORTED", ECONNABORTED }, { "EPERM", EPERM }, { "EACCES", EACCES },
	{ "ENOSYS", ENOSYS }, { "ENOLCK", ENOLCK }, { "EINVAL", EINVAL }, { "EOPNOTSUPP", EOPNOTSUPP }, { "SHORT", SHORT },
};

static char chosen[32];
static int chosen_error;
static uint64_t chosen_number;
static struct record *record;
static uintptr_t program, program_end;

static int find_program(struct dl_phdr_info *info, size_t size, void *ctx)
{
	program = info->dlpi_addr;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		uintptr_t end = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr + info->dlpi_phdr[i].p_memsz;

		if (info->dlpi_phdr[i].p_type == PT_LOAD && end > program_end)
			program_end = end;
	}
	return 1;                       /* the first is the program */
}

__attribute__((constructor)) static void choose(void)
{
	const char *what = getenv("HAWSER_FAIL"), *path = getenv("HAWSER_FAIL_RECORD");
	char name[32], error[32];
	unsigned long long number;
	int fd;

	if (!what || sscanf(what, "%31[^:]:%31[^:]:%llu", name, error, &number) != 3)
		return;
	for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
		if (!strcmp(errors[i].name, error))
			chosen_error = errors[i].number;
	fd = path ? (int)open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
	if (fd < 0 || ftruncate(fd, sizeof *record) < 0)
		return;
	void *p = mmap(NULL, sizeof *record, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (p == MAP_FAILED)
		return;
	dl_iterate_phdr(find_program, NULL);
	record = p;
	chosen_number = number;
	memcpy(chosen, name, sizeof chosen);
}

/* Where the kernel cannot say in one call what is cached, mmap and mincore say it. */
static bool is_old_kernel(void)
{
	return !strcmp(chosen, "mmap") || !strcmp(chosen, "mincore");
}

/* 0: make the call; else errno is set, or (SHORT) it is to be made with less. */
static int fails(const char *name, const void *back)
{
	uintptr_t to = (uintptr_t)back;

	if (!*chosen || strcmp(name, chosen) != 0 || to < program || to >= program_end)
		return 0;
	if (atomic_fetch_add(&record->calls, 1) + 1 != chosen_number)
		return 0;
	atomic_store(&record->site, to - program);
	atomic_store(&record->struck, 1);
	if (chosen_error != SHORT)
		errno = chosen_error;
	return chosen_error;
}

#define BACK __builtin_return_address(0)
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* A call that is only made or not: its type, what it says when it fails, its name, parameters and arguments. */
#define CALL(type, failed, name, parameters, ...)                                                                    \
	type name parameters                                                                                         \
	{                                                                                                            \
		return fails(#name, BACK) ? failed : REAL(name)(__VA_ARGS__);                                        \
	}

CALL(int, -1, fdatasync, (int fd), fd)
CALL(int, -1, fsync, (int fd), fd)
CALL(int, -1, ftruncate, (int fd, off_t size), fd, size)
CALL(int, -1, fallocate, (int fd, int mode, off_t at, off_t n), fd, mode, at, n)
CALL(int, -1, sync_file_range, (int fd, off64_t at, off64_t n, unsigned flags), fd, at, n, flags)
CALL(int, -1, rename, (const char *from, const char *to), from, to)
CALL(int, -1, renameat, (int a, const char *from, int b, const char *to), a, from, b, to)
CALL(int, -1, link, (const char *from, const char *to), from, to)
CALL(int, -1, unlink, (const char *path), path)
CALL(int, -1, unlinkat, (int at, const char *path, int flags), at, path, flags)
CALL(int, -1, mkdir, (const char *path, mode_t mode), path, mode)
CALL(int, -1, mkdirat, (int at, const char *path, mode_t mode), at, path, mode)
CALL(int, -1, fstat, (int fd, struct stat *st), fd, st)
CALL(int, -1, stat, (const char *path, struct stat *st), path, st)
CALL(int, -1, fstatvfs, (int fd, struct statvfs *st), fd, st)
CALL(int, -1, statvfs, (const char *path, struct statvfs *st), path, st)
CALL(int, -1, access, (const char *path, int mode), path, mode)
CALL(int, -1, flock, (int fd, int how), fd, how)
CALL(DIR *, NULL, opendir, (const char *path), path)
CALL(DIR *, NULL, fdopendir, (int fd), fd)
CALL(struct dirent *, NULL, readdir, (DIR *d), d)
CALL(FILE *, NULL, fopen, (const char *path, const char *mode), path, mode)
CALL(void *, MAP_FAILED, mmap, (void *p, size_t n, int prot, int flags, int fd, off_t at), p, n, prot, flags, fd, at)
CALL(int, -1, mincore, (void *p, size_t n, unsigned char *v), p, n, v)
CALL(int, -1, socket, (int domain, int type, int protocol), domain, type, protocol)
CALL(int, -1, socketpair, (int domain, int type, int protocol, int ends[2]), domain, type, protocol, ends)
CALL(int, -1, bind, (int fd, const struct sockaddr *a, socklen_t n), fd, a, n)
CALL(int, -1, listen, (int fd, int backlog), fd, backlog)
CALL(int, -1, setsockopt, (int fd, int level, int name, const void *v, socklen_t n), fd, level, name, v, n)
CALL(int, -1, getsockname, (int fd, struct sockaddr *a, socklen_t *n), fd, a, n)
CALL(int, -1, getpeername, (int fd, struct sockaddr *a, socklen_t *n), fd, a, n)
CALL(int, -1, accept4, (int fd, struct sockaddr *a, socklen_t *n, int flags), fd, a, n, flags)
CALL(int, -1, shutdown, (int fd, int how), fd, how)
CALL(int, -1, epoll_create1, (int flags), flags)
CALL(int, -1, epoll_ctl, (int fd, int op, int of, struct epoll_event *e), fd, op, of, e)
CALL(int, -1, epoll_wait, (int fd, struct epoll_event *e, int n, int timeout), fd, e, n, timeout)
CALL(int, -1, eventfd, (unsigned v, int flags), v, flags)
CALL(ssize_t, -1, getrandom, (void *p, size_t n, unsigned flags), p, n, flags)
CALL(int, -1, sigtimedwait, (const sigset_t *s, siginfo_t *i, const struct timespec *t), s, i, t)
CALL(int, -1, getrlimit, (__rlimit_resource_t what, struct rlimit *l), what, l)
CALL(int, -1, setrlimit, (__rlimit_resource_t what, const struct rlimit *l), what, l)
CALL(int, chosen_error, posix_fadvise, (int fd, off_t at, off_t n, int advice), fd, at, n, advice)
CALL(int, chosen_error, pthread_create, (pthread_t *t, const pthread_attr_t *a, void *(*run)(void *), void *ctx), t, a, run, ctx)

/* dlsym() itself allocates: these go to the library's own names. */
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);

void *malloc(size_t n)
{
	return fails("malloc", BACK) ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
	return fails("calloc", BACK) ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
	return fails("realloc", BACK) ? NULL : __libc_realloc(p, n);
}

/* One that may do less than it was asked for. */
#define SHORT_CALL(name, parameters, less, ...)                                                                      \
	ssize_t name parameters                                                                                      \
	{                                                                                                            \
		switch (fails(#name, BACK)) {                                                                        \
		case 0:     return REAL(name)(__VA_ARGS__);                                                          \
		case SHORT: less; return REAL(name)(__VA_ARGS__);                                                    \
		default:    return -1;                                                                               \
		}                                                                                                    \
	}

SHORT_CALL(read, (int fd, void *p, size_t n), n = (n + 1) / 2, fd, p, n)
SHORT_CALL(pread, (int fd, void *p, size_t n, off_t at), n = (n + 1) / 2, fd, p, n, at)
SHORT_CALL(write, (int fd, const void *p, size_t n), n = (n + 1) / 2, fd, p, n)
SHORT_CALL(recv, (int fd, void *p, size_t n, int flags), n = (n + 1) / 2, fd, p, n, flags)
SHORT_CALL(sendfile, (int out, int in, off_t *at, size_t n), n = (n + 1) / 2, out, in, at, n)

/* The first piece, and of that a half. */
static struct iovec half(const struct iovec *v)
{
	return (struct iovec){ v->iov_base, (v->iov_len + 1) / 2 };
}

ssize_t pwritev(int fd, const struct iovec *v, int n, off_t at)
{
	struct iovec less;

	switch (fails("pwritev", BACK)) {
	case 0:     return REAL(pwritev)(fd, v, n, at);
	case SHORT: less = half(v); return REAL(pwritev)(fd, &less, 1, at);
	default:    return -1;
	}
}

ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
	struct msghdr less = *m;
	struct iovec piece;

	switch (fails("sendmsg", BACK)) {
	case 0:     return REAL(sendmsg)(fd, m, flags);
	case SHORT: piece = half(m->msg_iov); less.msg_iov = &piece; less.msg_iovlen = 1; return REAL(sendmsg)(fd, &less, flags);
	default:    return -1;
	}
}

long syscall(long number, ...)
{
	const void *back = BACK;
	va_list args;
	long a[6];

	va_start(args, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(args, long);
	va_end(args);
	if (fails("syscall", back))
		return -1;
	if (is_old_kernel()) {
		errno = ENOSYS;
		return -1;
	}
	return REAL(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static mode_t mode_of(int flags, va_list args)
{
	return flags & O_CREAT ? va_arg(args, mode_t) : 0;
}

int open(const char *path, int flags, ...)
{
	const void *back = BACK;
	va_list args;

	va_start(args, flags);
	mode_t mode = mode_of(flags, args);
	va_end(args);
	return fails("open", back) ? -1 : REAL(open)(path, flags, mode);
}

int openat(int at, const char *path, int flags, ...)
{
	const void *back = BACK;
	va_list args;

	va_start(args, flags);
	mode_t mode = mode_of(flags, args);
	va_end(args);
	return fails("openat", back) ? -1 : REAL(openat)(at, path, flags, mode);
}

int fcntl(int fd, int what, ...)
{
	const void *back = BACK;
	va_list args;

	va_start(args, what);
	long argument = va_arg(args, long);
	va_end(args);
	return fails("fcntl", back) ? -1 : REAL(fcntl)(fd, what, argument);
}
