/*
 * The scheduler process, one a node. Its one statement, jobq.tick(), keeps the
 * lease of the cluster's leader or takes it over, moves the timers that are
 * due (the leader only) and looks for jobs in the idle queues of this node,
 * which spares their leaders a poll each; every few seconds it renews their
 * pools, which spares them a beat each. It comes once a second, and less often,
 * looking less often still, when the database is calm: no transaction is left
 * that could make a job ready and not say so. Between ticks it sleeps until
 * exactly the next timer or schedule. It never blocks, and owns one connection,
 * beside that which listens and that of the schedules' own SQL (fire.c).
 *
 * It also hears for the whole node what the database notifies, and the master
 * passes it on: a server wakes every session that listens for every
 * notification, so there is one a node, and not one a queue.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "db/array.h"
#include "db/service.h"
#include "db/stmt.h"
#include "os/instance.h"
#include "os/proc.h"
#include "sched/fire.h"
#include "sched/sched.h"

#define TICK_US MONO_SECOND
#define CALM_US (2500 * MONO_MS)	/* so that LEASE_US outlasts it by far */
#define LOOK_US (10 * MONO_SECOND)	/* while calm, and no look is needed */
#define TICK_MIN_US (20 * MONO_MS)	/* however short a queue's poll is */
#define DUE_BATCH 1000			/* timers moved by one tick */
#define RESIGN_US (500 * MONO_MS)	/* for handing over the lead at the end */

struct queue {
	const struct queue_conf *conf;
	int64_t id;			/* in the database; 0: not known */
	bool idle;			/* its leader sleeps and wants to be woken */
	bool pulled;			/* workers elsewhere wait for its jobs */
	int64_t pool;			/* … and this renewed */
};

struct sched {
	struct service service;
	const struct conf *conf;
	struct fire *fire;
	struct timer *wake;
	struct timer *deadline;		/* of the resignation */
	char *tick_sql, *queues_sql, *resign_sql;
	struct queue *queues;
	size_t nqueues;
	int64_t offset;			/* database's clock less the local one */
	mono_t tick_at;			/* the next tick at the latest */
	mono_t sent;			/* the tick in flight was */
	mono_t renewed;			/* the last one that renewed pools was sent */
	bool renews;			/* the one in flight does */
	mono_t looked;			/* the last one that looked was sent */
	mono_t due;			/* the earliest timer, as local time */
	bool ticking, again;		/* one in flight; another right after it */
	bool leader;
	mono_t vacant;			/* when the lead of another runs out */
	/* As tick() has it, to be given back to it; 0: null. */
	int64_t since;
	bool calm;
	bool roused;			/* what is in flight knows too little for it */
	bool listened;			/* when what is in flight was sent, and since */
	bool hears;			/* the master knows that we listen and look */
	bool unseen;			/* something, by any look until now */
	int64_t next_due;		/* µs; as the leader's last look told it, else -1 */
	bool asking, known;		/* the ids of the queues */
	bool stopping;
	char complaint[256];		/* the last tick's error, said once */
	struct buf body;		/* of the message being made */
};

static bool told(uint32_t type, struct msg_reader *, void *arg);
static void up(void *arg);
static void down(const char *reason, void *arg);
static void hears(bool yes, void *arg);
static void notified(const char *payload, void *arg);
static void queues_read(struct pg *, PGresult *, void *arg);
static void rouse(struct sched *);
static void woken(void *arg);
static void arm(void *arg);
static void tick(struct sched *);
static void ticked(struct pg *, PGresult *, void *arg);
static void tick_failed(struct sched *, const PGresult *);
static void lead(struct sched *, bool leader);
static void tell(struct sched *, enum msg_type);
static void tell_hears(struct sched *, bool);
static void tell_found(struct sched *, const struct queue *, bool looked);
static void found(struct sched *, const char *ids);
static void stop(void *arg);
static void leave(void *arg);
static void sched_init(struct sched *, const struct conf *);
static void sched_clear(struct sched *);

int
sched_main(const struct conf *conf)
{
	struct sched s;

	sched_init(&s, conf);
	service_run(&s.service);
	sched_clear(&s);
	return 0;
}

static void
sched_init(struct sched *s, const struct conf *conf)
{
	static const struct service_ops ops = {
		.name = "scheduler", .message = told, .stop = stop, .up = up,
		.down = down, .notify = notified, .hears = hears,
	};
	const char *schema = conf->database.schema;

	*s = (struct sched){ .conf = conf, .due = INT64_MAX, .vacant = INT64_MAX };
	service_init(&s->service, conf, &ops, s);
	s->wake = timer_new(s->service.loop, woken, s);
	s->deadline = timer_new(s->service.loop, leave, s);
	s->tick_sql = stmt_in_schema("SELECT leader, now_us, moved, "
	    "next_due_us, ready, until_us, since, calm, schedules "
	    "FROM jobq.tick($1, $2, $3, $4, $5, $6, $7, $8)", schema);
	s->queues_sql = stmt_in_schema(
	    "SELECT id, name FROM jobq.queue WHERE name = ANY ($1::text[])",
	    schema);
	s->resign_sql = stmt_in_schema("SELECT jobq.resign($1, $2)", schema);
	s->queues = xcalloc(conf->nqueues + 1, sizeof(*s->queues));
	for (size_t i = 0; i < conf->nqueues; i++)
		if (conf->queues[i].enabled)
			s->queues[s->nqueues++].conf = &conf->queues[i];
	s->fire = fire_new(conf, s->service.loop, s->service.pg, arm, s);
}

static void
sched_clear(struct sched *s)
{
	s->stopping = true;
	service_disconnect(&s->service);
	fire_free(s->fire);
	timer_free(s->wake);
	timer_free(s->deadline);
	service_clear(&s->service);
	buf_clear(&s->body);
	free(s->tick_sql);
	free(s->queues_sql);
	free(s->resign_sql);
	free(s->queues);
}

/*
 * The master
 */

/* IDLE, PULLS: whether to look for a queue, and for whom. */
static bool
told(uint32_t type, struct msg_reader *r, void *arg)
{
	struct sched *s = arg;
	bool idle = type == MSG_IDLE;
	char *name = idle || type == MSG_PULLS ? msg_get_str(r) : NULL;
	bool yes = name != NULL && msg_get_u32(r) != 0;
	int64_t pool = name != NULL && idle ? msg_get_i64(r) : 0;

	if (name == NULL || !msg_end(r)) {
		free(name);
		return false;
	}
	for (size_t i = 0; i < s->nqueues; i++) {
		struct queue *q = &s->queues[i];

		if (*name != '\0' && strcmp(q->conf->name, name) != 0)
			continue;
		if (idle) {
			q->idle = yes;
			q->pool = pool;
		} else {
			q->pulled = yes;
		}
	}
	free(name);
	rouse(s);
	return true;
}

/* Does anybody sleep who is to be told of its jobs? */
static bool
is_awaited(const struct queue *q)
{
	return q->idle || q->pulled;
}

/*
 * The connection
 */

/* Ask for the queues' ids, until they are known: no id, no look. */
static void
ask_queues(struct sched *s)
{
	struct array names = { 0 };

	for (size_t i = 0; i < s->nqueues; i++)
		array_text(&names, s->queues[i].conf->name);
	const char *params[] = { array_close(&names) };
	s->asking = pg_query(s->service.pg, s->queues_sql, 1, params,
	    queues_read, s, NULL) == 0;
	array_clear(&names);
}

static void
up(void *arg)
{
	struct sched *s = arg;

	s->known = false;
	rouse(s);
	ask_queues(s);
	fire_up(s->fire);
	tick(s);
}

static void
down(const char *reason, void *arg)
{
	struct sched *s = arg;

	(void)reason;
	s->ticking = false;
	tell_hears(s, false);
	fire_down(s->fire);
	lead(s, false);
	timer_stop(s->wake);
	if (s->stopping)
		service_leave(&s->service);
}

static void
hears(bool yes, void *arg)
{
	struct sched *s = arg;

	if (!yes) {
		s->listened = false;
		tell_hears(s, false);
	}
	rouse(s);
	if (yes && pg_is_up(s->service.pg))
		tick(s);
}

/* The name of a queue that has a ready job, and of others:
 * '*due': somebody has set a timer earlier than the one slept for.
 * '*awake': some queue's jobs are not notified any more.
 * '*schedules': there are other schedules, as the tick will say.
 * What else begins like that is for leaders or the monitor. */
static void
notified(const char *payload, void *arg)
{
	struct sched *s = arg;

	if (*payload != '*') {
		for (size_t i = 0; i < s->nqueues; i++)
			if (strcmp(s->queues[i].conf->name, payload) == 0)
				tell_found(s, &s->queues[i], false);
	} else if (strcmp(payload, "*due") == 0) {
		s->unseen = true;
		if (s->leader)
			tick(s);
	} else if (strcmp(payload, "*awake") == 0) {
		rouse(s);
	} else if (strcmp(payload, "*schedules") == 0) {
		tick(s);
	} else {
		msg_put_str(&s->body, payload);
		tell(s, MSG_HEARD);
	}
}

static void
queues_read(struct pg *pg, PGresult *res, void *arg)
{
	struct sched *s = arg;
	struct err e;

	(void)pg;
	s->asking = false;
	if (res == NULL)
		return;
	if (PQresultStatus(res) != PGRES_TUPLES_OK) {
		pg_error(res, &e);
		log_warn("cannot read the queues, will be tried again",
		    "reason=%s", e.msg);
		return;
	}
	s->known = true;
	for (int i = 0; i < PQntuples(res); i++)
		for (size_t k = 0; k < s->nqueues; k++)
			if (strcmp(s->queues[k].conf->name,
			    pg_text(res, i, 1)) == 0)
				s->queues[k].id = pg_int(res, i, 0);
}

/*
 * Ticks
 */

/* Who sleeps has changed: tick each second until the database is calm. */
static void
rouse(struct sched *s)
{
	s->calm = false;
	s->roused = true;
	s->since = 0;
	arm(s);
}

/* How long the next tick may be away. */
static mono_t
interval(const struct sched *s)
{
	mono_t shortest = TICK_US;

	if (s->calm)
		return CALM_US;
	for (size_t i = 0; i < s->nqueues; i++) {
		mono_t poll = s->queues[i].conf->poll_ms * MONO_MS;
		if (is_awaited(&s->queues[i]) && poll < shortest)
			shortest = poll;
	}
	return shortest > TICK_MIN_US ? shortest : TICK_MIN_US;
}

/* When the idle pools must be renewed: after a third of the shortest lease. */
static mono_t
renew_at(const struct sched *s)
{
	mono_t shortest = INT64_MAX;

	for (size_t i = 0; i < s->nqueues; i++) {
		mono_t third = s->queues[i].conf->lease_ms * MONO_MS / 3;
		if (s->queues[i].idle && third < shortest)
			shortest = third;
	}
	return shortest < INT64_MAX ? s->renewed + shortest : shortest;
}

/* When the next tick is due, if none is in flight. */
static mono_t
next_tick(const struct sched *s)
{
	mono_t at = s->sent + interval(s);
	/* Not at once again when the one before did not do it. */
	mono_t early = renew_at(s) < s->vacant ? renew_at(s) : s->vacant;

	if (early < s->sent + TICK_MIN_US)
		early = s->sent + TICK_MIN_US;
	if (early < at)
		at = early;
	if (s->tick_at < at)
		at = s->tick_at;
	return s->due < at ? s->due : at;
}

/* Sleep until the first of: the next tick, the next timer, the next schedule. */
static void
arm(void *arg)
{
	struct sched *s = arg;
	mono_t now = mono_now(), at = INT64_MAX;

	if (s->stopping || !pg_is_up(s->service.pg))
		return;
	if (!s->ticking)
		at = next_tick(s);
	dbtime_us next = fire_next(s->fire);
	if (next != INT64_MAX && next - s->offset < at)
		at = next - s->offset;
	if (at != INT64_MAX)
		timer_set(s->wake, at > now ? at - now : 0);
	else
		timer_stop(s->wake);
}

static void
woken(void *arg)
{
	struct sched *s = arg;
	mono_t now = mono_now();

	fire_run(s->fire, now + s->offset);
	if (!s->ticking && now >= next_tick(s))
		tick(s);
	arm(s);
}

static void
tick(struct sched *s)
{
	struct array ids = { 0 }, pools = { 0 };
	char ttl[24], batch[24], since[24];
	struct err e;
	mono_t now = mono_now();
	bool looks = !s->calm || s->unseen || now >= s->looked + LOOK_US || now >= s->due;

	if (s->stopping)
		return;
	if (s->ticking) {
		s->again = true;
		return;
	}
	if (!s->known && !s->asking)
		ask_queues(s);
	for (size_t i = 0; i < s->nqueues; i++) {
		if (is_awaited(&s->queues[i]) && s->queues[i].id != 0)
			array_int(&ids, s->queues[i].id);
		if (s->queues[i].idle && s->queues[i].pool != 0)
			array_int(&pools, s->queues[i].pool);
	}
	s->renews = pools.count > 0 && now >= renew_at(s);
	snprintf(ttl, sizeof(ttl), "%" PRId64, LEASE_US / 1000);
	snprintf(batch, sizeof(batch), "%d", DUE_BATCH);
	snprintf(since, sizeof(since), "%" PRId64, s->since);
	const char *params[] = { s->conf->daemon.node, instance_id(), ttl,
	    array_close(&ids), batch,
	    s->renews ? array_close(&pools) : NULL,
	    s->since > 0 ? since : NULL, looks ? "t" : "f" };
	s->sent = now;
	if (looks)
		s->looked = now;
	s->tick_at = INT64_MAX;
	s->again = s->roused = false;
	s->listened = service_hears(&s->service);
	if (pg_query_often(s->service.pg, s->tick_sql, 8, params, ticked, s, &e) == 0)
		s->ticking = true;
	array_clear(&ids);
	array_clear(&pools);
}

static void
ticked(struct pg *pg, PGresult *res, void *arg)
{
	struct sched *s = arg;

	(void)pg;
	s->ticking = false;
	if (res == NULL || s->stopping)
		return;
	if (PQresultStatus(res) != PGRES_TUPLES_OK || PQntuples(res) != 1) {
		tick_failed(s, res);
		arm(s);
		return;
	}
	mono_t now = mono_now();
	dbtime_us now_us = pg_int(res, 0, 1);
	bool moved = pg_int(res, 0, 2) > 0;

	s->complaint[0] = '\0';
	if (s->renews)
		s->renewed = s->sent;
	/* The answer was on its way for a while: the local idea of the
	 * database's time is late rather than early, so nothing fires before its instant. */
	s->offset = now_us - now;
	lead(s, pg_true(res, 0, 0));
	s->vacant = pg_int(res, 0, 5) > 0 ? pg_int(res, 0, 5) - s->offset :
	    INT64_MAX;
	int64_t next_due = PQgetisnull(res, 0, 2) ? s->next_due : pg_int(res, 0, 3);
	/* Who began before the tick has read another due time and may have
	 * kept silent. */
	if (s->leader && next_due != s->next_due)
		s->roused = true;
	s->next_due = next_due;
	s->since = s->roused ? 0 : pg_int(res, 0, 6);
	s->calm = !s->roused && s->listened && pg_true(res, 0, 7);
	s->due = s->leader && next_due > 0 ? next_due - s->offset : INT64_MAX;
	/* Due and not moved: somebody else is just moving it. */
	if (!moved && s->due < now + TICK_MIN_US)
		s->due = now + TICK_MIN_US;
	/* What was moved is seen only by a look that begins after this tick. The
	 * lead may have come with a tick that was not to look. */
	s->unseen = moved || s->again || (s->leader && s->next_due < 0);
	if (s->unseen)
		s->tick_at = now;
	found(s, pg_text(res, 0, 4));
	tell_hears(s, s->listened);
	fire_tick(s->fire, now_us, s->leader, pg_int(res, 0, 8));
	fire_run(s->fire, now_us);
	service_ready(&s->service);
	arm(s);
}

static void
tick_failed(struct sched *s, const PGresult *res)
{
	struct err e = { .msg = "no answer" };

	pg_error(res, &e);
	s->due = s->vacant = INT64_MAX;
	lead(s, false);
	rouse(s);
	if (strncmp(s->complaint, e.msg, sizeof(s->complaint) - 1) == 0)
		return;
	log_warn("scheduler cannot work, will be tried again", "reason=%s",
	    e.msg);
	strlcpy(s->complaint, e.msg, sizeof(s->complaint));
}

static void
lead(struct sched *s, bool leader)
{
	if (leader == s->leader)
		return;
	s->leader = leader;
	s->due = INT64_MAX;
	s->next_due = -1;
	proc_title(leader ? "jobqd: scheduler (leader)" : "jobqd: scheduler");
	if (leader)
		log_info("scheduler leads", "node=%s", s->conf->daemon.node);
	else
		log_info("scheduler no longer leads", "node=%s",
		    s->conf->daemon.node);
}

static void
tell(struct sched *s, enum msg_type type)
{
	if (s->service.master != NULL)
		chan_send(s->service.master, type, s->body.data, s->body.len, -1);
	buf_reset(&s->body);
}

/* Yes: after a tick that looked since we listen, so nobody is missed who sleeps. */
static void
tell_hears(struct sched *s, bool hears)
{
	if (s->hears == hears)
		return;
	s->hears = hears;
	msg_put_u32(&s->body, hears);
	tell(s, MSG_LOOKING);
}

static void
tell_found(struct sched *s, const struct queue *q, bool looked)
{
	msg_put_str(&s->body, q->conf->name);
	msg_put_u32(&s->body, looked);
	msg_put_u32(&s->body, q->pulled);
	tell(s, MSG_FOUND);
}

/* '{1,2}': ids of queues that have ready jobs. */
static void
found(struct sched *s, const char *ids)
{
	while (ids != NULL && (*ids == '{' || *ids == ',')) {
		char *end;
		long id = strtol(ids + 1, &end, 10);
		if (end == ids + 1)
			return;
		for (size_t i = 0; i < s->nqueues; i++)
			if (s->queues[i].id == id && is_awaited(&s->queues[i]))
				tell_found(s, &s->queues[i], true);
		ids = end;
	}
}

/*
 * The end
 */

/* Hand over the lead, so that nobody has to wait for the lease to run out. */
static void
resigned(struct pg *pg, PGresult *res, void *arg)
{
	(void)pg;
	(void)res;
	leave(arg);
}

static void
stop(void *arg)
{
	struct sched *s = arg;
	const char *params[] = { s->conf->daemon.node, instance_id() };
	struct err e;

	if (s->stopping)
		return;
	s->stopping = true;
	timer_stop(s->wake);
	if (!s->leader ||
	    pg_query(s->service.pg, s->resign_sql, 2, params, resigned, s, &e) != 0)
		service_leave(&s->service);
	else
		timer_set(s->deadline, RESIGN_US);
}

static void
leave(void *arg)
{
	struct sched *s = arg;

	service_leave(&s->service);
}
