/*
 * Control groups: see cgroup.h.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
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

#define MASTERS "jobqd"		/* where the daemon itself is, see cgroup_delegate() */

/* This process's; a child that is no program begins anew. */
static struct {
	pid_t owner;		/* who looked for it; 0: nobody has */
	int fd, kill_fd;	/* -1: there is none */
	volatile bool killed;	/* a kernel may kill whoever is put into it now */
	struct cgroup_limits limits;
} own = { .fd = -1, .kill_fd = -1 };

/* The master's, which its children know by the fork. */
static struct {
	char *directory;	/* where groups are made; NULL: in our own */
	unsigned controllers;
} delegated;

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
process_directory(void)
{
	char *groups = read_file("/proc/self/cgroup");
	char *mounts = read_file("/proc/self/mountinfo");
	char *path = cgroup_directory(groups, mounts);

	free(groups);
	free(mounts);
	return path;
}

static char *
own_directory(void)
{
	return delegated.directory != NULL ? xstrdup(delegated.directory) :
	    process_directory();
}

static bool
put(int directory, const char *file, const char *text)
{
	int fd = openat(directory, file, O_WRONLY | O_CLOEXEC);
	size_t len = strlen(text);
	bool good = fd >= 0 && write(fd, text, len) == (ssize_t)len;

	if (fd >= 0)
		close(fd);
	return good;
}

static bool
put_number(int directory, const char *file, int64_t n)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRId64, n);
	return put(directory, file, text);
}

static void
put_limits(int directory, const struct cgroup_limits *l)
{
	if (l->memory > 0 && put_number(directory, "memory.max", l->memory)) {
		put(directory, "memory.swap.max", "0");
		/* One that is over it takes the others with it: one program. */
		put(directory, "memory.oom.group", "1");
	}
	if (l->processes > 0)
		put_number(directory, "pids.max", l->processes);
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
		else
			put_limits(own.fd, &own.limits);
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

unsigned
cgroup_limit(const struct cgroup_limits *l)
{
	own.limits = *l;
	if (cgroup_fd() < 0)
		return 0;
	put_limits(own.fd, l);
	return delegated.controllers;
}

unsigned
cgroup_enforces(void)
{
	return delegated.controllers;
}

/* The number behind a word at the start of a line; 0: there is none. */
static uint64_t
number_in(const char *file, const char *word)
{
	char text[1024] = "\n";
	const char *at;
	int fd = own.owner == getpid() && own.fd >= 0 ?
	    openat(own.fd, file, O_RDONLY | O_CLOEXEC) : -1;
	ssize_t n;

	if (fd < 0)
		return 0;
	n = read(fd, text + 1, sizeof(text) - 2);
	close(fd);
	text[n > 0 ? n + 1 : 1] = '\0';
	at = strstr(text, word);
	return at != NULL ? strtoull(at + strlen(word), NULL, 10) : 0;
}

struct cgroup_met
cgroup_met(void)
{
	return (struct cgroup_met){
		.memory = number_in("memory.events", "\noom_kill "),
		.processes = number_in("pids.events", "\nmax "),
	};
}

uint64_t
cgroup_cpu_us(void)
{
	return number_in("cpu.stat", "\nusage_usec ");
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

static bool
has_word(const char *text, const char *word)
{
	size_t len = strlen(word);

	for (; *text != '\0'; text += strspn(text, " \n")) {
		size_t n = strcspn(text, " \n");

		if (n == len && memcmp(text, word, len) == 0)
			return true;
		text += n;
	}
	return false;
}

/* Its processes, and thus this one's companions, are us alone. */
static bool
is_alone(const char *directory)
{
	char *path = xasprintf("%s/cgroup.procs", directory);
	char *text = read_file(path), *end;
	bool alone = strtol(text, &end, 10) == getpid() && strcmp(end, "\n") == 0;

	free(path);
	free(text);
	return alone;
}

unsigned
cgroup_delegate_in(const char *directory)
{
	char *path = xasprintf("%s/cgroup.controllers", directory);
	char *there = read_file(path);
	unsigned found = (has_word(there, "memory") ? CGROUP_MEMORY : 0) |
	    (has_word(there, "pids") ? CGROUP_PROCESSES : 0);
	int fd = found != 0 && is_alone(directory) ?
	    open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	free(path);
	free(there);
	if (fd < 0)
		return 0;
	if ((mkdirat(fd, MASTERS, 0755) != 0 && errno != EEXIST) ||
	    !put(fd, MASTERS "/cgroup.procs", "0")) {
		found = 0;
	} else {
		if (!put(fd, "cgroup.subtree_control", "+memory"))
			found &= ~CGROUP_MEMORY;
		if (!put(fd, "cgroup.subtree_control", "+pids"))
			found &= ~CGROUP_PROCESSES;
		if (found == 0)
			put(fd, "cgroup.procs", "0");
	}
	close(fd);
	if (found != 0) {
		delegated.directory = xstrdup(directory);
		delegated.controllers = found;
	}
	return found;
}

unsigned
cgroup_delegate(void)
{
	char *directory;

	if (delegated.directory == NULL &&
	    (directory = process_directory()) != NULL) {
		cgroup_delegate_in(directory);
		free(directory);
	}
	return delegated.controllers;
}
