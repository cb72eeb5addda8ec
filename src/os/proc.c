/*
 * Processes: see proc.h. The order of things around a fork matters; each step
 * says why.
 */
#include "config.h"

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
#include <unistd.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "os/loop.h"
#include "os/proc.h"

#define LOG_FD 4
#define RELAY_FD 3		/* of a daemon that is not ready yet */
#define FREE_FD 16		/* above every number with a meaning */
#define CHILDREN_MAX 512	/* looked at in one go */
#define KILL_ROUNDS 1000

extern char **environ;

static void
on_reopen(int signo)
{
	(void)signo;
	log_reopen();
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
	close_range(PROC_EXTRA_FD + 1, ~0u, 0);
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

/* With all signals blocked on both sides, so that no handler of this process
 * runs in the child; old is what to set when it is safe. */
static pid_t
fork_blocked(sigset_t *old, struct err *e)
{
	sigset_t all;
	pid_t pid;

	fflush(NULL);		/* or both write what waits in stdio */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, old);
	pid = fork();
	if (pid < 0)
		err_errno(e, "cannot fork");
	return pid;
}

pid_t
proc_fork(struct loop *inherited, int chan_fd, int extra_fd, struct err *e)
{
	pid_t parent = getpid(), pid;
	sigset_t old;

	pid = fork_blocked(&old, e);
	if (pid == 0) {
		begin_child(inherited, parent, chan_fd, extra_fd);
		sigemptyset(&old);
	} else if (pid > 0) {
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

pid_t
proc_fork_helper(const int *keep, size_t n, struct err *e)
{
	pid_t parent = getpid(), pid;
	sigset_t old;

	pid = fork_blocked(&old, e);
	if (pid == 0) {
		default_signals();
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		close_others(keep, n);
		sigemptyset(&old);
	}
	sigprocmask(SIG_SETMASK, &old, NULL);
	return pid;
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

/* "/proc/self/task/PID/children", without stdio: a handler may ask. */
static void
children_path(char *path, size_t size)
{
	char digits[16];
	size_t n = 0;
	long pid = getpid();

	for (; pid > 0; pid /= 10)
		digits[n++] = (char)('0' + pid % 10);
	strlcpy(path, "/proc/self/task/", size);
	for (size_t len = strlen(path); n > 0; path[len] = '\0')
		path[len++] = digits[--n];
	strlcat(path, "/children", size);
}

/*
 * Only the main thread forks, and orphans go to it too, so its list is all.
 */
size_t
proc_children(pid_t *pids, size_t max)
{
	char path[64], data[1024];
	size_t n = 0;
	pid_t pid = 0;
	ssize_t len;
	int fd;

	children_path(path, sizeof(path));
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

static bool
is_spared(pid_t pid, const pid_t *spare, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (spare[i] == pid)
			return true;
	return false;
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
		kill(-pids[i], SIGKILL);	/* it may lead a group */
		kill(pids[i], SIGKILL);
		pids[killed++] = pids[i];
	}
	for (size_t i = 0; i < killed; i++)
		while (waitpid(pids[i], NULL, 0) < 0 && errno == EINTR)
			;
	return killed;
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
