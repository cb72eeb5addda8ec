/*
 * The decision after a run: completed, again at some time, or dead. Pure.
 */
#ifndef CORE_OUTCOME_H
#define CORE_OUTCOME_H

#include "core/backoff.h"
#include "core/job.h"

#define RETRY_AFTER_MAX_MS (24LL * 3600 * 1000)

struct decision {
	enum outcome outcome;
	int64_t delay_ms;	/* of the next run, for FAILED and LOST */
	int failures, allowed;	/* attempts that count, this one too; 0: it does not */
	const char *reason;	/* for the log: of the delay, or of the death; NULL: none */
};

/*
 *   job	as it was leased: charged and crashes are of the ended attempts
 *   result	how this run ended; class lost charges nothing
 *   unit	as in backoff_delay_ms()
 * The attempts that count: the job's own max_attempts, else the policy's; a
 * rule of the class replaces the policy's and bounds the job's (the smaller of
 * the two counts). Class validation without a rule: 1, so never again. A crash
 * also dies at max_crashes. A Retry-After that the rule respects lengthens the
 * delay, itself counted at most as RETRY_AFTER_MAX_MS.
 */
struct decision outcome_decide(const struct retry_policy *, const struct job *job,
    const struct run_result *result, double unit);

/*
 * The shortest time between the end of a run that failed in this class and the
 * next one, charged failures in all; 0 when nothing is charged: it may have
 * been retried by hand.
 */
int64_t outcome_least_delay_ms(const struct retry_policy *, enum job_class,
    int charged);

#endif
