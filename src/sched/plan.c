/*
 * Which schedules there are and where they stand: see plan.h. Those of this
 * node's configuration are there from the start; those made at run time are
 * listed by the database, anew whenever jobq.schedules_version() is another one.
 */
#include "config.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/when.h"
#include "base/xalloc.h"
#include "db/array.h"
#include "sched/plan.h"

/* How far before the end of the last lease an instant may lie that the leader
 * of then did not get to. */
#define OVERDUE_US (LEASE_US + INT64_C(6000000))

/* What catch_up gives up, for one statement. */
struct skips {
	struct array names, untils, counts;
};

static struct plan *plan_add(struct fire *, const char *name);
static struct plan *plan_named(struct fire *, const char *name);
static size_t place_of(const struct fire *, const char *name);
static void use(struct plan *, const struct schedule_conf *);
static void state_read(struct pg *, PGresult *, void *arg);
static void take_row(struct fire *, const PGresult *, int row,
    struct array *names, struct array *errors);
static void define(struct plan *, int64_t revision, const char *definition,
    struct err *);
static void drop_unlisted(struct fire *);
static void settle(struct plan *, bool gap, struct skips *);
static void skip(struct plan *, struct skips *, dbtime_us until, int64_t missed);
static void tell_next(struct fire *);
static void log_plan(const struct plan *);

void
plans_init(struct fire *f)
{
	for (size_t i = 0; i < f->conf->nschedules; i++) {
		const struct schedule_conf *s = &f->conf->schedules[i];
		struct plan *p = plan_add(f, s->name);

		p->file = s;
		use(p, s);
	}
}

void
plans_clear(struct fire *f)
{
	for (size_t i = 0; i < f->nplans; i++)
		plan_free(f->plans[i]);
	free(f->plans);
}

void
plan_free(struct plan *p)
{
	conf_schedule_free(p->made);
	free(p->name);
	free(p);
}

static struct plan *
plan_add(struct fire *f, const char *name)
{
	struct plan *p = xcalloc(1, sizeof(*p));
	size_t at = place_of(f, name);

	p->name = xstrdup(name);
	p->fire = f;
	p->next = INSTANT_NEVER;
	f->plans = xreallocarray(f->plans, f->nplans + 1, sizeof(*f->plans));
	memmove(&f->plans[at + 1], &f->plans[at],
	    (f->nplans - at) * sizeof(*f->plans));
	f->nplans++;
	return f->plans[at] = p;
}

static struct plan *
plan_named(struct fire *f, const char *name)
{
	size_t at = place_of(f, name);

	return at < f->nplans && strcmp(f->plans[at]->name, name) == 0 ?
	    f->plans[at] : NULL;
}

/* The first plan whose name is not before this one. */
static size_t
place_of(const struct fire *f, const char *name)
{
	size_t low = 0, high = f->nplans;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(f->plans[middle]->name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* s counts from now on; NULL: nothing that can be read. */
static void
use(struct plan *p, const struct schedule_conf *s)
{
	p->conf = s;
	p->mine = false;
	p->next = INSTANT_NEVER;
	p->hold = 0;
	p->able = s != NULL && s->enabled;
	p->asks = p->able && (*s->only_if != '\0' || *s->for_each != '\0');
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
plan_pass(struct plan *p, dbtime_us instant)
{
	if (p->last < instant)
		p->last = instant;
	if (p->able)
		p->next = instants_next(p->conf, p->last);
}

/*
 * Where the schedules stand
 */

void
plans_read(struct fire *f, bool whole)
{
	struct array names = { 0 };
	struct err e;

	for (size_t i = 0; i < f->nplans; i++) {
		const struct plan *p = f->plans[i];

		if (whole ? p->file != NULL : plan_due_at(p) <= f->now)
			array_text(&names, p->name);
	}
	const char *params[] = { array_close(&names), whole ? "t" : "f" };
	if (pg_query(f->pg, f->state_sql, 2, params, state_read, f, &e) == 0) {
		f->reading = true;
		f->whole = whole;
		f->asked = f->now;
	}
	array_clear(&names);
}

/* A row for each schedule, and one with no name: until when somebody leads. */
static void
state_read(struct pg *pg, PGresult *res, void *arg)
{
	struct array names = { 0 }, errors = { 0 };
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
		f->outdated = true;
		f->asked = 0;
		return;
	}
	for (size_t i = 0; i < f->nplans; i++)
		f->plans[i]->listed = false;
	for (int i = 0; i < PQntuples(res); i++)
		take_row(f, res, i, &names, &errors);
	if (names.count > 0) {
		const char *params[] = { array_close(&names),
		    array_close(&errors) };
		pg_query(f->pg, f->unread_sql, 2, params, NULL, NULL, &e);
	}
	array_clear(&names);
	array_clear(&errors);
	if (f->whole) {
		drop_unlisted(f);
		f->listed = true;
		f->outdated = false;
		if (f->live)
			plans_announce(f);
	}
	f->changed(f->arg);
}

/* names and errors get what is new about definitions that cannot be read. */
static void
take_row(struct fire *f, const PGresult *res, int row, struct array *names,
    struct array *errors)
{
	const char *name = pg_text(res, row, 0);
	const char *definition = pg_text(res, row, 5);
	const char *known = pg_text(res, row, 7);
	dbtime_us last = pg_int(res, row, 1);
	int64_t revision = pg_int(res, row, 4);
	bool paused = pg_true(res, row, 6), changed;
	struct err e = { .msg = "" };
	struct plan *p;

	if (name == NULL) {
		if (!f->live && pg_int(res, row, 2) > f->covered)
			f->covered = pg_int(res, row, 2);
		if (f->whole)
			f->version = pg_int(res, row, 3);
		return;
	}
	p = plan_named(f, name);
	if (p == NULL && definition != NULL)
		p = plan_add(f, name);
	if (p == NULL)
		return;
	p->listed = true;
	changed = f->whole && p->revision != revision;
	if (changed) {
		/* Where it stands now has nothing to do with where it stood. */
		p->last = last;
		define(p, revision, definition, &e);
		if (strcmp(known != NULL ? known : "", e.msg) != 0) {
			array_text(names, name);
			array_text(errors, *e.msg != '\0' ? e.msg : NULL);
		}
		if (f->live && p->able)
			plan_pass(p, last);
		if (f->announced)
			log_plan(p);
	} else if (last > p->last) {
		p->last = last;
		if (f->live) {
			p->mine = false;
			plan_pass(p, last);
		}
	}
	if (!f->whole || paused == p->paused)
		return;
	p->paused = paused;
	if (paused)
		log_info("schedule paused", "schedule=%s", name);
	else
		log_info("schedule resumed", "schedule=%s", name);
}

/* By its definition; without one the configuration's counts. */
static void
define(struct plan *p, int64_t revision, const char *definition, struct err *e)
{
	struct schedule_conf *made = NULL;

	p->revision = revision;
	if (definition != NULL)
		made = conf_schedule_new(p->name, definition, e);
	use(p, definition != NULL ? made : p->file);
	conf_schedule_free(p->made);
	p->made = made;
	if (definition != NULL && made == NULL)
		log_error("schedule cannot be read", "schedule=%s reason=%s",
		    p->name, e->msg);
}

/* Those that are made at run time and are there no more. */
static void
drop_unlisted(struct fire *f)
{
	size_t kept = 0;

	for (size_t i = 0; i < f->nplans; i++) {
		struct plan *p = f->plans[i];

		if (p->listed || p->revision == 0) {
			f->plans[kept++] = p;
			continue;
		}
		log_info("schedule removed", "schedule=%s", p->name);
		if (p->in_flight)
			p->gone = true;
		else
			plan_free(p);
	}
	f->nplans = kept;
}

/*
 * What nobody has fired
 */

void
plans_settle(struct fire *f, bool gap)
{
	struct skips skips = { 0 };
	struct err e;

	for (size_t i = 0; i < f->nplans; i++)
		if (f->plans[i]->able)
			settle(f->plans[i], gap, &skips);
	const char *params[] = { array_close(&skips.names),
	    array_close(&skips.untils), array_close(&skips.counts) };
	if (skips.names.count > 0 &&
	    pg_query(f->pg, f->skip_sql, 3, params, NULL, NULL, &e) != 0)
		log_debug("missed instants not kept", "reason=%s", e.msg);
	array_clear(&skips.names);
	array_clear(&skips.untils);
	array_clear(&skips.counts);
}

/*
 * Decide about the instants up to now that nobody has fired. After a gap
 * that is the schedule's catch_up. Without one there was a scheduler all the
 * time, and the only instants to be made up for are those that fell in a
 * change of the leader.
 */
static void
settle(struct plan *p, bool gap, struct skips *skips)
{
	dbtime_us now = p->fire->now;

	/* Made before the first scheduler ever came. */
	if (p->fire->covered == 0 && p->last < now - OVERDUE_US)
		gap = true;
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
			skip(p, skips, plan.from, plan.missed);
		p->last = plan.from;
	}
	p->next = instants_next(p->conf, p->last);
}

/* Said and kept, so that a scheduler that comes later does not fire them. */
static void
skip(struct plan *p, struct skips *skips, dbtime_us until, int64_t missed)
{
	char when[WHEN_TEXT_MAX];

	log_warn("schedule missed its time while no scheduler was running",
	    "schedule=%s missed=%jd", p->name, (intmax_t)missed);
	array_text(&skips->names, p->name);
	array_text(&skips->untils, when_text(when, until));
	array_int(&skips->counts, missed);
}

/*
 * Telling
 */

void
plans_announce(struct fire *f)
{
	size_t active = 0;

	tell_next(f);
	if (f->announced)
		return;
	f->announced = true;
	for (size_t i = 0; i < f->nplans; i++) {
		log_plan(f->plans[i]);
		active += f->plans[i]->able;
	}
	log_info("scheduler initialized", "schedules=%zu", active);
}

/* The next instants, for the view; from then on each firing tells its own. */
static void
tell_next(struct fire *f)
{
	struct array names = { 0 }, nexts = { 0 };
	char when[WHEN_TEXT_MAX];
	struct err e;

	for (size_t i = 0; i < f->nplans; i++) {
		struct plan *p = f->plans[i];

		/* Of others somebody else may know. */
		if (!p->able)
			continue;
		array_text(&names, p->name);
		array_text(&nexts, p->next == INSTANT_NEVER ? NULL :
		    when_text(when, p->next));
	}
	const char *params[] = { array_close(&names), array_close(&nexts) };
	if (names.count > 0 &&
	    pg_query(f->pg, f->next_sql, 2, params, NULL, NULL, &e) != 0)
		log_debug("next instants not kept", "reason=%s", e.msg);
	array_clear(&names);
	array_clear(&nexts);
}

static void
log_plan(const struct plan *p)
{
	const struct schedule_conf *s = p->conf;
	char next[WHEN_TEXT_MAX] = "never";

	if (s == NULL)
		return;
	if (!s->enabled)
		log_info("schedule disabled", "schedule=%s spec=%s", p->name,
		    s->spec);
	if (!p->able)
		return;
	if (p->next != INSTANT_NEVER)
		when_text(next, p->next);
	log_info("schedule registered",
	    "schedule=%s spec=%s queue=%s next=%s description=%s", p->name,
	    s->spec, s->queue, next, s->description);
}
