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
#include "db/array.h"
#include "db/service.h"
#include "db/stmt.h"
#include "monitor/gauges.h"
#include "monitor/health.h"
#include "monitor/round.h"
#include "os/board.h"
#include "os/instance.h"

/* A queue without workers this long after the start is a fault; before, they
 * are on their way. */
#define SETTLE_US (30 * MONO_SECOND)
/* The second round comes soon: by then the first workers are there. */
#define SECOND_US (5 * MONO_SECOND)

struct round {
	const struct conf *conf;
	struct pg *pg;
	struct timer *interval;		/* the next round */
	struct timer *statistics;
	char *health_sql, *maintain_sql, *statistics_sql;
	struct gauges *gauges;
	const char *channel;		/* NULL: a pooler lets nobody listen */
	char *probe;			/* the payload of our notifications */
	char *problems;			/* as the log knows them, a line each; NULL: none */
	mono_t started;
	mono_t asked;			/* when the health statement was sent */
	dbtime_us asked_at;		/* the same by this host's clock */
	unsigned busy;			/* statements of a round not yet answered */
	bool taking;			/* statistics are on their way */
	char down[512];			/* why there is no database; "": no reason known */
	bool begun;			/* the first round was */
	bool listens;			/* the scheduler does, for this node */
	bool probed;			/* since before the last notification was sent … */
	bool heard;			/* … and it has come */
	int64_t server_pid;		/* that did the last one; 0: not known */
	bool wanders;			/* another did it than before, on one connection */
	bool file_failed;		/* said once until it works again */
};

static void interval(void *arg);
static void statistics(void *arg);
static void ask_health(struct round *);
static void health_read(struct pg *, PGresult *, void *arg);
static void write_health(struct round *, const struct health *);
static void tell_health(const struct health *, int64_t ready, int64_t running);
static void tell_problems(struct round *, const struct health *);
static void tell_new(const char *problems, const char *known, bool begins);
static void maintained(struct pg *, PGresult *, void *arg);
static void statistics_taken(struct pg *, PGresult *, void *arg);
static dbtime_us wall_clock(void);

#define HEALTH_COLUMNS \
    "queues, schedules, alerts, dead_letters, no_workers, " \
    "current_setting('server_version'), ready, running, problems, " \
    "pg_backend_pid(), jobq.us(clock_timestamp())"
#define HEALTH_FROM \
    " FROM jobq.health($1::text[], $2::int, $3::boolean)"
static const char health_statement[] = "SELECT " HEALTH_COLUMNS HEALTH_FROM;
static const char probing_statement[] =
    "SELECT " HEALTH_COLUMNS ", pg_notify($4, $5)" HEALTH_FROM;

struct round *
round_new(const struct conf *conf, struct loop *loop, struct pg *pg)
{
	struct round *r = xcalloc(1, sizeof(*r));
	const char *schema = conf->database.schema;

	r->conf = conf;
	r->pg = pg;
	r->started = mono_now();
	r->interval = timer_new(loop, interval, r);
	r->statistics = timer_new(loop, statistics, r);
	if (!conf->database.pooler_transaction)
		r->channel = conf->database.schema;
	r->probe = xasprintf("*monitor %s", instance_id());
	r->health_sql = stmt_in_schema(r->channel != NULL ? probing_statement :
	    health_statement, schema);
	r->maintain_sql = stmt_in_schema(
	    "SELECT line FROM jobq.maintain($1::bigint, $2::int) AS line",
	    schema);
	r->statistics_sql = stmt_in_schema("SELECT rows, again_ms FROM "
	    "jobq.statistics_take($1::bigint * interval '1 ms')", schema);
	r->gauges = gauges_new(conf, pg);
	return r;
}

void
round_free(struct round *r)
{
	if (r == NULL)
		return;
	timer_free(r->interval);
	timer_free(r->statistics);
	gauges_free(r->gauges);
	free(r->health_sql);
	free(r->maintain_sql);
	free(r->statistics_sql);
	free(r->probe);
	free(r->problems);
	free(r);
}

void
round_up(struct round *r)
{
	r->down[0] = '\0';
	r->probed = r->wanders = false;
	r->server_pid = 0;
	timer_set(r->interval, 0);
	/* Not at once: who waited for the database first tells what ended
	 * meanwhile. */
	timer_set(r->statistics, SECOND_US);
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
			.database_latency_us = -1, .disk_free = -1,
			.database_error = r->down[0] != '\0' ? r->down :
			    "not connected",
		};
		write_health(r, &h);
		gauges_down(r->gauges);
		tell_health(&h, -1, -1);
		return;
	}
	r->begun = true;
	gauges_read(r->gauges);
	/* The round before still runs: do not pile up on a slow database. */
	if (r->busy > 0)
		return;
	ask_health(r);
	char keep_size[24];
	snprintf(keep_size, sizeof(keep_size), "%" PRId64,
	    r->conf->monitor.keep_size);
	const char *steps[][2] = { { keep_size, "1" }, { keep_size, "2" } };
	for (size_t i = 0; i < 2; i++)
		if (pg_query(r->pg, r->maintain_sql, 2, steps[i], maintained, r,
		    &e) == 0)
			r->busy++;
}

void
round_listens(struct round *r, bool yes)
{
	r->listens = yes;
	if (!yes)
		r->probed = false;
}

void
round_heard(struct round *r, const char *payload)
{
	if (strcmp(payload, r->probe) == 0)
		r->heard = true;
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
	char pid[16];
	snprintf(pid, sizeof(pid), "%d", pg_client_pid(r->pg));
	/* A pooler of transactions is as configured, not a finding. */
	const char *params[] = { array_close(&names),
	    r->channel != NULL ? pid : NULL,
	    !r->probed ? NULL : r->heard && !r->wanders ? "t" : "f",
	    r->channel, r->probe };
	r->asked = mono_now();
	r->asked_at = wall_clock();
	r->heard = false;
	r->probed = r->channel != NULL && r->listens;
	if (pg_query(r->pg, r->health_sql, r->channel != NULL ? 5 : 3, params,
	    health_read, r, &e) == 0)
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
		.database_latency_us = mono_now() - r->asked, .disk_free = -1,
	};
	const char *embedded = r->conf->database.embedded;

	(void)pg;
	r->busy--;
	if (res == NULL)
		return;
	if (PQresultStatus(res) != PGRES_TUPLES_OK || PQntuples(res) != 1) {
		r->probed = false;
		pg_error(res, &e);
		log_warn("health not read", "reason=%s", e.msg);
		h.database_up = false;
		h.database_error = e.msg;
		write_health(r, &h);
		return;
	}
	if (r->server_pid != 0 && r->server_pid != pg_int(res, 0, 9))
		r->wanders = true;
	r->server_pid = pg_int(res, 0, 9);
	/* It was said some time between our question and now. */
	dbtime_us said = pg_int(res, 0, 10);
	if (said < r->asked_at)
		h.clock_ahead_us = r->asked_at - said;
	else if (said > h.at)
		h.clock_ahead_us = h.at - said;
	h.queues = pg_text(res, 0, 0);
	h.schedules = pg_text(res, 0, 1);
	h.alerts = pg_text(res, 0, 2);
	h.dead_letters = pg_int(res, 0, 3);
	if (mono_now() - r->started > SETTLE_US)
		h.no_workers = pg_text(res, 0, 4);
	h.database_version = pg_text(res, 0, 5);
	h.problems = pg_text(res, 0, 8);
	if (embedded != NULL && *embedded != '\0')
		h.disk_free = health_disk_free(embedded);
	write_health(r, &h);
	tell_health(&h, pg_int(res, 0, 6), pg_int(res, 0, 7));
	tell_problems(r, &h);
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

/* One line that sums it up. */
static void
tell_health(const struct health *h, int64_t ready, int64_t running)
{
	struct buf lines = { 0 }, subjects = { 0 };
	const char *rest, *line;
	size_t len, subject;

	health_problems(&lines, h);
	rest = lines.data;
	while ((line = health_problem(&rest, &len, &subject)) != NULL) {
		if (subjects.len > 0)
			buf_str(&subjects, ", ");
		buf_put(&subjects, line, subject);
	}
	log_info("health", "healthy=%s ready=%jd running=%jd dead_letters=%jd "
	    "problems=%s", health_good(h) ? "true" : "false", (intmax_t)ready,
	    (intmax_t)running, (intmax_t)h->dead_letters, subjects.data);
	buf_clear(&lines);
	buf_clear(&subjects);
}

/* In full when they come, and a word when they are over. */
static void
tell_problems(struct round *r, const struct health *h)
{
	struct buf now = { 0 };

	health_problems(&now, h);
	tell_new(now.data, r->problems, true);
	tell_new(r->problems, now.data, false);
	free(r->problems);
	r->problems = now.data;
}

/* Tell each of the problems whose subject is not among the known ones. */
static void
tell_new(const char *problems, const char *known, bool begins)
{
	const char *line, *other, *rest;
	size_t len, subject, other_len, other_subject;

	while ((line = health_problem(&problems, &len, &subject)) != NULL) {
		rest = known;
		while ((other = health_problem(&rest, &other_len,
		    &other_subject)) != NULL)
			if (other_subject == subject &&
			    memcmp(other, line, subject) == 0)
				break;
		if (other != NULL)
			continue;
		char *text = xasprintf("%.*s", (int)(begins ? len : subject),
		    line);
		if (begins)
			log_warn("problem", "what=%s", text);
		else
			log_info("problem over", "subject=%s", text);
		free(text);
	}
}

/*
 * Retention, statistics
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

static dbtime_us
wall_clock(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (dbtime_us)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}
