/*
 * jobqctl doctor, of this machine: is the daemon there with all its processes,
 * can it write where it should, is there room, are the limits wide enough.
 * What /proc tells of a process belongs to its user and to root.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "core/units.h"
#include "ctl/doctor.h"
#include "os/pidfile.h"
#include "os/priv.h"

#define ROOM_BAD (64L << 20)	/* bytes free of a file system */
#define ROOM_WARN (1L << 30)	/* … unless that is a twentieth of it */
#define LOG_LARGE (4L << 30)
#define FILES_SPARE 64		/* descriptors beside one for each worker or job */
#define DIRECTORIES 64		/* looked at */

/* The daemon's processes, by their titles. */
struct processes {
	bool seen, sched, monitor, api;
	struct { bool leader; int workers; } *queues;	/* as conf->queues */
};

static void daemon_is(struct doctor *, pid_t *master);
static void program_is(struct doctor *, pid_t);
static void count_processes(const struct conf *, pid_t, struct processes *);
static void note_title(const struct conf *, const char *title, struct processes *);
static void judge_processes(struct doctor *, const struct processes *);
static void health_file(struct doctor *, bool running);
static void logs(struct doctor *, pid_t);
static void log_file(struct doctor *, const char *path, pid_t);
static void room(struct doctor *);
static void limits(struct doctor *, pid_t);
static void sandboxes(struct doctor *);

void
host_look(struct doctor *d)
{
	const struct conf *conf = d->ctl->conf;
	struct processes p = { 0 };
	pid_t master = -1;

	daemon_is(d, &master);
	if (master > 0) {
		p.queues = calloc(conf->nqueues + 1, sizeof(*p.queues));
		count_processes(conf, master, &p);
		judge_processes(d, &p);
		free(p.queues);
	}
	health_file(d, master > 0);
	logs(d, master);
	room(d);
	if (master > 0)
		limits(d, master);
	sandboxes(d);
}

/* ---- the daemon ------------------------------------------------------- */

static void
daemon_is(struct doctor *d, pid_t *master)
{
	const char *path = d->ctl->conf->daemon.pid_file;
	struct err e;

	if (*path == '\0') {
		doctor_say(d, FOUND_WARN, "daemon", "set daemon.pid_file",
		    "it has no pid file, so it cannot be looked at");
		return;
	}
	if ((*master = pidfile_owner(path, &e)) < 0) {
		doctor_say(d, FOUND_BAD, "daemon", e.code == ERR_DOWN ?
		    "start it: systemctl start jobqd, or jobqd -c FILE" : NULL,
		    "%s", e.msg);
		return;
	}
	program_is(d, *master);
}

/* The version that the node has told the database, and its file's fate. */
static void
program_is(struct doctor *d, pid_t master)
{
	char path[64], exe[PATH_MAX] = "";
	ssize_t len;

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)master);
	len = readlink(path, exe, sizeof(exe) - 1);
	exe[len > 0 ? len : 0] = '\0';
	if (d->version != NULL && strcmp(d->version, PACKAGE_VERSION) != 0)
		doctor_say(d, FOUND_WARN, "daemon", "install the same version of "
		    "both, and restart jobqd", "process %d is jobqd %s, and this "
		    "is jobqctl %s", (int)master, d->version, PACKAGE_VERSION);
	else if (strstr(exe, " (deleted)") != NULL)
		doctor_say(d, FOUND_WARN, "daemon", "restart jobqd", "process %d "
		    "runs a program that was replaced since", (int)master);
	else
		doctor_say(d, FOUND_OK, "daemon", NULL, "process %d",
		    (int)master);
}

static void
read_title(pid_t pid, char *title, size_t size)
{
	char path[64];
	FILE *f;
	size_t n = 0;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	if ((f = fopen(path, "re")) != NULL) {
		n = fread(title, 1, size - 1, f);
		fclose(f);
	}
	title[n] = '\0';
}

static void
count_processes(const struct conf *conf, pid_t master, struct processes *p)
{
	char path[96], title[256];
	FILE *f;
	int pid;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)master,
	    (int)master);
	if ((f = fopen(path, "re")) == NULL)
		return;
	while (fscanf(f, "%d", &pid) == 1) {
		read_title((pid_t)pid, title, sizeof(title));
		note_title(conf, title, p);
	}
	fclose(f);
	p->seen = true;
}

static void
note_title(const struct conf *conf, const char *title, struct processes *p)
{
	char name[64];

	if (strncmp(title, "jobqd: scheduler", 16) == 0)
		p->sched = true;
	else if (strncmp(title, "jobqd: monitor", 14) == 0)
		p->monitor = true;
	else if (strncmp(title, "jobqd: api", 10) == 0)
		p->api = true;
	for (size_t i = 0; i < conf->nqueues; i++) {
		if (sscanf(title, "jobqd: queue %63[^ ]", name) == 1 &&
		    strcmp(name, conf->queues[i].name) == 0)
			p->queues[i].leader = true;
		if (sscanf(title, "jobqd: worker %63[^/]", name) == 1 &&
		    strcmp(name, conf->queues[i].name) == 0)
			p->queues[i].workers++;
	}
}

static void
judge_processes(struct doctor *d, const struct processes *p)
{
	static const char again[] = "it is started again by itself; the log says "
	    "why it ended";
	const struct conf *conf = d->ctl->conf;
	bool api = p->api || strcmp(conf->api.listen, "off") == 0;
	int missing = 0, workers = 0, leaders = 0;

	if (!p->seen) {
		doctor_say(d, FOUND_WARN, "processes", "call jobqctl doctor as "
		    "root", "those of the daemon cannot be seen");
		return;
	}
	for (size_t i = 0; i < conf->nqueues; i++) {
		const struct queue_conf *q = &conf->queues[i];

		leaders += p->queues[i].leader;
		workers += p->queues[i].workers;
		if (!q->enabled || q->workers == 0)
			continue;
		if (!p->queues[i].leader)
			doctor_say(d, FOUND_BAD, "processes", "was it reloaded "
			    "since the queue is in the configuration? else the "
			    "log says why", "the queue %s has no leader", q->name);
		else if (p->queues[i].workers < q->workers)
			doctor_say(d, p->queues[i].workers == 0 ? FOUND_BAD :
			    FOUND_WARN, "processes", again, "the queue %s has %d "
			    "of its %d workers", q->name, p->queues[i].workers,
			    q->workers);
		else
			continue;
		missing++;
	}
	if (!p->sched)
		doctor_say(d, FOUND_BAD, "processes", again, "no scheduler");
	if (!p->monitor)
		doctor_say(d, FOUND_BAD, "processes", again, "no monitor");
	if (!api)
		doctor_say(d, FOUND_BAD, "processes", again, "no api");
	if (missing == 0 && p->sched && p->monitor && api)
		doctor_say(d, FOUND_OK, "processes", NULL, "%d leaders, %d "
		    "workers, scheduler, monitor", leaders, workers);
}

/* ---- files ------------------------------------------------------------ */

static void
health_problems(struct doctor *d, const json_t *health, const char *path)
{
	const json_t *problems = json_object_get(health, "problems"), *problem;
	size_t i;

	if (json_array_size(problems) == 0)
		doctor_say(d, FOUND_BAD, "health", "\"jobqctl status\"",
		    "%s says that jobqd is not healthy", path);
	json_array_foreach(problems, i, problem) {
		const char *text = json_string_value(problem);

		doctor_say(d, FOUND_BAD, "health", "\"jobqctl status\"", "%s",
		    text != NULL ? text : "a problem without words");
	}
}

static void
health_file(struct doctor *d, bool running)
{
	const struct conf *conf = d->ctl->conf;
	const char *path = conf->monitor.health_file;
	long long age, allowed = 2 * conf->monitor.interval_ms / 1000 + 30;
	json_t *health;
	struct stat st;

	if (*path == '\0' || !running)
		return;
	if (stat(path, &st) != 0) {
		doctor_say(d, FOUND_WARN, "health", "see whether the directory "
		    "is there and daemon.user may write to it", "cannot read "
		    "%s: %s", path, strerror(errno));
		return;
	}
	age = time(NULL) - st.st_mtime;
	health = json_load_file(path, 0, NULL);
	if (age > allowed)
		doctor_say(d, FOUND_BAD, "health", "look for the monitor in the "
		    "log", "%s was not written for %lld s", path, age);
	else if (health == NULL)
		doctor_say(d, FOUND_WARN, "health", NULL, "%s is no JSON", path);
	else if (!json_is_true(json_object_get(health, "healthy")))
		health_problems(d, health, path);
	else
		doctor_say(d, FOUND_OK, "health", NULL, "good %lld s ago", age);
	json_decref(health);
}

static void
logs(struct doctor *d, pid_t master)
{
	const struct conf *conf = d->ctl->conf;
	const char *path;

	if (strcmp(conf->log.file, "stderr") != 0 &&
	    strcmp(conf->log.file, "syslog") != 0)
		log_file(d, conf->log.file, master);
	else
		doctor_say(d, FOUND_OK, "log", NULL, "goes to %s",
		    conf->log.file);
	for (size_t i = 0; (path = conf_own_log(conf, i)) != NULL; i++)
		if (*path != '\0')
			log_file(d, path, master);
}

/* May the daemon's user open it again? Asked as that user, where we may. */
static bool
is_writable(const struct conf *conf, const char *path, int *error)
{
	struct identity who;
	bool as = geteuid() == 0 && priv_find(conf->daemon.user,
	    conf->daemon.group, &who, NULL) == 0;
	char copy[PATH_MAX];
	int rc;

	if (as && (setegid(who.gid) != 0 || seteuid(who.uid) != 0))
		as = false;
	rc = faccessat(AT_FDCWD, path, W_OK, AT_EACCESS);
	if (rc != 0 && errno == ENOENT) {
		strlcpy(copy, path, sizeof(copy));
		rc = faccessat(AT_FDCWD, dirname(copy), W_OK | X_OK, AT_EACCESS);
	}
	*error = errno;
	if (as && (seteuid(0) != 0 || setegid(0) != 0))
		_exit(CTL_FAILED);	/* cannot be */
	return rc == 0;
}

/* Does any of the process's descriptors lead there? Also when that cannot be
 * seen. */
static bool
has_open(pid_t pid, const char *path)
{
	char directory[64], real[PATH_MAX], target[PATH_MAX];
	struct dirent *entry;
	bool has = false;
	ssize_t len;
	DIR *dir;

	snprintf(directory, sizeof(directory), "/proc/%d/fd", (int)pid);
	if (realpath(path, real) == NULL)
		return false;
	if ((dir = opendir(directory)) == NULL)
		return true;
	while (!has && (entry = readdir(dir)) != NULL) {
		len = readlinkat(dirfd(dir), entry->d_name, target,
		    sizeof(target) - 1);
		target[len > 0 ? len : 0] = '\0';
		has = strcmp(target, real) == 0;
	}
	closedir(dir);
	return has;
}

static void
log_file(struct doctor *d, const char *path, pid_t master)
{
	struct stat st = { 0 };
	int error;

	if (!is_writable(d->ctl->conf, path, &error))
		doctor_say(d, FOUND_BAD, "log", "give the directory to "
		    "daemon.user", "jobqd cannot open %s again: %s", path,
		    strerror(error));
	else if (master > 0 && !has_open(master, path))
		doctor_say(d, FOUND_WARN, "log", "after a rotation: jobqd -s "
		    "reopen; after a change: jobqd -s reload", "the daemon does "
		    "not write to %s", path);
	else if (stat(path, &st) == 0 && st.st_size > LOG_LARGE)
		doctor_say(d, FOUND_WARN, "log", "rotate it: "
		    "contrib/jobqd.logrotate", "%s has %lld MiB", path,
		    (long long)st.st_size >> 20);
	else
		doctor_say(d, FOUND_OK, "log", NULL, "%s", path);
}

static void
room_at(struct doctor *d, const char *directory, dev_t *seen, size_t *nseen)
{
	char free_text[UNITS_TEXT_MAX];
	struct statvfs fs;
	struct stat st;
	long long bytes, whole;

	if (stat(directory, &st) != 0 || statvfs(directory, &fs) != 0)
		return;		/* who writes there has a line about it */
	for (size_t i = 0; i < *nseen; i++)
		if (seen[i] == st.st_dev)
			return;
	if (*nseen == DIRECTORIES)
		return;
	seen[(*nseen)++] = st.st_dev;
	bytes = (long long)fs.f_bavail * (long long)fs.f_frsize;
	whole = (long long)fs.f_blocks * (long long)fs.f_frsize;
	units_format_size(free_text, sizeof(free_text), bytes < 10 * ROOM_WARN ?
	    bytes >> 20 << 20 : bytes >> 30 << 30);
	if (bytes < ROOM_BAD && bytes < whole / 2)
		doctor_say(d, FOUND_BAD, "room", "make room", "%s has %s left",
		    directory, free_text);
	else if (bytes < ROOM_WARN && bytes < whole / 20)
		doctor_say(d, FOUND_WARN, "room", "make room", "%s has %s left",
		    directory, free_text);
	else
		doctor_say(d, FOUND_OK, "room", NULL, "%s left in %s", free_text,
		    directory);
}

/* Once for each file system. */
static void
room(struct doctor *d)
{
	const struct conf *conf = d->ctl->conf;
	dev_t seen[DIRECTORIES];
	size_t nseen = 0;
	char copy[PATH_MAX];
	const char *path;

	if (*conf->database.embedded != '\0')
		room_at(d, conf->database.embedded, seen, &nseen);
	if (strchr(conf->log.file, '/') != NULL) {
		strlcpy(copy, conf->log.file, sizeof(copy));
		room_at(d, dirname(copy), seen, &nseen);
	}
	for (size_t i = 0; (path = conf_own_log(conf, i)) != NULL; i++)
		if (*path != '\0') {
			strlcpy(copy, path, sizeof(copy));
			room_at(d, dirname(copy), seen, &nseen);
		}
	if (*conf->monitor.health_file != '\0') {
		strlcpy(copy, conf->monitor.health_file, sizeof(copy));
		room_at(d, dirname(copy), seen, &nseen);
	}
}

/* A leader has a descriptor for each worker, a worker some for each job. */
static void
limits(struct doctor *d, pid_t master)
{
	const struct conf *conf = d->ctl->conf;
	long long needed = (long long)conf->nqueues + (long long)conf->nschedules,
	    soft = -1;
	char path[64], line[256];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/limits", (int)master);
	if ((f = fopen(path, "re")) == NULL)
		return;
	while (fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "Max open files %lld", &soft) == 1)
			break;
	fclose(f);
	for (size_t i = 0; i < conf->nqueues; i++) {
		const struct queue_conf *q = &conf->queues[i];

		if (q->workers > needed)
			needed = q->workers;
		if (2LL * q->concurrency > needed)
			needed = 2LL * q->concurrency;
	}
	needed += FILES_SPARE;
	if (soft >= 0 && soft < needed)
		doctor_say(d, FOUND_BAD, "limits", "raise it: LimitNOFILE= of the "
		    "service, or ulimit -n", "%lld open files a process are "
		    "allowed, and the queues need up to %lld", soft, needed);
	else if (soft >= 0)
		doctor_say(d, FOUND_OK, "limits", NULL, "%lld open files a "
		    "process, %lld needed", soft, needed);
}

/* What control groups the daemon has, only it can tell: its log does. */
static void
sandboxes(struct doctor *d)
{
	const struct conf *conf = d->ctl->conf;
	char *lacks = sandbox_lacks(conf, ~0u);
	size_t n = 0;

	for (size_t i = 0; i < conf->nqueues; i++)
		n += sandbox_is_on(&conf->queues[i].box);
	if (lacks != NULL)
		doctor_say(d, FOUND_WARN, "sandbox", "a newer kernel, or a build "
		    "with libseccomp, has it", "missing: %s", lacks);
	else if (n > 0)
		doctor_say(d, FOUND_OK, "sandbox", NULL, "%zu queues have one, "
		    "and this system can do all of it", n);
	free(lacks);
}
