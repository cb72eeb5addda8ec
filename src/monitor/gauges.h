/*
 * What /metrics tells of the database, for the board: read each interval while
 * the api listens, so that a scrape asks the database for nothing.
 */
#ifndef MONITOR_GAUGES_H
#define MONITOR_GAUGES_H

#include "conf/conf.h"
#include "db/pg.h"

struct gauges;

/* NULL, which all of these take, when there is no api to tell of it. conf and
 * pg are borrowed. */
struct gauges *gauges_new(const struct conf *, struct pg *);
void gauges_free(struct gauges *);

void gauges_read(struct gauges *);	/* unless the last time is not over yet */
void gauges_down(struct gauges *);	/* the database is away: nothing is known */

#endif
