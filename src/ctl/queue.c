/*
 * jobqctl queue: list, show, pause, resume, drain.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "base/mono.h"
#include "core/units.h"
#include "ctl/ctl.h"
#include "ctl/out.h"

#define DRAIN_LOOK (200 * MONO_MS)	/* between two looks */

#define QUEUE_COLUMNS "name, CASE WHEN paused THEN 'paused' " \
    "WHEN NOT served THEN 'not served' ELSE 'open' END AS state, " \
    "ready, running, scheduled, blocked, retrying, completed, dead, cancelled, " \
    "workers"

static int act(struct ctl *, const char *name, const char *sql,
    const char *reason, const char *done);
static int show_workers(struct ctl *, const char *name);
static int drain_begin(struct ctl *, const char *name);
static int drain_look(struct ctl *, const char *name, char *left, size_t size);

int
queue_list(struct ctl *ctl, const struct args *a)
{
	PGresult *res;

	(void)a;
	res = ctl_query(ctl, ctl->json ?
	    "SELECT row_to_json(q) FROM jobq.queues q ORDER BY name" :
	    "SELECT " QUEUE_COLUMNS " FROM jobq.queues ORDER BY name", 0, NULL);
	return ctl_list(ctl, res, "no queues");
}

int
queue_show(struct ctl *ctl, const struct args *a)
{
	const char *params[] = { a->operands[0] };
	PGresult *res;

	res = ctl_query(ctl, ctl->json ?
	    "SELECT row_to_json(q) FROM jobq.queues q WHERE name = $1" :
	    "SELECT " QUEUE_COLUMNS ", pause_reason, "
	    SQL_TIME("oldest_ready_at") " AS oldest_ready_at "
	    "FROM jobq.queues WHERE name = $1", 1, params);
	if (res == NULL)
		return CTL_FAILED;
	if (PQntuples(res) == 0) {
		PQclear(res);
		return ctl_find_queue(ctl, params[0]);
	}
	ctl_one(ctl, res);
	return ctl->json ? CTL_DONE : show_workers(ctl, params[0]);
}

int
queue_pause(struct ctl *ctl, const struct args *a)
{
	const char *reason = args_get(a, "reason");

	return act(ctl, a->operands[0], "SELECT jobq.pause($1, $2)",
	    reason == NULL ? "" : reason, "paused");
}

int
queue_resume(struct ctl *ctl, const struct args *a)
{
	return act(ctl, a->operands[0], "SELECT jobq.resume($1)", NULL,
	    "resumed");
}

/*
 * Wait until nothing of the queue is ready or running. Jobs that wait for a
 * time, another job or their next attempt are not waited for, and producers
 * are not held up: who wants them to stop stops them first.
 */
int
queue_drain(struct ctl *ctl, const struct args *a)
{
	const char *name = a->operands[0], *timeout = args_get(a, "timeout");
	mono_t end = INT64_MAX;
	int64_t ms;
	char left[64];
	int status;

	if (timeout != NULL) {
		if (units_duration_ms(timeout, &ms) < 0)
			return ctl_misuse("queue drain: --timeout \"%s\" is no "
			    "duration such as 30s or 5m", timeout);
		end = mono_now() + ms * MONO_MS;
	}
	if ((status = drain_begin(ctl, name)) != CTL_DONE)
		return status;
	while ((status = drain_look(ctl, name, left, sizeof(left))) > 0) {
		if (mono_now() >= end)
			return ctl_fail("queue %s is not drained after %s: %s",
			    name, timeout, left);
		mono_sleep(DRAIN_LOOK);
	}
	if (status < 0)
		return CTL_FAILED;
	if (ctl->json)
		printf("{\"name\":\"%s\",\"drained\":true}\n", name);
	else
		printf("queue %s: drained\n", name);
	return CTL_DONE;
}

static int
act(struct ctl *ctl, const char *name, const char *sql, const char *reason,
    const char *done)
{
	const char *params[] = { name, reason };
	PGresult *res;
	struct err e;
	int status;

	if (ctl_connect(ctl) < 0)
		return CTL_FAILED;
	res = ctl_try(ctl, sql, reason == NULL ? 1 : 2, params, &e);
	if (res == NULL) {
		if ((status = ctl_find_queue(ctl, name)) != CTL_DONE)
			return status;
		return ctl_fail("%s", e.msg);
	}
	PQclear(res);
	if (ctl->json)
		printf("{\"name\":\"%s\",\"%s\":true}\n", name, done);
	else
		printf("queue %s: %s\n", name, done);
	return CTL_DONE;
}

static int
show_workers(struct ctl *ctl, const char *name)
{
	const char *params[] = { name };
	PGresult *res = ctl_query(ctl, "SELECT node, worker, pid, state, job_id, "
	    "jobs, rss_kb, " SQL_TIME("since") " AS since FROM jobq.workers "
	    "WHERE queue = $1 ORDER BY node, worker", 1, params);

	if (res == NULL)
		return CTL_FAILED;
	putchar('\n');
	out_table(res, "no workers");
	PQclear(res);
	return CTL_DONE;
}

/* What would make the wait endless is said at once. */
static int
drain_begin(struct ctl *ctl, const char *name)
{
	const char *params[] = { name };
	PGresult *res = ctl_query(ctl, "SELECT paused AND ready > 0, "
	    "NOT served AND ready > 0 FROM jobq.queues WHERE name = $1",
	    1, params);
	int status = CTL_DONE;

	if (res == NULL)
		return CTL_FAILED;
	if (PQntuples(res) == 0)
		status = ctl_find_queue(ctl, name);
	else if (*PQgetvalue(res, 0, 0) == 't')
		status = ctl_fail("queue %s is paused, so its jobs do not run; "
		    "\"jobqctl queue resume %s\" first", name, name);
	else if (*PQgetvalue(res, 0, 1) == 't')
		status = ctl_fail("no running jobqd serves queue %s, so its jobs "
		    "do not run", name);
	PQclear(res);
	return status;
}

/* 1: not yet, with what is left; 0: drained; -1: said why it failed. */
static int
drain_look(struct ctl *ctl, const char *name, char *left, size_t size)
{
	const char *params[] = { name };
	PGresult *res = ctl_query(ctl, "SELECT ready + running > 0, ready || "
	    "' ready, ' || running || ' running' FROM jobq.queues "
	    "WHERE name = $1", 1, params);
	int status;

	if (res == NULL)
		return -1;
	status = PQntuples(res) > 0 && *PQgetvalue(res, 0, 0) == 't';
	if (status > 0)
		strlcpy(left, PQgetvalue(res, 0, 1), size);
	PQclear(res);
	return status;
}
