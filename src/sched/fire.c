/*
 * Firing the schedules: see fire.h. plan.c knows which there are.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/when.h"
#include "base/xalloc.h"
#include "db/array.h"
#include "db/stmt.h"
#include "sched/plan.h"

/* A pause without any scheduler that is longer is a downtime: what was missed
 * in it is up to the schedule's catch_up. */
#define GAP_US INT64_C(2000000)
/* What could not be fired for a reason that passes is tried again after this. */
#define RETRY_US INT64_C(1000000)
/* A job that starts later than this after its instant is worth a line. */
#define LATE_MS INT64_C(5000)
/* Schedules fired by one statement. Each has a subtransaction, and more than 64
 * of these in a transaction make everybody's snapshots slow. */
#define BATCH_MAX 50
/* For the SQL of a schedule; below what the connection waits for an answer. */
#define LIMIT_MS 20000

/* How jobq.schedule_fire() ends. */
enum end {
	END_FIRED, END_SKIPPED, END_FAILED, END_HELD,	/* it was ours */
	END_DONE, END_BUSY, END_STALE, END_GONE, END_UNKNOWN
};
static const char *const end_words[] = {
	"fired", "skipped", "failed", "held", "done", "busy", "stale", "gone",
};

/* A statement on its way. */
struct batch {
	struct fire *fire;
	struct plan *plans[BATCH_MAX];
	size_t count;
};

static void fire_plan(struct plan *, struct batch **);
static void send_batch(struct batch *);
static bool side_is_up(struct fire *);
static void side_up(struct pg *, void *arg);
static void side_down(struct pg *, const char *reason, bool fatal, void *arg);
static void fired(struct pg *, PGresult *, void *arg);
static void end(struct plan *, const PGresult *, int row);
static void log_end(const struct plan *, enum end, const PGresult *, int row);
static void refused(struct batch *, const PGresult *);

struct fire *
fire_new(const struct conf *conf, struct loop *loop, struct pg *pg,
    void (*changed)(void *arg), void *arg)
{
	struct fire *f = xcalloc(1, sizeof(*f));
	const char *schema = conf->database.schema;

	f->conf = conf;
	f->loop = loop;
	f->pg = pg;
	f->changed = changed;
	f->arg = arg;
	f->state_sql = stmt_in_schema("SELECT name, last_us, covered_us, "
	    "version, revision, definition, paused, error "
	    "FROM jobq.schedule_state($1::text[], $2::boolean)", schema);
	f->fire_sql = stmt_in_schema("SELECT n, outcome, jobs, job, late_ms, "
	    "reason FROM jobq.schedule_fire($1::text[], $2::timestamptz[], "
	    "$3::timestamptz[], $4::timestamptz[], $5::bigint[])", schema);
	f->next_sql = stmt_in_schema(
	    "SELECT jobq.schedule_next($1::text[], $2::timestamptz[])", schema);
	f->skip_sql = stmt_in_schema("SELECT jobq.schedule_skip($1::text[], "
	    "$2::timestamptz[], $3::bigint[])", schema);
	f->unread_sql = stmt_in_schema(
	    "SELECT jobq.schedule_unread($1::text[], $2::text[])", schema);
	f->delayed_sql = stmt_in_schema(
	    "SELECT jobq.schedule_delayed($1::text[], $2)", schema);
	plans_init(f);
	return f;
}

void
fire_free(struct fire *f)
{
	if (f == NULL)
		return;
	/* Of what is on its way there: the caller has no ears any more. */
	pg_free(f->side);
	plans_clear(f);
	free(f->state_sql);
	free(f->fire_sql);
	free(f->next_sql);
	free(f->skip_sql);
	free(f->unread_sql);
	free(f->delayed_sql);
	free(f);
}

void
fire_up(struct fire *f)
{
	f->live = f->listed = false;
	plans_read(f, true);
}

void
fire_down(struct fire *f)
{
	f->live = false;
	f->leader = false;
}

void
fire_tick(struct fire *f, dbtime_us now, bool leader, int64_t version)
{
	f->now = now;
	f->leader = leader;
	if (f->listed && version != f->version)
		f->outdated = true;
	/* The list was asked for before the first tick and answers come in
	 * order, so it is there, unless the statement failed. */
	if ((f->outdated || !f->listed) && !f->reading)
		plans_read(f, true);
	if (!f->listed)
		return;

	/* 0: nobody has ever led, and the schedules are new. */
	bool gap = f->covered > 0 && now - f->covered > GAP_US;
	if (!f->live || gap)
		plans_settle(f, gap);
	f->covered = now + LEASE_US;
	if (!f->live) {
		f->live = true;
		plans_announce(f);
	}
	for (size_t i = 0; i < f->nplans && leader && f->side == NULL; i++)
		if (f->plans[i]->asks)
			side_is_up(f);
}

dbtime_us
fire_next(const struct fire *f)
{
	dbtime_us next = INT64_MAX;

	if (!f->live)
		return next;
	for (size_t i = 0; i < f->nplans; i++) {
		const struct plan *p = f->plans[i];
		dbtime_us at = plan_due_at(p);
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
	struct batch *batch = NULL;
	bool ask = false;

	f->now = now;
	if (!f->live)
		return;
	for (size_t i = 0; i < f->nplans; i++) {
		struct plan *p = f->plans[i];
		dbtime_us at = plan_due_at(p);

		if (at > now)
			continue;
		/* Only the others' plans are due after a grace. */
		if (f->leader || p->mine || f->asked >= at)
			fire_plan(p, &batch);
		else
			ask = true;
	}
	if (batch != NULL)
		send_batch(batch);
	if (ask && !f->reading)
		plans_read(f, false);
}

dbtime_us
plan_due_at(const struct plan *p)
{
	const struct fire *f = p->fire;

	if (!p->able || p->in_flight || p->next == INSTANT_NEVER)
		return INT64_MAX;
	/* Until side_up() says so. */
	if (p->asks && f->side != NULL && !pg_is_up(f->side))
		return INT64_MAX;
	dbtime_us at = p->next + instants_jitter(p->conf, p->next);
	if (!f->leader && !p->mine)
		at += FIRE_GRACE_US;
	return at > p->hold ? at : p->hold;
}

/*
 * Sending
 */

/* One that asks SQL of its own goes alone: that may fail, and take its time. */
static void
fire_plan(struct plan *p, struct batch **batch)
{
	struct batch *alone = NULL;

	if (p->asks && !side_is_up(p->fire))
		return;
	if (p->asks)
		batch = &alone;
	if (*batch == NULL) {
		*batch = xcalloc(1, sizeof(**batch));
		(*batch)->fire = p->fire;
	}
	(*batch)->plans[(*batch)->count++] = p;
	if (p->asks || (*batch)->count == BATCH_MAX) {
		send_batch(*batch);
		*batch = NULL;
	}
}

/* Takes the batch. */
static void
send_batch(struct batch *b)
{
	struct array names = { 0 }, instants = { 0 }, dues = { 0 };
	struct array nexts = { 0 }, revisions = { 0 };
	struct fire *f = b->fire;
	char when[WHEN_TEXT_MAX];
	struct err e;
	int sent;

	for (size_t i = 0; i < b->count; i++) {
		struct plan *p = b->plans[i];
		dbtime_us after = instants_next(p->conf, p->next);

		p->sent = p->next;
		p->in_flight = true;
		array_text(&names, p->name);
		array_text(&instants, when_text(when, p->next));
		array_text(&dues, when_text(when, p->next +
		    instants_jitter(p->conf, p->next)));
		array_text(&nexts, after == INSTANT_NEVER ? NULL :
		    when_text(when, after));
		array_int(&revisions, p->revision);
	}
	const char *params[] = { array_close(&names), array_close(&instants),
	    array_close(&dues), array_close(&nexts), array_close(&revisions) };
	sent = b->plans[0]->asks ?
	    pg_query_within(f->side, LIMIT_MS, f->fire_sql, 5, params, fired, b,
	    &e) : pg_query(f->pg, f->fire_sql, 5, params, fired, b, &e);
	array_clear(&names);
	array_clear(&instants);
	array_clear(&dues);
	array_clear(&nexts);
	array_clear(&revisions);
	if (sent == 0)
		return;
	/* It went down; all begins anew when it is back. */
	for (size_t i = 0; i < b->count; i++)
		b->plans[i]->in_flight = false;
	free(b);
}

/*
 * The second connection: opened for the first schedule that needs it, since
 * ticks and the other schedules cannot wait for its SQL.
 */

static bool
side_is_up(struct fire *f)
{
	static const struct pg_ops ops = { side_up, side_down, NULL };

	if (f->side == NULL)
		f->side = pg_new(f->loop, f->conf->database.url,
		    "jobqd scheduler queries",
		    f->conf->database.pooler_transaction, NULL, &ops, f);
	return pg_is_up(f->side);
}

static void
side_up(struct pg *pg, void *arg)
{
	struct fire *f = arg;

	(void)pg;
	f->side_complained = false;
	f->changed(f->arg);
}

static void
side_down(struct pg *pg, const char *reason, bool fatal, void *arg)
{
	struct fire *f = arg;

	(void)pg;
	(void)fatal;
	/* Of the database itself the scheduler's own connection tells. */
	if (!f->side_complained && pg_is_up(f->pg))
		log_warn("no connection for the SQL of schedules, will be "
		    "tried again", "reason=%s", reason);
	f->side_complained = true;
}

/*
 * The answer
 */

static void
fired(struct pg *pg, PGresult *res, void *arg)
{
	struct batch *b = arg;
	struct fire *f = b->fire;

	(void)pg;
	for (size_t i = 0; i < b->count; i++)
		b->plans[i]->in_flight = false;
	if (res != NULL && PQresultStatus(res) != PGRES_TUPLES_OK)
		refused(b, res);
	else if (res != NULL)
		for (int i = 0; i < PQntuples(res); i++) {
			int64_t n = pg_int(res, i, 0);

			if (n >= 1 && n <= (int64_t)b->count)
				end(b->plans[n - 1], res, i);
		}
	/* Else: done or not. The list will say when the connection is back, or,
	 * when it is the second one, the next try. */
	for (size_t i = 0; i < b->count; i++)
		if (b->plans[i]->gone)
			plan_free(b->plans[i]);
	free(b);
	if (res != NULL)
		f->changed(f->arg);
}

static enum end
end_of(const char *word)
{
	for (int i = 0; i < END_UNKNOWN && word != NULL; i++)
		if (strcmp(word, end_words[i]) == 0)
			return (enum end)i;
	return END_UNKNOWN;
}

static void
end(struct plan *p, const PGresult *res, int row)
{
	enum end how = end_of(pg_text(res, row, 1));
	struct fire *f = p->fire;

	log_end(p, how, res, row);
	p->skipping = how == END_SKIPPED;
	p->busy = how == END_BUSY;
	if (how == END_BUSY) {
		p->hold = f->now + RETRY_US;
		return;
	}
	/* It is defined otherwise, or no more: learn that, then go on. */
	if (how == END_STALE || (how == END_GONE && p->revision != 0)) {
		f->outdated = true;
		if (!f->reading)
			plans_read(f, true);
	}
	if (how == END_STALE) {
		p->hold = f->now + RETRY_US / 10;
		return;
	}
	p->mine = !f->leader && how <= END_HELD;
	plan_pass(p, p->sent);
}

static void
log_end(const struct plan *p, enum end how, const PGresult *res, int row)
{
	const char *jobs = pg_text(res, row, 2), *job = pg_text(res, row, 3);
	const char *reason = pg_text(res, row, 5);
	int64_t late_ms = pg_int(res, row, 4);

	if (how == END_FAILED)
		log_error("schedule failed", "schedule=%s reason=%s", p->name,
		    reason);
	else if (how == END_BUSY && !p->busy)
		log_warn("schedule not fired, will be tried again",
		    "schedule=%s reason=%s", p->name, reason);
	else if (how == END_SKIPPED && !p->skipping)
		log_info("schedule skipped", "schedule=%s reason=%s", p->name,
		    reason);
	else if (how == END_SKIPPED)
		log_debug("schedule skipped", "schedule=%s reason=%s", p->name,
		    reason);
	else if (how == END_FIRED && late_ms > LATE_MS)
		log_info("schedule fired late", "schedule=%s late_ms=%jd "
		    "job=%s jobs=%s", p->name, (intmax_t)late_ms, job, jobs);
	else if (how == END_FIRED)
		log_info("schedule fired", "schedule=%s job=%s jobs=%s",
		    p->name, job, jobs);
}

/* An error of the whole statement. One that somebody must mend costs these
 * instants; one that passes is waited for. */
static void
refused(struct batch *b, const PGresult *res)
{
	struct fire *f = b->fire;
	bool passing = pg_is_passing(res);
	struct array names = { 0 };
	struct err e, ignored;

	pg_error(res, &e);
	for (size_t i = 0; i < b->count; i++) {
		struct plan *p = b->plans[i];

		array_text(&names, p->name);
		if (passing)
			p->hold = f->now + RETRY_US;
		else
			plan_pass(p, p->sent);
	}
	const char *params[] = { array_close(&names), e.msg };
	if (passing) {
		log_warn("schedule not fired, will be tried again",
		    "schedule=%s of=%zu reason=%s", b->plans[0]->name, b->count,
		    e.msg);
		pg_query(f->pg, f->delayed_sql, 2, params, NULL, NULL, &ignored);
	} else {
		log_error("schedule cannot be fired",
		    "schedule=%s of=%zu reason=%s", b->plans[0]->name, b->count,
		    e.msg);
	}
	array_clear(&names);
}
