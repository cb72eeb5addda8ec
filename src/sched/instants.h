/*
 * Which instants a schedule has, and which of those that passed while nobody
 * fired are made up for. Pure: instants come in and go out, no clock.
 */
#ifndef SCHED_INSTANTS_H
#define SCHED_INSTANTS_H

#include "base/mono.h"
#include "conf/conf.h"

#define INSTANT_NEVER INT64_C(-1)
#define INSTANTS_COUNT_MAX 100000	/* missed instants are counted up to here */

/* The first instant after `after`, or INSTANT_NEVER. */
dbtime_us instants_next(const struct schedule_conf *, dbtime_us after);

/* How long after an instant its job is made: less than the schedule's jitter,
 * different from instant to instant, the same on every node. */
dbtime_us instants_jitter(const struct schedule_conf *, dbtime_us instant);

/*
 * After a time without a scheduler: the schedule's catch_up policy, expressed
 * as a cursor. Every instant after `from` is to be fired, oldest first; the
 * `missed` ones between last and from (included) are not. from is never
 * before last.
 *   last	the last instant dealt with; 0: the schedule is new, nothing was missed
 *   now	the end of the time without a scheduler
 */
struct catch_up_plan {
	dbtime_us from;
	int64_t missed;		/* at most INSTANTS_COUNT_MAX */
};
struct catch_up_plan instants_catch_up(const struct schedule_conf *,
    dbtime_us last, dbtime_us now);

#endif
