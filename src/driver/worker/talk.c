/*
 * What a program that is kept is told, and what it says: see worker.h. The
 * messages themselves are protocol.c's.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "conf/conf.h"
#include "driver/protocol.h"
#include "driver/worker/worker.h"
#include "os/proc.h"

#define READ_SIZE (64u << 10)
#define HUNG_UP (1 * MONO_SECOND)	/* to end, for one that talks no more */
#define ANSWERS_MAX (1u << 20)		/* bytes it has not read, then it waits for us */
#define ORDERS_MAX (4u << 20)		/* bytes not in the database yet, likewise */
#define JOB_ORDERS_MAX (16u << 20)	/* bytes that one job puts into queues … */
#define JOBS_ORDERS_MAX (64u << 20)	/* … and all in flight */
#define SHARED_MAX 16			/* jobs that text may be about */

/*
 * What the program is told
 */

/* It neither hears nor ends, or will end soon and says so by that. */
static void
hang_up(struct kept *k, const char *why)
{
	if (k->state == KEPT_KILLED || k->leaving || k->program.pid == 0 ||
	    k->broken_by != NULL)
		return;
	k->broken = CLASS_ERROR;
	k->broken_by = xstrdup(why);
	timer_set(k->timer, HUNG_UP);
}

/* Listens to the program unless it has said more than we could take in. */
static void
heed(struct kept *k)
{
	bool full = k->answers > ANSWERS_MAX ||
	    (k->orders != NULL && orders_bytes(k->orders) > ORDERS_MAX);

	if (k->program.out.watch != NULL)
		watch_set(k->program.out.watch, full ? 0 : LOOP_READ);
}

void
talk_now(struct kept *k)
{
	struct pipe_end *in = &k->program.in;

	if (k->program.pid == 0 || in->fd < 0 || k->deaf)
		return;
	while (k->told < k->out.len) {
		ssize_t n = write(in->fd, k->out.data + k->told,
		    k->out.len - k->told);

		if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
			watch_set(in->watch, LOOP_WRITE);
			return;
		}
		if (n < 0) {
			k->deaf = true;
			watch_set(in->watch, 0);
			hang_up(k, "it has closed its standard input");
			return;
		}
		k->told += (size_t)n;
	}
	k->told_before += k->told;
	buf_reset(&k->out);
	k->told = k->answers = 0;
	if (k->leaving)
		pipe_close(in);
	else if (in->watch != NULL)
		watch_set(in->watch, 0);
	heed(k);
}

static void
on_in(int fd, unsigned what, void *arg)
{
	(void)fd;
	(void)what;
	talk_now(arg);
}

static void
on_flush(void *arg)
{
	talk_now(arg);
}

void
talk_soon(struct kept *k)
{
	if (k->flush == NULL)
		k->flush = timer_new(k->ctx->loop, on_flush, k);
	if (!timer_pending(k->flush))
		timer_set(k->flush, 0);
}

void
talk_job(struct flight *f)
{
	struct kept *k = f->kept;
	const struct job *job = f->run->job;
	struct flight *other;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	f->at = k->told_before + k->out.len;
	tell_job(&k->out, job, f->run->token, job->max_attempts > 0 ?
	    job->max_attempts : k->ctx->queue->retry->attempts,
	    now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000 +
	    f->run->timeout_ms * 1000);
	talk_soon(k);
	if (k->running == 1)
		RB_FOREACH(other, flights, &k->flights)
			if (other->state == FLIGHT_RUNS)
				other->alone = false;
	f->state = FLIGHT_RUNS;
	f->alone = k->running++ == 0;
	f->started = mono_now();
	f->begun = k->said;
	if (f->alone)
		f->cpu_us = proc_cpu_us(k->program.pid);
}

/*
 * What the program says
 */

void
talk_kill(struct kept *k, enum kill_why why)
{
	k->state = KEPT_KILLED;
	k->why = why;
	timer_stop(k->timer);
	program_kill(&k->program);
}

void
talk_broken(struct kept *k, enum job_class class, const char *why)
{
	if (k->state == KEPT_KILLED)
		return;
	free(k->broken_by);
	k->broken = class;
	k->broken_by = xstrdup(why);
	talk_kill(k, KILL_BROKEN);
}

/* Once for each program: it may go on like that. */
static void
complain(struct kept *k, const char *what, const char *detail)
{
	if (k->complained)
		return;
	k->complained = true;
	log_warn("program not understood", "handler=%s pid=%d reason=%s detail=%s",
	    k->ctx->handler->name, (int)k->program.pid, what, detail);
}

/* Of text that names no job: all that are with the program, or wait for it, as
 * long as they are few. */
static void
take_text(struct kept *k, const char *text, size_t len)
{
	struct flight *f;
	bool taken = false;

	capture_add(&k->recent, text, len);
	if (k->nflights <= SHARED_MAX)
		RB_FOREACH(f, flights, &k->flights)
			if (f->state != FLIGHT_ENDS) {
				flight_wrote(f, text, len);
				taken = true;
			}
	if (!taken && log_would(LOG_LEVEL_DEBUG)) {
		char *line = xstrndup(text, len);

		log_debug("program wrote", "handler=%s pid=%d text=%s",
		    k->ctx->handler->name, (int)k->program.pid, line);
		free(line);
	}
}

static void
on_ready(struct kept *k)
{
	struct flight_list waiting;
	struct flight *f;

	if (k->state != KEPT_STARTING || k->ready) {
		complain(k, "it was ready already", "");
		return;
	}
	k->ready = true;
	k->state = KEPT_READY;
	timer_stop(k->timer);
	flight_gather(k, FLIGHT_WAITS, &waiting);
	TAILQ_FOREACH(f, &waiting, link)
		talk_job(f);
}

/* The end of a job that waited for what was ordered before it, or with it. */
static void
on_ordered(const struct order_end *end, void *arg)
{
	struct flight *f = arg;
	struct run_result r = f->result;
	struct kept *k = f->kept;

	f->order = NULL;
	run_result_init(&f->result);
	if (end->class != CLASS_NONE) {
		run_result_clear(&r);
		flight_fail(f, end->class, end->message);
	} else {
		r.settled = f->jobs_bytes > 0;
		flight_end(f, &r);
	}
	heed(k);
}

/* Takes the result. */
static void
finish(struct flight *f, struct run_result *result)
{
	struct kept *k = f->kept;
	char *text;

	flight_measure(f, result);
	if (result->class == CLASS_NONE && f->spoiled != CLASS_NONE) {
		run_result_clear(result);
		flight_fail(f, f->spoiled, f->spoiled_by);
		return;
	}
	run_result_bound(result);
	if (result->class != CLASS_NONE ||
	    (f->jobs.n == 0 && (k->orders == NULL || orders_empty(k->orders)))) {
		flight_end(f, result);
		return;
	}
	f->state = FLIGHT_ENDS;
	k->running--;
	f->result = *result;
	text = xstrdup(result->result);
	run_seal_result(f->run, &text);
	f->order = orders_add(k->orders, &f->jobs, f->jobs_bytes > 0 ? f->id : 0,
	    f->run->token, text, on_ordered, f);
	free(text);
}

/* What this job was to put into a queue is not there. */
static void
spoil(struct flight *f, enum job_class class, const char *why)
{
	if (f->spoiled != CLASS_NONE)
		return;
	f->spoiled = class;
	f->spoiled_by = xasprintf("enqueue: %s", why);
}

/* An order of the program itself, not of a job. */
struct asked {
	struct kept *kept;
	char *ref;			/* NULL: nobody waits for an answer */
	unsigned generation;		/* of who asked */
	unsigned long long at;		/* kept->said then */
};

/* Who asked for no answer takes it that all is well: so no job completes that it
 * may have been for. */
static void
spoil_all(struct kept *k, const struct asked *a, const struct order_end *end)
{
	struct flight_list ending;
	struct flight *f;

	log_warn("program could not enqueue", "handler=%s reason=%s",
	    k->ctx->handler->name, end->message);
	RB_FOREACH(f, flights, &k->flights)
		if (f->state != FLIGHT_WAITS && f->begun < a->at)
			spoil(f, end->class, end->message);
	flight_gather(k, FLIGHT_ENDS, &ending);
	while ((f = TAILQ_FIRST(&ending)) != NULL) {
		TAILQ_REMOVE(&ending, f, link);
		if (f->spoiled != CLASS_NONE)
			flight_fail(f, f->spoiled, f->spoiled_by);
	}
}

static void
on_enqueued(const struct order_end *end, void *arg)
{
	struct asked *a = arg;
	struct kept *k = a->kept;
	bool done = end->class == CLASS_NONE;
	size_t before = k->out.len;

	if (a->ref == NULL && !done) {
		spoil_all(k, a, end);
	} else if (a->ref != NULL && a->generation == k->generation &&
	    k->program.pid != 0) {
		tell_enqueued(&k->out, a->ref, end->id, done ? NULL : end->message);
		k->answers += k->out.len - before;
		talk_soon(k);
	}
	free(a->ref);
	free(a);
	heed(k);
	worker_leave_when_done(k);
}

static struct orders *
orders(struct kept *k)
{
	if (k->orders == NULL)
		k->orders = orders_new(k->ctx->loop, k->ctx->database,
		    k->ctx->schema);
	return k->orders;
}

/* With the job's completion; moves the texts. */
static void
enqueue_with(struct flight *f, struct said *s)
{
	struct kept *k = f->kept;
	size_t bytes = strlen(s->queue) + strlen(s->json);

	if (f->jobs_bytes + bytes > JOB_ORDERS_MAX ||
	    k->jobs_bytes + bytes > JOBS_ORDERS_MAX) {
		spoil(f, CLASS_RESOURCE, "more than 16 MiB for one job, or "
		    "64 MiB for all in flight");
		return;
	}
	f->jobs_bytes += bytes;
	k->jobs_bytes += bytes;
	orders(k);
	strings_take(&f->jobs, s->queue);
	strings_take(&f->jobs, s->json);
	s->queue = s->json = NULL;
}

/* At once, unless it has failed already; moves the texts. */
static void
enqueue_now(struct kept *k, struct said *s, const struct order_end *failed)
{
	struct strings jobs = { .n = 0 };
	struct asked *a = xcalloc(1, sizeof(*a));

	a->kept = k;
	a->ref = s->text;
	s->text = NULL;
	a->generation = k->generation;
	a->at = k->said;
	if (failed != NULL) {
		on_enqueued(failed, a);
		return;
	}
	strings_take(&jobs, s->queue);
	strings_take(&jobs, s->json);
	s->queue = s->json = NULL;
	orders_add(orders(k), &jobs, 0, NULL, NULL, on_enqueued, a);
	heed(k);
}

static void
take_enqueue(struct kept *k, struct said *s)
{
	struct flight *f = s->id != 0 ? flight_find(k, s->id) : NULL;
	struct err e;
	int rc;

	if (s->id != 0 && f == NULL) {
		complain(k, "enqueue for a job that is not in flight", s->queue);
		return;
	}
	rc = conf_seal_job(k->ctx->conf, s->queue, &s->json, &e);
	if (rc < 0)
		complain(k, "enqueue: not encrypted", e.msg);
	if (f == NULL)
		enqueue_now(k, s, rc < 0 ?
		    &(struct order_end){ CLASS_ERROR, e.msg, 0 } : NULL);
	else if (rc < 0)
		spoil(f, CLASS_ERROR, e.msg);
	else
		enqueue_with(f, s);
}

static void
take_of_job(struct kept *k, struct said *s)
{
	struct flight *f = flight_find(k, s->id);
	struct run_result r;

	if (f == NULL) {
		complain(k, "it speaks of a job that is not in flight",
		    s->text ? s->text : "");
		return;
	}
	switch (s->kind) {
	case SAID_PROGRESS:
		progress_take(&f->progress, s->pct, s->text);
		s->text = NULL;
		break;
	case SAID_LOG:
		flight_wrote(f, s->text, strlen(s->text));
		flight_wrote(f, "\n", 1);
		break;
	default:
		run_result_init(&r);
		r.class = s->class;
		r.retry_after_ms = s->retry_after_ms;
		r.message = s->text;
		r.result = s->json;
		s->text = s->json = NULL;
		finish(f, &r);
	}
}

static void
on_line(char *line, size_t len, void *arg)
{
	struct kept *k = arg;
	struct said s;
	struct err e;

	if (k->state == KEPT_KILLED && k->why == KILL_BROKEN)
		return;
	if (line == NULL) {
		talk_broken(k, CLASS_RESOURCE, "a message has more than 2 MiB");
		return;
	}
	if (said_read(line, len, &s, &e) < 0) {
		talk_broken(k, CLASS_ERROR, e.msg);
		return;
	}
	k->said++;
	switch (s.kind) {
	case SAID_TEXT:
		if (*s.text == '\0')
			break;
		take_text(k, s.text, strlen(s.text));
		take_text(k, "\n", 1);
		complain(k, "text among its messages is taken for output", s.text);
		break;
	case SAID_UNKNOWN:
		complain(k, "there is no such message", s.text);
		break;
	case SAID_READY:
		on_ready(k);
		break;
	case SAID_ENQUEUE:
		take_enqueue(k, &s);
		break;
	default:
		take_of_job(k, &s);
	}
	said_clear(&s);
}

static void
read_err(struct kept *k)
{
	char data[READ_SIZE];
	ssize_t n = pipe_read(&k->program.err, data, sizeof(data));

	if (n > 0)
		take_text(k, data, (size_t)n);
}

static void
on_err(int fd, unsigned what, void *arg)
{
	(void)fd;
	(void)what;
	read_err(arg);
}

static void
on_out(int fd, unsigned what, void *arg)
{
	struct kept *k = arg;
	char data[READ_SIZE];
	ssize_t n = pipe_read(&k->program.out, data, sizeof(data));

	(void)fd;
	(void)what;
	if (n == 0)
		hang_up(k, "it has closed its standard output");
	if (n <= 0)
		return;
	/* What it wrote there before it said that it is done belongs to the job. */
	read_err(k);
	lines_add(&k->lines, data, (size_t)n, on_line, k);
}

const struct program_ops talk_ops = {
	on_in, on_out, on_err, NULL, worker_program_ended,
};
