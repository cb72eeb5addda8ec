/*
 * The words of the domain: states, outcomes, classes, and a leased job.
 */
#ifndef CORE_JOB_H
#define CORE_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mono.h"

/* How an attempt ended, as stored in attempt.outcome; the numbers are the schema's. */
enum outcome {
	OUTCOME_COMPLETED = 1,
	OUTCOME_FAILED = 2,	/* and another attempt follows */
	OUTCOME_DEAD = 3,	/* and it was the last */
	OUTCOME_CANCELLED = 4,
	OUTCOME_LOST = 5,	/* nobody saw the end; charges nothing, another attempt follows */
};

/* Why it failed, as stored in attempt.class; the numbers are the schema's. */
enum job_class {
	CLASS_NONE = 0,
	CLASS_ERROR,
	CLASS_VALIDATION,
	CLASS_RATE_LIMIT,
	CLASS_AUTH,
	CLASS_NETWORK,
	CLASS_TIMEOUT,
	CLASS_RESOURCE,
	CLASS_CRASH,
	CLASS_LOST,
	CLASS_COUNT
};

const char *job_class_name(enum job_class);		/* "network"; "" for CLASS_NONE */
int job_class_parse(const char *name, enum job_class *);	/* -1: no such class */

/* The priorities that have names: critical 1, high 3, normal 5, low 8, very_low 10. */
#define PRIORITY_MIN 0
#define PRIORITY_MAX 99
int priority_parse(const char *text, int *priority);	/* -1: neither name nor in range */

/* A job on lease. Strings belong to the struct; job_clear() leaves zeros. */
struct job {
	int64_t id;
	int64_t batch;		/* the claim that took it */
	int attempt;		/* from 1; counts the run now to begin */
	int charged;		/* ended attempts that count against max_attempts */
	int crashes;		/* ended attempts of class crash */
	bool alone;		/* run with no other job in its worker */
	bool has_unique;	/* holds a unique key until its end */
	bool probe;		/* may go where the circuit breaker is not closed */
	int priority;
	int max_attempts;	/* of the job itself; 0: the policy's */
	int timeout_ms;		/* of the job itself; 0: the queue's */
	int64_t late_ms;	/* how long past its run_at it was when it was claimed */
	char *type;
	char *data;		/* JSON text, an object; never parsed on its way */
	char *tenant;		/* NULL: none */
	char *key;		/* of concurrency; NULL: none. A leader's own: no worker gets it */
};

void job_clear(struct job *);

/* The lease's token, shown to handlers: "POOL.BATCH.ATTEMPT". */
void job_token(char *buf, size_t size, int64_t pool, int64_t batch, int attempt);

/* What a run ended with, as a driver reports it. */
struct run_result {
	enum job_class class;	/* CLASS_NONE: completed */
	char *message;		/* NULL for a completed one; one paragraph of UTF-8 */
	char *result;		/* NULL or JSON text */
	int64_t retry_after_ms;	/* -1: the peer named no time */
	int exit_status;	/* of a program; -1: none */
	int signal;		/* that ended the program; 0: none */
	int64_t cpu_ms;		/* -1: not known */
	int64_t max_rss_kb;	/* -1: not known */
	bool settled;		/* completed, and the driver has stored that itself */
	bool alone;		/* lost, maybe by its own fault: the next run is alone */
};
#define RESULT_MESSAGE_MAX 4096
#define NOTE_MAX 16384		/* bytes of a progress note */
#define RESULT_MAX (1u << 20)	/* bytes of result JSON; a larger one ends as resource */

void run_result_init(struct run_result *);
void run_result_clear(struct run_result *);

/*
 * Make a driver's result fit to be sent and stored: the message is cut to
 * RESULT_MESSAGE_MAX bytes, what is no UTF-8 becomes '?', a result longer
 * than RESULT_MAX is left out and turns a completed run into class resource.
 */
void run_result_bound(struct run_result *);

#endif
