/*
 * What the leader's statements have in common.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>

#include "pool/leader.h"

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
	return pg_query_often(pool->pg, sql, 1, params, cb, arg, NULL);
}
