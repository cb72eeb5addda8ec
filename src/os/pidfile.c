/*
 * The pid file: see pidfile.h. The lock is flock()'s: it belongs to the open
 * file, so it survives a fork of the holder and ends with its last
 * descriptor, which children close without asking. What is written is only
 * for reading: a process id may have been reused, a lock cannot be.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/xalloc.h"
#include "os/pidfile.h"

struct pidfile {
	char *path;
	int fd;
};

static bool
is_at(int fd, const char *path)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && stat(path, &b) == 0 &&
	    a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static long
read_pid(int fd)
{
	char text[32];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	long pid;
	char *end;

	if (n <= 0)
		return 0;
	text[n] = '\0';
	errno = 0;
	pid = strtol(text, &end, 10);
	return errno == 0 && end > text && (*end == '\n' || *end == '\0') &&
	    pid > 0 && pid <= 0x7fffffff ? pid : 0;
}

/* Open and lock the file that is there now; the descriptor, or -1. */
static int
lock(const char *path, struct err *e)
{
	for (;;) {
		int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
		    0644);

		if (fd < 0)
			return err_errno(e, "cannot open the pid file %s", path);
		if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
			if (errno == EWOULDBLOCK)
				err_code(e, ERR_BUSY, "jobqd is already running "
				    "as process %ld (it holds the pid file %s)",
				    read_pid(fd), path);
			else
				err_errno(e, "cannot lock the pid file %s", path);
			close(fd);
			return -1;
		}
		/* The holder before may have removed it meanwhile. */
		if (is_at(fd, path))
			return fd;
		close(fd);
	}
}

struct pidfile *
pidfile_take(const char *path, struct err *e)
{
	struct pidfile *p;
	char text[32];
	int fd = lock(path, e), len;

	if (fd < 0)
		return NULL;
	len = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
	if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)len, 0) != len) {
		err_errno(e, "cannot write the pid file %s", path);
		close(fd);
		return NULL;
	}
	p = xcalloc(1, sizeof(*p));
	p->path = xstrdup(path);
	p->fd = fd;
	return p;
}

int
pidfile_check(const struct pidfile *p, struct err *e)
{
	if (is_at(p->fd, p->path))
		return 0;
	return err_set(e, "the pid file %s was removed or replaced", p->path);
}

void
pidfile_chown(const struct pidfile *p, uid_t uid, gid_t gid)
{
	/* Without it the file is emptied at the end instead of removed. */
	if (fchown(p->fd, uid, gid) != 0)
		return;
}

void
pidfile_free(struct pidfile *p)
{
	if (p == NULL)
		return;
	if (is_at(p->fd, p->path) && unlink(p->path) != 0 &&
	    ftruncate(p->fd, 0) != 0)
		errno = 0;	/* an old number without a lock means nothing */
	close(p->fd);
	free(p->path);
	free(p);
}

pid_t
pidfile_owner(const char *path, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	long pid = 0;

	if (fd < 0 && errno == ENOENT)
		return err_code(e, ERR_DOWN,
		    "jobqd is not running: there is no pid file %s", path);
	if (fd < 0)
		return err_errno(e, "cannot open the pid file %s", path);
	if (flock(fd, LOCK_SH | LOCK_NB) == 0)
		err_code(e, ERR_DOWN, "jobqd is not running: "
		    "nobody holds the pid file %s", path);
	else if ((pid = read_pid(fd)) == 0)
		err_set(e, "the pid file %s names no process", path);
	close(fd);
	return pid > 0 ? (pid_t)pid : -1;
}
