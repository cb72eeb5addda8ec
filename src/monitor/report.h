/*
 * The daily report: written to the log and sent to channels by one monitor of
 * the cluster at the times of monitor.report. What it tells is in summary.h.
 */
#ifndef MONITOR_REPORT_H
#define MONITOR_REPORT_H

#include "conf/conf.h"
#include "db/pg.h"
#include "monitor/notify.h"
#include "os/loop.h"

struct report;

/* All are borrowed. Nothing happens before the database is there. */
struct report *report_new(const struct conf *, struct loop *, struct pg *,
    struct notify *);
void report_free(struct report *);

void report_up(struct report *);	/* the database is there, also again */
void report_stop(struct report *);	/* what is not delivered is for who comes next */

#endif
