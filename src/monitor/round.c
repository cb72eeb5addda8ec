/*
 * The monitor's rounds: see round.h.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/when.h"
#include "base/xalloc.h"
#include "core/cron.h"
#include "db/array.h"
#include "db/stmt.h"
#include "monitor/gauges.h"
#include "monitor/health.h"
#include "monitor/round.h"
#include "os/board.h"

/* A queue without workers this long after the start is a fault; before, they
 * are on their way. */
#define SETTLE_US (30 * MONO_SECOND)
/* The second round comes soon: by then the first workers are there. */
#define SECOND_US (5 * MONO_SECOND)
#define HOUR_US (3600 * MONO_SECOND)

struct round {
	const struct conf *conf;
	struct pg *pg;
	struct timer *interval;		/* the next round */
	struct timer *statistics;
	struct timer *report;
	bool has_report;
	struct cron report_cron;
	dbtime_us report_at;		/* the next one, by this host's clock */
	char *health_sql, *maintain_sql, *statistics_sql, *report_sql;
	struct gauges *gauges;
	mono_t started;
	mono_t asked;			/* when the health statement was sent */
	unsigned busy;			/* statements of a round not yet answered */
	bool taking;			/* statistics are on their way */
	char down[512];			/* why there is no database; "": no reason known */
	bool begun;			/* the first round was */
	bool file_failed;		/* said once until it works again */
};

static void interval(void *arg);
static void statistics(void *arg);
static void report(void *arg);
static void plan_report(struct round *);
static void ask_health(struct round *);
static void health_read(struct pg *, PGresult *, void *arg);
static void write_health(struct round *, const struct health *);
static void maintained(struct pg *, PGresult *, void *arg);
static void statistics_taken(struct pg *, PGresult *, void *arg);
static void reported(struct pg *, PGresult *, void *arg);
static dbtime_us wall_clock(void);

static const char health_statement[] =
    "SELECT queues, schedules, alerts, dead_letters, no_workers, "
    "current_setting('server_version') FROM jobq.health($1::text[])";

static const char report_statement[] =
    "SELECT queue, completed, failed, dead, cancelled, lost, ready, "
    "dead_letters, run_avg_ms FROM jobq.report(interval '1 day')";

struct round *
round_new(const struct conf *conf, struct loop *loop, struct pg *pg)
{
	struct round *r = xcalloc(1, sizeof(*r));
	const char *schema = conf->database.schema;
	struct err e;

	r->conf = conf;
	r->pg = pg;
	r->started = mono_now();
	r->interval = timer_new(loop, interval, r);
	r->statistics = timer_new(loop, statistics, r);
	r->report = timer_new(loop, report, r);
	r->health_sql = stmt_in_schema(health_statement, schema);
	r->maintain_sql = stmt_in_schema(
	    "SELECT line FROM jobq.maintain() AS line", schema);
	r->statistics_sql = stmt_in_schema("SELECT rows, again_ms FROM "
	    "jobq.statistics_take($1::bigint * interval '1 ms')", schema);
	r->report_sql = stmt_in_schema(report_statement, schema);
	r->gauges = gauges_new(conf, pg);
	if (conf->monitor.report != NULL && *conf->monitor.report != '\0') {
		if (cron_parse(&r->report_cron, conf->monitor.report, &e) == 0)
			r->has_report = true;
		else
			log_error("no daily report: monitor.report is not "
			    "understood", "reason=%s", e.msg);
	}
	return r;
}

void
round_free(struct round *r)
{
	if (r == NULL)
		return;
	timer_free(r->interval);
	timer_free(r->statistics);
	timer_free(r->report);
	gauges_free(r->gauges);
	free(r->health_sql);
	free(r->maintain_sql);
	free(r->statistics_sql);
	free(r->report_sql);
	free(r);
}

void
round_up(struct round *r)
{
	r->down[0] = '\0';
	timer_set(r->interval, 0);
	timer_set(r->statistics, 0);
	plan_report(r);
}

void
round_down(struct round *r, const char *reason)
{
	/* The first line of it; only what is new is written. */
	char text[sizeof(r->down)];

	snprintf(text, sizeof(text), "%.*s", (int)strcspn(reason, "\n"), reason);
	if (strcmp(text, r->down) == 0)
		return;
	strlcpy(r->down, text[0] != '\0' ? text : "not there", sizeof(r->down));
	timer_set(r->interval, 0);
}

/* While the database is away the file is still written, so that its reader
 * can tell a dead monitor from a dead database. */
static void
interval(void *arg)
{
	struct round *r = arg;
	struct err e;

	mono_t next = r->conf->monitor.interval_ms * MONO_MS;
	if (!r->begun && next > SECOND_US)
		next = SECOND_US;
	timer_set(r->interval, next);
	if (r->down[0] != '\0' || !pg_is_up(r->pg)) {
		struct health h = {
			.at = wall_clock(), .dead_letters = -1,
			.database_latency_us = -1,
			.database_error = r->down[0] != '\0' ? r->down :
			    "not connected",
		};
		write_health(r, &h);
		gauges_down(r->gauges);
		return;
	}
	r->begun = true;
	gauges_read(r->gauges);
	/* The round before still runs: do not pile up on a slow database. */
	if (r->busy > 0)
		return;
	ask_health(r);
	if (pg_query(r->pg, r->maintain_sql, 0, NULL, maintained, r, &e) == 0)
		r->busy++;
}

/*
 * The health file
 */

static void
ask_health(struct round *r)
{
	struct array names = { 0 };
	struct err e;

	for (size_t i = 0; i < r->conf->nqueues; i++)
		if (r->conf->queues[i].enabled)
			array_text(&names, r->conf->queues[i].name);
	const char *params[] = { array_close(&names) };
	r->asked = mono_now();
	if (pg_query(r->pg, r->health_sql, 1, params, health_read, r, &e) == 0)
		r->busy++;
	array_clear(&names);
}

static void
health_read(struct pg *pg, PGresult *res, void *arg)
{
	struct round *r = arg;
	struct err e;
	struct health h = {
		.at = wall_clock(), .database_up = true, .dead_letters = -1,
		.database_latency_us = mono_now() - r->asked,
	};

	(void)pg;
	r->busy--;
	if (res == NULL)
		return;
	if (PQresultStatus(res) != PGRES_TUPLES_OK || PQntuples(res) != 1) {
		pg_error(res, &e);
		log_warn("health not read", "reason=%s", e.msg);
		h.database_up = false;
		h.database_error = e.msg;
		write_health(r, &h);
		return;
	}
	h.queues = pg_text(res, 0, 0);
	h.schedules = pg_text(res, 0, 1);
	h.alerts = pg_text(res, 0, 2);
	h.dead_letters = pg_int(res, 0, 3);
	if (mono_now() - r->started > SETTLE_US)
		h.no_workers = pg_text(res, 0, 4);
	h.database_version = pg_text(res, 0, 5);
	write_health(r, &h);
}

static void
write_health(struct round *r, const struct health *h)
{
	const char *path = r->conf->monitor.health_file;
	struct buf b = { 0 };
	struct err e;

	health_json(&b, h);
	if (board_publish(BOARD_HEALTH, b.data, b.len, &e) != 0)
		log_debug("no health for the api", "reason=%s", e.msg);
	if (path == NULL || *path == '\0' || health_write(path, &b, &e) == 0) {
		r->file_failed = false;
	} else if (!r->file_failed) {
		log_warn("no health file", "reason=%s", e.msg);
		r->file_failed = true;
	}
	buf_clear(&b);
}

/*
 * Retention, statistics, the report
 */

static void
maintained(struct pg *pg, PGresult *res, void *arg)
{
	struct round *r = arg;

	(void)pg;
	r->busy--;
	if (!pg_ok(res, "maintenance"))
		return;
	for (int i = 0; i < PQntuples(res); i++)
		log_info("maintenance", "action=%s", pg_text(res, i, 0));
}

static void
statistics(void *arg)
{
	struct round *r = arg;
	char span[24];
	struct err e;

	/* If the answer does not say when. */
	timer_set(r->statistics, r->conf->monitor.statistics_ms * MONO_MS);
	snprintf(span, sizeof(span), "%" PRId64, r->conf->monitor.statistics_ms);
	const char *params[] = { span };
	if (!r->taking && pg_is_up(r->pg) && pg_query(r->pg,
	    r->statistics_sql, 1, params, statistics_taken, r, &e) == 0)
		r->taking = true;
}

static void
statistics_taken(struct pg *pg, PGresult *res, void *arg)
{
	struct round *r = arg;

	(void)pg;
	r->taking = false;
	if (!pg_ok(res, "statistics"))
		return;
	log_debug("statistics taken", "rows=%s", pg_text(res, 0, 0));
	timer_set(r->statistics, pg_int(res, 0, 1) * MONO_MS);
}

/* By this host's clock: the report is a convenience for people. */
static void
plan_report(struct round *r)
{
	dbtime_us now = wall_clock();

	if (!r->has_report)
		return;
	if (r->report_at <= now) {
		int64_t next = cron_next_utc(&r->report_cron, now / 1000000);
		if (next < 0)
			return;
		r->report_at = next * 1000000;
	}
	/* Not further than an hour ahead: the clock may be set meanwhile. */
	mono_t wait = r->report_at - now;
	timer_set(r->report, wait < HOUR_US ? wait : HOUR_US);
}

static void
report(void *arg)
{
	struct round *r = arg;
	struct err e;

	if (wall_clock() >= r->report_at &&
	    (!pg_is_up(r->pg) || pg_query(r->pg, r->report_sql, 0, NULL,
	    reported, r, &e) != 0))
		log_warn("no daily report: the database is not there", "");
	plan_report(r);
}

static void
reported(struct pg *pg, PGresult *res, void *arg)
{
	(void)pg;
	(void)arg;
	if (!pg_ok(res, "report"))
		return;
	for (int i = 0; i < PQntuples(res); i++)
		log_info("report of the last 24 hours", "queue=%s completed=%s "
		    "failed=%s dead=%s cancelled=%s lost=%s ready=%s "
		    "dead_letters=%s run_avg_ms=%s",
		    pg_text(res, i, 0), pg_text(res, i, 1), pg_text(res, i, 2),
		    pg_text(res, i, 3), pg_text(res, i, 4), pg_text(res, i, 5),
		    pg_text(res, i, 6), pg_text(res, i, 7), pg_text(res, i, 8));
}

static dbtime_us
wall_clock(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (dbtime_us)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}
