/*
 * Alerts: every monitor.interval a look at the values of their rules, by one
 * monitor of the cluster; what has changed is stored together with the notices
 * to send, and these are sent from there. Those of the database's absence are
 * each node's own: outage.h.
 */
#ifndef MONITOR_ALERT_H
#define MONITOR_ALERT_H

#include <stdbool.h>

#include "conf/conf.h"
#include "db/pg.h"
#include "monitor/notify.h"
#include "monitor/wording.h"
#include "os/loop.h"

struct alerts;

/* All is borrowed. Nothing happens before the first of the two below. */
struct alerts *alerts_new(const struct conf *, struct loop *, struct pg *,
    struct notify *);
void alerts_free(struct alerts *);	/* after notify and pg call back no more */

void alerts_up(struct alerts *);	/* the database is there: a look now */
void alerts_down(struct alerts *, const char *reason);
/* The monitor is to end: no look any more, and what is not delivered by then is
 * left to the next one. */
void alerts_stop(struct alerts *);

/* For outage.c: a line of the log when one fires or ends, and what kind of
 * notice it is. */
void alert_log(const struct occasion *, const char *line);
void alert_set_kind(struct notice *, const char *severity, bool ends);

#endif
