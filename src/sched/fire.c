/*
 * Firing the schedules: see fire.h.
 */
#include "config.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/when.h"
#include "base/xalloc.h"
#include "db/array.h"
#include "db/stmt.h"
#include "sched/fire.h"
#include "sched/instants.h"

/* A pause without any scheduler that is longer is a downtime: what was missed
 * in it is up to the schedule's catch_up. */
#define GAP_US INT64_C(2000000)
/* How far before the end of the last lease an instant may lie that the leader
 * of then did not get to. */
#define OVERDUE_US (LEASE_US + INT64_C(6000000))
/* An SQL error that will pass is tried again after this long. */
#define RETRY_US INT64_C(1000000)
/* A job that starts later than this after its instant is worth a line. */
#define LATE_US INT64_C(5000000)

struct plan {
	const struct schedule_conf *conf;
	struct fire *fire;
	bool able;		/* enabled, and its environment is there */
	bool mine;		/* nobody else fires it: no grace */
	bool in_flight;
	dbtime_us last;		/* dealt with up to here */
	dbtime_us next;		/* INSTANT_NEVER: there is none */
	dbtime_us sent;		/* the instant in flight */
	dbtime_us hold;		/* not before this, after an error */
};

struct fire {
	const struct conf *conf;
	struct pg *pg;
	void (*changed)(void *arg);
	void *arg;
	char *state_sql, *fire_sql, *next_sql, *skip_sql;
	struct plan *plans;
	size_t nplans;
	bool leader;
	bool live;		/* ticked since the state was read */
	bool reading;		/* a state statement is on its way */
	bool announced;		/* the start's log lines were written */
	dbtime_us asked;	/* when the last state statement was sent, 0 at start */
	dbtime_us now;		/* as of the last call that told it */
	dbtime_us covered;	/* some scheduler was there until then */
};

static void plan_init(struct plan *, struct fire *,
    const struct schedule_conf *);
static void read_state(struct fire *);
static void state_read(struct pg *, PGresult *, void *arg);
static void settle(struct plan *, bool gap);
static void skip(struct plan *, dbtime_us until, int64_t missed);
static void announce(struct fire *);
static void tell_next(struct fire *);
static dbtime_us due_at(const struct plan *);
static void send_instant(struct plan *);
static void fired(struct pg *, PGresult *, void *arg);
static void refused(struct plan *, const PGresult *);
static void pass(struct plan *, dbtime_us instant);

struct fire *
fire_new(const struct conf *conf, struct pg *pg, void (*changed)(void *arg),
    void *arg)
{
	struct fire *f = xcalloc(1, sizeof(*f));
	const char *schema = conf->database.schema;

	f->conf = conf;
	f->pg = pg;
	f->changed = changed;
	f->arg = arg;
	f->state_sql = stmt_in_schema("SELECT name, last_us, covered_us "
	    "FROM jobq.schedule_state($1::text[])", schema);
	f->fire_sql = stmt_in_schema("SELECT jobq.schedule_fire($1, "
	    "$2::timestamptz, $3, $4, $5::jsonb, $6::timestamptz)", schema);
	f->next_sql = stmt_in_schema(
	    "SELECT jobq.schedule_next($1::text[], $2::timestamptz[])", schema);
	f->skip_sql = stmt_in_schema(
	    "SELECT jobq.schedule_skip($1, $2::timestamptz, $3::bigint)", schema);
	f->nplans = conf->nschedules;
	f->plans = xcalloc(f->nplans + 1, sizeof(*f->plans));
	for (size_t i = 0; i < f->nplans; i++)
		plan_init(&f->plans[i], f, &conf->schedules[i]);
	return f;
}

static void
plan_init(struct plan *p, struct fire *f, const struct schedule_conf *s)
{
	p->conf = s;
	p->fire = f;
	p->next = INSTANT_NEVER;
	p->able = s->enabled;
	for (size_t i = 0; p->able && i < s->nrequires_env; i++) {
		const char *value = getenv(s->requires_env[i]);
		if (value != NULL && *value != '\0')
			continue;
		p->able = false;
		log_warn("schedule does not run: a variable it requires is not "
		    "set in jobqd's environment", "schedule=%s variable=%s",
		    s->name, s->requires_env[i]);
	}
}

void
fire_free(struct fire *f)
{
	if (f == NULL)
		return;
	free(f->state_sql);
	free(f->fire_sql);
	free(f->next_sql);
	free(f->skip_sql);
	free(f->plans);
	free(f);
}

void
fire_up(struct fire *f)
{
	f->live = false;
	f->asked = 0;
	read_state(f);
}

void
fire_down(struct fire *f)
{
	f->live = false;
	f->leader = false;
}

void
fire_tick(struct fire *f, dbtime_us now, bool leader)
{
	f->now = now;
	f->leader = leader;
	/* The state was asked for before the first tick and answers come in
	 * order, so it is there, unless the statement failed. */
	if (f->asked == 0)
		read_state(f);
	if (!f->live && f->reading)
		return;

	/* Nobody has ever led: all the schedules are new. */
	bool gap = f->covered > 0 && now - f->covered > GAP_US;
	if (!f->live || gap)
		for (size_t i = 0; i < f->nplans; i++)
			settle(&f->plans[i], gap);
	f->covered = now + LEASE_US;
	if (!f->live) {
		f->live = true;
		tell_next(f);
		announce(f);
	}
}

dbtime_us
fire_next(const struct fire *f)
{
	dbtime_us next = INT64_MAX;

	if (!f->live)
		return next;
	for (size_t i = 0; i < f->nplans; i++) {
		const struct plan *p = &f->plans[i];
		dbtime_us at = due_at(p);
		/* Waits for the answer about who has fired. */
		if (f->reading && !f->leader && !p->mine)
			continue;
		if (at < next)
			next = at;
	}
	return next;
}

void
fire_run(struct fire *f, dbtime_us now)
{
	bool ask = false;

	f->now = now;
	if (!f->live)
		return;
	for (size_t i = 0; i < f->nplans; i++) {
		struct plan *p = &f->plans[i];
		if (due_at(p) > now)
			continue;
		/* Only the others' plans are due after a grace. */
		if (f->leader || p->mine || f->asked >= due_at(p))
			send_instant(p);
		else
			ask = true;
	}
	if (ask && !f->reading)
		read_state(f);
}

/* When something is to be done about the plan; INT64_MAX: nothing. */
static dbtime_us
due_at(const struct plan *p)
{
	if (!p->able || p->in_flight || p->next == INSTANT_NEVER)
		return INT64_MAX;
	dbtime_us at = p->next + instants_jitter(p->conf, p->next);
	if (!p->fire->leader && !p->mine)
		at += FIRE_GRACE_US;
	return at > p->hold ? at : p->hold;
}

/*
 * Where the schedules stand
 */

static void
read_state(struct fire *f)
{
	struct array names = { 0 };
	struct err e;

	for (size_t i = 0; i < f->nplans; i++)
		array_text(&names, f->plans[i].conf->name);
	const char *params[] = { array_close(&names) };
	if (pg_query(f->pg, f->state_sql, 1, params, state_read, f, &e) == 0) {
		f->reading = true;
		f->asked = f->now > 0 ? f->now : 1;
	}
	array_clear(&names);
}

static struct plan *
plan_named(struct fire *f, const char *name)
{
	for (size_t i = 0; i < f->nplans; i++)
		if (strcmp(f->plans[i].conf->name, name) == 0)
			return &f->plans[i];
	return NULL;
}

/* A row for each schedule, and one with no name: until when somebody leads. */
static void
state_read(struct pg *pg, PGresult *res, void *arg)
{
	struct fire *f = arg;
	struct err e;

	(void)pg;
	f->reading = false;
	if (res == NULL)
		return;
	if (PQresultStatus(res) != PGRES_TUPLES_OK) {
		pg_error(res, &e);
		log_warn("cannot read where the schedules stand", "reason=%s",
		    e.msg);
		f->asked = 0;
		return;
	}
	for (int i = 0; i < PQntuples(res); i++) {
		const char *name = pg_text(res, i, 0);
		dbtime_us last = pg_int(res, i, 1);

		if (name == NULL) {
			if (!f->live && pg_int(res, i, 2) > f->covered)
				f->covered = pg_int(res, i, 2);
			continue;
		}
		struct plan *p = plan_named(f, name);
		if (p == NULL || last <= p->last)
			continue;
		p->last = last;
		if (f->live) {
			p->mine = false;
			pass(p, last);
		}
	}
	f->changed(f->arg);
}

/*
 * Decide about the instants up to now that nobody has fired. After a gap
 * that is the schedule's catch_up. Without one there was a scheduler all the
 * time, and the only instants to be made up for are those that fell in a
 * change of the leader.
 */
static void
settle(struct plan *p, bool gap)
{
	dbtime_us now = p->fire->now;

	if (!p->able)
		return;
	if (p->last == 0) {
		p->last = now;
	} else if (!gap) {
		dbtime_us until = p->fire->covered < now ?
		    p->fire->covered : now;
		if (p->last < until - OVERDUE_US)
			p->last = until - OVERDUE_US;
	} else {
		struct catch_up_plan plan =
		    instants_catch_up(p->conf, p->last, now);
		if (plan.missed > 0)
			skip(p, plan.from, plan.missed);
		p->last = plan.from;
	}
	p->next = instants_next(p->conf, p->last);
}

/* Said and kept, so that a scheduler that comes later does not fire them. */
static void
skip(struct plan *p, dbtime_us until, int64_t missed)
{
	char count[24], when[WHEN_TEXT_MAX];
	struct err e;

	log_warn("schedule missed its time while no scheduler was running",
	    "schedule=%s missed=%jd", p->conf->name, (intmax_t)missed);
	snprintf(count, sizeof(count), "%" PRId64, missed);
	const char *params[] = { p->conf->name, when_text(when, until), count };
	if (pg_query(p->fire->pg, p->fire->skip_sql, 3, params, NULL, NULL,
	    &e) != 0)
		log_debug("missed instants not kept", "reason=%s", e.msg);
}

/* The next instants, for the view; from then on each firing tells its own. */
static void
tell_next(struct fire *f)
{
	struct array names = { 0 }, nexts = { 0 };
	char when[WHEN_TEXT_MAX];
	struct err e;

	for (size_t i = 0; i < f->nplans; i++) {
		struct plan *p = &f->plans[i];
		array_text(&names, p->conf->name);
		if (p->able && p->next != INSTANT_NEVER)
			array_text(&nexts, when_text(when, p->next));
		else
			array_null(&nexts);
	}
	const char *params[] = { array_close(&names), array_close(&nexts) };
	if (f->nplans > 0 &&
	    pg_query(f->pg, f->next_sql, 2, params, NULL, NULL, &e) != 0)
		log_debug("next instants not kept", "reason=%s", e.msg);
	array_clear(&names);
	array_clear(&nexts);
}

static void
announce(struct fire *f)
{
	size_t active = 0;

	if (f->announced)
		return;
	f->announced = true;
	for (size_t i = 0; i < f->nplans; i++) {
		struct plan *p = &f->plans[i];
		char next[WHEN_TEXT_MAX] = "never";

		if (!p->able) {
			if (!p->conf->enabled)
				log_info("schedule disabled", "schedule=%s spec=%s",
				    p->conf->name, p->conf->spec);
			continue;
		}
		active++;
		if (p->next != INSTANT_NEVER)
			when_text(next, p->next);
		log_info("schedule registered",
		    "schedule=%s spec=%s queue=%s next=%s description=%s",
		    p->conf->name, p->conf->spec, p->conf->queue, next,
		    p->conf->description);
	}
	log_info("scheduler initialized", "schedules=%zu", active);
}

/*
 * Firing
 */

static void
send_instant(struct plan *p)
{
	const struct schedule_conf *s = p->conf;
	char instant[WHEN_TEXT_MAX], next[WHEN_TEXT_MAX];
	dbtime_us after = instants_next(s, p->next);
	struct err e;

	const char *params[] = { s->name, when_text(instant, p->next), s->queue,
	    s->type, s->data,
	    after != INSTANT_NEVER ? when_text(next, after) : NULL };
	p->sent = p->next;
	p->in_flight = true;
	if (pg_query(p->fire->pg, p->fire->fire_sql, 6, params, fired, p,
	    &e) != 0)
		p->in_flight = false;	/* went down; all begins anew when it is back */
}

static void
fired(struct pg *pg, PGresult *res, void *arg)
{
	struct plan *p = arg;
	struct fire *f = p->fire;

	(void)pg;
	p->in_flight = false;
	/* Done or not: the state will say, when the connection is back. */
	if (res == NULL)
		return;
	if (PQresultStatus(res) != PGRES_TUPLES_OK) {
		refused(p, res);
		f->changed(f->arg);
		return;
	}
	bool by_us = PQntuples(res) > 0 && pg_text(res, 0, 0) != NULL;
	dbtime_us late = f->now - p->sent - instants_jitter(p->conf, p->sent);
	if (by_us && late > LATE_US)
		log_info("schedule fired late", "schedule=%s late_ms=%jd job=%s",
		    p->conf->name, (intmax_t)(late / 1000),
		    pg_text(res, 0, 0));
	else if (by_us)
		log_debug("schedule fired", "schedule=%s job=%s", p->conf->name,
		    pg_text(res, 0, 0));
	p->mine = by_us && !f->leader;
	pass(p, p->sent);
	f->changed(f->arg);
}

/* An error that somebody must mend costs this instant; one that passes is
 * waited for. */
static void
refused(struct plan *p, const PGresult *res)
{
	struct err e;

	pg_error(res, &e);
	if (pg_is_passing(res)) {
		log_warn("schedule not fired, will be tried again",
		    "schedule=%s reason=%s", p->conf->name, e.msg);
		p->hold = p->fire->now + RETRY_US;
		return;
	}
	log_error("schedule cannot be fired", "schedule=%s queue=%s reason=%s",
	    p->conf->name, p->conf->queue, e.msg);
	pass(p, p->sent);
}

static void
pass(struct plan *p, dbtime_us instant)
{
	if (p->last < instant)
		p->last = instant;
	p->next = instants_next(p->conf, p->last);
}
