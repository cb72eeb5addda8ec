/*
 * The driver exec: runs a program for each job. A worker runs one at a time,
 * on its loop, so that it hears the leader meanwhile.
 *
 * The program gets the job's data on descriptor 0, may write progress to 3,
 * and what it writes to 1 and 2 is captured. When it ends, everything it
 * started is killed, whatever it did to get away: the worker is the reaper of
 * its orphans. Only then are the pipes read to their end, so nobody can
 * hold them open.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/utf8.h"
#include "base/xalloc.h"
#include "conf/conf.h"
#include "driver/capture.h"
#include "driver/command.h"
#include "driver/data.h"
#include "driver/drivers.h"
#include "driver/sandbox.h"
#include "driver/strings.h"
#include "os/loop.h"
#include "os/proc.h"
#include "os/spawn.h"

#define OUTPUT_MAX (64u << 10)		/* kept of stdout, and of stderr */
#define READ_SIZE (64u << 10)
#define PROGRESS_LINE_MAX (32u << 10)
#define PROGRESS_EVERY (MONO_SECOND / 5)
#define MESSAGE_LINE_MAX 1024		/* of stderr, in the message of a failure */
#define BURIED_MAX 1000			/* orphans of a program, before others have their turn */

/* Opened once in a worker. */
struct exec {
	struct driver_ctx *ctx;
	struct program *program;	/* the one that runs, or NULL */
	struct spawn_limits limits;
	bool limited;
};

struct pipe_end {
	int fd;				/* -1: closed */
	struct watch *watch;
};

/* A program while it runs. */
struct program {
	struct exec *exec;
	struct run *run;
	pid_t pid;
	bool cancelled;
	struct pipe_end in, out, err, progress;
	size_t in_sent;			/* of the data and its newline */
	struct capture stdout_text, stderr_text;
	struct buf line;		/* of progress, not yet complete */
	bool line_too_long, line_complained;
	int pct;			/* to be told, -2: nothing is */
	char *note;
	mono_t told;
	struct timer *tell;
	struct timer *grace;		/* of a cancel; then it is killed */
};

static void on_child(int, void *);
static void finish(struct program *, int status, const struct rusage *);

/*
 * In a worker
 */

static int
open_exec(struct driver_ctx *ctx, struct err *e)
{
	struct exec *x = xcalloc(1, sizeof(*x));

	x->ctx = ctx;
	if (ctx->queue->sandbox != NULL) {
		x->limited = true;
		if (sandbox_limits(ctx->queue->sandbox, &x->limits, e) < 0) {
			free(x);
			return -1;
		}
	}
	loop_signal(ctx->loop, SIGCHLD, on_child, x);
	ctx->state = x;
	return 0;
}

static void
end_close(struct pipe_end *p)
{
	watch_free(p->watch);
	p->watch = NULL;
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
}

static void
program_free(struct program *p)
{
	if (p->exec->program == p)
		p->exec->program = NULL;
	end_close(&p->in);
	end_close(&p->out);
	end_close(&p->err);
	end_close(&p->progress);
	capture_clear(&p->stdout_text);
	capture_clear(&p->stderr_text);
	buf_clear(&p->line);
	free(p->note);
	if (p->tell != NULL)
		timer_free(p->tell);
	if (p->grace != NULL)
		timer_free(p->grace);
	free(p);
}

static void
close_exec(struct driver_ctx *ctx)
{
	struct exec *x = ctx->state;

	if (x->program != NULL)
		program_free(x->program);
	free(x);
	ctx->state = NULL;
}

/*
 * The program's descriptors
 */

static void
on_writable(int fd, unsigned what, void *arg)
{
	struct program *p = arg;
	const char *data = p->run->job->data;
	size_t len = strlen(data);

	(void)what;
	while (p->in_sent <= len) {
		ssize_t n = p->in_sent < len ?
		    write(fd, data + p->in_sent, len - p->in_sent) :
		    write(fd, "\n", 1);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0)
			break;		/* it does not want to read, and may */
		p->in_sent += (size_t)n;
	}
	end_close(&p->in);
}

/* Returns the bytes read, 0 at the end, -1 when there are none now. */
static ssize_t
read_some(struct pipe_end *end, char *data, size_t size)
{
	ssize_t n = read(end->fd, data, size);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return -1;
	if (n <= 0) {
		end_close(end);
		return 0;
	}
	return n;
}

static void
on_output(int fd, unsigned what, void *arg)
{
	struct program *p = arg;
	bool is_out = fd == p->out.fd;
	char data[READ_SIZE];
	ssize_t n = read_some(is_out ? &p->out : &p->err, data, sizeof(data));

	(void)what;
	if (n > 0)
		capture_add(is_out ? &p->stdout_text : &p->stderr_text, data,
		    (size_t)n);
}

static void
tell_progress(void *arg)
{
	struct program *p = arg;

	if (p->pct == -2)
		return;
	run_progress(p->run, p->pct, p->note);
	p->pct = -2;
	p->told = mono_now();
}

/* The text of a note: a string's, or that of other JSON, which is not cut. */
static char *
note_text(const json_t *note)
{
	char *dumped, *text = NULL;

	if (json_is_string(note))
		return xstrdup(json_string_value(note));
	dumped = json_dumps(note, JSON_COMPACT | JSON_ENCODE_ANY |
	    JSON_REAL_PRECISION(15));
	if (dumped != NULL && strlen(dumped) <= NOTE_MAX)
		text = xstrdup(dumped);
	free(dumped);
	return text;
}

/* {"progress":{"pct":40,"note":"…"}} → pct, note; false if it is not that. */
static bool
read_progress(struct program *p, const char *line, size_t len)
{
	json_t *all = json_loadb(line, len, 0, NULL), *progress, *pct, *note;
	char *text = NULL;
	double value;
	bool good;

	if (all == NULL)	/* an integer beyond 64 bits, perhaps */
		all = json_loadb(line, len, JSON_DECODE_INT_AS_REAL, NULL);
	progress = json_object_get(all, "progress");
	pct = json_object_get(progress, "pct");
	note = json_object_get(progress, "note");
	value = json_is_number(pct) ? json_number_value(pct) : -1;
	good = json_is_object(progress) && (pct != NULL || note != NULL) &&
	    (pct == NULL || (value >= 0 && value <= 100)) &&
	    (note == NULL || (text = note_text(note)) != NULL);
	if (good) {
		p->pct = (int)value;
		free(p->note);
		p->note = text;
	} else {
		free(text);
	}
	json_decref(all);
	return good;
}

static void
take_progress(struct program *p, const char *line, size_t len)
{
	mono_t since = mono_now() - p->told;

	if (len == 0)
		return;
	if (p->line_too_long || !read_progress(p, line, len)) {
		if (!p->line_complained)
			log_warn("progress not understood", "job=%lld line=%s",
			    (long long)p->run->job->id,
			    p->line_too_long ? "(too long)" : line);
		p->line_complained = true;
	} else if (since >= PROGRESS_EVERY) {
		tell_progress(p);
	} else if (!timer_pending(p->tell)) {
		timer_set(p->tell, PROGRESS_EVERY - since);
	}
}

/* Lines in bounded memory: of one that is too long only that fact is kept. */
static void
on_progress(int fd, unsigned what, void *arg)
{
	struct program *p = arg;
	char data[PROGRESS_LINE_MAX], *at = data, *newline;
	ssize_t n = read_some(&p->progress, data, sizeof(data));

	(void)fd;
	(void)what;
	if (n <= 0)
		return;
	while ((newline = memchr(at, '\n', (size_t)(data + n - at))) != NULL) {
		buf_put(&p->line, at, (size_t)(newline - at));
		take_progress(p, p->line.data, p->line.len);
		buf_reset(&p->line);
		p->line_too_long = false;
		at = newline + 1;
	}
	buf_put(&p->line, at, (size_t)(data + n - at));
	if (p->line.len > PROGRESS_LINE_MAX) {
		p->line_too_long = true;
		buf_reset(&p->line);
		buf_char(&p->line, '-');
	}
}

/*
 * Starting
 */

/* Our ends in ours, the program's in its place. -1: errno. */
static int
make_pipes(struct program *p, int theirs[4])
{
	struct pipe_end *ends[4] = { &p->in, &p->out, &p->err, &p->progress };

	for (int i = 0; i < 4; i++) {
		int fds[2], ours = i == 0 ? 1 : 0;

		if (pipe2(fds, O_CLOEXEC) < 0)
			return -1;
		ends[i]->fd = fds[ours];
		theirs[i] = fds[!ours];
		fcntl(fds[ours], F_SETFL, O_NONBLOCK);
	}
	return 0;
}

static int
start(struct program *p, const struct strings *argv, const struct strings *env,
    struct err *e)
{
	int theirs[4] = { -1, -1, -1, -1 };
	struct spawn s = { .argv = argv->v, .envp = env->v, .directory = "/" };
	char *path = spawn_find(argv->v[0], env->v, e);

	if (path == NULL)
		return -1;
	if (make_pipes(p, theirs) < 0) {
		err_code(e, ERR_BUSY, "no pipes for %s: %s", path, strerror(errno));
		p->pid = -1;
	} else {
		s.path = path;
		memcpy(s.fds, theirs, sizeof(s.fds));
		s.limits = p->exec->limited ? &p->exec->limits : NULL;
		node_str(p->exec->ctx->handler->options, "directory",
		    &s.directory, NULL);
		p->pid = spawn_start(&s, e);
	}
	for (int i = 0; i < 4; i++)
		if (theirs[i] >= 0)
			close(theirs[i]);
	free(path);
	return p->pid < 0 ? -1 : 0;
}

static struct program *
program_new(struct exec *x, struct run *run)
{
	struct program *p = xcalloc(1, sizeof(*p));

	p->exec = x;
	p->run = run;
	p->in.fd = p->out.fd = p->err.fd = p->progress.fd = -1;
	p->pct = -2;
	capture_init(&p->stdout_text, RESULT_MAX);
	capture_init(&p->stderr_text, OUTPUT_MAX);
	p->tell = timer_new(x->ctx->loop, tell_progress, p);
	run->state = p;
	return p;
}

static void
watch_program(struct program *p)
{
	struct loop *loop = p->exec->ctx->loop;

	p->exec->program = p;
	p->in.watch = watch_new(loop, p->in.fd, LOOP_WRITE, on_writable, p);
	p->out.watch = watch_new(loop, p->out.fd, LOOP_READ, on_output, p);
	p->err.watch = watch_new(loop, p->err.fd, LOOP_READ, on_output, p);
	p->progress.watch = watch_new(loop, p->progress.fd, LOOP_READ,
	    on_progress, p);
}

static void
run_exec(struct driver_ctx *ctx, struct run *run)
{
	struct program *p = program_new(ctx->state, run);
	struct strings argv = { 0 }, env = { 0 };
	enum job_class class = CLASS_VALIDATION;
	struct err e = { .code = ERR_NONE };
	int rc = command_make(run, &argv, &env, &e);

	if (rc == 0) {
		rc = start(p, &argv, &env, &e);
		class = e.code == ERR_BUSY ? CLASS_RESOURCE : CLASS_ERROR;
	}
	strings_clear(&argv);
	strings_clear(&env);
	if (rc == 0) {
		watch_program(p);
		return;
	}
	program_free(p);
	run_fail(run, class, "%s", e.msg);
}

/*
 * Its end
 */

static void
on_child(int signo, void *arg)
{
	struct exec *x = arg;
	struct rusage usage;
	int status;
	pid_t pid;

	(void)signo;
	/* First the program: of what it left behind there may be no end. Its
	 * orphans are only buried. */
	for (int i = 0; x->program != NULL && i < BURIED_MAX; i++) {
		pid = wait4(i == 0 ? x->program->pid : -1, &status, WNOHANG, &usage);
		if (x->program->pid == pid)
			finish(x->program, status, &usage);
		else if (pid <= 0 && i > 0)
			break;
	}
}

static void
drain(struct pipe_end *end, watch_fn *fn, struct program *p)
{
	struct pipe_end before;

	/* A pipe holds little, and nobody is left to fill it again. */
	for (int i = 0; end->fd >= 0 && i < 64; i++) {
		before = *end;
		fn(before.fd, LOOP_READ, p);
	}
}

static void
put_stream(struct buf *b, const struct capture *c, const char *title)
{
	size_t len;
	const char *text = capture_tail(c, OUTPUT_MAX, &len);

	if (len == 0)
		return;
	if (title[0] != '\0')
		buf_printf(b, "%s%s\n", b->len > 0 && b->data[b->len - 1] != '\n' ?
		    "\n" : "", title);
	if (c->total > len)
		buf_printf(b, "[%llu bytes before this are not kept]\n",
		    c->total - len);
	buf_put(b, text, len);
}

/* What there is of its output, once; stderr behind stdout. */
static void
give_output(struct program *p)
{
	struct buf b = { .len = 0 };

	put_stream(&b, &p->stdout_text, "");
	put_stream(&b, &p->stderr_text, "--- standard error ---");
	if (b.len > 0) {
		utf8_clean(b.data, b.len);
		run_output(p->run, b.data, b.len);
	}
	buf_clear(&b);
}

static enum job_class
class_of_exit(int status)
{
	switch (status) {
	case 0:
		return CLASS_NONE;
	case 65:		/* EX_DATAERR */
	case 78:		/* EX_CONFIG */
		return CLASS_VALIDATION;
	case 69:		/* EX_UNAVAILABLE */
	case 75:		/* EX_TEMPFAIL */
		return CLASS_NETWORK;
	case 77:		/* EX_NOPERM */
		return CLASS_AUTH;
	default:
		return CLASS_ERROR;
	}
}

static enum job_class
class_of_signal(int signo)
{
	return signo == SIGXCPU || signo == SIGXFSZ ? CLASS_RESOURCE : CLASS_CRASH;
}

/* "exit status 3: the last line it wrote to stderr" */
static char *
failure_message(const struct program *p, int status)
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
	line = capture_last_line(&p->stderr_text, &len, &too_long);
	if (line != NULL) {
		buf_str(&b, ": ");
		buf_put(&b, line, len < MESSAGE_LINE_MAX ? len : MESSAGE_LINE_MAX);
		utf8_clean(b.data, b.len);	/* a NUL would end it */
	}
	return buf_detach(&b);
}

static char *
find_result(const struct program *p)
{
	size_t len;
	bool too_long;
	const char *line = capture_last_line(&p->stdout_text, &len, &too_long);

	if (too_long)
		log_warn("no result, the last line is too long", "job=%lld max=%u",
		    (long long)p->run->job->id, RESULT_MAX);
	if (line == NULL || !data_is_storable(line, len))
		return NULL;
	return xstrndup(line, len);
}

static void
finish(struct program *p, int status, const struct rusage *usage)
{
	struct run *run = p->run;
	struct run_result r;

	proc_kill_children(NULL, 0);
	drain(&p->out, on_output, p);
	drain(&p->err, on_output, p);
	drain(&p->progress, on_progress, p);
	tell_progress(p);
	give_output(p);
	run_result_init(&r);
	r.class = WIFSIGNALED(status) ? class_of_signal(WTERMSIG(status)) :
	    class_of_exit(WEXITSTATUS(status));
	if (r.class != CLASS_NONE)
		r.message = failure_message(p, status);
	r.result = find_result(p);
	if (WIFSIGNALED(status))
		r.signal = WTERMSIG(status);
	else
		r.exit_status = WEXITSTATUS(status);
	r.cpu_ms = (usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) * 1000 +
	    (usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) / 1000;
	r.max_rss_kb = usage->ru_maxrss;
	program_free(p);
	run_end(run, &r);
}

/* Its end brings that of all it started: finish(). */
static void
on_grace(void *arg)
{
	struct program *p = arg;

	kill(-p->pid, SIGKILL);
	kill(p->pid, SIGKILL);
}

/*
 * Both rungs. Should they not help, the leader takes the next, and our life
 * with it. So what the program has said goes out now.
 */
static void
cancel(struct driver_ctx *ctx, struct run *run, enum job_class why)
{
	struct program *p = run->state;

	(void)why;
	if (p->cancelled)
		return;
	p->cancelled = true;
	give_output(p);
	capture_reset(&p->stdout_text);
	capture_reset(&p->stderr_text);
	kill(-p->pid, ctx->queue->cancel_signal);
	p->grace = timer_new(ctx->loop, on_grace, p);
	timer_set(p->grace, ctx->queue->grace_ms * MONO_MS);
}

const struct driver driver_exec = {
	.name = "exec",
	.flags = DRIVER_ASYNC,
	.check = command_check,
	.open = open_exec,
	.run = run_exec,
	.cancel = cancel,
	.close = close_exec,
};
