/*
 * Programs of drivers: see program.h.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/utf8.h"
#include "base/xalloc.h"
#include "driver/program.h"
#include "os/proc.h"

#define BURIED_MAX 1000			/* orphans, before others have their turn */
#define MESSAGE_LINE_MAX 1024		/* of stderr, in the message of a failure */
#define DRAIN_READS 64			/* a pipe holds little */

/* Those that run in this process, and whose loop hears of their ends. */
static LIST_HEAD(, program) programs = LIST_HEAD_INITIALIZER(programs);
static struct loop *hearing;
static unsigned long ended;		/* of them, so far */

static void on_child(int, void *);

/*
 * Pipes
 */

void
pipe_close(struct pipe_end *p)
{
	watch_free(p->watch);
	p->watch = NULL;
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
}

ssize_t
pipe_read(struct pipe_end *end, char *data, size_t size)
{
	ssize_t n;

	if (end->fd < 0)
		return 0;
	n = read(end->fd, data, size);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return -1;
	if (n <= 0) {
		pipe_close(end);
		return 0;
	}
	return n;
}

/* Our ends in ours, the program's in its place. -1: errno. */
static int
make_pipes(struct program *p, int theirs[4])
{
	struct pipe_end *ends[4] = { &p->in, &p->out, &p->err, &p->extra };

	for (int i = 0; i < 4; i++) {
		int fds[2], ours = i == 0 ? 1 : 0;

		if (i == 3 && p->ops->extra == NULL)
			continue;
		if (pipe2(fds, O_CLOEXEC) < 0)
			return -1;
		ends[i]->fd = fds[ours];
		theirs[i] = fds[!ours];
		fcntl(fds[ours], F_SETFL, O_NONBLOCK);
	}
	return 0;
}

static void
watch_pipes(struct program *p, struct loop *loop)
{
	p->in.watch = watch_new(loop, p->in.fd, LOOP_WRITE, p->ops->in, p->owner);
	p->out.watch = watch_new(loop, p->out.fd, LOOP_READ, p->ops->out, p->owner);
	p->err.watch = watch_new(loop, p->err.fd, LOOP_READ, p->ops->err, p->owner);
	if (p->extra.fd >= 0)
		p->extra.watch = watch_new(loop, p->extra.fd, LOOP_READ,
		    p->ops->extra, p->owner);
}

/*
 * Starting
 */

int
program_start(struct program *p, struct loop *loop, struct spawn *s,
    const struct program_ops *ops, void *owner, struct err *e)
{
	int theirs[4] = { -1, -1, -1, -1 };
	char *path = spawn_find(s->argv[0], s->envp, e);
	pid_t pid = -1;

	p->ops = ops;
	p->owner = owner;
	p->pid = 0;
	p->in.fd = p->out.fd = p->err.fd = p->extra.fd = -1;
	if (path == NULL)
		return -1;
	if (hearing != loop)
		loop_signal(loop, SIGCHLD, on_child, NULL);
	hearing = loop;
	if (make_pipes(p, theirs) < 0) {
		err_code(e, ERR_BUSY, "no pipes for %s: %s", path, strerror(errno));
	} else {
		s->path = path;
		memcpy(s->fds, theirs, sizeof(s->fds));
		pid = spawn_start(s, e);
	}
	for (int i = 0; i < 4; i++)
		if (theirs[i] >= 0)
			close(theirs[i]);
	free(path);
	if (pid < 0) {
		program_clear(p);
		return -1;
	}
	p->pid = pid;
	p->ended_before = ended;
	getrusage(RUSAGE_CHILDREN, &p->before);
	LIST_INSERT_HEAD(&programs, p, link);
	watch_pipes(p, loop);
	return 0;
}

void
program_signal(const struct program *p, int signo)
{
	if (p->pid != 0)
		kill(-p->pid, signo);
}

/* Its end brings that of all it started: over(). */
void
program_kill(const struct program *p)
{
	if (p->pid == 0)
		return;
	kill(-p->pid, SIGKILL);
	kill(p->pid, SIGKILL);
}

void
program_clear(struct program *p)
{
	if (p->ops == NULL)
		return;		/* it was never started */
	if (p->pid != 0)
		LIST_REMOVE(p, link);
	p->pid = 0;
	pipe_close(&p->in);
	pipe_close(&p->out);
	pipe_close(&p->err);
	pipe_close(&p->extra);
}

/*
 * Its end
 */

static void
kill_rest(void)
{
	struct program *p;
	pid_t *spare;
	size_t n = 0;

	LIST_FOREACH(p, &programs, link)
		n++;
	spare = xcalloc(n + 1, sizeof(*spare));
	n = 0;
	LIST_FOREACH(p, &programs, link)
		spare[n++] = p->pid;
	proc_kill_children(spare, n);
	free(spare);
}

/* Nobody is left to fill it again. */
static void
drain(struct pipe_end *end, watch_fn *fn, void *owner)
{
	for (int i = 0; end->fd >= 0 && i < DRAIN_READS; i++)
		fn(end->fd, LOOP_READ, owner);
}

/* wait4() tells of those that the program has waited for alone. */
static void
add_orphans(const struct program *p, struct rusage *usage)
{
	struct rusage all;

	if (ended++ != p->ended_before)
		return;
	getrusage(RUSAGE_CHILDREN, &all);
	timersub(&all.ru_utime, &p->before.ru_utime, &usage->ru_utime);
	timersub(&all.ru_stime, &p->before.ru_stime, &usage->ru_stime);
}

static void
over(struct program *p, int status, struct rusage *usage)
{
	int unread = 0;

	LIST_REMOVE(p, link);
	p->pid = 0;
	kill_rest();
	add_orphans(p, usage);
	if (p->in.fd < 0 || ioctl(p->in.fd, FIONREAD, &unread) < 0)
		unread = 0;
	p->unread = (size_t)unread;
	drain(&p->out, p->ops->out, p->owner);
	drain(&p->err, p->ops->err, p->owner);
	drain(&p->extra, p->ops->extra, p->owner);
	program_clear(p);
	p->ops->ended(p->owner, status, usage);
}

/* Has it ended? Somebody who killed all children has buried it, too. */
static void
look_at(struct program *p)
{
	struct rusage usage = { .ru_maxrss = 0 };
	int status = 0;
	pid_t pid = wait4(p->pid, &status, WNOHANG, &usage);

	if (pid == p->pid)
		over(p, status, &usage);
	else if (pid < 0 && errno == ECHILD)
		over(p, SIGKILL, &usage);
}

static struct program *
find_program(pid_t pid)
{
	struct program *p;

	LIST_FOREACH(p, &programs, link)
		if (p->pid == pid)
			return p;
	return NULL;
}

static void
on_child(int signo, void *arg)
{
	struct program *p, *next;
	struct rusage usage;
	int status;
	pid_t pid;

	(void)signo;
	(void)arg;
	/* First the programs: of what one left behind there may be no end. Its
	 * orphans are only buried. */
	for (p = LIST_FIRST(&programs); p != NULL; p = next) {
		next = LIST_NEXT(p, link);
		look_at(p);
	}
	for (int i = 0; !LIST_EMPTY(&programs) && i < BURIED_MAX; i++) {
		pid = wait4(-1, &status, WNOHANG, &usage);
		if (pid <= 0)
			break;
		if ((p = find_program(pid)) != NULL)
			over(p, status, &usage);
	}
}

enum job_class
program_death_class(int status)
{
	return WIFSIGNALED(status) && (WTERMSIG(status) == SIGXCPU ||
	    WTERMSIG(status) == SIGXFSZ) ? CLASS_RESOURCE : CLASS_CRASH;
}

char *
program_end_text(int status, const struct capture *err)
{
	struct buf b = { .len = 0 };
	const char *line;
	size_t len;
	bool too_long;

	if (WIFSIGNALED(status)) {
		const char *name = sigabbrev_np(WTERMSIG(status));

		buf_printf(&b, "killed by SIG%s", name ? name : "?");
	} else {
		buf_printf(&b, "exit status %d", WEXITSTATUS(status));
	}
	line = capture_last_line(err, &len, &too_long);
	if (line != NULL) {
		buf_str(&b, ": ");
		buf_put(&b, line, len < MESSAGE_LINE_MAX ? len : MESSAGE_LINE_MAX);
		utf8_clean(b.data, b.len);	/* a NUL would end it */
	}
	return buf_detach(&b);
}
