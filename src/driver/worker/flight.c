/*
 * A job on its way through a program that is kept: see worker.h.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "driver/worker/worker.h"
#include "os/proc.h"

#define OUTPUT_MAX (64u << 10)		/* kept for a job */
#define MEASURED (10 * MONO_MS)		/* shorter runs are not worth it */

int
flight_compare(const struct flight *a, const struct flight *b)
{
	return (a->id > b->id) - (a->id < b->id);
}
RB_GENERATE(flights, flight, by_id, flight_compare)

struct flight *
flight_new(struct kept *k, struct run *run)
{
	struct flight *f = xcalloc(1, sizeof(*f));

	f->kept = k;
	f->run = run;
	f->id = run->job->id;
	capture_init(&f->output, OUTPUT_MAX);
	progress_init(&f->progress, run);
	run_result_init(&f->result);
	run->state = f;
	RB_INSERT(flights, &k->flights, f);
	k->nflights++;
	return f;
}

void
flight_free(struct flight *f)
{
	struct kept *k = f->kept;

	RB_REMOVE(flights, &k->flights, f);
	k->nflights--;
	k->jobs_bytes -= f->jobs_bytes;
	if (f->state == FLIGHT_RUNS)
		k->running--;
	if (f->order != NULL)
		orders_drop(f->order);
	capture_clear(&f->output);
	timer_free(f->live);
	progress_clear(&f->progress);
	timer_free(f->grace);
	strings_clear(&f->jobs);
	run_result_clear(&f->result);
	free(f->spoiled_by);
	free(f);
}

void
flight_give_output(struct flight *f)
{
	struct buf b = { .len = 0 };

	capture_give(&f->output, &b, OUTPUT_MAX, "");
	if (b.len > 0)
		run_output(f->run, b.data, b.len);
	buf_clear(&b);
}

static void
on_live(void *arg)
{
	flight_give_output(arg);
}

void
flight_wrote(struct flight *f, const char *text, size_t len)
{
	capture_add(&f->output, text, len);
	if (f->output.given >= LIVE_MAX)
		return;
	if (f->live == NULL)
		f->live = timer_new(f->kept->ctx->loop, on_live, f);
	if (!timer_pending(f->live))
		timer_set(f->live, LIVE_EVERY);
}

void
flight_end(struct flight *f, struct run_result *result)
{
	struct run *run = f->run;

	progress_tell(&f->progress);
	flight_give_output(f);
	flight_free(f);
	run_end(run, result);
}

void
flight_fail(struct flight *f, enum job_class class, const char *message)
{
	struct run_result r;

	run_result_init(&r);
	r.class = class;
	r.message = xstrdup(message);
	flight_end(f, &r);
}

void
flight_fail_all(struct flight_list *list, enum job_class class, const char *message)
{
	struct flight *f;

	while ((f = TAILQ_FIRST(list)) != NULL) {
		TAILQ_REMOVE(list, f, link);
		flight_fail(f, class, message);
	}
}

size_t
flight_gather(struct kept *k, enum flight_state state, struct flight_list *list)
{
	struct flight *f;
	size_t n = 0;

	TAILQ_INIT(list);
	RB_FOREACH(f, flights, &k->flights)
		if (f->state == state) {
			TAILQ_INSERT_TAIL(list, f, link);
			n++;
		}
	return n;
}

struct flight *
flight_find(struct kept *k, int64_t id)
{
	struct flight wanted = { .id = id };
	struct flight *f = RB_FIND(flights, &k->flights, &wanted);

	return f != NULL && f->state == FLIGHT_RUNS ? f : NULL;
}

/* What it used of the program, if nobody else did and it was worth measuring. */
void
flight_measure(const struct flight *f, struct run_result *r)
{
	pid_t pid = f->kept->program.pid;
	int64_t cpu_us;

	if (!f->alone || pid == 0 || mono_now() - f->started < MEASURED ||
	    (cpu_us = proc_cpu_us(pid)) < 0)
		return;
	r->cpu_ms = (cpu_us - f->cpu_us) / 1000;
	r->max_rss_kb = proc_peak_kb(pid);
}

