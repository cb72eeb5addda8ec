/*
 * The monitor process, one a node. Says that the node is alive, gives back
 * the jobs of pools that are not (of any node), keeps the leases of workers that
 * outlived their leader until they are done, and runs the rounds (health
 * file, retention, statistics), the report and the alerts. It owns one
 * connection and never blocks; notices are sent by workers of its own (notify.c).
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "core/outcome.h"
#include "db/array.h"
#include "db/service.h"
#include "db/stmt.h"
#include "monitor/alert.h"
#include "monitor/monitor.h"
#include "monitor/notify.h"
#include "monitor/report.h"
#include "monitor/round.h"
#include "os/board.h"
#include "os/instance.h"

#define BEAT_US (10 * MONO_SECOND)
#define BEAT_MIN_US (250 * MONO_MS)

/* A pool of this node without a leader. */
struct orphan {
	LIST_ENTRY(orphan) link;
	int64_t pool;
	bool gone;		/* nobody is left of it: its jobs run again */
	bool reaping;		/* the statement is on its way */
	struct monitor *monitor;
};
LIST_HEAD(orphans, orphan);

struct monitor {
	struct service service;
	const struct conf *conf;
	struct timer *beat;
	struct round *round;
	struct notify *notify;
	struct report *report;
	struct alerts *alerts;
	struct orphans orphans;
	char *beat_sql, *keep_sql, *reap_sql, *overdue_sql, *end_sql;
	mono_t interval;		/* of the beat */
	bool beating;
	bool stopping;
};

static bool told(uint32_t type, struct msg_reader *, void *arg);
static bool given(uint32_t type, struct msg_reader *, int fd, void *arg);
static bool orphaned(struct monitor *, uint32_t type, struct msg_reader *);
static void stop(void *arg);
static void leave(void *arg);
static void up(void *arg);
static void down(const char *reason, void *arg);
static void beat(void *arg);
static void beaten(struct pg *, PGresult *, void *arg);
static void overdue(struct pg *, PGresult *, void *arg);
static void keep(struct monitor *);
static void kept(struct pg *, PGresult *, void *arg);
static void reap(struct orphan *);
static void reaped(struct pg *, PGresult *, void *arg);
static void monitor_init(struct monitor *, const struct conf *);
static void monitor_clear(struct monitor *);

int
monitor_main(const struct conf *conf)
{
	struct monitor m;

	monitor_init(&m, conf);
	service_run(&m.service);
	monitor_clear(&m);
	return 0;
}

/* Often enough that a lease is kept, and a lost one found, well within it. */
static mono_t
beat_interval(const struct conf *conf)
{
	mono_t shortest = BEAT_US;

	for (size_t i = 0; i < conf->nqueues; i++) {
		mono_t third = conf->queues[i].lease_ms * MONO_MS / 3;
		if (third < shortest)
			shortest = third;
	}
	return shortest > BEAT_MIN_US ? shortest : BEAT_MIN_US;
}

static void
monitor_init(struct monitor *m, const struct conf *conf)
{
	static const struct service_ops ops = {
		.name = "monitor", .message = told, .descriptor = given,
		.stop = stop, .up = up, .down = down,
	};
	const char *schema = conf->database.schema;

	*m = (struct monitor){ .conf = conf, .interval = beat_interval(conf) };
	LIST_INIT(&m->orphans);
	service_init(&m->service, conf, &ops, m);
	m->beat = timer_new(m->service.loop, beat, m);
	m->beat_sql = stmt_in_schema(
	    "SELECT s.pool, s.node, s.queue, s.jobs, "
	    "EXISTS (SELECT FROM jobq.pull p WHERE p.until < clock_timestamp()) "
	    "FROM jobq.node_beat($1, $2, $3) b "
	    "LEFT JOIN LATERAL jobq.reap_stale() s ON true", schema);
	m->keep_sql = stmt_in_schema("SELECT jobq.keep($1::bigint[])", schema);
	m->reap_sql = stmt_in_schema("SELECT jobq.reap($1::bigint)", schema);
	m->overdue_sql = stmt_in_schema("SELECT pool, job, attempt, queue, "
	    "type, worker, timed_out, cancelled, charged, crashes, max_attempts "
	    "FROM jobq.pull_overdue()", schema);
	m->end_sql = stmt_in_schema("SELECT jobq.pull_end($1, $2, $3, $4, $5, "
	    "$6, NULL, $7)", schema);
	m->notify = notify_new(conf, &m->service);
	m->report = report_new(conf, m->service.loop, m->service.pg, m->notify);
	m->round = round_new(conf, m->service.loop, m->service.pg);
	m->alerts = alerts_new(conf, m->service.loop, m->service.pg,
	    m->notify);
}

static void
monitor_clear(struct monitor *m)
{
	struct orphan *o;

	m->stopping = true;
	service_disconnect(&m->service);
	round_free(m->round);
	notify_free(m->notify);
	report_free(m->report);
	alerts_free(m->alerts);
	while ((o = LIST_FIRST(&m->orphans)) != NULL) {
		LIST_REMOVE(o, link);
		free(o);
	}
	timer_free(m->beat);
	service_clear(&m->service);
	free(m->beat_sql);
	free(m->keep_sql);
	free(m->reap_sql);
	free(m->overdue_sql);
	free(m->end_sql);
}

/*
 * The master
 */

static bool
heard(struct monitor *m, struct msg_reader *r)
{
	char *payload = msg_get_str(r);
	bool fine = payload != NULL && msg_end(r);

	if (fine)
		round_heard(m->round, payload);
	free(payload);
	return fine;
}

static bool
told(uint32_t type, struct msg_reader *r, void *arg)
{
	struct monitor *m = arg;

	if (type == MSG_ORPHANED || type == MSG_GONE)
		return orphaned(m, type, r);
	if (type == MSG_LOOKING) {
		round_listens(m->round, msg_get_u32(r) != 0);
		return msg_end(r);
	}
	if (type == MSG_HEARD)
		return heard(m, r);
	return notify_message(m->notify, type, r, -1);
}

static bool
given(uint32_t type, struct msg_reader *r, int fd, void *arg)
{
	struct monitor *m = arg;

	return notify_message(m->notify, type, r, fd);
}

/* What is on its way to people goes first. */
static void
stop(void *arg)
{
	struct monitor *m = arg;

	report_stop(m->report);
	alerts_stop(m->alerts);
	notify_stop(m->notify, m->service.stop_ms, leave, m);
}

static void
leave(void *arg)
{
	struct monitor *m = arg;

	service_leave(&m->service);
}

/* ORPHANED: a pool has lost its leader; GONE: its last worker, too. */
static bool
orphaned(struct monitor *m, uint32_t type, struct msg_reader *r)
{
	struct orphan *o;
	int64_t pool = msg_get_i64(r);

	if (!msg_end(r))
		return false;
	LIST_FOREACH(o, &m->orphans, link)
		if (o->pool == pool)
			break;
	if (o == NULL) {
		o = xcalloc(1, sizeof(*o));
		o->pool = pool;
		o->monitor = m;
		LIST_INSERT_HEAD(&m->orphans, o, link);
	}
	if (type == MSG_GONE) {
		o->gone = true;
		reap(o);
	} else if (pg_is_up(m->service.pg)) {
		keep(m);
	}
	return true;
}

/*
 * The connection
 */

static void
up(void *arg)
{
	struct monitor *m = arg;
	struct orphan *o;

	LIST_FOREACH(o, &m->orphans, link)
		if (o->gone)
			reap(o);
	timer_set(m->beat, 0);
	round_up(m->round);
	report_up(m->report);
	alerts_up(m->alerts);
}

static void
down(const char *reason, void *arg)
{
	struct monitor *m = arg;

	timer_stop(m->beat);
	round_down(m->round, reason);
	alerts_down(m->alerts, reason);
}

/*
 * Leases
 */

static void
beat(void *arg)
{
	struct monitor *m = arg;
	struct err e;

	timer_set(m->beat, m->interval);
	if (m->beating || !pg_is_up(m->service.pg))
		return;
	const char *params[] = { m->conf->daemon.node, instance_id(),
	    PACKAGE_VERSION };
	if (pg_query_often(m->service.pg, m->beat_sql, 3, params, beaten, m, &e) == 0)
		m->beating = true;
	keep(m);
}

static void
beaten(struct pg *pg, PGresult *res, void *arg)
{
	struct monitor *m = arg;
	struct err e;

	(void)pg;
	m->beating = false;
	if (res == NULL || m->stopping)
		return;
	if (PQresultStatus(res) != PGRES_TUPLES_OK) {
		pg_error(res, &e);
		log_warn("lost leases not looked for, will be tried again",
		    "reason=%s", e.msg);
		return;
	}
	for (int i = 0; i < PQntuples(res); i++)
		if (pg_text(res, i, 0) != NULL)
			log_warn("a pool has not renewed its leases; its jobs "
			    "run again", "pool=%s node=%s queue=%s jobs=%s",
			    pg_text(res, i, 0), pg_text(res, i, 1),
			    pg_text(res, i, 2), pg_text(res, i, 3));
	if (pg_true(res, 0, 4))
		pg_query(m->service.pg, m->overdue_sql, 0, NULL, overdue, m, &e);
	service_ready(&m->service);
}

/* A worker elsewhere did not renew its lease of a job, a row of overdue_sql. */
static void
end_lease(struct monitor *m, const PGresult *res, int row)
{
	const char *queue = pg_text(res, row, 3), *worker = pg_text(res, row, 5);
	const struct queue_conf *q = conf_queue(m->conf, queue);
	bool timed_out = pg_true(res, row, 6), cancelled = pg_true(res, row, 7);
	struct job job = { .charged = (int)pg_int(res, row, 8),
	    .crashes = (int)pg_int(res, row, 9),
	    .max_attempts = (int)pg_int(res, row, 10) };
	struct run_result result = { .retry_after_ms = -1,
	    .class = timed_out ? CLASS_TIMEOUT : CLASS_LOST };
	char outcome[16], class[16], delay[24], *why;
	struct decision d = { .outcome = cancelled ? OUTCOME_CANCELLED : OUTCOME_LOST };

	/* What runs too long counts by the policy: that is for a node to
	 * decide which has it. */
	if (!cancelled && timed_out && q == NULL)
		return;
	if (!cancelled && timed_out)
		d = outcome_decide(conf_policy(q, pg_int(res, row, 1)), &job, &result,
		    (double)arc4random() / 4294967296.0);
	why = xasprintf(timed_out ? "the worker %s took longer than its time-out" :
	    "the worker %s did not renew its lease", worker);
	snprintf(outcome, sizeof(outcome), "%d", (int)d.outcome);
	snprintf(class, sizeof(class), "%d", (int)result.class);
	snprintf(delay, sizeof(delay), "%" PRId64, d.delay_ms);
	const char *params[] = { pg_text(res, row, 0), pg_text(res, row, 1),
	    pg_text(res, row, 2), outcome, class, why,
	    d.outcome == OUTCOME_FAILED ? delay : NULL };
	log_warn("lease of a worker elsewhere is over", "id=%s queue=%s "
	    "worker=%s class=%s", params[1], queue, worker,
	    job_class_name(result.class));
	if (pg_query(m->service.pg, m->end_sql, 7, params, NULL, NULL, NULL) == 0)
		board_finished(board_queue(queue), pg_text(res, row, 4),
		    (enum board_outcome)(d.outcome - OUTCOME_COMPLETED));
	free(why);
}

static void
overdue(struct pg *pg, PGresult *res, void *arg)
{
	struct monitor *m = arg;

	(void)pg;
	if (m->stopping || !pg_ok(res, "pull_overdue"))
		return;
	for (int row = 0; row < PQntuples(res); row++)
		end_lease(m, res, row);
}

static void
keep(struct monitor *m)
{
	struct array pools = { 0 };
	struct orphan *o;
	struct err e;

	LIST_FOREACH(o, &m->orphans, link)
		if (!o->gone)
			array_int(&pools, o->pool);
	const char *params[] = { array_close(&pools) };
	if (pools.count > 0)
		pg_query(m->service.pg, m->keep_sql, 1, params, kept, m, &e);
	array_clear(&pools);
}

static void
kept(struct pg *pg, PGresult *res, void *arg)
{
	struct err e;

	(void)pg;
	(void)arg;
	if (res == NULL || PQresultStatus(res) == PGRES_TUPLES_OK)
		return;
	pg_error(res, &e);
	log_warn("leases of a dead leader's workers not kept, will be tried "
	    "again", "reason=%s", e.msg);
}

static void
reap(struct orphan *o)
{
	struct monitor *m = o->monitor;
	char pool[24];
	struct err e;

	snprintf(pool, sizeof(pool), "%" PRId64, o->pool);
	const char *params[] = { pool };
	if (!o->reaping && pg_query(m->service.pg, m->reap_sql, 1, params, reaped, o,
	    &e) == 0)
		o->reaping = true;
}

static void
reaped(struct pg *pg, PGresult *res, void *arg)
{
	struct orphan *o = arg;
	struct err e;

	(void)pg;
	o->reaping = false;
	/* Lost on the way: again when the connection is back; a pool that is
	 * gone already has no jobs. */
	if (res == NULL)
		return;
	if (PQresultStatus(res) == PGRES_TUPLES_OK) {
		log_info("pool of a dead leader closed", "pool=%jd jobs=%jd",
		    (intmax_t)o->pool, (intmax_t)pg_int(res, 0, 0));
	} else {
		pg_error(res, &e);
		log_error("pool of a dead leader not closed; its jobs run "
		    "again when its lease has run out", "pool=%jd reason=%s",
		    (intmax_t)o->pool, e.msg);
	}
	LIST_REMOVE(o, link);
	free(o);
}
