/*
 * A queue's sandbox: see sandbox.h.
 */
#include "config.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/xalloc.h"
#include "core/units.h"
#include "driver/sandbox.h"
#include "os/cgroup.h"
#include "os/filter.h"
#include "os/landlock.h"
#include "os/scratch.h"
#include "os/usage.h"

#define LOOK_FIRST (20 * MONO_MS)	/* then twice that, and so on */
#define LOOK_LAST (250 * MONO_MS)
#define LOOK_MOST 10000			/* processes */
#define CPU_GRACE_US 5000000		/* from XCPU to KILL */

struct sandbox {
	const struct sandbox_conf *box;
	struct loop *loop;
	struct spawn_limits limits;
	struct sock_fprog filter;
	unsigned enforced;		/* CGROUP_…, by a control group */
	int wall;			/* that of processes, from 1; 0: none yet */
	/* of the program that runs */
	char *scratch;
	pid_t pid;			/* 0: none */
	bool alone;			/* when it began */
	unsigned company;
	struct timer *look;
	mono_t next;
	uint64_t cpu_before;
	struct cgroup_met met_before;
	bool all_files;			/* it was seen with as many as it may have */
	char *verdict;			/* why it was killed */
};

/*
 * How many programs are watched in this process, and how often one was not the
 * only one. All orphans of this process, and all that was reaped, belong to a
 * program that has been alone here since it began.
 */
static int watched;
static unsigned company;

static void look(void *);

static void
limit(struct spawn_limits *l, int resource, int64_t value)
{
	if (value <= 0)
		return;
	l->limits[l->nlimits].resource = resource;
	l->limits[l->nlimits++].value = (rlim_t)value;
}

/*
 * Memory is that of data, and not of addresses: of these, many programs of today
 * reserve more than a machine has.
 */
static void
set_limits(struct sandbox *s)
{
	const struct sandbox_conf *box = s->box;
	struct spawn_limits *l = &s->limits;

	if (!(s->enforced & CGROUP_MEMORY))
		limit(l, RLIMIT_DATA, box->memory);
	limit(l, RLIMIT_CPU, (box->cpu_ms + 999) / 1000);
	limit(l, RLIMIT_NOFILE, box->files);
	limit(l, RLIMIT_FSIZE, box->file_size);
	/* A dump of a program that may not use much would be the largest file. */
	l->limits[l->nlimits].resource = RLIMIT_CORE;
	l->limits[l->nlimits++].value = 0;
	l->no_network = !box->network;
	l->no_privileges = true;
	l->first_killed = true;
	l->few_capabilities = box->isolate;
}

static int
set_filter(struct sandbox *s, struct err *e)
{
	if (!filter_possible())
		return 0;	/* sandbox_lacks() has said so */
	if (filter_make(&s->filter, s->box->network, e) < 0)
		return -1;
	s->limits.filter = &s->filter;
	s->limits.filter_refuses_network = !s->box->network;
	return 0;
}

struct sandbox *
sandbox_new(struct loop *loop, const struct queue_conf *queue, struct err *e)
{
	struct sandbox *s = xcalloc(1, sizeof(*s));
	const struct sandbox_conf *box = &queue->box;
	struct cgroup_limits group = { box->memory, box->processes };

	s->box = box;
	s->loop = loop;
	if (!sandbox_is_on(box))
		return s;
	s->enforced = cgroup_limit(&group);
	set_limits(s);
	if ((box->user[0] != '\0' && spawn_user(&s->limits, box->user, e) < 0) ||
	    ((box->isolate || !box->network) && set_filter(s, e) < 0)) {
		sandbox_free(s);
		return NULL;
	}
	s->look = timer_new(loop, look, s);
	return s;
}

void
sandbox_free(struct sandbox *s)
{
	if (s == NULL)
		return;
	sandbox_release(s);
	if (s->look != NULL)
		timer_free(s->look);
	filter_clear(&s->filter);
	scratch_leave();
	free(s);
}

static void
set_variable(struct strings *env, const char *name, const char *value)
{
	char *text = xasprintf("%s=%s", name, value);
	size_t len = strlen(name) + 1;

	for (size_t i = 0; i < env->n; i++)
		if (strncmp(env->v[i], text, len) == 0) {
			free(env->v[i]);
			env->v[i] = text;
			return;
		}
	strings_take(env, text);
}

/* Landlock is a must only for what was asked of it by name. */
static int
set_rules(struct sandbox *s, struct err *e)
{
	const struct sandbox_conf *box = s->box;
	struct landlock_paths paths = {
		.read = box->read, .nread = box->nread, .write = box->write,
		.nwrite = box->nwrite, .scratch = s->scratch,
	};

	if (landlock_version() < LANDLOCK_MOVES && box->nread == 0 &&
	    box->nwrite == 0)
		return 0;
	if ((s->limits.rules = landlock_rules(&paths, e)) < 0)
		return -1;
	s->limits.has_rules = true;
	return 0;
}

/*
 * The system counts the processes of a user, wherever they are, and root's not
 * at all. So this is a wall against bombs that never stops anybody who should
 * go on: as many as there are in all, and those of this program. What it really
 * may have is looked at.
 */
static void
set_wall(struct sandbox *s)
{
	struct spawn_limits *l = &s->limits;
	int64_t all = usage_threads();

	if (s->box->processes == 0 || (s->enforced & CGROUP_PROCESSES) || all == 0)
		return;
	if (s->wall == 0)
		s->wall = ++l->nlimits;
	l->limits[s->wall - 1].resource = RLIMIT_NPROC;
	l->limits[s->wall - 1].value = (rlim_t)(all + s->box->processes);
}

int
sandbox_prepare(struct sandbox *s, struct strings *env,
    const struct spawn_limits **limits, struct err *e)
{
	const struct spawn_limits *l = &s->limits;

	*limits = NULL;
	if (!sandbox_is_on(s->box))
		return 0;
	sandbox_release(s);
	set_wall(s);
	if (sandbox_confines(s->box)) {
		s->scratch = scratch_make(l->user ? l->uid : geteuid(),
		    l->user ? l->gid : getegid(), e);
		if (s->scratch == NULL || set_rules(s, e) < 0) {
			sandbox_release(s);
			return -1;
		}
		set_variable(env, "TMPDIR", s->scratch);
	}
	*limits = l;
	return 0;
}

void
sandbox_release(struct sandbox *s)
{
	struct err e;

	if (s->pid != 0) {
		timer_stop(s->look);
		s->pid = 0;
		watched--;
	}
	if (s->limits.has_rules)
		close(s->limits.rules);
	s->limits.has_rules = false;
	if (scratch_remove(s->scratch, &e) < 0)
		log_warn("temporary files are left", "error=%s", e.msg);
	free(s->scratch);
	s->scratch = NULL;
	free(s->verdict);
	s->verdict = NULL;
	s->all_files = false;
}

/*
 * While it runs
 */

static bool
is_alone(const struct sandbox *s)
{
	return s->alone && s->company == company;
}

static void
read_usage(const struct sandbox *s, struct usage *u, int most, bool exactly)
{
	uint64_t group;

	usage_descendants(u, is_alone(s) ? getpid() : s->pid, most, exactly);
	if (!is_alone(s))
		return;
	/* A program can hide the time of its children from all but this. */
	if ((group = cgroup_cpu_us()) > u->cpu_us)
		u->cpu_us = group;
	u->cpu_us -= u->cpu_us < s->cpu_before ? u->cpu_us : s->cpu_before;
}

void
sandbox_watch(struct sandbox *s, pid_t pid)
{
	const struct sandbox_conf *box = s->box;
	struct usage u;

	if (!sandbox_is_on(box))
		return;
	s->pid = pid;
	s->alone = ++watched == 1;
	company += !s->alone;
	s->company = company;
	s->met_before = cgroup_met();
	if (box->memory == 0 && box->cpu_ms == 0 && box->processes == 0 &&
	    box->files == 0)
		return;
	s->cpu_before = 0;
	read_usage(s, &u, LOOK_MOST, false);
	s->cpu_before = u.cpu_us;
	s->next = LOOK_FIRST;
	timer_set(s->look, s->next);
}

static bool
exceeds_memory(struct sandbox *s, struct usage *u)
{
	uint64_t most = (uint64_t)s->box->memory;

	if (most == 0 || (s->enforced & CGROUP_MEMORY) || u->resident <= most)
		return false;
	/* What they share was counted more than once, and what is of files
	 * counted at all. */
	read_usage(s, u, LOOK_MOST, true);
	return u->resident > most;
}

static void
stop(struct sandbox *s, int signo, char *verdict)
{
	free(s->verdict);
	s->verdict = verdict;
	kill(-s->pid, signo);
	if (signo != SIGKILL)
		return;
	kill(s->pid, signo);
	/* Its end brings that of all it started, but of a bomb no time is to be
	 * lost: what it does, it does to the whole machine. */
	if (is_alone(s))
		cgroup_kill();
}

static char *
too_much_memory(const struct sandbox_conf *box)
{
	char size[UNITS_TEXT_MAX];

	units_format_size(size, sizeof(size), box->memory);
	return xasprintf("sandbox.memory: it used all of its %s", size);
}

static char *
too_much_time(const struct sandbox_conf *box)
{
	char time[UNITS_TEXT_MAX];

	units_format_duration(time, sizeof(time), box->cpu_ms);
	return xasprintf("sandbox.cpu_time: it used all of its %s", time);
}

static char *
too_many_processes(const struct sandbox_conf *box)
{
	return xasprintf("sandbox.processes: it had all of its %d",
	    box->processes);
}

static void
look(void *arg)
{
	struct sandbox *s = arg;
	const struct sandbox_conf *box = s->box;
	int64_t cpu_us = box->cpu_ms * 1000;
	bool counts = box->processes > 0 && !(s->enforced & CGROUP_PROCESSES);
	struct usage u;

	/* One more than it may have is enough to know. */
	read_usage(s, &u, counts ? box->processes + 1 : LOOK_MOST, false);
	s->all_files |= box->files > 0 && u.most_fds >= box->files;
	if (exceeds_memory(s, &u))
		stop(s, SIGKILL, too_much_memory(box));
	else if (counts && u.processes > box->processes)
		stop(s, SIGKILL, too_many_processes(box));
	else if (cpu_us > 0 && (int64_t)u.cpu_us >= cpu_us)
		stop(s, (int64_t)u.cpu_us >= cpu_us + CPU_GRACE_US ? SIGKILL :
		    SIGXCPU, too_much_time(box));
	if (s->next < LOOK_LAST)
		s->next *= 2;
	timer_set(s->look, s->next);
}

/*
 * Afterwards. What the kernel refused, a program may have taken in many ways;
 * it is told by what it had when it failed.
 */

static uint64_t
time_of(const struct rusage *usage)
{
	return (uint64_t)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) *
	    1000000 + (uint64_t)(usage->ru_utime.tv_usec +
	    usage->ru_stime.tv_usec);
}

/* 7/8: its libraries and its stack do not count, and the last piece that it
 * wanted was not given. */
static bool
had_all_memory(const struct sandbox *s, const struct rusage *usage)
{
	int64_t most = s->box->memory;

	if (most == 0)
		return false;
	return s->enforced & CGROUP_MEMORY ?
	    cgroup_met().memory > s->met_before.memory :
	    usage->ru_maxrss * INT64_C(1024) >= most / 8 * 7;
}

/* Those of sysexits.h that the driver exec understands. */
static bool
says_why(int status)
{
	static const int known[] = { 65, 69, 75, 77, 78 };

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (WIFEXITED(status) && WEXITSTATUS(status) == known[i])
			return true;
	return false;
}

/* NULL: by none. */
static char *
limit_met(struct sandbox *s, int status, const struct rusage *usage)
{
	const struct sandbox_conf *box = s->box;
	/* A shell tells the signal that has ended its last command so. */
	int signo = WIFSIGNALED(status) ? WTERMSIG(status) :
	    WEXITSTATUS(status) - 128;
	char size[UNITS_TEXT_MAX];

	if (s->verdict != NULL)
		return xstrdup(s->verdict);
	if (says_why(status))
		return NULL;
	if (box->cpu_ms > 0 && (signo == SIGXCPU ||
	    time_of(usage) >= (uint64_t)box->cpu_ms * 1000))
		return too_much_time(box);
	if (had_all_memory(s, usage))
		return too_much_memory(box);
	if (box->processes > 0 &&
	    cgroup_met().processes > s->met_before.processes)
		return too_many_processes(box);
	if (s->all_files)
		return xasprintf("sandbox.files: it had all of its %d", box->files);
	if (box->file_size > 0 && signo == SIGXFSZ) {
		units_format_size(size, sizeof(size), box->file_size);
		return xasprintf("sandbox.file_size: a file reached %s", size);
	}
	return NULL;
}

bool
sandbox_judge(struct sandbox *s, int status, const struct rusage *usage,
    char **message)
{
	char *limit, *whole;

	if (!sandbox_is_on(s->box) || status == 0 ||
	    (limit = limit_met(s, status, usage)) == NULL)
		return false;
	whole = xasprintf("%s; %s", limit, *message);
	free(limit);
	free(*message);
	*message = whole;
	return true;
}
