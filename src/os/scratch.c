/*
 * Scratch directories: see scratch.h.
 */
#include "config.h"

#include <dirent.h>
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
#include "os/scratch.h"

#define NAME "jobqd-scratch-"
#define MODE 0711
#define TRIES 10
#define DIRECTORY (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

/* This process's; a child that starts programs begins anew. */
static struct {
	pid_t owner;
	int fd;			/* of it, locked as long as this process lives */
	char *path;
	unsigned made;
} own;

/* While one is emptied. */
struct emptying {
	int root;
	dev_t device;
	unsigned moved;		/* gives names to directories from deeper down */
	int error;		/* the first errno; 0: all is gone */
};

static const char *
parent_directory(void)
{
	const char *dir = getenv("TMPDIR");

	return dir != NULL && dir[0] == '/' ? dir : "/tmp";
}

static void
note_error(struct emptying *e)
{
	if (e->error == 0 && errno != ENOENT)
		e->error = errno;
}

/* Open a directory although its mode says no, and let us change it. */
static int
enter(int parent, const char *name)
{
	int path = openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	char link[40];
	int fd;

	if (path < 0)
		return -1;
	/* By /proc, since fchmod() takes no such descriptor. */
	snprintf(link, sizeof(link), "/proc/self/fd/%d", path);
	if (chmod(link, 0700) < 0 && errno != EPERM && errno != ENOENT)
		fd = -1;
	else
		fd = openat(path, ".", DIRECTORY);
	close(path);
	return fd;
}

static int
rename_up(struct emptying *e, int from, const char *name)
{
	char up[24];
	int rc;

	do {
		snprintf(up, sizeof(up), ".%u", e->moved++);
		rc = renameat(from, name, e->root, up);
	} while (rc < 0 && (errno == ENOTEMPTY || errno == EEXIST ||
	    errno == ENOTDIR));
	return rc;
}

/*
 * A directory below one of the root's moves up into the root, to be looked at
 * later: so any depth takes two descriptors, and no path becomes too long.
 */
static void
lift(struct emptying *e, int from, const char *name)
{
	int fd;

	if (rename_up(e, from, name) == 0)
		return;
	/* To get another parent it must be writable itself. */
	if ((fd = enter(from, name)) >= 0)
		close(fd);
	if (rename_up(e, from, name) < 0)
		note_error(e);
}

/* One entry of the root, or of a directory in it. False: it is still there, a
 * directory in the root that is not empty, or for good. */
static bool
remove_entry(struct emptying *e, int dir, const struct dirent *entry, bool in_root)
{
	const char *name = entry->d_name;
	struct stat st;

	if (entry->d_type != DT_DIR && unlinkat(dir, name, 0) == 0)
		return true;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) < 0)
		return false;
	if (!S_ISDIR(st.st_mode) || st.st_dev != e->device) {
		errno = S_ISDIR(st.st_mode) ? EXDEV : EACCES;
		note_error(e);
		return false;
	}
	if (unlinkat(dir, name, AT_REMOVEDIR) == 0)
		return true;
	if (!in_root)
		lift(e, dir, name);
	return !in_root;
}

static void empty_child(struct emptying *, const char *);

static void
each(struct emptying *e, int fd, bool in_root)
{
	DIR *dir = fdopendir(fd);
	struct dirent *entry;

	if (dir == NULL) {
		note_error(e);
		close(fd);
		return;
	}
	while ((entry = readdir(dir)) != NULL)
		if (strcmp(entry->d_name, ".") != 0 &&
		    strcmp(entry->d_name, "..") != 0 &&
		    !remove_entry(e, dirfd(dir), entry, in_root) &&
		    in_root)
			empty_child(e, entry->d_name);
	closedir(dir);
}

/* A directory in the root that is not empty. */
static void
empty_child(struct emptying *e, const char *name)
{
	int fd = enter(e->root, name);

	if (fd < 0) {
		note_error(e);
		return;
	}
	each(e, fd, false);
	if (unlinkat(e->root, name, AT_REMOVEDIR) < 0 && errno != ENOTEMPTY)
		note_error(e);
}

static bool
is_empty(int root)
{
	DIR *dir = fdopendir(dup(root));
	struct dirent *entry;
	int n = 0;

	if (dir == NULL)
		return false;
	rewinddir(dir);
	while (n < 3 && (entry = readdir(dir)) != NULL)
		n++;
	closedir(dir);
	return n <= 2;
}

static int
remove_at(int parent, const char *name)
{
	struct emptying e = { .root = -1 };
	struct stat st;

	if (unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	if ((e.root = enter(parent, name)) < 0)
		return -1;
	if (fstat(e.root, &st) == 0)
		e.device = st.st_dev;
	/* Each round empties what the one before has lifted. */
	while (e.error == 0 && !is_empty(e.root)) {
		int fd = openat(e.root, ".", DIRECTORY);

		if (fd < 0)
			note_error(&e);
		else
			each(&e, fd, true);
	}
	close(e.root);
	if (e.error == 0 && unlinkat(parent, name, AT_REMOVEDIR) == 0)
		return 0;
	if (e.error != 0)
		errno = e.error;
	return -1;
}

/*
 * Whether a directory is one of ours whose process is no more; then it stays
 * locked until *fd is closed.
 */
static bool
is_left(int parent, const char *entry, int *fd)
{
	struct stat st;

	if (strncmp(entry, NAME, sizeof(NAME) - 1) != 0 ||
	    (*fd = openat(parent, entry, DIRECTORY)) < 0)
		return false;
	if (fstat(*fd, &st) == 0 && st.st_uid == geteuid() &&
	    (st.st_mode & 07777) == MODE && flock(*fd, LOCK_EX | LOCK_NB) == 0)
		return true;
	close(*fd);
	return false;
}

static void
sweep(void)
{
	DIR *dir = opendir(parent_directory());
	struct dirent *entry;
	int fd;

	while (dir != NULL && (entry = readdir(dir)) != NULL)
		if (is_left(dirfd(dir), entry->d_name, &fd)) {
			remove_at(dirfd(dir), entry->d_name);
			close(fd);
		}
	if (dir != NULL)
		closedir(dir);
}

/* Whoever sweeps may have taken it before it was locked. */
static bool
hold(const char *path)
{
	struct stat st, there;

	/* The program's user, who may be another, must come through it. */
	own.fd = chmod(path, MODE) == 0 ? open(path, DIRECTORY) : -1;
	if (own.fd >= 0 && flock(own.fd, LOCK_EX) == 0 &&
	    fstat(own.fd, &st) == 0 && lstat(path, &there) == 0 &&
	    st.st_ino == there.st_ino && st.st_dev == there.st_dev)
		return true;
	if (own.fd >= 0)
		close(own.fd);
	return false;
}

static int
make_own(struct err *e)
{
	bool held = false;
	char *path = NULL;

	if (own.owner == getpid() && access(own.path, F_OK) == 0)
		return 0;
	if (own.owner == getpid())
		close(own.fd);
	free(own.path);
	own.path = NULL;
	own.owner = 0;
	sweep();
	for (int i = 0; i < TRIES && !held; i++) {
		free(path);
		path = xasprintf("%s/" NAME "XXXXXX", parent_directory());
		if (mkdtemp(path) == NULL)
			break;
		held = hold(path);
	}
	if (!held) {
		err_errno(e, "cannot make the directory %s", path);
		free(path);
		return -1;
	}
	own.path = path;
	own.owner = getpid();
	return 0;
}

char *
scratch_make(uid_t uid, gid_t gid, struct err *e)
{
	char *path;

	if (make_own(e) < 0)
		return NULL;
	path = xasprintf("%s/%u", own.path, ++own.made);
	if (mkdir(path, 0700) == 0 && (uid == geteuid() ||
	    chown(path, uid, gid) == 0))
		return path;
	err_errno(e, "cannot make the directory %s", path);
	rmdir(path);
	free(path);
	return NULL;
}

int
scratch_remove(const char *path, struct err *e)
{
	if (path == NULL || remove_at(AT_FDCWD, path) == 0)
		return 0;
	return err_errno(e, "cannot remove %s", path);
}

void
scratch_leave(void)
{
	/* Another program's may be in there still. */
	if (own.owner != getpid() || (rmdir(own.path) < 0 && errno == ENOTEMPTY))
		return;
	close(own.fd);
	free(own.path);
	own.path = NULL;
	own.owner = 0;
}
