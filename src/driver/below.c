/*
 * Files below a directory: see below.h.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/utf8.h"
#include "driver/below.h"

/* What is shown of a path must not itself do harm in a message. */
static const char *
shown(const char *path)
{
	size_t len = strlen(path);

	for (size_t i = 0, n; i < len; i += n)
		if ((n = utf8_length(path + i, len - i)) == 0 ||
		    (unsigned char)path[i] < 0x20 || path[i] == 0x7f)
			return "?";
	return path;
}

static int
open_directory(const char *dir, struct err *e)
{
	int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? err_errno(e, "cannot open %s", dir) : fd;
}

int
below_open(const char *dir, const char *path, struct err *e)
{
	struct open_how how = {
		.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
		    RESOLVE_NO_MAGICLINKS,
	};
	int dirfd = open_directory(dir, e), fd;
	struct stat st;

	if (dirfd < 0)
		return -1;
	fd = (int)syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
	if (fd < 0)
		err_errno(e, "cannot open \"%.200s\" below %s", shown(path), dir);
	close(dirfd);
	if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))) {
		close(fd);
		return err_set(e, "\"%.200s\" is no file", shown(path));
	}
	return fd;
}

/* The directory of that name in the one at fd, which is closed. */
static int
enter(int fd, const char *name)
{
	int next;

	if (mkdirat(fd, name, 0750) < 0 && errno != EEXIST)
		next = -1;
	else
		next = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW |
		    O_CLOEXEC);
	int error = errno;
	close(fd);
	errno = error;
	return next;
}

int
below_check(const char *path, struct err *e)
{
	const char *part = path;

	if (strlen(path) > BELOW_PATH_MAX)
		return err_set(e, "longer than %d bytes", BELOW_PATH_MAX);
	for (;;) {
		size_t len = strcspn(part, "/");

		if (len == 0 || len > NAME_MAX || *part == '.')
			return err_set(e, "\"%.200s\" is no path of names, none of "
			    "which begins with a dot", shown(path));
		if (part[len] == '\0')
			return 0;
		part += len + 1;
	}
}

int
below_make(const char *dir, const char *path, const char **name,
    struct err *e)
{
	const char *part = path;
	int fd;

	if (below_check(path, e) < 0)
		return -1;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(e, "cannot open %s", dir);
	for (size_t len; part[len = strcspn(part, "/")] == '/'; part += len + 1) {
		char next[NAME_MAX + 1];

		snprintf(next, sizeof(next), "%.*s", (int)len, part);
		if ((fd = enter(fd, next)) < 0)
			return err_errno(e, "cannot enter \"%.200s\" below %s",
			    shown(path), dir);
	}
	*name = part;
	return fd;
}
