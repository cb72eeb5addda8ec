/*
 * Control groups: see cgroup.h.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/xalloc.h"
#include "os/cgroup.h"

#define NAME "jobqd-%d-%d"
#define NAME_MAX_LEN 40

/* This process's; a child that is no program begins anew. */
static struct {
	pid_t owner;		/* who looked for it; 0: nobody has */
	int fd, kill_fd;	/* -1: there is none */
	volatile bool killed;	/* a kernel may kill whoever is put into it now */
} own = { .fd = -1, .kill_fd = -1 };

/* The part of a line behind its n-th blank; "" when there are fewer. */
static const char *
field(const char *line, const char *end, int n)
{
	while (n > 0 && line < end)
		n -= *line++ == ' ';
	return n == 0 ? line : end;
}

static bool
is_cgroup2(const char *line, const char *end)
{
	const char *type = memmem(line, (size_t)(end - line), " - cgroup2 ", 11);

	/* A path with a blank or the like is written with a backslash. */
	return type != NULL && memchr(line, '\\', (size_t)(type - line)) == NULL;
}

/*
 * The place of a group below a mount whose line of mountinfo this is: "36 35
 * 0:30 /root /sys/fs/cgroup rw … - cgroup2 …". The mount may show a part only.
 */
static char *
place(const char *line, const char *end, const char *group, size_t len)
{
	const char *root = field(line, end, 3), *point = field(line, end, 4);
	size_t skip = (size_t)(point - root), point_len;

	if (!is_cgroup2(line, end) || skip < 2)
		return NULL;
	skip--;
	point_len = strcspn(point, " ");
	if (skip == 1)
		skip = 0;		/* all of them */
	else if (len < skip || memcmp(group, root, skip) != 0 ||
	    (len > skip && group[skip] != '/'))
		return NULL;
	return xasprintf("%.*s%.*s", (int)point_len, point, (int)(len - skip),
	    group + skip);
}

char *
cgroup_directory(const char *groups, const char *mounts)
{
	const char *group = strncmp(groups, "0::/", 4) == 0 ? groups :
	    strstr(groups, "\n0::/");
	char *path = NULL;
	size_t len;

	if (group == NULL)
		return NULL;
	group = strchr(group, '/');
	len = strcspn(group, "\n");
	while (path == NULL && *mounts != '\0') {
		const char *end = mounts + strcspn(mounts, "\n");

		path = place(mounts, end, group, len);
		mounts = *end == '\n' ? end + 1 : end;
	}
	return path;
}

/* "" when it cannot be read. */
static char *
read_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct buf b = { .len = 0 };
	char data[4096];
	ssize_t n;

	while (fd >= 0 && (n = read(fd, data, sizeof(data))) > 0)
		buf_put(&b, data, (size_t)n);
	if (fd >= 0)
		close(fd);
	return b.len > 0 ? buf_detach(&b) : xstrdup("");
}

static char *
own_directory(void)
{
	char *groups = read_file("/proc/self/cgroup");
	char *mounts = read_file("/proc/self/mountinfo");
	char *path = cgroup_directory(groups, mounts);

	free(groups);
	free(mounts);
	return path;
}

static void
make_own(const char *directory)
{
	char *path = xasprintf("%s/" NAME, directory, (int)getppid(), (int)getpid());

	rmdir(path);		/* of the last program, or of who had our pid */
	if (mkdir(path, 0755) == 0) {
		own.fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		own.kill_fd = openat(own.fd, "cgroup.kill", O_WRONLY | O_CLOEXEC);
		if (own.kill_fd < 0)
			rmdir(path);
	}
	free(path);
}

static void
close_own(void)
{
	if (own.fd >= 0)
		close(own.fd);
	if (own.kill_fd >= 0)
		close(own.kill_fd);
	own.fd = own.kill_fd = -1;
	own.killed = false;
}

int
cgroup_fd(void)
{
	char *directory;

	if (own.owner == getpid() && !own.killed)
		return own.fd;
	if (own.owner == getpid())
		close_own();
	own.owner = getpid();
	own.fd = own.kill_fd = -1;	/* a parent's numbers mean nothing here */
	own.killed = false;
	if ((directory = own_directory()) != NULL)
		make_own(directory);
	free(directory);
	if (own.kill_fd < 0)
		close_own();
	return own.fd;
}

void
cgroup_kill(void)
{
	int saved = errno;

	if (own.kill_fd < 0 || own.owner != getpid())
		return;
	own.killed = true;
	if (write(own.kill_fd, "1", 1) < 0)
		errno = saved;	/* who looks for processes will find them */
}

static bool
is_dead(pid_t pid)
{
	return kill(pid, 0) != 0 && errno == ESRCH;
}

static void
kill_in(int directory, const char *name)
{
	char path[NAME_MAX_LEN + 16];
	int fd;

	snprintf(path, sizeof(path), "%s/cgroup.kill", name);
	fd = openat(directory, path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (write(fd, "1", 1) < 0)
		errno = 0;	/* it may be gone, and is looked at again if not */
	close(fd);
}

void
cgroup_sweep_in(const char *directory)
{
	DIR *dir = opendir(directory);
	struct dirent *entry;

	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		char name[NAME_MAX_LEN];
		int master, process;

		if (sscanf(entry->d_name, NAME, &master, &process) != 2)
			continue;
		snprintf(name, sizeof(name), NAME, master, process);
		if (strcmp(name, entry->d_name) != 0)
			continue;
		if (master == getpid() && is_dead(process))
			kill_in(dirfd(dir), name);
		else if (!is_dead(master))
			continue;
		unlinkat(dirfd(dir), name, AT_REMOVEDIR);
	}
	if (dir != NULL)
		closedir(dir);
}

void
cgroup_sweep(void)
{
	char *directory = own_directory();

	if (directory != NULL)
		cgroup_sweep_in(directory);
	free(directory);
}
