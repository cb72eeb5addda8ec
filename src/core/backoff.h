/*
 * Retry policies: how many attempts, and how long to wait before the next.
 * Pure: no clock, no randomness of its own.
 */
#ifndef CORE_BACKOFF_H
#define CORE_BACKOFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/job.h"

enum backoff_shape {
	BACKOFF_FIXED,		/* base */
	BACKOFF_LINEAR,		/* base × n */
	BACKOFF_EXPONENTIAL,	/* base × factor^(n-1) */
	BACKOFF_POLYNOMIAL,	/* base × n^exponent */
	BACKOFF_LIST,		/* delays[n-1], the last one repeats */
};
#define BACKOFF_LIST_MAX 64
#define BACKOFF_DELAY_MAX_MS (366LL * 24 * 3600 * 1000)

struct backoff {
	enum backoff_shape shape;
	int64_t base_ms;
	double factor;
	double exponent;
	int64_t max_ms;		/* cap of every delay before jitter; 0: BACKOFF_DELAY_MAX_MS */
	double jitter;		/* 0 … 1; 0.2: the delay times 0.8 … 1.2 */
	int64_t delays_ms[BACKOFF_LIST_MAX];
	size_t ndelays;
};

/* What a policy says of one class of failure; unset members are the policy's. */
struct class_rule {
	int attempts;		/* 0: unset. Charged attempts of the job, the first included */
	bool has_backoff;
	struct backoff backoff;
	int respect_retry_after;	/* -1 unset, 0, 1 (default: 1 for rate_limit, else 0) */
};

struct retry_policy {
	char *name;
	int attempts;		/* the first run included; ≥ 1 */
	int max_crashes;	/* 0: crashes count as attempts only */
	struct backoff backoff;
	struct class_rule on[CLASS_COUNT];
};

/*
 * Delay before the run that follows the n-th charged failure (n from 1).
 *   unit	a number in [0, 1) that chooses within the jitter
 * Returns milliseconds, 0 … BACKOFF_DELAY_MAX_MS; never overflows, whatever
 * the members are (a LIST has ndelays of at least 1, an empty one waits 0).
 */
int64_t backoff_delay_ms(const struct backoff *, int n, double unit);

#endif
