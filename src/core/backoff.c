/*
 * How long to wait before the next attempt.
 */
#include "config.h"

#include <math.h>

#include "core/backoff.h"

/* A delay in [0, cap], whatever the arithmetic came to. */
static int64_t
bounded(double ms, int64_t cap)
{
	if (!(ms > 0))		/* not-a-number as well */
		return 0;
	if (ms >= (double)cap)
		return cap;
	return (int64_t)(ms + 0.5);
}

/* Before the cap and the jitter; may be infinite. */
static double
shape_ms(const struct backoff *b, int n)
{
	double base = (double)b->base_ms;

	if (b->shape == BACKOFF_LIST) {
		size_t last = b->ndelays - 1;

		if (b->ndelays == 0)
			return 0;
		return (double)b->delays_ms[(size_t)n - 1 < last ?
		    (size_t)n - 1 : last];
	}
	if (base <= 0)
		return 0;	/* and not zero times infinity */
	switch (b->shape) {
	case BACKOFF_LINEAR:
		return base * n;
	case BACKOFF_EXPONENTIAL:
		return base * pow(b->factor, n - 1);
	case BACKOFF_POLYNOMIAL:
		return base * pow(n, b->exponent);
	default:
		return base;
	}
}

int64_t
backoff_delay_ms(const struct backoff *b, int n, double unit)
{
	int64_t cap = b->max_ms > 0 && b->max_ms < BACKOFF_DELAY_MAX_MS ?
	    b->max_ms : BACKOFF_DELAY_MAX_MS;
	int64_t delay = bounded(shape_ms(b, n < 1 ? 1 : n), cap);

	if (!(b->jitter > 0))
		return delay;
	return bounded((double)delay * (1 + b->jitter * (2 * unit - 1)),
	    BACKOFF_DELAY_MAX_MS);
}
