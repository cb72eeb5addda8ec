/*
 * The daily report: see report.h.
 *
 * Every monitor knows the time of the next one. Who takes it first has it for
 * some minutes, which it prolongs until all channels have it or are given up;
 * when it dies meanwhile, another one sends it again.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "core/cron.h"
#include "db/stmt.h"
#include "monitor/report.h"
#include "monitor/summary.h"

#define HOUR_S 3600
#define DAY_S (24 * HOUR_S)
#define WINDOW_MAX_S (31 * DAY_S)
#define PROLONG (120 * MONO_SECOND)	/* well within what report_take() grants */

struct report {
	const struct conf *conf;
	struct pg *pg;
	struct notify *notify;
	struct cron cron;
	bool planned;			/* there is a cron, and it has a next time */
	int64_t next;			/* that time, seconds of this host's clock */
	int64_t due, ours;		/* of the one to take, of the one we have; 0: none */
	int64_t window;			/* seconds that ours is of */
	int64_t unsaved;		/* one that is done, which the database has not heard */
	size_t sending, delivered;	/* channels */
	bool asking;			/* a statement of it is on the way */
	bool stopping;
	struct timer *at_next, *again;
	char *take_sql, *lines_sql, *json_sql, *done_sql;
};

static void on_next(void *);
static void take(void *);
static void taken(struct pg *, PGresult *, void *);
static void write_lines(struct pg *, PGresult *, void *);
static void send(struct pg *, PGresult *, void *);
static void delivered(const char *error, void *arg);
static void save(struct report *, int64_t done);
static void finish(struct report *);
static int send_summary(struct report *, const char *report);

struct report *
report_new(const struct conf *conf, struct loop *loop, struct pg *pg,
    struct notify *notify)
{
	struct report *r = xcalloc(1, sizeof(*r));
	const char *schema = conf->database.schema;
	struct err e;

	r->conf = conf;
	r->pg = pg;
	r->notify = notify;
	r->at_next = timer_new(loop, on_next, r);
	r->again = timer_new(loop, take, r);
	r->take_sql = stmt_in_schema(
	    "SELECT t.ours, t.again_ms, extract(epoch FROM t.at)::bigint "
	    "FROM jobq.report_take(to_timestamp($1::bigint), $2) t", schema);
	r->lines_sql = stmt_in_schema("SELECT queue, completed, failed, dead, "
	    "cancelled, lost, ready, dead_letters, run_avg_ms "
	    "FROM jobq.report($1::bigint * interval '1 s')", schema);
	r->json_sql = stmt_in_schema(
	    "SELECT jobq.report_json($1::bigint * interval '1 s')", schema);
	r->done_sql = stmt_in_schema(
	    "SELECT jobq.report_done(to_timestamp($1::bigint))", schema);
	if (conf->monitor.report == NULL || *conf->monitor.report == '\0')
		return r;
	if (cron_parse(&r->cron, conf->monitor.report, &e) == 0)
		r->planned = true;
	else
		log_error("no daily report: monitor.report is not understood",
		    "reason=%s", e.msg);
	return r;
}

void
report_free(struct report *r)
{
	if (r == NULL)
		return;
	timer_free(r->at_next);
	timer_free(r->again);
	free(r->take_sql);
	free(r->lines_sql);
	free(r->json_sql);
	free(r->done_sql);
	free(r);
}

/*
 * When
 */

/* By this host's clock: the report is a convenience for people. */
static void
plan(struct report *r)
{
	int64_t now = (int64_t)time(NULL), wait;

	if (!r->planned)
		return;
	if (r->next <= now)
		r->next = cron_next(&r->cron, r->conf->daemon.zone,
		    CRON_DST_STANDARD, now);
	if (r->next < 0) {
		r->planned = false;
		return;
	}
	/* Not further than an hour ahead: the clock may be set meanwhile. */
	wait = r->next - now;
	timer_set(r->at_next, (wait < HOUR_S ? wait : HOUR_S) * MONO_SECOND);
}

/* A report of a week comes once a week; never of less than a day. */
static int64_t
window_of(const struct report *r)
{
	int64_t gap = r->next - r->ours;

	return gap < DAY_S ? DAY_S : gap > WINDOW_MAX_S ? WINDOW_MAX_S : gap;
}

static void
on_next(void *arg)
{
	struct report *r = arg;

	if ((int64_t)time(NULL) >= r->next) {
		r->due = r->next;
		if (!pg_is_up(r->pg))
			log_warn("the report waits: the database is not there",
			    "");
	}
	plan(r);
	if (r->due != 0)
		take(r);
}

void
report_up(struct report *r)
{
	plan(r);
	if (r->unsaved != 0)
		save(r, r->unsaved);
	if (r->planned)
		take(r);
}

void
report_stop(struct report *r)
{
	r->stopping = true;
}

/*
 * Whose turn it is
 */

/* The one that is due, or that somebody on this node left unfinished; what is
 * ours already is ours for some more minutes. */
static void
take(void *arg)
{
	struct report *r = arg;
	int64_t which = r->ours != 0 ? r->ours : r->due;
	char at[24];
	const char *params[] = { which != 0 ? at : NULL, r->conf->daemon.node };
	struct err e;

	snprintf(at, sizeof(at), "%" PRId64, which);
	if (r->asking || r->stopping || (r->ours != 0 && r->sending == 0))
		return;
	if (pg_query(r->pg, r->take_sql, 2, params, taken, r, &e) == 0)
		r->asking = true;
}

static void
taken(struct pg *pg, PGresult *res, void *arg)
{
	struct report *r = arg;
	char window[24];
	const char *params[] = { window };
	struct err e;

	(void)pg;
	r->asking = false;
	if (!pg_ok(res, "report") || PQntuples(res) != 1)
		return;
	if (!pg_true(res, 0, 0)) {
		r->due = 0;
		if (pg_text(res, 0, 1) != NULL)
			timer_set(r->again, pg_int(res, 0, 1) * MONO_MS);
		return;
	}
	timer_set(r->again, PROLONG);
	if (r->ours == pg_int(res, 0, 2))
		return;
	r->ours = pg_int(res, 0, 2);
	r->window = window_of(r);
	snprintf(window, sizeof(window), "%" PRId64, r->window);
	pg_query(r->pg, r->lines_sql, 1, params, write_lines, r, &e);
	if (r->conf->monitor.nreport_to == 0)
		finish(r);
	else
		pg_query(r->pg, r->json_sql, 1, params, send, r, &e);
}

static void
save(struct report *r, int64_t done)
{
	char at[24];
	const char *params[] = { at };
	struct err e;

	snprintf(at, sizeof(at), "%" PRId64, done);
	r->unsaved = pg_query(r->pg, r->done_sql, 1, params, NULL, NULL, &e) == 0 ?
	    0 : done;
}

/* Nothing is left to do, or another one does it later. */
static void
finish(struct report *r)
{
	if (r->stopping && r->delivered == 0)
		return;
	save(r, r->ours);
	timer_stop(r->again);
	if (r->due > r->ours)
		timer_set(r->again, 0);
	else
		r->due = 0;
	r->ours = 0;
}

/*
 * What
 */

static void
write_lines(struct pg *pg, PGresult *res, void *arg)
{
	struct report *r = arg;

	(void)pg;
	if (!pg_ok(res, "report"))
		return;
	for (int i = 0; i < PQntuples(res); i++)
		log_info("report", "hours=%jd queue=%s completed=%s failed=%s "
		    "dead=%s cancelled=%s lost=%s ready=%s dead_letters=%s "
		    "run_avg_ms=%s", (intmax_t)(r->window / HOUR_S),
		    pg_text(res, i, 0), pg_text(res, i, 1), pg_text(res, i, 2),
		    pg_text(res, i, 3), pg_text(res, i, 4), pg_text(res, i, 5),
		    pg_text(res, i, 6), pg_text(res, i, 7), pg_text(res, i, 8));
}

static int
send_summary(struct report *r, const char *report)
{
	const struct summary_clock clock = {
		.offset = zone_span(r->conf->daemon.zone, r->ours).offset,
		.zone = r->conf->daemon.timezone };
	struct summary s;
	struct buf json = { 0 };
	struct notice notice;
	struct err e;

	if (summary_make(&s, report, r->conf->daemon.node, &clock, &e) != 0) {
		log_error("report not sent", "reason=%s", e.msg);
		summary_clear(&s);
		return -1;
	}
	buf_printf(&json, "{\"report\":%s}", report);
	notice = (struct notice){ .subject = s.subject.data,
	    .text = s.text.data, .html = s.html.data, .json = json.data,
	    .kind = s.bad ? NOTICE_WARNING : NOTICE_INFO };
	r->delivered = 0;
	r->sending = r->conf->monitor.nreport_to;
	for (size_t i = 0; i < r->conf->monitor.nreport_to; i++)
		notify_send(r->notify, r->conf->monitor.report_to[i], &notice,
		    delivered, r);
	buf_clear(&json);
	summary_clear(&s);
	return 0;
}

static void
send(struct pg *pg, PGresult *res, void *arg)
{
	struct report *r = arg;

	(void)pg;
	if (!pg_ok(res, "report") || PQntuples(res) != 1)
		r->ours = 0;		/* it is taken again soon */
	else if (send_summary(r, pg_text(res, 0, 0)) < 0)
		finish(r);
}

/* The log has told of what went wrong. */
static void
delivered(const char *error, void *arg)
{
	struct report *r = arg;

	r->delivered += error == NULL;
	if (--r->sending == 0)
		finish(r);
}
