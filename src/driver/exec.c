/*
 * The driver exec: runs a program for each job. A worker runs one at a time,
 * on its loop, so that it hears the leader meanwhile.
 *
 * The program gets the job's data on descriptor 0, may write progress to 3,
 * and what it writes to 1 and 2 is captured. When it ends, everything it
 * started is killed (driver/program.h).
 */
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "conf/conf.h"
#include "driver/capture.h"
#include "driver/command.h"
#include "driver/data.h"
#include "driver/drivers.h"
#include "driver/lines.h"
#include "driver/program.h"
#include "driver/progress.h"
#include "driver/protocol.h"
#include "driver/sandbox.h"
#include "driver/strings.h"
#include "os/loop.h"

#define OUTPUT_MAX (64u << 10)		/* kept of stdout, and of stderr */
#define READ_SIZE (64u << 10)
#define PROGRESS_LINE_MAX (32u << 10)

/* Opened once in a worker. */
struct exec {
	struct driver_ctx *ctx;
	struct exec_run *now;		/* the one that runs, or NULL */
	struct sandbox *sandbox;
};

/* A program while it runs. */
struct exec_run {
	struct exec *exec;
	struct run *run;
	struct program program;
	bool cancelled;
	size_t in_sent;			/* of the data and its newline */
	struct capture out, err;
	struct lines said;		/* on descriptor 3 */
	bool complained;
	struct progress progress;
	struct timer *live;		/* what it wrote is to be seen meanwhile */
	struct timer *grace;		/* of a cancel; then it is killed */
};

/*
 * In a worker
 */

static int
open_exec(struct driver_ctx *ctx, struct err *e)
{
	struct exec *x = xcalloc(1, sizeof(*x));

	x->ctx = ctx;
	x->sandbox = sandbox_new(ctx->loop, ctx->queue, e);
	if (x->sandbox == NULL) {
		free(x);
		return -1;
	}
	ctx->state = x;
	return 0;
}

static void
exec_run_free(struct exec_run *r)
{
	r->exec->now = NULL;
	program_clear(&r->program);
	capture_clear(&r->out);
	capture_clear(&r->err);
	lines_clear(&r->said);
	progress_clear(&r->progress);
	timer_free(r->live);
	timer_free(r->grace);
	free(r);
}

static void
close_exec(struct driver_ctx *ctx)
{
	struct exec *x = ctx->state;

	if (x->now != NULL)
		exec_run_free(x->now);
	sandbox_free(x->sandbox);
	free(x);
	ctx->state = NULL;
}

/*
 * The program's descriptors
 */

static void
on_writable(int fd, unsigned what, void *arg)
{
	struct exec_run *r = arg;
	const char *data = r->run->job->data;
	size_t len = strlen(data);

	(void)what;
	while (r->in_sent <= len) {
		ssize_t n = r->in_sent < len ?
		    write(fd, data + r->in_sent, len - r->in_sent) :
		    write(fd, "\n", 1);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0)
			break;		/* it does not want to read, and may */
		r->in_sent += (size_t)n;
	}
	pipe_close(&r->program.in);
}

/* What there is of its output and was not given yet; stderr behind stdout. */
static void
give_output(struct exec_run *r)
{
	struct buf b = { .len = 0 };

	capture_give(&r->out, &b, OUTPUT_MAX, r->err.given > 0 ?
	    "--- standard output ---" : "");
	capture_give(&r->err, &b, OUTPUT_MAX, "--- standard error ---");
	if (b.len > 0)
		run_output(r->run, b.data, b.len);
	buf_clear(&b);
}

static void
on_live(void *arg)
{
	give_output(arg);
}

static void
on_output(int fd, unsigned what, void *arg)
{
	struct exec_run *r = arg;
	bool is_out = fd == r->program.out.fd;
	char data[READ_SIZE];
	ssize_t n = pipe_read(is_out ? &r->program.out : &r->program.err, data,
	    sizeof(data));

	(void)what;
	if (n <= 0)
		return;
	capture_add(is_out ? &r->out : &r->err, data, (size_t)n);
	if (r->out.given + r->err.given < LIVE_MAX && !timer_pending(r->live))
		timer_set(r->live, LIVE_EVERY);
}

static void
take_progress(char *line, size_t len, void *arg)
{
	struct exec_run *r = arg;
	struct said said = { .kind = SAID_TEXT };
	struct err e;

	if (line != NULL && len == 0)
		return;
	if (line != NULL && said_read(line, len, &said, &e) == 0 &&
	    said.kind == SAID_PROGRESS) {
		progress_take(&r->progress, said.pct, said.text);
		said.text = NULL;
	} else if (!r->complained) {
		r->complained = true;
		log_warn("progress not understood", "job=%lld line=%s",
		    (long long)r->run->job->id, line ? line : "(too long)");
	}
	said_clear(&said);
}

static void
on_progress(int fd, unsigned what, void *arg)
{
	struct exec_run *r = arg;
	char data[PROGRESS_LINE_MAX];
	ssize_t n = pipe_read(&r->program.extra, data, sizeof(data));

	(void)fd;
	(void)what;
	if (n > 0)
		lines_add(&r->said, data, (size_t)n, take_progress, r);
}

/*
 * Starting
 */

static void on_end(void *, int status, const struct rusage *);

static const struct program_ops program_ops = {
	on_writable, on_output, on_output, on_progress, on_end,
};

static int
start(struct exec_run *r, const struct strings *argv, struct strings *env,
    struct err *e)
{
	struct exec *x = r->exec;
	struct spawn s = { .argv = argv->v, .directory = "/" };

	if (sandbox_prepare(x->sandbox, env, &s.limits, e) < 0)
		return -1;
	s.envp = env->v;
	node_str(x->ctx->handler->options, "directory", &s.directory, NULL);
	if (program_start(&r->program, x->ctx->loop, &s, &program_ops, r, e) < 0) {
		sandbox_release(x->sandbox);
		return -1;
	}
	sandbox_watch(x->sandbox, r->program.pid);
	return 0;
}

static struct exec_run *
exec_run_new(struct exec *x, struct run *run)
{
	struct exec_run *r = xcalloc(1, sizeof(*r));

	r->exec = x;
	r->run = run;
	capture_init(&r->out, RESULT_MAX);
	capture_init(&r->err, OUTPUT_MAX);
	r->said.max = PROGRESS_LINE_MAX;
	progress_init(&r->progress, run);
	r->live = timer_new(x->ctx->loop, on_live, r);
	run->state = r;
	x->now = r;
	return r;
}

static void
run_exec(struct driver_ctx *ctx, struct run *run)
{
	struct exec_run *r = exec_run_new(ctx->state, run);
	struct strings argv = { 0 }, env = { 0 };
	enum job_class class = CLASS_VALIDATION;
	struct err e = { .code = ERR_NONE };
	int rc = command_make(run, &argv, &env, &e);

	if (rc == 0) {
		rc = start(r, &argv, &env, &e);
		class = e.code == ERR_BUSY ? CLASS_RESOURCE : CLASS_ERROR;
	}
	strings_clear(&argv);
	strings_clear(&env);
	if (rc == 0)
		return;
	exec_run_free(r);
	run_fail(run, class, "%s", e.msg);
}

/*
 * Its end
 */

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

static char *
find_result(const struct exec_run *r)
{
	size_t len;
	bool too_long;
	const char *line = capture_last_line(&r->out, &len, &too_long);

	if (too_long)
		log_warn("no result, the last line is too long", "job=%lld max=%u",
		    (long long)r->run->job->id, RESULT_MAX);
	if (line == NULL || !data_is_storable(line, len))
		return NULL;
	return xstrndup(line, len);
}

static void
on_end(void *arg, int status, const struct rusage *usage)
{
	struct exec_run *x = arg;
	struct sandbox *sandbox = x->exec->sandbox;
	struct run *run = x->run;
	struct run_result r;

	progress_tell(&x->progress);
	give_output(x);
	run_result_init(&r);
	r.class = WIFSIGNALED(status) ? program_death_class(status) :
	    class_of_exit(WEXITSTATUS(status));
	if (r.class != CLASS_NONE)
		r.message = program_end_text(status, &x->err);
	if (sandbox_judge(sandbox, status, usage, &r.message))
		r.class = CLASS_RESOURCE;
	sandbox_release(sandbox);
	r.result = find_result(x);
	if (WIFSIGNALED(status))
		r.signal = WTERMSIG(status);
	else
		r.exit_status = WEXITSTATUS(status);
	r.cpu_ms = (usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) * 1000 +
	    (usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) / 1000;
	r.max_rss_kb = usage->ru_maxrss;
	exec_run_free(x);
	run_end(run, &r);
}

static void
on_grace(void *arg)
{
	struct exec_run *r = arg;

	program_kill(&r->program);
}

/*
 * Both rungs. Should they not help, the leader takes the next, and our life
 * with it. So what the program has said goes out now.
 */
static void
cancel(struct driver_ctx *ctx, struct run *run, enum job_class why)
{
	struct exec_run *r = run->state;

	(void)why;
	if (r->cancelled)
		return;
	r->cancelled = true;
	give_output(r);
	program_signal(&r->program, ctx->queue->cancel_signal);
	r->grace = timer_new(ctx->loop, on_grace, r);
	timer_set(r->grace, ctx->queue->grace_ms * MONO_MS);
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
