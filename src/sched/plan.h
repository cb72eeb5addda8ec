/*
 * What plan.c and fire.c share: the schedules there are, each with what is to
 * be done about it next. Inside sched/ only.
 */
#ifndef SCHED_PLAN_H
#define SCHED_PLAN_H

#include "sched/fire.h"
#include "sched/instants.h"

struct plan {
	char *name;
	struct fire *fire;
	const struct schedule_conf *file;	/* of this node's configuration, or NULL */
	struct schedule_conf *made;	/* by its definition in the database, or NULL */
	const struct schedule_conf *conf;	/* the latter, else the former; NULL: unreadable */
	int64_t revision;		/* of the definition; 0: the file's */
	bool able;		/* enabled, and its environment is there */
	bool asks;		/* SQL of its own: only_if or for_each */
	bool mine;		/* nobody else fires it: no grace */
	bool paused;		/* as far as the log knows */
	bool skipping, busy;	/* how the last try ended, as far as the log knows */
	bool in_flight;
	bool listed;		/* by the list being read */
	bool gone;		/* to be freed when it is no longer in flight */
	dbtime_us last;		/* dealt with up to here */
	dbtime_us next;		/* INSTANT_NEVER: there is none */
	dbtime_us sent;		/* the instant in flight */
	dbtime_us hold;		/* not before this, after an error */
};

struct fire {
	const struct conf *conf;
	struct loop *loop;
	struct pg *pg;
	struct pg *side;	/* for SQL that may take a while; NULL: there was none yet */
	bool side_complained;
	void (*changed)(void *arg);
	void *arg;
	char *state_sql, *fire_sql, *next_sql, *skip_sql, *unread_sql,
	    *delayed_sql;
	struct plan **plans;	/* in the order of their names */
	size_t nplans;
	bool leader;
	bool live;		/* ticked since the list was read */
	bool reading;		/* a state statement is on its way */
	bool whole;		/* … for the list */
	bool listed;		/* the list was read since the connection is up */
	bool outdated;		/* the list is to be read again */
	bool announced;		/* the start's log lines were written */
	int64_t version;	/* of the list */
	dbtime_us asked;	/* when the last state statement was sent */
	dbtime_us now;		/* as of the last call that told it */
	dbtime_us covered;	/* some scheduler was there until then */
};

/* plan.c: the configuration's schedules, at the start. */
void plans_init(struct fire *);
void plans_clear(struct fire *);
/* Ask where the schedules stand: all of them and which there are, or those due. */
void plans_read(struct fire *, bool whole);
/* Decide about what nobody fired up to now; gap: nobody was there. */
void plans_settle(struct fire *, bool gap);
/* Say in the database what is next, and at the first time in the log, too. */
void plans_announce(struct fire *);
/* The plan has dealt with the instant, and with those before. */
void plan_pass(struct plan *, dbtime_us instant);
void plan_free(struct plan *);

/* fire.c: when something is to be done about the plan; INT64_MAX: nothing. */
dbtime_us plan_due_at(const struct plan *);

#endif
