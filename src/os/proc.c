/*
 * Processes: see proc.h. The order of things around a fork matters; each step
 * says why.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "os/cgroup.h"
#include "os/loop.h"
#include "os/proc.h"

#define LOG_FD 4
#define RELAY_FD 3		/* of a daemon that is not ready yet */
#define FREE_FD 16		/* above every number with a meaning */
#define CHILDREN_MAX 512	/* looked at in one go */
#define KILL_ROUNDS 1000
#define QUICK_ROUNDS 4		/* then a tree is stopped before it is killed */
#define STOP_PASSES 50
#define SEEN_MAX 32768		/* processes of the machine */

extern char **environ;

static void close_others(const int *keep, size_t n);

static void
on_reopen(int signo)
{
	int saved = errno;

	(void)signo;
	log_reopen(NULL);
	errno = saved;
}

static void
default_signals(void)
{
	struct sigaction act = { .sa_handler = SIG_DFL };

	for (int signo = 1; signo < NSIG; signo++)
		sigaction(signo, &act, NULL);	/* KILL, STOP and libc's own refuse */
	act.sa_handler = SIG_IGN;
	sigaction(SIGPIPE, &act, NULL);
	/* Before its own handlers are in place a child must not die of a
	 * request to rotate logs. */
	act.sa_handler = on_reopen;
	act.sa_flags = SA_RESTART;
	sigaction(SIGUSR1, &act, NULL);
}

/* A copy of fd out of the way of the fixed numbers; -1 stays -1. */
static int
lift(int fd)
{
	int copy;

	if (fd < 0)
		return -1;
	if ((copy = fcntl(fd, F_DUPFD_CLOEXEC, FREE_FD)) < 0)
		fatal("cannot keep a descriptor", "fd=%d error=%s", fd,
		    strerror(errno));
	return copy;
}

static void
settle(int fd, int number, bool keep_at_exec)
{
	if (fd < 0)
		close(number);
	else if (dup3(fd, number, keep_at_exec ? 0 : O_CLOEXEC) < 0)
		fatal("cannot lay out descriptors", "fd=%d error=%s", number,
		    strerror(errno));
}

/* All but what has a meaning, and the logs of their own. */
static void
close_rest(void)
{
	int *keep, fd;
	size_t n = 0;

	while (log_own_fd(n) >= 0)
		n++;
	keep = xcalloc(n + PROC_EXTRA_FD + 1, sizeof(*keep));
	for (size_t i = 0; i < n; i++)
		keep[i] = log_own_fd(i);
	for (fd = PROC_CHANNEL_FD; fd <= PROC_EXTRA_FD; fd++)
		keep[n++] = fd;
	close_others(keep, n);
	free(keep);
}

static void
lay_out(int chan_fd, int extra_fd)
{
	int log, chan, extra, null;

	log_moved(-1);		/* while its socket's number is still its own */
	log = log_fd() > STDERR_FILENO ? lift(log_fd()) : -1;
	chan = lift(chan_fd);
	extra = lift(extra_fd);
	null = lift(open("/dev/null", O_RDWR | O_CLOEXEC));

	settle(null, STDIN_FILENO, true);
	if (log >= 0) {
		settle(log, STDOUT_FILENO, true);
		settle(log, STDERR_FILENO, true);
	}
	settle(chan >= 0 ? chan : null, PROC_CHANNEL_FD, false);
	settle(log, LOG_FD, false);
	settle(extra, PROC_EXTRA_FD, false);
	close_rest();
	if (log >= 0)
		log_moved(LOG_FD);
}

static void
begin_child(struct loop *inherited, pid_t parent, int chan_fd, int extra_fd)
{
	/* Still blocked: a signal now would be reported to the parent's loop. */
	loop_forked(inherited);
	default_signals();
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(1);	/* it died before it could be watched */
	lay_out(chan_fd, extra_fd);
}

pid_t
proc_fork(struct loop *inherited, int chan_fd, int extra_fd, struct err *e)
{
	pid_t parent = getpid(), pid;
	sigset_t all, old;

	fflush(NULL);		/* or both write what waits in stdio */
	/* With all signals blocked on both sides, no handler of this process
	 * runs in the child. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	pid = fork();
	if (pid < 0) {
		err_errno(e, "cannot fork");
	} else if (pid == 0) {
		begin_child(inherited, parent, chan_fd, extra_fd);
		sigemptyset(&old);
	} else {
		/* Here as well: it may be signalled by group before it ran. */
		setpgid(pid, pid);
	}
	sigprocmask(SIG_SETMASK, &old, NULL);
	return pid;
}

/* All but 0, 1, 2 and those of keep. */
static void
close_others(const int *keep, size_t n)
{
	unsigned from = STDERR_FILENO + 1;

	for (;;) {
		unsigned next = UINT_MAX;

		for (size_t i = 0; i < n; i++)
			if ((unsigned)keep[i] >= from && (unsigned)keep[i] < next)
				next = (unsigned)keep[i];
		if (next > from)
			close_range(from, next - 1, 0);
		if (next == UINT_MAX)
			return;
		from = next + 1;
	}
}

/* Relay what the daemon says until its last word, a NUL. */
static _Noreturn void
wait_for_daemon(int fd)
{
	char data[4096];
	ssize_t n;

	while ((n = read(fd, data, sizeof(data))) != 0) {
		const char *end;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		end = memchr(data, '\0', (size_t)n);
		if (write(STDERR_FILENO, data, end ? (size_t)(end - data) :
		    (size_t)n) < 0 && end == NULL)
			continue;	/* nobody reads it; still wait */
		if (end != NULL)
			_exit(0);
	}
	_exit(1);
}

int
proc_detach(struct err *e)
{
	int fds[2], null;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) != 0)
		return err_errno(e, "cannot make a pipe");
	fflush(NULL);
	if ((pid = fork()) < 0)
		return err_errno(e, "cannot fork");
	if (pid > 0) {
		close(fds[1]);
		wait_for_daemon(fds[0]);
	}
	setsid();
	/* Whoever started it may wait for the end of a pipe it was given. */
	if (fds[1] != RELAY_FD)
		dup3(fds[1], RELAY_FD, O_CLOEXEC);
	close_range(RELAY_FD + 1, ~0u, 0);
	if ((null = open("/dev/null", O_RDWR | O_CLOEXEC)) >= 0) {
		for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
			dup2(null, fd);
		close(null);
	}
	return RELAY_FD;
}

void
proc_detached(int fd)
{
	if (write(fd, "", 1) < 0)
		log_debug("nobody waits for the daemon any more", "");
	close(fd);
}

int
proc_pair(int fds[2], struct err *e)
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
		return err_errno(e, "cannot make a socket pair");
	return 0;
}

/*
 * The words of the command line and the environment lie behind each other in
 * one piece, which ps shows up to the first NUL. Both are copied away, then
 * the piece is the title's. (libbsd's setproctitle leaves a dot at the end of
 * the piece, which newer kernels show.)
 */
static struct {
	char *start;
	size_t size;		/* 0: proc_title_init() was not called */
	char *copy;		/* of what was there */
} title;

static bool
extend(const char *word)
{
	/* Only what directly follows: a word set later lies elsewhere. */
	if (word != title.start + title.size)
		return false;
	title.size += strlen(word) + 1;
	return true;
}

void
proc_title_init(int argc, char **argv)
{
	int words = 0, variables = 0;

	if (argc == 0)
		return;
	title.start = argv[0];
	while (words < argc && extend(argv[words]))
		words++;
	while (environ[variables] != NULL && extend(environ[variables]))
		variables++;
	title.copy = xmalloc(title.size);
	memcpy(title.copy, title.start, title.size);
	for (int i = 0; i < words; i++)
		argv[i] = title.copy + (argv[i] - title.start);
	for (int i = 0; i < variables; i++)
		environ[i] = title.copy + (environ[i] - title.start);
}

void
proc_title(const char *fmt, ...)
{
	va_list ap;
	int len;

	if (title.size == 0)
		return;
	va_start(ap, fmt);
	len = vsnprintf(title.start, title.size, fmt, ap);
	va_end(ap);
	if (len >= 0 && (size_t)len < title.size)
		memset(title.start + len, 0, title.size - (size_t)len);
}

void
proc_adopt_orphans(void)
{
	prctl(PR_SET_CHILD_SUBREAPER, 1);
}

/* before, a number, behind; without stdio: a handler may ask. */
static void
put_path(char *path, size_t size, const char *before, long number,
    const char *behind)
{
	char digits[24];
	size_t n = 0, len;

	do
		digits[n++] = (char)('0' + number % 10);
	while ((number /= 10) > 0);
	strlcpy(path, before, size);
	for (len = strlen(path); n > 0 && len < size - 1; path[len] = '\0')
		path[len++] = digits[--n];
	strlcat(path, behind, size);
}

/* Those that its main thread has. */
static size_t
children_of(pid_t parent, pid_t *pids, size_t max)
{
	char directory[32], path[64], data[1024];
	size_t n = 0;
	pid_t pid = 0;
	ssize_t len;
	int fd;

	put_path(directory, sizeof(directory), "/proc/", parent, "/task/");
	put_path(path, sizeof(path), directory, parent, "/children");
	if ((fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
		return 0;
	while (n < max && (len = read(fd, data, sizeof(data))) > 0)
		for (ssize_t i = 0; i < len && n < max; i++)
			if (data[i] >= '0' && data[i] <= '9') {
				pid = pid * 10 + (data[i] - '0');
			} else if (pid > 0) {
				pids[n++] = pid;
				pid = 0;
			}
	close(fd);
	return n;
}

/*
 * Only the main thread forks, and orphans go to it too, so its list is all.
 */
size_t
proc_children(pid_t *pids, size_t max)
{
	return children_of(getpid(), pids, max);
}

static bool
is_spared(pid_t pid, const pid_t *spare, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (spare[i] == pid)
			return true;
	return false;
}

/* With the group it is in, which is stopped short as one: no fork of a
 * member gets away meanwhile. */
static void
kill_one(pid_t pid, const pid_t *spare, size_t n)
{
	pid_t group = getpgid(pid);

	if (group > 1 && group != getpgrp() && !is_spared(group, spare, n))
		kill(-group, SIGKILL);
	kill(pid, SIGKILL);
}

/* Returns how many there were. All are killed before the first is waited
 * for: a tree that forks on is cut off at as many places as possible. */
static size_t
kill_round(const pid_t *spare, size_t n)
{
	pid_t pids[CHILDREN_MAX];
	size_t count = proc_children(pids, CHILDREN_MAX), killed = 0;

	for (size_t i = 0; i < count; i++) {
		if (is_spared(pids[i], spare, n))
			continue;
		kill_one(pids[i], spare, n);
		pids[killed++] = pids[i];
	}
	for (size_t i = 0; i < killed; i++)
		while (waitpid(pids[i], NULL, 0) < 0 && errno == EINTR)
			;
	return killed;
}

/*
 * A tree of which every process forks on grows as fast as it is killed. So all
 * of it is stopped first, until a look at all processes twice finds none that
 * runs: none then can have got away unseen.
 */
static struct seen {
	pid_t pid, parent;
	char state;		/* as in /proc */
	bool ours;
} seen[SEEN_MAX];		/* in the order of pids */

/* "PID (name) S PARENT …", where the name may have anything in it. */
static bool
read_stat(struct seen *p)
{
	char path[40], text[512], *at;
	ssize_t len;
	int fd;

	put_path(path, sizeof(path), "/proc/", p->pid, "/stat");
	if ((fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
		return false;
	len = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[len > 0 ? len : 0] = '\0';
	at = strrchr(text, ')');
	if (at == NULL || at[1] != ' ' || at[2] == '\0' || at[3] != ' ')
		return false;
	p->state = at[2];
	p->parent = 0;
	for (at += 4; *at >= '0' && *at <= '9'; at++)
		p->parent = p->parent * 10 + (*at - '0');
	p->ours = false;
	return true;
}

static size_t
see_all(void)
{
	_Alignas(struct dirent64) char data[8192];
	int fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	size_t n = 0;
	ssize_t len;

	while (fd >= 0 && (len = getdents64(fd, data, sizeof(data))) > 0)
		for (ssize_t at = 0; at < len && n < SEEN_MAX;) {
			struct dirent64 *entry = (void *)(data + at);
			const char *c = entry->d_name;

			for (seen[n].pid = 0; *c >= '0' && *c <= '9'; c++)
				seen[n].pid = seen[n].pid * 10 + (*c - '0');
			if (*c == '\0' && seen[n].pid > 0 && read_stat(&seen[n]))
				n++;
			at += entry->d_reclen;
		}
	if (fd >= 0)
		close(fd);
	return n;
}

static bool
is_ours(size_t count, pid_t pid)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (seen[middle].pid == pid)
			return seen[middle].ours;
		if (seen[middle].pid < pid)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

/* One that is not our child may have ended meanwhile, and its pid be another's
 * by now: that has another parent. */
static bool
signal_seen(const struct seen *p, int signo)
{
	struct seen now = { .pid = p->pid };

	return read_stat(&now) && now.parent == p->parent &&
	    kill(p->pid, signo) == 0;
}

/* Stop whatever runs of the tree below this process; how many did. */
static size_t
stop_pass(size_t count, const pid_t *spare, size_t n)
{
	pid_t self = getpid();
	size_t running = 0;
	bool more = true;

	while (more) {
		more = false;
		for (size_t i = 0; i < count; i++) {
			struct seen *p = &seen[i];

			if (p->ours || (p->parent == self ?
			    is_spared(p->pid, spare, n) : !is_ours(count, p->parent)))
				continue;
			p->ours = more = true;
			if (p->state != 'T' && p->state != 'Z' &&
			    signal_seen(p, SIGSTOP))
				running++;
		}
	}
	return running;
}

void
proc_kill_strays(const pid_t *spare, size_t n)
{
	size_t count = 0;

	for (int pass = 0, quiet = 0; pass < STOP_PASSES && quiet < 2; pass++) {
		count = see_all();
		quiet = stop_pass(count, spare, n) == 0 ? quiet + 1 : 0;
	}
	for (size_t i = 0; i < count; i++) {
		if (!seen[i].ours)
			continue;
		/* What is stopped cannot have ended; and its parent may have. */
		if (seen[i].state == 'T')
			kill(seen[i].pid, SIGKILL);
		else
			signal_seen(&seen[i], SIGKILL);
	}
}

void
proc_kill_children(const pid_t *spare, size_t n)
{
	int saved = errno;
	siginfo_t info;

	for (int round = 0; round < KILL_ROUNDS; round++) {
		/* The usual case, without a look at /proc. */
		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0)
			break;
		if (round == 0 && n == 0)	/* it has all of them in it */
			cgroup_kill();
		else if (round % QUICK_ROUNDS == 0)
			proc_kill_strays(spare, n);
		if (kill_round(spare, n) == 0 && n > 0)
			break;
	}
	errno = saved;
}

int64_t
proc_rss_kb(pid_t pid)
{
	long long pages = 0;
	char path[32];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
	if ((f = fopen(path, "re")) == NULL)
		return 0;
	if (fscanf(f, "%*d %lld", &pages) != 1)
		pages = 0;
	fclose(f);
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

int64_t
proc_tree_rss_kb(pid_t pid)
{
	pid_t pids[CHILDREN_MAX] = { pid };
	size_t n = 1;
	int64_t kb = 0;

	for (size_t i = 0; i < n; i++) {
		kb += proc_rss_kb(pids[i]);
		n += children_of(pids[i], pids + n, CHILDREN_MAX - n);
	}
	return kb;
}

int64_t
proc_peak_kb(pid_t pid)
{
	char path[32], line[128];
	long long kb = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	if ((f = fopen(path, "re")) == NULL)
		return -1;
	while (kb < 0 && fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "VmHWM: %lld", &kb) != 1)
			kb = -1;
	fclose(f);
	return kb;
}

int64_t
proc_cpu_us(pid_t pid)
{
	struct timespec used;
	clockid_t id;

	if (clock_getcpuclockid(pid, &id) != 0 || clock_gettime(id, &used) != 0)
		return -1;
	return used.tv_sec * INT64_C(1000000) + used.tv_nsec / 1000;
}
