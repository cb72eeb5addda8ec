/*
 * The alerts of the metric database_down: each node's own, decided and told
 * without the database, and noted there when it is back.
 */
#ifndef MONITOR_OUTAGE_H
#define MONITOR_OUTAGE_H

#include "conf/conf.h"
#include "db/pg.h"
#include "monitor/notify.h"
#include "os/loop.h"

struct outage;

/* All is borrowed. */
struct outage *outage_new(const struct conf *, struct loop *, struct pg *,
    struct notify *);
void outage_free(struct outage *);

void outage_begins(struct outage *, const char *reason);	/* once or more */
void outage_over(struct outage *);

/* What the rule of that name is now, by what somebody has changed; an unknown
 * name, which may be of another node's file, is passed over. */
void outage_learn(struct outage *, const char *name, int64_t for_us,
    int64_t repeat_us, int64_t escalate_us, const char *severity, bool silenced);

#endif
