/*
 * A worker: a process that runs jobs of one queue through its drivers. It
 * takes them from its leader over descriptor 3 and gives the results back;
 * it knows neither the database nor the master while all goes well.
 *
 * It runs `limit` jobs at once, one unless every driver of the queue can do
 * more; what the leader sends ahead waits here. When the leader dies it
 * finishes what it has begun, completes that itself (direct.c), and leaves.
 * The monitor's workers do the same for notices, of which the database knows
 * nothing, so that without the monitor there is nothing to complete.
 *
 * The leader owns time-outs: it asks by CANCEL, and has the worker killed
 * when that does not help. SIGTERM ends the worker and everything it started.
 */
#include "config.h"

#include <ctype.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "conf/shape.h"
#include "core/msg.h"
#include "driver/driver.h"
#include "os/chan.h"
#include "os/loop.h"
#include "os/proc.h"
#include "worker/direct.h"
#include "worker/handlers.h"
#include "worker/recent.h"
#include "worker/sealing.h"
#include "worker/shut.h"
#include "worker/worker.h"

#define ALARM_SLACK 60			/* seconds; see begin_blocking() */
#define DRIVER_MORE (3 * MONO_SECOND)	/* than the grace, which it sees to itself */
#define TITLE_TYPE_MAX 64

/* A job from its arrival to its end. */
struct task {
	struct run run;			/* first: the driver's view */
	struct job job;
	struct worker *worker;
	int64_t pool;
	mono_t started;			/* 0: waits */
	bool cancelled;
	mono_t cancelled_at;
	enum job_class why;		/* of the cancel */
	char *destination;		/* where the run goes; NULL: not known */
	TAILQ_ENTRY(task) link;
	TAILQ_ENTRY(task) told;
};
TAILQ_HEAD(tasks, task);

struct worker {
	const struct conf *conf;
	const struct queue_conf *queue;
	bool stored;			/* its jobs are in the database */
	int index;

	struct loop *loop;
	struct chan *leader;		/* NULL: gone */
	struct timer *turn;		/* the end of the loop's turn, at which jobs begin
					 * and messages leave, together … */
	bool due;			/* … if it is set, or about to end */
	struct timer *overdue;		/* without a leader: our own ladder */
	struct buf body;		/* of the message being made */

	struct handlers *handlers;
	size_t limit;			/* jobs at once */
	struct tasks waiting, running;
	struct tasks told;		/* of those that run: the driver is still to begin */
	size_t nrunning;
	struct task *starting;		/* whose driver's run() is on the stack */
	bool retitle;			/* what runs is not what the title says */
	bool leaving;
	int status;

	struct recent recent;		/* endings the leader may not have saved */

	struct shut shut;		/* where no job is to go to */
};

static void on_message(struct chan *, uint32_t, const void *, size_t, int, void *);
static void on_closed(struct chan *, const char *, void *);
static void end_task(struct task *, struct run_result *);
static void end_early(struct task *, enum job_class, const char *message);

static const struct chan_ops leader_ops = { on_message, on_closed };

/*
 * Messages to the leader
 */

static void
send_body(struct worker *w, enum msg_type type)
{
	if (w->leader != NULL)
		chan_send(w->leader, type, w->body.data, w->body.len, -1);
	buf_reset(&w->body);
}

/* For what is to be done once, however many jobs a turn of the loop is about. */
static void
at_turns_end(struct worker *w)
{
	if (!w->due)
		timer_set(w->turn, 0);
	w->due = true;
}

static void
send_soon(struct worker *w, enum msg_type type)
{
	if (w->leader == NULL) {
		buf_reset(&w->body);
		return;
	}
	chan_cork(w->leader, true);
	send_body(w, type);
	at_turns_end(w);
}

static void
send_now(struct worker *w)
{
	if (w->leader != NULL)
		chan_cork(w->leader, false);
}

static void
put_key(struct worker *w, const struct task *t)
{
	msg_put_i64(&w->body, t->job.id);
	msg_put_i64(&w->body, t->job.attempt);
}

static void
show_title(struct worker *w)
{
	const struct task *t = TAILQ_FIRST(&w->running);
	char type[TITLE_TYPE_MAX + 1];
	size_t i;

	w->retitle = false;
	if (w->nrunning > 1) {
		proc_title("jobqd: worker %s/%d %zu jobs", w->queue->name, w->index,
		    w->nrunning);
		return;
	}
	if (t == NULL) {
		proc_title("jobqd: worker %s/%d", w->queue->name, w->index);
		return;
	}
	for (i = 0; i < TITLE_TYPE_MAX && t->job.type[i] != '\0'; i++)
		type[i] = iscntrl((unsigned char)t->job.type[i]) ? '?' :
		    t->job.type[i];
	type[i] = '\0';
	proc_title("jobqd: worker %s/%d job %lld %s", w->queue->name, w->index,
	    (long long)t->job.id, type);
}

/*
 * What drivers call
 */

/*
 * Keep the end of a task for the case that the leader dies before it is
 * saved. A cancel may belong to a shutdown, whose jobs are handed back.
 */
static void
remember(struct worker *w, const struct task *t, struct run_result *result,
    mono_t ended, int64_t run_us)
{
	bool wish = t->cancelled && t->why == CLASS_NONE;
	struct finished end = {
		.pool = t->pool, .job = t->job, .result = *result,
		.run_us = run_us, .at = ended, .cancelled = wish,
	};

	if (!w->stored || (wish && w->leader != NULL)) {
		run_result_clear(result);
		return;
	}
	end.job.type = end.job.data = end.job.tenant = NULL;
	if (t->cancelled && !wish)
		end.result.class = t->why;
	recent_take(&w->recent, &end);
}

static struct task *
task_of(struct run *run)
{
	return (struct task *)run;
}

static void
task_free(struct task *t)
{
	if (t->worker->queue->encrypt.keys != NULL && t->job.data != NULL)
		explicit_bzero(t->job.data, strlen(t->job.data));
	job_clear(&t->job);
	free(t->destination);
	free(t);
}

/* It runs no longer, and has been told of. */
static void
task_over(struct task *t)
{
	struct worker *w = t->worker;
	bool quick = w->starting == t &&
	    (t->run.ctx == NULL || t->run.ctx->driver->flags & DRIVER_QUICK);

	TAILQ_REMOVE(&w->running, t, link);
	w->nrunning--;
	if (w->starting == t)
		w->starting = NULL;
	if (!quick)
		w->retitle = true;
	task_free(t);
	at_turns_end(w);
}

/* A run is over; a result and a message of its driver are for those alone who
 * have the key. */
static void
host_end(struct run *run, struct run_result *result)
{
	struct task *t = task_of(run);

	if (sealing_is_on(t->worker->queue))
		sealing_result(run, result);
	end_task(t, result);
}

static void
end_task(struct task *t, struct run_result *result)
{
	struct worker *w = t->worker;
	mono_t ended = mono_now();
	int64_t run_us = t->started != 0 ? ended - t->started : 0;

	if (result->class != CLASS_NONE && result->message == NULL)
		result->message = xstrdup(job_class_name(result->class));
	run_result_bound(result);
	put_key(w, t);
	msg_put_i64(&w->body, ended);
	msg_put_i64(&w->body, run_us);
	msg_put_result(&w->body, result);
	msg_put_str(&w->body, t->destination);
	send_soon(w, MSG_RESULT);
	remember(w, t, result, ended, run_us);
	task_over(t);
}

static void
host_progress(struct run *run, int pct, const char *note)
{
	struct task *t = task_of(run);
	struct worker *w = t->worker;
	char *hidden = NULL;

	if (note != NULL && sealing_is_on(w->queue))
		note = hidden = sealing_text(w->queue, "note", note,
		    strnlen(note, SEALED_OF(NOTE_MAX)));
	put_key(w, t);
	msg_put_i64(&w->body, pct);
	msg_put_str(&w->body, note);
	send_soon(w, MSG_PROGRESS);
	free(hidden);
}

static void
host_output(struct run *run, const char *text, size_t len)
{
	struct task *t = task_of(run);
	struct worker *w = t->worker;
	struct buf line = { 0 };
	char *hidden;

	if (sealing_is_on(w->queue)) {
		hidden = sealing_text(w->queue, "output", text, len);
		if (hidden == NULL)
			return;
		buf_printf(&line, "%s\n", hidden);
		free(hidden);
		text = line.data;
		len = line.len;
	}
	put_key(w, t);
	msg_put_bytes(&w->body, text, len);
	send_soon(w, MSG_OUTPUT);
	buf_clear(&line);
}

static int
host_previous(struct run *run, char **result, struct err *e)
{
	struct worker *w = task_of(run)->worker;
	struct direct d = { w->conf, w->queue, w->index };

	if (!w->stored || run->job->attempt <= 1)
		return 0;
	if (direct_previous(&d, run->job, result, e) < 0)
		return -1;
	return *result == NULL ? 0 : sealing_open_result(w->queue, result, e);
}

/* Without a leader nobody could run it later. */
static bool
host_goes_to(struct run *run, const char *destination)
{
	struct task *t = task_of(run);
	struct worker *w = t->worker;

	if (!w->queue->breaker || w->leader == NULL)
		return true;
	free(t->destination);
	t->destination = xstrdup(destination);
	return t->job.probe || !shut_has(&w->shut, destination);
}

static void
host_defer(struct run *run)
{
	struct task *t = task_of(run);
	struct worker *w = t->worker;

	put_key(w, t);
	msg_put_str(&w->body, t->destination);
	send_soon(w, MSG_DEFERRED);
	task_over(t);
}

static const struct run_ops host_ops = {
	host_end, host_progress, host_output, host_previous, host_goes_to,
	host_defer,
};

/*
 * Starting jobs
 */

/* The result of a run that no driver saw. */
static void
end_early(struct task *t, enum job_class class, const char *message)
{
	struct run_result r;

	run_result_init(&r);
	r.class = class;
	r.message = xstrdup(message);
	end_task(t, &r);
}

static void
refuse_type(struct task *t)
{
	const struct queue_conf *q = t->worker->queue;
	struct buf b = { .len = 0 };

	buf_printf(&b, "queue %s has no handler for jobs of type \"%s\"; it has:",
	    q->name, t->job.type);
	for (size_t i = 0; i < q->ntypes; i++)
		buf_printf(&b, "%s %s", i > 0 ? "," : "", q->types[i].type);
	end_early(t, CLASS_VALIDATION, b.data);
	buf_clear(&b);
}

/*
 * A driver that blocks hears no leader. Should the leader be gone as well,
 * nobody would end a run that hangs: so the kernel does, later than
 * everybody else.
 */
static void
begin_blocking(struct task *t)
{
	int64_t ms = t->run.timeout_ms + t->worker->queue->grace_ms;

	alarm((unsigned)(ms / 1000) + ALARM_SLACK);
	t->run.ctx->driver->run(t->run.ctx, &t->run);
	alarm(0);
}

static void
run_task(struct task *t)
{
	if (t->run.ctx->driver->flags & (DRIVER_ASYNC | DRIVER_MULTIPLEX))
		t->run.ctx->driver->run(t->run.ctx, &t->run);
	else
		begin_blocking(t);
}

/* The driver may end it before it returns, and then its result says that it
 * began. */
static bool
is_over_at_once(struct worker *w, struct task *t)
{
	if (!(t->run.ctx->driver->flags & DRIVER_QUICK))
		return false;
	w->starting = t;
	t->run.ctx->driver->run(t->run.ctx, &t->run);
	if (w->starting == NULL)
		return true;
	w->starting = NULL;
	return false;
}

static void
tell_start(struct worker *w, struct task *t)
{
	put_key(w, t);
	send_soon(w, MSG_STARTED);
	w->retitle = true;
	if (!(t->run.ctx->driver->flags & DRIVER_QUICK))
		TAILQ_INSERT_TAIL(&w->told, t, told);
}

static void
begin(struct worker *w, struct task *t)
{
	const struct type_conf *type;
	enum job_class class;
	struct err e = { .code = ERR_NONE };
	char why[256];
	int index;

	TAILQ_REMOVE(&w->waiting, t, link);
	TAILQ_INSERT_TAIL(&w->running, t, link);
	w->nrunning++;
	t->started = mono_now();
	index = handlers_find(w->queue, t->job.type);
	if (index < 0) {
		refuse_type(t);
		return;
	}
	if ((class = sealing_open_data(w->queue, &t->job.data, &e)) != CLASS_NONE) {
		end_early(t, class, e.msg);
		return;
	}
	if (!shape_fits(w->queue->schema, t->job.data, why, sizeof(why))) {
		end_early(t, CLASS_VALIDATION, why);
		return;
	}
	type = &w->queue->types[index];
	t->run.job = &t->job;
	t->run.timeout_ms = t->job.timeout_ms ? t->job.timeout_ms :
	    type->timeout_ms ? type->timeout_ms : w->queue->timeout_ms;
	job_token(t->run.token, sizeof(t->run.token), t->pool, t->job.batch,
	    t->job.attempt);
	t->run.ctx = handlers_open(w->handlers, (size_t)index, &e);
	if (t->run.ctx == NULL)
		end_early(t, CLASS_ERROR, e.msg);
	else if (!is_over_at_once(w, t))
		tell_start(w, t);
}

/*
 * Start what may start; leave when there is nothing and that was the wish. The
 * leader is told of jobs before their drivers begin: should one take this
 * process down, it knows which to blame.
 */
static void
on_turn(void *arg)
{
	struct worker *w = arg;
	struct task *t;

	for (;;) {
		while (w->nrunning < w->limit &&
		    (t = TAILQ_FIRST(&w->waiting)) != NULL)
			begin(w, t);
		if (w->retitle)
			show_title(w);
		send_now(w);
		if (TAILQ_EMPTY(&w->told))
			break;
		while ((t = TAILQ_FIRST(&w->told)) != NULL) {
			TAILQ_REMOVE(&w->told, t, told);
			run_task(t);
		}
	}
	w->due = false;
	if (w->leaving && w->nrunning == 0 && TAILQ_EMPTY(&w->waiting))
		loop_stop(w->loop);
}

/*
 * Messages from the leader
 */

static void
on_job(struct worker *w, struct msg_reader *r)
{
	struct task *t = xcalloc(1, sizeof(*t));

	t->worker = w;
	if (msg_get_job(r, &t->job, &t->pool) < 0)
		fatal("the leader sent a malformed job", "bytes=%zu", r->left);
	TAILQ_INSERT_TAIL(&w->waiting, t, link);
	at_turns_end(w);
}

static struct task *
find_task(const struct tasks *tasks, int64_t id, int64_t attempt)
{
	struct task *t;

	TAILQ_FOREACH(t, tasks, link)
		if (t->job.id == id && t->job.attempt == attempt)
			return t;
	return NULL;
}

static void
cancel_running(struct task *t, enum job_class why)
{
	const struct driver *driver = t->run.ctx->driver;

	t->cancelled = true;
	t->cancelled_at = mono_now();
	t->why = why;
	if (driver->cancel != NULL)
		driver->cancel(t->run.ctx, &t->run, why);
}

/* A job that ended meanwhile is no longer here, and that is fine. */
static void
on_cancel(struct worker *w, struct msg_reader *r)
{
	int64_t id = msg_get_i64(r), attempt = msg_get_i64(r);
	enum job_class why = msg_get_u32(r) == CLASS_TIMEOUT ? CLASS_TIMEOUT :
	    CLASS_NONE;
	struct task *t = find_task(&w->running, id, attempt);

	if (t != NULL) {
		if (!t->cancelled)
			cancel_running(t, why);
		return;
	}
	t = find_task(&w->waiting, id, attempt);
	if (t == NULL)
		return;
	TAILQ_REMOVE(&w->waiting, t, link);
	TAILQ_INSERT_TAIL(&w->running, t, link);
	w->nrunning++;
	t->cancelled = true;
	t->why = why;
	end_early(t, why == CLASS_NONE ? CLASS_ERROR : why,
	    "stopped before it began");
}

/* Behind a run that takes longer than the leader thought. */
static void
on_recall(struct worker *w, struct msg_reader *r)
{
	int64_t id = msg_get_i64(r), attempt = msg_get_i64(r);
	struct task *t = find_task(&w->waiting, id, attempt);

	if (t == NULL)
		return;
	put_key(w, t);
	send_soon(w, MSG_RETURNED);
	TAILQ_REMOVE(&w->waiting, t, link);
	task_free(t);
}

static void
on_message(struct chan *c, uint32_t type, const void *body, size_t len, int fd,
    void *arg)
{
	struct worker *w = arg;
	struct msg_reader r;

	(void)c;
	msg_read(&r, body, len);
	if (fd >= 0)
		close(fd);
	switch (type) {
	case MSG_JOB:
		on_job(w, &r);
		break;
	case MSG_CANCEL:
		on_cancel(w, &r);
		break;
	case MSG_RECALL:
		on_recall(w, &r);
		break;
	case MSG_SHUT:
		if (shut_read(&w->shut, &r) < 0)
			fatal("the leader sent malformed destinations",
			    "bytes=%zu", r.left);
		break;
	case MSG_LEAVE:
		w->leaving = true;
		at_turns_end(w);
		break;
	default:
		log_warn("unexpected message", "type=%u", type);
	}
}

/*
 * Without a leader
 */

static void
release_waiting(struct worker *w)
{
	struct direct d = { w->conf, w->queue, w->index };
	int64_t *jobs;
	int *attempts;
	size_t n = 0;
	struct task *t;
	struct err e;

	if (!w->stored || TAILQ_EMPTY(&w->waiting))
		return;
	TAILQ_FOREACH(t, &w->waiting, link)
		n++;
	jobs = xcalloc(n, sizeof(*jobs));
	attempts = xcalloc(n, sizeof(*attempts));
	n = 0;
	int64_t pool = TAILQ_FIRST(&w->waiting)->pool;
	while ((t = TAILQ_FIRST(&w->waiting)) != NULL) {
		jobs[n] = t->job.id;
		attempts[n++] = t->job.attempt;
		TAILQ_REMOVE(&w->waiting, t, link);
		task_free(t);
	}
	/* Failing that, the monitor takes them back when we are gone. */
	if (direct_release(&d, pool, jobs, attempts, n, &e) < 0)
		log_warn("jobs not handed back", "count=%zu reason=%s", n, e.msg);
	free(jobs);
	free(attempts);
}

/* In the order of their ends. */
static void
complete_recent(struct worker *w)
{
	struct direct d = { w->conf, w->queue, w->index };
	struct finished ends[RECENT_MAX];
	size_t n = recent_list(&w->recent, mono_now(), ends);
	struct err e;

	if (direct_finish(&d, ends, n, &e) < 0) {
		log_error("completing without the leader failed", "reason=%s",
		    e.msg);
		w->status = 1;
	}
}

/* Our own cancel ladder: first the driver is asked, which has the grace to end
 * the run; then everything ends. */
static void
on_overdue(void *arg)
{
	struct worker *w = arg;
	mono_t now = mono_now(), next = MONO_SECOND;
	mono_t patience = w->queue->grace_ms * MONO_MS + DRIVER_MORE;
	struct task *t, *following;

	for (t = TAILQ_FIRST(&w->running); t != NULL; t = following) {
		mono_t due = t->started + t->run.timeout_ms * MONO_MS;

		following = TAILQ_NEXT(t, link);
		if (t->cancelled) {
			if (now >= t->cancelled_at + patience) {
				proc_kill_children(NULL, 0);
				end_early(t, CLASS_TIMEOUT, "did not end in time");
			}
		} else if (now >= due) {
			cancel_running(t, CLASS_TIMEOUT);
		}
	}
	timer_set(w->overdue, next);
}

static void
on_closed(struct chan *c, const char *reason, void *arg)
{
	struct worker *w = arg;

	chan_free(c);
	w->leader = NULL;
	if (w->leaving && w->nrunning == 0)
		return;
	log_warn("the leader is gone", "reason=%s running=%zu", reason,
	    w->nrunning);
	w->leaving = true;
	release_waiting(w);
	w->overdue = timer_new(w->loop, on_overdue, w);
	timer_set(w->overdue, 0);
	at_turns_end(w);
}

/*
 * The process
 */

/* Nothing this worker started may outlive it. */
static void
on_term(int signo)
{
	proc_kill_children(NULL, 0);
	signal(signo, SIG_DFL);
	raise(signo);
}

static void
handle_term(void)
{
	struct sigaction act = { .sa_handler = on_term };

	sigemptyset(&act.sa_mask);
	sigaction(SIGTERM, &act, NULL);
}

static void
say_hello(struct worker *w)
{
	char destination[BREAKER_NAME_MAX + 1];
	unsigned flags = handlers_flags(w->queue);

	msg_put_i64(&w->body, getpid());
	msg_put_u32(&w->body, (uint32_t)w->limit);
	msg_put_u32(&w->body,
	    (flags & (DRIVER_MULTIPLEX | DRIVER_ASYNC) ? WORKER_HEARS : 0) |
	    (flags & DRIVER_KEEPS ? WORKER_KEEPS : 0));
	msg_put_str(&w->body, w->queue->breaker &&
	    handlers_destination(w->queue, destination, sizeof(destination)) ?
	    destination : NULL);
	send_soon(w, MSG_HELLO);
}

static void
worker_init(struct worker *w, const struct conf *conf,
    const struct queue_conf *queue, int index)
{
	w->conf = conf;
	w->queue = queue;
	w->stored = queue != conf->notices;
	w->index = index;
	w->loop = loop_new();
	w->turn = timer_new(w->loop, on_turn, w);
	w->limit = handlers_at_once(queue);
	w->handlers = handlers_new(conf, queue, w->loop, &host_ops, w);
	TAILQ_INIT(&w->waiting);
	TAILQ_INIT(&w->running);
	TAILQ_INIT(&w->told);
	w->leader = chan_new(w->loop, PROC_CHANNEL_FD, &leader_ops, w);
}

int
worker_main(const struct conf *conf, const struct queue_conf *queue, int index)
{
	struct worker *w = xcalloc(1, sizeof(*w));
	int status;

	log_process("worker %s/%d", queue->name, index);
	proc_adopt_orphans();
	handle_term();
	worker_init(w, conf, queue, index);
	show_title(w);
	say_hello(w);
	loop_run(w->loop);
	if (w->leader != NULL) {
		send_now(w);
		chan_flush(w->leader);
	} else {
		complete_recent(w);
	}
	handlers_free(w->handlers);
	proc_kill_children(NULL, 0);
	chan_free(w->leader);
	recent_clear(&w->recent);
	shut_clear(&w->shut);
	timer_free(w->turn);
	if (w->overdue != NULL)
		timer_free(w->overdue);
	loop_free(w->loop);
	buf_clear(&w->body);
	status = w->status;
	free(w);
	return status;
}
