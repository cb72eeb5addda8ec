/*
 * What the leader's statements have in common.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/xalloc.h"
#include "db/stmt.h"
#include "pool/leader.h"

static const struct {
	const char *name, *types, *sql;
} hots[HOTS] = {
	[HOT_CLAIM] = { "claim", "bigint, smallint, int, int, text[]",
	    "select batch, id, attempt, charged, crashes, alone, type, data, "
	    "priority, max_attempts, timeout_ms, tenant, has_unique, late_ms, "
	    "key, start_ms from jobq.claim($1, $2, $3, $4, $5)" },
	[HOT_FINISH_OK] = { "finish_ok", "bigint, bigint[], int[], text[], "
	    "bigint[], bigint[], int[], boolean", BATCH_FINISH_OK },
};

void
query_init(struct pool *pool)
{
	for (int i = 0; i < HOTS; i++)
		pool->hot[i] = stmt_in_schema(hots[i].sql,
		    pool->conf->database.schema);
}

void
query_clear(struct pool *pool)
{
	for (int i = 0; i < HOTS; i++)
		free(pool->hot[i]);
}

char *
query_preparation(const struct pool *pool, enum hot hot)
{
	return xasprintf("prepare %s (%s) as %s", hots[hot].name,
	    hots[hot].types, pool->hot[hot]);
}

int
query_hot(struct pool *pool, enum hot hot, int nparams,
    const char *const *params, pg_result_fn *cb, void *arg)
{
	if (pool->conf->database.pooler_transaction)
		return pg_query(pool->pg, pool->hot[hot], nparams, params, cb,
		    arg, NULL);
	return pg_execute(pool->pg, hots[hot].name, nparams, params, cb, arg,
	    NULL);
}

/* Statements whose answer matters to nobody. */
void
query_ignored(struct pg *pg, PGresult *res, void *arg)
{
	(void)pg;
	pg_ok(res, arg);
}

int
query_number(struct pool *pool, const char *sql, int64_t number, pg_result_fn *cb,
    void *arg)
{
	char text[24];
	const char *params[1] = { text };

	snprintf(text, sizeof(text), "%" PRId64, number);
	return pg_query(pool->pg, sql, 1, params, cb, arg, NULL);
}
