/*
 * Cron expressions: five fields, or six with seconds first, and the @words.
 * Pure arithmetic.
 *
 * Fields: second minute hour day-of-month month day-of-week, with blanks
 * between. Each a list of `*`, `?` (equals `*`), n, a-b, with /step; `n/step`
 * means n-last/step. Names jan…dec, sun…sat, any case. In day of month also
 * L, LW, nW (the weekday nearest to the n-th, in the same month; none in a
 * month without an n-th); in day of week nL, n#k; 0 and 7 are Sunday, which
 * may begin a range and end one (fri-sun, 5-7, 7-2). Other ranges that run
 * backwards are refused. When both day fields are restricted either matches,
 * else both must (a field that begins with a star is not restricted). @yearly
 * @annually @monthly @weekly @daily @midnight @hourly; @reboot is refused.
 */
#ifndef CORE_CRON_H
#define CORE_CRON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "core/zone.h"

/*
 * What becomes of local times that a change of the clocks skips or repeats.
 *   standard	an expression with fixed minutes and hours fires once right after
 *		a gap for all that fell into it, and what comes twice the first
 *		time only; the others fire whenever the clock shows it
 *   skip	what is skipped is not made up for, what comes twice is fired once
 *   clock	whenever the clock shows it: never in a gap, twice what comes twice
 */
enum cron_dst { CRON_DST_STANDARD, CRON_DST_SKIP, CRON_DST_CLOCK };
extern const char *const cron_dst_names[];	/* NULL at the end */

struct cron {
	uint64_t seconds, minutes;	/* bit n: value n */
	uint32_t hours, days, months;	/* days from bit 1, months from bit 1 */
	uint8_t weekdays;		/* bit 0: Sunday */
	bool day_star, weekday_star;
	bool fixed;			/* minute and hour fields both start with no * or ? */
	bool last_day, last_weekday;	/* L, LW */
	uint32_t nearest;		/* bit n: nW */
	uint8_t last_of;		/* bit n: nL */
	uint8_t nth_of[7];		/* bit k: n#k */
};

/* -1 with e, which names the field and the item; *out is then as it was. */
int cron_parse(struct cron *out, const char *text, struct err *e);

/*
 * The first instant after `after` that matches, in UTC seconds since the
 * epoch, from 0 on (an earlier `after` counts as -1). -1: never; that is none
 * in the 400 years after which the calendar repeats, nor before the year
 * 10000. A few microseconds when there is one, about a hundred when there is
 * none.
 */
int64_t cron_next_utc(const struct cron *, int64_t after);

/* The same for the local times of a zone; NULL is UTC. Of the first hours of
 * 1970 those count whose local time is in it. */
int64_t cron_next(const struct cron *, const struct zone *, enum cron_dst,
    int64_t after);

/*
 * An every: schedule: the first multiple of every_ms (from 1) after after_ms,
 * both since the epoch; -1 when that is past all numbers.
 */
int64_t every_next_ms(int64_t every_ms, int64_t after_ms);

#endif
