/*
 * Use of the machine: see usage.h.
 */
#include "config.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/xalloc.h"
#include "os/usage.h"

#define TEXT_MAX 1024

static bool
slurp(const char *path, char text[TEXT_MAX])
{
	FILE *f = fopen(path, "re");
	size_t len;

	if (f == NULL)
		return false;
	len = fread(text, 1, TEXT_MAX - 1, f);
	fclose(f);
	text[len] = '\0';
	return len > 0;
}

/* How many it has open; -1: that is not for us to see. */
static int64_t
count_fds(pid_t pid)
{
	char path[64];
	int64_t n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	if ((dir = opendir(path)) == NULL)
		return -1;
	for (const struct dirent *d; (d = readdir(dir)) != NULL;)
		n += d->d_name[0] != '.';
	closedir(dir);
	return n;
}

/* Seconds since the epoch when the machine started. */
static double
boot_time(void)
{
	struct timespec boot, wall;

	clock_gettime(CLOCK_BOOTTIME, &boot);
	clock_gettime(CLOCK_REALTIME, &wall);
	return (double)(wall.tv_sec - boot.tv_sec) +
	    (double)(wall.tv_nsec - boot.tv_nsec) / 1e9;
}

/* Add one process, by its stat: the fields behind its name, which may have
 * anything in it, from the third on. */
static bool
add(struct usage *u, pid_t pid)
{
	unsigned long long user, system, users, systems, start;
	long long pages;
	long ticks = sysconf(_SC_CLK_TCK);
	char path[64], text[TEXT_MAX], *p;
	int64_t fds;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (!slurp(path, text) || (p = strrchr(text, ')')) == NULL ||
	    sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u "
	    "%llu %llu %llu %llu %*d %*d %*d %*d %llu %*u %lld",
	    &user, &system, &users, &systems, &start, &pages) != 6)
		return false;
	u->processes++;
	u->cpu_us += (user + system + users + systems) * 1000000 /
	    (unsigned long long)ticks;
	u->resident += (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
	if (u->processes == 1)
		u->started = boot_time() + (double)start / (double)ticks;
	if ((fds = count_fds(pid)) > u->most_fds)
		u->most_fds = fds;
	return true;
}

bool
usage_read(struct usage *u, pid_t master)
{
	struct rlimit limit = { 0 };
	char path[64];
	int child;
	FILE *f;

	*u = (struct usage){ .most_fds = -1 };
	if (!add(u, master))
		return false;
	getrlimit(RLIMIT_NOFILE, &limit);
	u->max_fds = (int64_t)limit.rlim_cur;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)master,
	    (int)master);
	if ((f = fopen(path, "re")) == NULL)
		return true;
	while (fscanf(f, "%d", &child) == 1)
		add(u, child);
	fclose(f);
	return true;
}

int64_t
usage_threads(void)
{
	char text[TEXT_MAX];
	long long n;

	/* Of sysinfo() the number has 16 bits. */
	return slurp("/proc/loadavg", text) &&
	    sscanf(text, "%*s %*s %*s %*d/%lld", &n) == 1 ? n : 0;
}

/* Its memory that is of no file; what is shared, in proportion. False: that is
 * not told. */
static bool
proportional(pid_t pid, uint64_t *bytes)
{
	char path[64], line[128];
	unsigned long long kb;
	bool told = false;
	FILE *f;

	*bytes = 0;
	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
	if ((f = fopen(path, "re")) == NULL)
		return false;
	while (fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "Pss_Anon: %llu kB", &kb) == 1 ||
		    sscanf(line, "Pss_Shmem: %llu kB", &kb) == 1) {
			*bytes += kb * 1024;
			told = true;
		}
	fclose(f);
	return told;
}

/* The children of all its threads. */
static size_t
list_children(pid_t pid, pid_t *pids, size_t n, size_t max)
{
	char path[300];
	struct dirent *task;
	int child;
	DIR *dir;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	if ((dir = opendir(path)) == NULL)
		return n;
	while (n < max && (task = readdir(dir)) != NULL) {
		if (task->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%s/children",
		    (int)pid, task->d_name);
		if ((f = fopen(path, "re")) == NULL)
			continue;
		while (n < max && fscanf(f, "%d", &child) == 1)
			pids[n++] = child;
		fclose(f);
	}
	closedir(dir);
	return n;
}

void
usage_descendants(struct usage *u, pid_t root, int max, bool exactly)
{
	pid_t *pids = xcalloc((size_t)max, sizeof(*pids));
	size_t n = 0;
	struct rusage reaped;
	uint64_t before, exact;

	*u = (struct usage){ .most_fds = -1 };
	if (root == getpid())
		n = list_children(root, pids, 0, (size_t)max);
	else
		pids[n++] = root;
	for (size_t i = 0; i < n; i++) {
		before = u->resident;
		if (add(u, pids[i]) && exactly && proportional(pids[i], &exact))
			u->resident = before + exact;
		n = list_children(pids[i], pids, n, (size_t)max);
	}
	free(pids);
	if (root == getpid() && getrusage(RUSAGE_CHILDREN, &reaped) == 0)
		u->cpu_us += (uint64_t)(reaped.ru_utime.tv_sec +
		    reaped.ru_stime.tv_sec) * 1000000 +
		    (uint64_t)(reaped.ru_utime.tv_usec + reaped.ru_stime.tv_usec);
}
