/*
 * The instants of a schedule: see instants.h.
 */
#include "config.h"

#include "sched/instants.h"

#define US_PER_MS INT64_C(1000)
#define US_PER_SECOND INT64_C(1000000)

static dbtime_us next_of_spec(const struct schedule_conf *, dbtime_us after);
static dbtime_us last_until(const struct schedule_conf *, dbtime_us after,
    dbtime_us until);
static int64_t count_between(const struct schedule_conf *, dbtime_us after,
    dbtime_us until);

dbtime_us
instants_next(const struct schedule_conf *s, dbtime_us after)
{
	/* An instant at `starts` itself counts, so look from just before it. */
	if (s->starts_ms > 0 && after < s->starts_ms * US_PER_MS)
		after = s->starts_ms * US_PER_MS - 1;
	dbtime_us next = next_of_spec(s, after);
	if (s->ends_ms > 0 && next > s->ends_ms * US_PER_MS)
		return INSTANT_NEVER;
	return next;
}

dbtime_us
instants_jitter(const struct schedule_conf *s, dbtime_us instant)
{
	uint64_t h = UINT64_C(14695981039346656037);	/* FNV-1a */

	if (s->jitter_ms <= 0)
		return 0;
	for (const char *p = s->name; *p != '\0'; p++)
		h = (h ^ (unsigned char)*p) * UINT64_C(1099511628211);
	for (int i = 0; i < 64; i += 8)
		h = (h ^ ((uint64_t)instant >> i & 0xff)) *
		    UINT64_C(1099511628211);
	/* Its low bits alone are poor; mix in the high ones. */
	h ^= h >> 32;
	return (dbtime_us)(h % (uint64_t)(s->jitter_ms * US_PER_MS));
}

struct catch_up_plan
instants_catch_up(const struct schedule_conf *s, dbtime_us last, dbtime_us now)
{
	struct catch_up_plan plan = { .from = last };

	if (last <= 0 || last >= now) {
		plan.from = last > now ? last : now;
		return plan;
	}
	dbtime_us window = s->catch_up_window_ms > now / US_PER_MS
	    ? 0 : now - s->catch_up_window_ms * US_PER_MS;

	switch (s->catch_up) {
	case CATCH_UP_ALL:
		/* An instant exactly as old as the window is within it. */
		if (last < window)
			plan.from = window - 1;
		break;
	case CATCH_UP_LAST: {
		dbtime_us newest = last_until(s, last, now);
		if (newest == INSTANT_NEVER)
			break;
		plan.from = newest >= window ? newest - 1 : now;
		break;
	}
	case CATCH_UP_NONE:
		plan.from = now;
		break;
	}
	plan.missed = count_between(s, last, plan.from);
	return plan;
}

static dbtime_us
next_of_spec(const struct schedule_conf *s, dbtime_us after)
{
	int64_t next;

	if (after < 0)
		after = 0;
	switch (s->kind) {
	case SPEC_EVERY:
		next = every_next_ms(s->every_ms, after / US_PER_MS);
		return next < 0 ? INSTANT_NEVER : next * US_PER_MS;
	case SPEC_CRON:
		next = cron_next(&s->cron, s->zone, s->dst,
		    after / US_PER_SECOND);
		return next < 0 ? INSTANT_NEVER : next * US_PER_SECOND;
	case SPEC_AT:
		return after < s->at_ms * US_PER_MS ?
		    s->at_ms * US_PER_MS : INSTANT_NEVER;
	}
	return INSTANT_NEVER;
}

/*
 * The newest instant in (after, until]. Looked for backwards in steps that
 * double, since a cron expression can only be asked for what comes next and
 * a year of seconds is too much to walk through.
 */
static dbtime_us
last_until(const struct schedule_conf *s, dbtime_us after, dbtime_us until)
{
	dbtime_us step = US_PER_SECOND;
	dbtime_us newest = INSTANT_NEVER;
	dbtime_us from;

	do {
		from = until - after > step ? until - step : after;
		dbtime_us next = instants_next(s, from);
		while (next != INSTANT_NEVER && next <= until) {
			newest = next;
			next = instants_next(s, next);
		}
		step *= 2;
	} while (newest == INSTANT_NEVER && from > after);
	return newest;
}

static int64_t
count_between(const struct schedule_conf *s, dbtime_us after, dbtime_us until)
{
	int64_t count = 0;
	dbtime_us next = instants_next(s, after);

	while (next != INSTANT_NEVER && next <= until &&
	    count < INSTANTS_COUNT_MAX) {
		count++;
		next = instants_next(s, next);
	}
	return count;
}
