/*
 * The parameters of the statements that end many attempts: see batch.h.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>

#include "db/batch.h"

/* In the order of jobq.finish()'s arguments after the pool. */
enum column {
	C_JOB, C_ATTEMPT, C_OUTCOME, C_CLASS, C_ERROR, C_RESULT, C_DELAY,
	C_RUN, C_AGO, C_WORKER, C_EXIT, C_SIGNAL, C_CPU, C_RSS, C_ALONE,
	COLUMNS
};
_Static_assert(COLUMNS == BATCH_PARAMS - 1, "a column for each argument");

bool
ending_is_plain(const struct ending *e)
{
	return e->outcome == OUTCOME_COMPLETED && e->error == NULL &&
	    e->exit_status < 0 && e->signal == 0 && e->cpu_ms < 0 &&
	    e->max_rss_kb < 0 && e->worker >= 0;
}

void
batch_reset(struct batch *b)
{
	for (int i = 0; i < COLUMNS; i++)
		array_reset(&b->columns[i]);
	b->any_result = b->any_key = false;
	b->count = 0;
}

void
batch_clear(struct batch *b)
{
	for (int i = 0; i < COLUMNS; i++)
		array_clear(&b->columns[i]);
	b->count = 0;
}

static void
put_int(struct batch *b, enum column c, int64_t value, bool known)
{
	if (known)
		array_int(&b->columns[c], value);
	else
		array_null(&b->columns[c]);
}

void
batch_add(struct batch *b, const struct ending *e)
{
	put_int(b, C_JOB, e->job, true);
	put_int(b, C_ATTEMPT, e->attempt, true);
	put_int(b, C_OUTCOME, e->outcome, true);
	put_int(b, C_CLASS, e->class, true);
	array_text(&b->columns[C_ERROR], e->error);
	array_text(&b->columns[C_RESULT], e->result);
	put_int(b, C_DELAY, e->delay_ms, e->delay_ms >= 0);
	put_int(b, C_RUN, e->run_us, true);
	put_int(b, C_AGO, e->ago_us, true);
	put_int(b, C_WORKER, e->worker, e->worker >= 0);
	put_int(b, C_EXIT, e->exit_status, e->exit_status >= 0);
	put_int(b, C_SIGNAL, e->signal, e->signal > 0);
	put_int(b, C_CPU, e->cpu_ms, e->cpu_ms >= 0);
	put_int(b, C_RSS, e->max_rss_kb, e->max_rss_kb >= 0);
	array_bool(&b->columns[C_ALONE], e->alone);
	b->any_result |= e->result != NULL;
	b->any_key |= e->has_unique;
	b->count++;
}

size_t
batch_bytes(const struct batch *b)
{
	return b->columns[C_ERROR].text.len + b->columns[C_RESULT].text.len;
}

void
batch_add_lease(struct batch *b, int64_t job, int attempt)
{
	put_int(b, C_JOB, job, true);
	put_int(b, C_ATTEMPT, attempt, true);
	b->count++;
}

void
batch_add_deferred(struct batch *b, int64_t job, int attempt,
    const char *destination)
{
	array_text(&b->columns[C_RESULT], destination);
	batch_add_lease(b, job, attempt);
}

static int
put_params(struct batch *b, int64_t pool, const enum column *columns, int n,
    const char *params[BATCH_PARAMS])
{
	snprintf(b->pool, sizeof(b->pool), "%" PRId64, pool);
	params[0] = b->pool;
	for (int i = 0; i < n; i++)
		params[1 + i] = array_close(&b->columns[columns[i]]);
	return n + 1;
}

int
batch_finish(struct batch *b, int64_t pool, const char *params[BATCH_PARAMS])
{
	enum column all[COLUMNS];

	for (int i = 0; i < COLUMNS; i++)
		all[i] = (enum column)i;
	return put_params(b, pool, all, COLUMNS, params);
}

int
batch_finish_ok(struct batch *b, int64_t pool,
    const char *params[BATCH_PARAMS])
{
	static const enum column some[] = {
		C_JOB, C_ATTEMPT, C_RESULT, C_RUN, C_AGO, C_WORKER,
	};
	int n = put_params(b, pool, some, sizeof(some) / sizeof(some[0]),
	    params);

	if (!b->any_result)
		params[3] = NULL;
	params[n] = b->any_key ? "t" : "f";
	return n + 1;
}

int
batch_release(struct batch *b, int64_t pool, const char *params[BATCH_PARAMS])
{
	static const enum column some[] = { C_JOB, C_ATTEMPT };

	return put_params(b, pool, some, 2, params);
}

int
batch_defer(struct batch *b, int64_t pool, const char *params[BATCH_PARAMS])
{
	static const enum column some[] = { C_JOB, C_ATTEMPT, C_RESULT };

	return put_params(b, pool, some, 3, params);
}
