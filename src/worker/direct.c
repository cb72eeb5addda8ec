/*
 * A worker's own way to the database: see direct.h.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "core/outcome.h"
#include "db/batch.h"
#include "db/pgsync.h"
#include "db/stmt.h"
#include "worker/direct.h"

#define PAUSE_MIN (200 * MONO_MS)
#define PAUSE_MAX (10 * MONO_SECOND)

static PGconn *
open_database(const struct direct *d, struct err *e)
{
	PGconn *conn = pgsync_open(d->conf->database.url, "jobqd worker",
	    PGSYNC_CONNECT_MS, e);

	if (conn != NULL &&
	    pgsync_settle(conn, d->conf->database.pooler_transaction, e) < 0) {
		PQfinish(conn);
		return NULL;
	}
	return conn;
}

/* As the leader would have decided. */
static void
put_end(struct batch *b, const struct direct *d, const struct finished *f,
    bool with_result)
{
	const struct run_result *r = &f->result;
	struct decision decision = outcome_decide(
	    conf_policy(d->queue, f->job.id), &f->job, r,
	    (double)arc4random() / 4294967296.0);
	struct ending e = {
		.job = f->job.id, .attempt = f->job.attempt,
		.outcome = f->cancelled ? OUTCOME_CANCELLED : decision.outcome,
		.class = r->class, .error = r->message,
		.result = with_result ? r->result : NULL, .delay_ms = -1,
		.run_us = f->run_us, .ago_us = mono_now() - f->at,
		.worker = d->worker, .exit_status = r->exit_status,
		.signal = r->signal, .cpu_ms = r->cpu_ms,
		.max_rss_kb = r->max_rss_kb, .alone = r->alone,
	};

	if (e.outcome == OUTCOME_FAILED || e.outcome == OUTCOME_LOST)
		e.delay_ms = decision.delay_ms;
	batch_add(b, &e);
}

/* All of one pool. */
static int
finish_some(PGconn *conn, const struct direct *d, const struct finished *ends,
    size_t n, bool with_result, struct err *e)
{
	struct batch b = { .count = 0 };
	const char *params[BATCH_PARAMS];
	char *sql = stmt_in_schema(BATCH_FINISH, d->conf->database.schema);
	PGresult *res;
	int count;

	for (size_t i = 0; i < n; i++)
		put_end(&b, d, &ends[i], with_result);
	count = batch_finish(&b, ends[0].pool, params);
	res = pgsync_query(conn, sql, count, params, e);
	free(sql);
	batch_clear(&b);
	if (res == NULL)
		return -1;
	log_info("completed without the leader", "given=%zu accepted=%zu", n,
	    n - (size_t)PQntuples(res));
	PQclear(res);
	return 0;
}

/* A result that PostgreSQL cannot store must not sink the others. */
static int
finish_singly(PGconn *conn, const struct direct *d, const struct finished *ends,
    size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++)
		if (finish_some(conn, d, &ends[i], 1, true, e) < 0 &&
		    finish_some(conn, d, &ends[i], 1, false, e) < 0)
			return -1;
	return 0;
}

static int
finish_all(const struct direct *d, const struct finished *ends, size_t n,
    struct err *e)
{
	PGconn *conn = open_database(d, e);
	size_t from = 0;
	int rc = conn == NULL ? -1 : 0;

	while (rc == 0 && from < n) {
		size_t to = from + 1;

		while (to < n && ends[to].pool == ends[from].pool)
			to++;
		rc = finish_some(conn, d, ends + from, to - from, true, e);
		if (rc < 0 && PQstatus(conn) == CONNECTION_OK)
			rc = finish_singly(conn, d, ends + from, to - from, e);
		from = to;
	}
	PQfinish(conn);
	return rc;
}

int
direct_finish(const struct direct *d, const struct finished *ends, size_t n,
    struct err *e)
{
	mono_t until = mono_now() + DIRECT_PATIENCE;
	mono_t pause = PAUSE_MIN;

	if (n == 0)
		return 0;
	while (finish_all(d, ends, n, e) < 0) {
		if (mono_now() > until)
			return err_prepend(e, "%zu results are lost, their jobs "
			    "will run again", n);
		mono_sleep(pause);
		if ((pause *= 2) > PAUSE_MAX)
			pause = PAUSE_MAX;
	}
	return 0;
}

int
direct_release(const struct direct *d, int64_t pool, const int64_t *jobs,
    const int *attempts, size_t n, struct err *e)
{
	PGconn *conn = open_database(d, e);
	struct batch b = { .count = 0 };
	const char *params[BATCH_PARAMS];
	PGresult *res;
	char *sql;
	int count;

	if (conn == NULL)
		return -1;
	for (size_t i = 0; i < n; i++)
		batch_add_lease(&b, jobs[i], attempts[i]);
	count = batch_release(&b, pool, params);
	sql = stmt_in_schema(BATCH_RELEASE, d->conf->database.schema);
	res = pgsync_query(conn, sql, count, params, e);
	free(sql);
	batch_clear(&b);
	PQclear(res);
	PQfinish(conn);
	return res == NULL ? -1 : 0;
}

int
direct_previous(const struct direct *d, const struct job *job, char **result,
    struct err *e)
{
	PGconn *conn = open_database(d, e);
	char id[24], attempt[16], *sql;
	const char *params[2] = { id, attempt };
	PGresult *res;

	*result = NULL;
	if (conn == NULL)
		return -1;
	snprintf(id, sizeof(id), "%" PRId64, job->id);
	snprintf(attempt, sizeof(attempt), "%d", job->attempt);
	sql = stmt_in_schema("select result::text from jobq.attempt "
	    "where job = $1::bigint and attempt < $2::int "
	    "and result is not null order by attempt desc limit 1",
	    d->conf->database.schema);
	res = pgsync_query(conn, sql, 2, params, e);
	free(sql);
	if (res != NULL && PQntuples(res) == 1)
		*result = xstrdup(PQgetvalue(res, 0, 0));
	PQclear(res);
	PQfinish(conn);
	return res == NULL ? -1 : 0;
}
