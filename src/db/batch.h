/*
 * The statements that end many attempts at once, for a leader and for a worker
 * that has none, and their parameters. Pure: from ends to array literals, no
 * connection.
 */
#ifndef DB_BATCH_H
#define DB_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/job.h"
#include "db/array.h"

/* The end of one attempt. Strings are borrowed. */
struct ending {
	int64_t job;
	int attempt;
	enum outcome outcome;
	enum job_class class;
	const char *error;	/* NULL: none */
	const char *result;	/* NULL or JSON text */
	int64_t delay_ms;	/* until the next run; -1: there is none */
	int64_t run_us;
	int64_t ago_us;		/* the run ended so long before now */
	int worker;		/* -1: never ran */
	int exit_status;	/* -1: none */
	int signal;		/* 0: none */
	int64_t cpu_ms;		/* -1: not known */
	int64_t max_rss_kb;	/* -1: not known */
	bool alone;		/* its next run is to be alone in its worker */
	bool has_unique;	/* a unique key, which may be free now */
};

/* Nothing to tell but that it completed: jobq.finish_ok() will do. */
bool ending_is_plain(const struct ending *);

#define BATCH_PARAMS 16		/* of jobq.finish(), the most of all */

#define BATCH_FINISH "select job, attempt from " \
	"jobq.finish($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, " \
	"$14, $15, $16)"
#define BATCH_FINISH_OK "select job, attempt from " \
	"jobq.finish_ok($1, $2, $3, $4, $5, $6, $7, $8)"
#define BATCH_RELEASE "select jobq.release($1, $2, $3)"
/* Of ends that were not accepted: those that the job's own program has not
 * completed either, by jobq.complete() with the lease that it had. */
#define BATCH_LOST "select u.job, u.attempt " \
	"from unnest($2::bigint[], $3::int[]) u(job, attempt) left join lateral (" \
	"select a.outcome, a.pool from jobq.attempt a where a.job = u.job " \
	"and a.attempt = u.attempt limit 1) a on true " \
	"where (a.outcome, a.pool) is distinct from (1, $1::bigint)"
#define BATCH_LOCKED "select job, attempt from jobq.ended_elsewhere($1, $2)"
#define BATCH_DEFER "select job, attempt, probe " \
	"from jobq.breaker_defer($1, $2, $3, $4)"

struct batch {
	struct array columns[BATCH_PARAMS - 1];
	char pool[24];
	bool any_result, any_key;
	size_t count;
};

void batch_reset(struct batch *);
void batch_clear(struct batch *);
void batch_add(struct batch *, const struct ending *);
/* Of errors and results. */
size_t batch_bytes(const struct batch *);
/* For a job handed back; for one that waits for a circuit breaker. */
void batch_add_lease(struct batch *, int64_t job, int attempt);
void batch_add_deferred(struct batch *, int64_t job, int attempt,
    const char *destination);

/*
 * The answer has a row (job, attempt) for each end that was not accepted.
 *
 * The parameters in the order of the functions' arguments; valid until the
 * batch is touched again. Each returns how many.
 */
int batch_finish(struct batch *, int64_t pool, const char *params[BATCH_PARAMS]);
int batch_finish_ok(struct batch *, int64_t pool,
    const char *params[BATCH_PARAMS]);
int batch_release(struct batch *, int64_t pool,
    const char *params[BATCH_PARAMS]);
int batch_defer(struct batch *, int64_t pool, const char *params[BATCH_PARAMS]);

#endif
