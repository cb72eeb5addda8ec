/*
 * The driver worker: a program that is kept for many jobs and runs several at
 * once, by messages on its standard input and output (driver/protocol.h,
 * jobqd-worker(7)). A worker process has one for each handler: started for the
 * first job, and again after it ended, when there is a job for it.
 *
 * Whoever dies where, a job is never lost: what the program had in flight when
 * it died ends as a crash if it was one job, and is run again alone and
 * uncharged if it was several, as with a worker process (pool/verdict.c).
 *
 * What a program puts into queues by itself is in the database before any job
 * completes that it says afterwards to be done; what it puts there for a job is
 * part of that job's completion (driver/worker/orders.h).
 */
#include "config.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "conf/conf.h"
#include "driver/command.h"
#include "driver/drivers.h"
#include "driver/protocol.h"
#include "driver/sandbox.h"
#include "driver/worker/worker.h"

#define IN_FLIGHT_MAX 10000
#define START_MAX_MS 3600000
#define START_DEFAULT_MS 30000
#define RECENT_MAX 4096			/* of stderr, for messages */
#define AGAIN_FIRST (200 * MONO_MS)	/* before a start after a failure, doubled … */
#define AGAIN_MAX (10 * MONO_SECOND)	/* … up to here */
#define QUIT_MAX (45 * MONO_SECOND)	/* before the leader takes us for stuck */
#define KILLED_MAX 3			/* starts in a row that end by a signal */
#define KILLED (1 * MONO_SECOND)	/* to be dead, of one that is killed */

static void want_program(struct kept *);
static void on_timer(void *);

/*
 * Options
 */

static void
check(const struct node *options, struct conf_sink *sink)
{
	static const char *const keys[] = {
		"driver", "argv", "env", "directory", "in_flight",
		"start_timeout", NULL
	};
	const struct node_entry *at = node_entry(options, "start_timeout");
	int64_t n = 1, ms = START_DEFAULT_MS;

	node_known_keys(options, keys, sink);
	command_check_fixed(options, sink);
	node_int(options, "in_flight", 1, IN_FLIGHT_MAX, &n, sink);
	node_duration_ms(options, "start_timeout", &ms, sink);
	if (ms < 1 || ms > START_MAX_MS)
		conf_complain(sink, at->file, at->line, at->column,
		    "start_timeout: from 1ms to 1h");
}

static int64_t
at_once(const struct node *options)
{
	int64_t n = 1;

	node_int(options, "in_flight", 1, IN_FLIGHT_MAX, &n, NULL);
	return n;
}

static int
open_worker(struct driver_ctx *ctx, struct err *e)
{
	const struct node *options = ctx->handler->options;
	struct kept *k = xcalloc(1, sizeof(*k));

	k->ctx = ctx;
	k->sandbox = sandbox_new(ctx->loop, ctx->queue, e);
	if (k->sandbox == NULL) {
		free(k);
		return -1;
	}
	k->in_flight = at_once(options);
	if (k->in_flight > ctx->queue->concurrency)
		k->in_flight = ctx->queue->concurrency;
	k->start_ms = START_DEFAULT_MS;
	node_duration_ms(options, "start_timeout", &k->start_ms, NULL);
	k->timer = timer_new(ctx->loop, on_timer, k);
	k->lines.max = SAID_LINE_MAX;
	capture_init(&k->recent, RECENT_MAX);
	RB_INIT(&k->flights);
	ctx->state = k;
	return 0;
}

/*
 * Starting
 */

/* A broken program must not use up a backlog as fast as it can be started. */
static void
failed_once_more(struct kept *k)
{
	mono_t wait = AGAIN_FIRST;

	for (unsigned i = 0; i < k->failures && wait < AGAIN_MAX; i++)
		wait *= 2;
	k->failures++;
	k->not_before = mono_now() + (wait < AGAIN_MAX ? wait : AGAIN_MAX);
}

/* There is no program for the jobs that wait for it. */
static void
start_failed(struct kept *k, enum job_class class, const char *why)
{
	struct flight_list waiting;

	failed_once_more(k);
	flight_gather(k, FLIGHT_WAITS, &waiting);
	flight_fail_all(&waiting, class, why);
}

static void
start(struct kept *k)
{
	struct strings argv = { 0 }, env = { 0 };
	struct spawn s = { .directory = "/" };
	struct err e = { .code = ERR_NONE };
	int rc = command_make_fixed(k->ctx, &argv, &env, &e);

	if (rc == 0)
		rc = sandbox_prepare(k->sandbox, &env, &s.limits, &e);
	if (rc == 0) {
		s.argv = argv.v;
		s.envp = env.v;
		node_str(k->ctx->handler->options, "directory", &s.directory,
		    NULL);
		rc = program_start(&k->program, k->ctx->loop, &s, &talk_ops,
		    k, &e);
		if (rc == 0)
			sandbox_watch(k->sandbox, k->program.pid);
		else
			sandbox_release(k->sandbox);
	}
	strings_clear(&argv);
	strings_clear(&env);
	if (rc < 0) {
		start_failed(k, e.code == ERR_BUSY ? CLASS_RESOURCE : CLASS_ERROR,
		    e.msg);
		return;
	}
	k->generation++;
	k->state = KEPT_STARTING;
	k->ready = k->complained = false;
	k->why = KILL_NOT;
	timer_set(k->timer, k->start_ms * MONO_MS);
	buf_reset(&k->out);
	k->told = k->answers = 0;
	k->told_before = 0;
	k->deaf = false;
	tell_hello(&k->out, k->ctx->queue->name, (size_t)k->in_flight);
	k->hello = k->out.len;
}

/* A job waits for one. */
static void
want_program(struct kept *k)
{
	mono_t now = mono_now();

	if (k->state != KEPT_NONE || k->leaving || timer_pending(k->timer))
		return;
	if (now >= k->not_before)
		start(k);
	else
		timer_set(k->timer, k->not_before - now);
}

static void
on_timer(void *arg)
{
	struct kept *k = arg;
	char why[64];

	if (k->leaving && k->program.pid == 0) {
		loop_stop(k->ctx->loop);
	} else if (k->leaving) {
		program_kill(&k->program);
		timer_set(k->timer, KILLED);
	} else if (k->state == KEPT_NONE) {
		if (!RB_EMPTY(&k->flights))
			start(k);
	} else if (k->broken_by != NULL) {
		talk_kill(k, KILL_BROKEN);
	} else {
		snprintf(why, sizeof(why), "it was not ready within %lld ms",
		    (long long)k->start_ms);
		talk_broken(k, CLASS_ERROR, why);
	}
}

static void
run_worker(struct driver_ctx *ctx, struct run *run)
{
	struct kept *k = ctx->state;
	struct flight *f = flight_new(k, run);

	if (k->state == KEPT_READY && k->program.pid != 0)
		talk_job(f);
	else
		want_program(k);
}

/*
 * Its end
 */

/* What it means for one of n jobs that the program had. */
static void
judge(struct flight *f, size_t n, int status, const char *how)
{
	struct kept *k = f->kept;
	bool by_itself = k->why == KILL_NOT;
	struct run_result r;

	run_result_init(&r);
	if (k->why == KILL_FOR_JOB && f->overdue) {
		r.class = CLASS_ERROR;
		r.message = xstrdup("did not end when it was asked to, and its "
		    "program was killed");
	} else if (k->why == KILL_FOR_JOB) {
		r.class = CLASS_LOST;
		r.message = xstrdup("its program was killed because of another job");
	} else if (n > 1 || (by_itself && status == 0 && !f->run->job->alone)) {
		/* One that leaves may not have looked at what it has read. */
		r.class = CLASS_LOST;
		r.alone = true;
		r.message = xasprintf(n > 1 ? "its program ended while it ran other "
		    "jobs, too: %s" : "its program left: %s", how);
	} else {
		r.class = k->limited ? CLASS_RESOURCE :
		    by_itself ? program_death_class(status) : k->broken;
		r.message = xasprintf("its program %s: %s", by_itself ? "ended" :
		    "was killed", how);
	}
	if (WIFSIGNALED(status))
		r.signal = WTERMSIG(status);
	else
		r.exit_status = WEXITSTATUS(status);
	flight_end(f, &r);
}

/* Jobs of which it has not read a byte are for the next program. Whether it has
 * read any. */
static bool
take_back(struct kept *k)
{
	unsigned long long read = k->told_before + k->told - k->program.unread;
	struct flight *f;

	RB_FOREACH(f, flights, &k->flights)
		if (f->state == FLIGHT_RUNS && f->at >= read && !f->cancelled) {
			f->state = FLIGHT_WAITS;
			k->running--;
		}
	return read > k->hello;
}

static void
judge_all(struct kept *k, int status, const char *how)
{
	struct flight_list list;
	struct flight *f;
	size_t n = flight_gather(k, FLIGHT_RUNS, &list);

	while ((f = TAILQ_FIRST(&list)) != NULL) {
		TAILQ_REMOVE(&list, f, link);
		judge(f, n, status, how);
	}
}

/* How it ended, for messages. */
static char *
how_it_ended(const struct kept *k, int status)
{
	return k->why == KILL_BROKEN ? xstrdup(k->broken_by) :
	    program_end_text(status, &k->recent);
}

void
worker_program_ended(void *arg, int status, const struct rusage *usage)
{
	struct kept *k = arg;
	char *how = how_it_ended(k, status), *why;
	bool fed;

	k->limited = k->why == KILL_NOT &&
	    sandbox_judge(k->sandbox, status, usage, &how);
	sandbox_release(k->sandbox);
	fed = take_back(k);
	if (status != 0 || k->running > 0)
		log_info("program ended", "handler=%s running=%zu reason=%s",
		    k->ctx->handler->name, k->running, how);
	timer_stop(k->timer);
	lines_clear(&k->lines);
	capture_reset(&k->recent);
	k->state = KEPT_KILLED;		/* not yet for the jobs that come now */
	if (!k->ready && WIFSIGNALED(status) && k->why == KILL_NOT &&
	    !k->limited && k->failures + 1 < KILLED_MAX) {
		/* By the kernel, as memory is short, or by a person. */
		failed_once_more(k);
	} else if (!k->ready) {
		why = xasprintf("its program was not ready: %s", how);
		start_failed(k, k->limited ? CLASS_RESOURCE : CLASS_ERROR, why);
		free(why);
	} else {
		if (fed)
			k->failures = 0;
		else
			failed_once_more(k);
		judge_all(k, status, how);
	}
	free(how);
	free(k->broken_by);
	k->broken_by = NULL;
	k->state = KEPT_NONE;
	if (!RB_EMPTY(&k->flights))
		want_program(k);
	worker_leave_when_done(k);
}

static void
on_grace(void *arg)
{
	struct flight *f = arg;
	struct kept *k = f->kept;

	f->overdue = true;
	if (f->state == FLIGHT_ENDS)
		flight_fail(f, CLASS_ERROR, "its end was not stored in time");
	else if (k->state != KEPT_KILLED)
		talk_kill(k, KILL_FOR_JOB);
}

/*
 * Both rungs. Should they not help, the leader takes the next, and our life
 * with it. So what there is of output goes out now.
 */
static void
cancel(struct driver_ctx *ctx, struct run *run, enum job_class why)
{
	struct flight *f = run->state;
	struct kept *k = f->kept;

	if (f->cancelled)
		return;
	f->cancelled = true;
	if (f->state == FLIGHT_WAITS) {
		flight_fail(f, why == CLASS_NONE ? CLASS_ERROR : why,
		    "stopped before its program was ready");
		return;
	}
	flight_give_output(f);
	if (f->state == FLIGHT_RUNS) {
		tell_cancel(&k->out, f->id);
		talk_soon(k);
	}
	f->grace = timer_new(ctx->loop, on_grace, f);
	timer_set(f->grace, ctx->queue->grace_ms * MONO_MS);
}

void
worker_leave_when_done(struct kept *k)
{
	if (k->leaving && k->program.pid == 0 &&
	    (k->orders == NULL || orders_empty(k->orders)))
		loop_stop(k->ctx->loop);
}

/* The worker leaves; its program has the grace to do so, too. */
static void
close_worker(struct driver_ctx *ctx)
{
	struct kept *k = ctx->state;
	mono_t grace = ctx->queue->grace_ms * MONO_MS;

	k->leaving = true;
	tell_quit(&k->out);
	talk_now(k);
	if (k->program.pid != 0 || (k->orders != NULL && !orders_empty(k->orders))) {
		timer_set(k->timer, grace < QUIT_MAX ? grace : QUIT_MAX);
		loop_run(ctx->loop);
	}
	while (!RB_EMPTY(&k->flights))
		flight_free(RB_MIN(flights, &k->flights));
	program_clear(&k->program);
	sandbox_free(k->sandbox);
	orders_free(k->orders);
	timer_free(k->timer);
	timer_free(k->flush);
	buf_clear(&k->out);
	lines_clear(&k->lines);
	capture_clear(&k->recent);
	free(k->broken_by);
	free(k);
	ctx->state = NULL;
}

const struct driver driver_worker = {
	.name = "worker",
	.flags = DRIVER_MULTIPLEX | DRIVER_ASYNC | DRIVER_KEEPS,
	.check = check,
	.open = open_worker,
	.run = run_worker,
	.cancel = cancel,
	.close = close_worker,
	.at_once = at_once,
};
