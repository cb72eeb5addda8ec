/*
 * The routes of queues: their SQL is in 94-api-queues.sql.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "api/ask.h"
#include "api/bulk.h"
#include "api/route.h"
#include "base/mono.h"
#include "base/xalloc.h"
#include "core/units.h"

#define QUEUE { "queue", IN_PATH, PARAM_TEXT, "the queue's name" }
#define QUEUE_OR_ALL { "queue", IN_PATH, PARAM_TEXT, "the queue's name; * is all of them" }
#define DRAIN_LOOK (250 * MONO_MS)	/* between two looks */
#define DRAIN_MAX_MS 20000

static answer_fn drain, clear, clean;

static const struct param list_params[] = {
	{ "limit", IN_QUERY, PARAM_INTEGER, "at most so many", .min = 1, .max = 1000,
	    .def = "100" },
	{ "cursor", IN_QUERY, PARAM_TEXT, "where the last page ended", .min = 1, .max = 1024 },
	{ 0 }
};
static const struct param one_queue[] = { QUEUE, { 0 } };
static const struct param pause_params[] = {
	QUEUE_OR_ALL,
	{ "reason", IN_BODY, PARAM_TEXT, "why", .max = 1000 },
	{ "until", IN_BODY, PARAM_INSTANT, "then it is resumed by itself" },
	{ "for", IN_BODY, PARAM_DURATION, "the same, from now on" },
	{ "type", IN_BODY, PARAM_TEXT, "only jobs of this type" },
	{ "tenant", IN_BODY, PARAM_TEXT, "only jobs of this tenant" },
	{ 0 }
};
static const struct param resume_params[] = {
	QUEUE_OR_ALL,
	{ "type", IN_BODY, PARAM_TEXT, "what was paused: jobs of this type" },
	{ "tenant", IN_BODY, PARAM_TEXT, "what was paused: jobs of this tenant" },
	{ 0 }
};
static const struct param drain_params[] = {
	QUEUE,
	{ "wait", IN_BODY, PARAM_TEXT, "how long to wait for it, 20s at most", .min = 1,
	    .max = 20, .def = "0" },
	{ 0 }
};
static const struct param clear_params[] = {
	QUEUE,
	{ "type", IN_QUERY, PARAM_TEXT, "only jobs of this type" },
	{ "tenant", IN_QUERY, PARAM_TEXT, "only jobs of this tenant" },
	{ "state", IN_QUERY, PARAM_WORD, "only jobs in this state",
	    .words = "scheduled blocked ready retrying" },
	BULK_DRY_RUN(IN_QUERY),
	BULK_CONFIRM,
	{ 0 }
};
static const struct param clean_params[] = {
	QUEUE,
	{ "state", IN_BODY, PARAM_WORD, "how the jobs ended", true,
	    .words = "completed dead cancelled" },
	{ "older_than", IN_BODY, PARAM_DURATION, "and how long ago, at least; else any" },
	BULK_DRY_RUN(IN_BODY),
	{ 0 }
};
static const struct param remove_params[] = {
	QUEUE,
	{ "confirm", IN_QUERY, PARAM_WORD, "that it is meant", true, .words = "yes" },
	{ 0 }
};
static const struct param breakers_params[] = {
	{ "queue", IN_QUERY, PARAM_TEXT, "only of this queue" },
	{ "state", IN_QUERY, PARAM_WORD, "only in this state", .words = "open half-open closed" },
	{ 0 }
};

const struct route queues_routes[] = {
	{ "GET", "/v1/queues", "The queues: how many jobs are in which state", "queues",
	    ROLE_VIEWER, true, "SELECT jobq.api_queues($1, $2) AS body",
	    .params = list_params },
	{ "GET", "/v1/queues/{queue}", "A queue, with what is paused of it, its settings, limits "
	    "and breakers", "queues", ROLE_VIEWER, true,
	    "SELECT jobq.api_queue($1) AS body", .params = one_queue },
	{ "POST", "/v1/queues/{queue}/pause", "Hand out no more jobs of a queue, or of a type or a "
	    "tenant of it", "queues", ROLE_OPERATOR, false,
	    "SELECT jobq.api_pause($1, $2, $3, $4, $5, $6) AS body", .params = pause_params },
	{ "POST", "/v1/queues/{queue}/resume", "Hand them out again", "queues", ROLE_OPERATOR,
	    false, "SELECT jobq.api_resume($1, $2, $3) AS body", .params = resume_params },
	{ "POST", "/v1/queues/{queue}/drain", "Whether nothing of a queue is ready or running, and "
	    "wait for that", "queues", ROLE_ADMIN, false, .answer = drain,
	    .params = drain_params },
	{ "POST", "/v1/queues/{queue}/clean", "Remove jobs that have ended", "queues", ROLE_ADMIN,
	    false, .answer = clean, .params = clean_params },
	{ "DELETE", "/v1/queues/{queue}/jobs", "Cancel all jobs of a queue that wait", "queues",
	    ROLE_ADMIN, false, .answer = clear, .params = clear_params },
	{ "DELETE", "/v1/queues/{queue}", "Remove a queue that no node serves and that has no "
	    "unfinished job", "queues", ROLE_ADMIN, false,
	    "SELECT jobq.api_queue_remove($1), $2::text", .params = remove_params, .status = 204 },
	{ "GET", "/v1/limits", "The named limits, and where they stand", "queues", ROLE_VIEWER,
	    false, "SELECT jobq.api_limits() AS body" },
	{ "GET", "/v1/breakers", "Circuit breakers that have opened", "queues", ROLE_VIEWER, false,
	    "SELECT jobq.api_breakers($1, $2) AS body", .params = breakers_params },
	{ "GET", "/v1/holds", "What is paused: queues, types and tenants", "queues", ROLE_VIEWER,
	    false, "SELECT jobq.api_all_holds() AS body" },
	{ 0 }
};

/*
 * Draining: look until it is, or the time is over
 */

struct drain {
	struct exchange *x;
	struct timer *timer;
	mono_t until;
};

static void
drain_free(void *state)
{
	struct drain *d = state;

	timer_free(d->timer);
	free(d);
}

/* Nobody waits any more: the next look is the last one, and soon. */
static void
on_gone(struct exchange *x, void *arg)
{
	struct drain *d = arg;

	(void)x;
	d->until = 0;
	if (timer_pending(d->timer))
		timer_set(d->timer, 0);
}

static void
on_look(struct exchange *x, const PGresult *res, void *arg)
{
	struct drain *d = arg;

	if (!pg_true(res, 0, 0) && mono_now() < d->until) {
		timer_set(d->timer, DRAIN_LOOK);
		return;
	}
	x->status = 200;
	buf_str(&x->body, pg_text(res, 0, 1));
	buf_char(&x->body, '\n');
	exchange_done(x);
}

static void
look(void *arg)
{
	struct drain *d = arg;

	ask(d->x, "SELECT drained, body FROM jobq.api_drained($1)", 1,
	    (const char *const *)d->x->values, on_look, d);
}

static void
drain(struct exchange *x, void *arg)
{
	struct drain *d;
	int64_t ms;

	(void)arg;
	if (units_duration_ms(x->values[1], &ms) < 0 || ms > DRAIN_MAX_MS) {
		exchange_problem_of(x, 422, "wait", "wait is no duration up to 20s");
		exchange_done(x);
		return;
	}
	d = xcalloc(1, sizeof(*d));
	d->x = x;
	d->until = mono_now() + ms * MONO_MS;
	d->timer = timer_new(ask_loop(x), look, d);
	x->state = d;
	x->state_free = drain_free;
	exchange_watch(x, on_gone, d);
	look(d);
}

/*
 * Many jobs at once
 */

static void
clear(struct exchange *x, void *arg)
{
	static const struct bulk bulk = {
		"cancelled",
		.plan = "SELECT p, cardinality(p) FROM jobq.api_clear_plan($1, $2, $3, $4) p",
		.work = "SELECT jobq.clear_jobs($3, $1::bigint[]), 0 * $2::bigint, NULL", .keep = 1,
	};

	(void)arg;
	bulk_answer(x, &bulk);
}

static void
clean(struct exchange *x, void *arg)
{
	static const struct bulk bulk = {
		"removed",
		.plan = "SELECT p, cardinality(p) FROM jobq.api_clean_plan($1, $2, $3) p",
		.work = "SELECT jobq.clean_jobs($3, $1::bigint[]), 0 * $2::bigint, NULL", .keep = 1,
	};

	(void)arg;
	bulk_answer(x, &bulk);
}
