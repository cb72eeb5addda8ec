/*
 * What workers elsewhere say of the jobs that they run: see pull.h. Their SQL is
 * in 94-api-pull.sql; only what follows a failure is decided here, as a leader
 * would.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/ask.h"
#include "api/pull.h"
#include "base/log.h"
#include "base/xalloc.h"
#include "core/outcome.h"
#include "core/units.h"
#include "db/pg.h"

/* The row of a statement is the answer. */
static void
answer_row(struct exchange *x, const PGresult *res)
{
	x->status = (int)pg_int(res, 0, 0);
	buf_printf(&x->body, "%s\n", pg_text(res, 0, 1));
	exchange_done(x);
}

static void
completed(struct exchange *x, const PGresult *res, void *arg)
{
	(void)arg;
	pull_ended(&(struct pull_end){ .queue = (char *)pg_text(res, 0, 2),
	    .type = (char *)pg_text(res, 0, 3), .outcome = OUTCOME_COMPLETED,
	    .run_us = pg_int(res, 0, 4) });
	answer_row(x, res);
}

static void
complete(struct exchange *x, void *arg)
{
	const char *params[] = { route_value(x, "id"), route_value(x, "token"),
	    route_value(x, "result") };

	(void)arg;
	ask(x, "select status, body, queue, type, run_us "
	    "from jobq.api_pull_complete($1, $2, $3)", 3, params, completed, NULL);
}

static void
end_free(void *state)
{
	struct pull_end *e = state;

	free(e->queue);
	free(e->type);
	free(e->error);
	free(e);
}

static void
failed(struct exchange *x, const PGresult *res, void *arg)
{
	(void)arg;
	pull_ended(x->state);
	answer_row(x, res);
}

/* The row is what pull_failing() tells of the lease: decide what comes next. */
static void
decide(struct exchange *x, const PGresult *res, void *arg)
{
	struct job job = { .id = strtoll(route_value(x, "id"), NULL, 10),
	    .charged = (int)pg_int(res, 0, 4), .crashes = (int)pg_int(res, 0, 5),
	    .max_attempts = (int)pg_int(res, 0, 6) };
	struct run_result result = { .class = CLASS_ERROR, .retry_after_ms = -1 };
	const char *class = route_value(x, "class"), *queue = pg_text(res, 0, 2);
	const char *message = route_value(x, "message");
	char outcome[16], number[16], delay[24];
	struct pull_end *e;
	struct decision d;

	(void)arg;
	if (message == NULL)
		message = "the worker gave no reason";
	if (class != NULL)
		job_class_parse(class, &result.class);
	if (!pull_duration(x, "retry_after", 0, UNITS_DURATION_MAX_MS,
	    &result.retry_after_ms))
		return;
	d = outcome_decide(pull_policy(queue, job.id), &job, &result,
	    (double)arc4random() / 4294967296.0);
	if (pg_true(res, 0, 3))
		d.outcome = OUTCOME_CANCELLED;
	e = xcalloc(1, sizeof(*e));
	*e = (struct pull_end){ xstrdup(queue), xstrdup(pg_text(res, 0, 7)),
	    d.outcome, result.class, pg_int(res, 0, 8), xstrdup(message) };
	x->state = e;
	x->state_free = end_free;
	log_info("job failed elsewhere", "id=%s queue=%s worker=%s class=%s "
	    "failures=%d allowed=%d delay_ms=%lld error=%s", route_value(x, "id"),
	    queue, x->caller.name, job_class_name(result.class), d.failures,
	    d.allowed, (long long)d.delay_ms, message);
	snprintf(outcome, sizeof(outcome), "%d", (int)d.outcome);
	snprintf(number, sizeof(number), "%d", (int)result.class);
	snprintf(delay, sizeof(delay), "%" PRId64, d.delay_ms);
	const char *params[] = { pg_text(res, 0, 0), route_value(x, "id"),
	    pg_text(res, 0, 1), outcome, number, message,
	    d.outcome == OUTCOME_FAILED ? delay : NULL };
	ask(x, "select status, body "
	    "from jobq.api_pull_fail($1, $2, $3, $4, $5, $6, $7)", 7, params,
	    failed, NULL);
}

static void
fail(struct exchange *x, void *arg)
{
	const char *params[] = { route_value(x, "id"), route_value(x, "token") };

	(void)arg;
	ask(x, "select pool, attempt, queue, cancelled, charged, crashes, "
	    "max_attempts, type, run_us from jobq.pull_failing($1, $2)", 2, params, decide, NULL);
}

/*
 * The routes
 */

#define JOBS_MAX 100		/* of one answer */
#define ID { "id", IN_PATH, PARAM_ID, "of the job" }
#define TOKEN { "token", IN_BODY, PARAM_TEXT, "of the lease", .required = true }
#define TAG "pull workers"

static const struct param lease_params[] = {
	{ "queue", IN_PATH, PARAM_TEXT, "whose jobs" },
	{ "max", IN_BODY, PARAM_INTEGER, "how many", .min = 1, .max = JOBS_MAX, .def = "1" },
	{ "wait", IN_BODY, PARAM_DURATION, "for the first of them, at most 1m; else nobody waits" },
	{ "lease", IN_BODY, PARAM_DURATION, "renewed within this time, or lost: 1s to 1h; "
	    "else what the queue says" },
	{ 0 }
};

static const struct param renew_params[] = {
	ID, TOKEN,
	{ "lease", IN_BODY, PARAM_DURATION, "from now on; else as it was" },
	{ 0 }
};

static const struct param complete_params[] = {
	ID, TOKEN,
	{ "result", IN_BODY, PARAM_JSON, "kept with the job, 1 MiB at most" },
	{ 0 }
};

static const struct param fail_params[] = {
	ID, TOKEN,
	{ "class", IN_BODY, PARAM_WORD, "why", .words = "error validation "
	    "rate_limit auth network timeout resource crash", .def = "error" },
	{ "message", IN_BODY, PARAM_TEXT, "for people", .min = 0, .max = RESULT_MESSAGE_MAX },
	{ "retry_after", IN_BODY, PARAM_DURATION, "not earlier, where the policy respects it" },
	{ 0 }
};

static const struct param release_params[] = { ID, TOKEN, { 0 } };

static const struct param progress_params[] = {
	ID, TOKEN,
	{ "pct", IN_BODY, PARAM_INTEGER, "how much is done", .min = 0, .max = 100 },
	{ "note", IN_BODY, PARAM_TEXT, "for people", .min = 0, .max = NOTE_MAX },
	{ 0 }
};

static const struct param log_params[] = {
	ID, TOKEN,
	{ "text", IN_BODY, PARAM_TEXT, "lines to keep with the run", .required = true,
	    .min = 1, .max = 65536 },
	{ 0 }
};

const struct route pull_routes[] = {
	{ "POST", "/v1/queues/{queue}/lease",
	    "Jobs for a worker elsewhere, which may wait for some",
	    TAG, ROLE_OPERATOR, .answer = pull_lease, .params = lease_params },
	{ "POST", "/v1/jobs/{id}/renew", "The run goes on; says when it is to stop",
	    TAG, ROLE_OPERATOR, .params = renew_params,
	    .sql = "select status, body from jobq.api_pull_renew($1, $2, $3)" },
	{ "POST", "/v1/jobs/{id}/complete", "The run is done",
	    TAG, ROLE_OPERATOR, .answer = complete, .params = complete_params },
	{ "POST", "/v1/jobs/{id}/fail", "The run failed; the queue's policy decides what follows",
	    TAG, ROLE_OPERATOR, .answer = fail, .params = fail_params },
	{ "POST", "/v1/jobs/{id}/release",
	    "Hand a job back: it runs again, and this run does not count",
	    TAG, ROLE_OPERATOR, .params = release_params,
	    .sql = "select status, body from jobq.api_pull_release($1, $2)" },
	{ "POST", "/v1/jobs/{id}/progress", "How far the run is",
	    TAG, ROLE_OPERATOR, .params = progress_params,
	    .sql = "select status, body from jobq.api_pull_progress($1, $2, $3, $4)" },
	{ "POST", "/v1/jobs/{id}/log", "Lines of the run, of which the last 64 KiB are kept",
	    TAG, ROLE_OPERATOR, .params = log_params,
	    .sql = "select status, body from jobq.api_pull_log($1, $2, $3)" },
	{ 0 }
};
