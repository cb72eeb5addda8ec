/*
 * The schedules, of this node's configuration and those made at run time:
 * firing each of their instants.
 *
 * That an instant is fired only once is the database's doing: jobq.schedule_fire()
 * refuses one that is not later than the last. So who fires is a matter of
 * economy alone. The cluster's leader does at the instant itself, all that are
 * due by one statement; the other schedulers look FIRE_GRACE later whether
 * somebody did, and fire what nobody has: instants that fell with a leader, and
 * schedules that the leader's configuration does not have (those at the instant
 * from then on).
 *
 * All instants here are the database's; the caller keeps the clock.
 */
#ifndef SCHED_FIRE_H
#define SCHED_FIRE_H

#include <stdbool.h>

#include "base/mono.h"
#include "conf/conf.h"
#include "db/pg.h"
#include "os/loop.h"

#define LEASE_US INT64_C(4500000)	/* a leader that says nothing for so long is none */
#define FIRE_GRACE_US INT64_C(2000000)

struct fire;

/* changed: fire_next() may tell another instant now. conf, loop, pg are borrowed. */
struct fire *fire_new(const struct conf *, struct loop *, struct pg *,
    void (*changed)(void *arg), void *arg);
void fire_free(struct fire *);

/* The connection is up, perhaps again: learn where the schedules stand. */
void fire_up(struct fire *);
void fire_down(struct fire *);

/*
 * The database has answered a tick: its clock says now, this scheduler leads or
 * not, and version is jobq.schedules_version(). Settles what was missed when no
 * scheduler of the cluster was there. The first call since fire_up() starts the
 * firing.
 */
void fire_tick(struct fire *, dbtime_us now, bool leader, int64_t version);

/* When fire_run() is wanted; INT64_MAX: not before something changes. */
dbtime_us fire_next(const struct fire *);
void fire_run(struct fire *, dbtime_us now);

#endif
