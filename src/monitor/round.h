/*
 * What the monitor does again and again on its connection: the health file
 * and the retention every monitor.interval, statistics every
 * monitor.statistics.
 */
#ifndef MONITOR_ROUND_H
#define MONITOR_ROUND_H

#include "conf/conf.h"
#include "db/pg.h"
#include "os/loop.h"

struct round;

/* conf, loop, pg are borrowed. Nothing happens before the first of the two below. */
struct round *round_new(const struct conf *, struct loop *, struct pg *);
void round_free(struct round *);

void round_up(struct round *);		/* the database is there: a round now */
void round_down(struct round *, const char *reason);	/* says so in the health file */

/* The scheduler listens, or does not; and what it heard. We have something
 * notified at times, to see that notifications arrive. */
void round_listens(struct round *, bool yes);
void round_heard(struct round *, const char *payload);

#endif
