/*
 * jobqctl queue: list, show, pause, resume, drain, clear, clean, remove,
 * compare; jobqctl capacity.
 */
#include "config.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/mono.h"
#include "core/units.h"
#include "ctl/ctl.h"
#include "ctl/out.h"

#define DRAIN_LOOK (200 * MONO_MS)	/* between two looks */

#define QUEUE_COLUMNS "name, CASE WHEN paused THEN 'paused' " \
    "WHEN NOT served THEN 'not served' WHEN holds > 0 THEN 'partly paused' " \
    "ELSE 'open' END AS state, " \
    "ready, running, scheduled, blocked, retrying, completed, dead, cancelled, " \
    "workers"

static const char *name_or_all(const struct args *, const char *command);
static int act(struct ctl *, const struct args *, const char *sql, int nparams,
    const char *const *params, const char *done);
static void say_part(struct buf *, const struct args *, const char *name,
    bool json);
static int show_holds(struct ctl *, const char *name);
static int show_workers(struct ctl *, const char *name);
static int show_breakers(struct ctl *, const char *name);
static int drain_begin(struct ctl *, const char *name, bool forever);
static int drain_look(struct ctl *, const char *name, char *left, size_t size);
static int plan(struct ctl *, const char *sql, int nparams,
    const char *const *params, PGresult **pieces, long *count);
static int carry_out(struct ctl *, const char *name, PGresult *pieces,
    const char *sql, const char *done);
static bool confirm(const struct args *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static int named(struct ctl *, const char *name, const struct err *);

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
	    "SELECT to_jsonb(q) || jsonb_build_object('held', "
	    "(SELECT coalesce(jsonb_agg(h), '[]') FROM jobq.holds h "
	    "WHERE coalesce(h.queue, q.name) = q.name), 'breakers', "
	    "(SELECT coalesce(jsonb_agg(b ORDER BY b.destination), '[]') "
	    "FROM jobq.breakers b WHERE b.queue = q.name)) "
	    "FROM jobq.queues q WHERE name = $1" :
	    "SELECT " QUEUE_COLUMNS ", "
	    SQL_TIME("oldest_ready_at") " AS oldest_ready_at "
	    "FROM jobq.queues WHERE name = $1", 1, params);
	if (res == NULL)
		return CTL_FAILED;
	if (PQntuples(res) == 0) {
		PQclear(res);
		return ctl_find_queue(ctl, params[0]);
	}
	ctl_one(ctl, res);
	if (ctl->json)
		return CTL_DONE;
	if (show_holds(ctl, params[0]) != CTL_DONE)
		return CTL_FAILED;
	if (show_workers(ctl, params[0]) != CTL_DONE)
		return CTL_FAILED;
	return show_breakers(ctl, params[0]);
}

int
queue_pause(struct ctl *ctl, const struct args *a)
{
	const char *name = name_or_all(a, "queue pause");
	const char *reason = args_get(a, "reason"), *rest = args_get(a, "for");
	const char *params[] = {
		name, reason == NULL ? "" : reason, args_get(a, "until"), NULL,
		args_get(a, "type"), args_get(a, "tenant"),
	};
	char ms_text[24];
	int64_t ms;

	if (name == NULL)
		return CTL_USAGE;
	if (rest != NULL && params[2] != NULL)
		return ctl_misuse("queue pause: --for or --until, not both");
	if (rest != NULL) {
		if (units_duration_ms(rest, &ms) < 0 || ms == 0)
			return ctl_misuse("queue pause: --for \"%s\" is no "
			    "duration such as 30s or 5m", rest);
		snprintf(ms_text, sizeof(ms_text), "%lld", (long long)ms);
		params[3] = ms_text;
	}
	return act(ctl, a, "SELECT jobq.pause($1, $2, coalesce($3::timestamptz, "
	    "now() + $4::bigint * interval '1 ms'), $5, $6)", 6, params,
	    "paused");
}

int
queue_resume(struct ctl *ctl, const struct args *a)
{
	const char *params[] = {
		name_or_all(a, "queue resume"), args_get(a, "type"),
		args_get(a, "tenant"),
	};

	if (params[0] == NULL)
		return CTL_USAGE;
	return act(ctl, a, "SELECT jobq.resume($1, $2, $3)", 3, params,
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
	if ((status = drain_begin(ctl, name, timeout == NULL)) != CTL_DONE)
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

/* A thousand jobs a transaction: nobody else waits for long. */
int
queue_clear(struct ctl *ctl, const struct args *a)
{
	const char *name = a->operands[0];
	const char *params[] = {
		name, args_get(a, "type"), args_get(a, "tenant"),
		args_get(a, "state"),
	};
	PGresult *pieces;
	long count;
	int status = plan(ctl, "SELECT p, cardinality(p) "
	    "FROM jobq.clear_plan($1, $2, $3, $4) p", 4, params, &pieces, &count);

	if (status != CTL_DONE)
		return status;
	if (count > 0 && !confirm(a, "cancel %ld waiting job%s of queue %s?",
	    count, count == 1 ? "" : "s", name))
		status = CTL_FAILED;
	else
		status = carry_out(ctl, name, pieces, "SELECT "
		    "jobq.clear_jobs($1, $2::bigint[])", "cancelled");
	PQclear(pieces);
	return status;
}

int
queue_clean(struct ctl *ctl, const struct args *a)
{
	const char *name = a->operands[0], *state = args_get(a, "state");
	const char *age = args_get(a, "older-than");
	char ms_text[24];
	const char *params[] = { name, state, ms_text };
	PGresult *pieces;
	int64_t ms;
	long count;
	int status;

	if (state == NULL || age == NULL)
		return ctl_misuse("queue clean: --state and --older-than are "
		    "needed");
	if (units_duration_ms(age, &ms) < 0)
		return ctl_misuse("queue clean: --older-than \"%s\" is no "
		    "duration such as 12h or 7d", age);
	snprintf(ms_text, sizeof(ms_text), "%lld", (long long)ms);
	status = plan(ctl, "SELECT p, cardinality(p) FROM jobq.clean_plan($1, "
	    "$2, $3::bigint * interval '1 ms') p", 3, params, &pieces, &count);
	if (status != CTL_DONE)
		return status;
	status = carry_out(ctl, name, pieces, "SELECT "
	    "jobq.clean_jobs($1, $2::bigint[])", "removed");
	PQclear(pieces);
	return status;
}

int
queue_remove(struct ctl *ctl, const struct args *a)
{
	const char *params[] = { a->operands[0] };
	int status = ctl_find_queue(ctl, params[0]);

	if (status != CTL_DONE)
		return status;
	if (!confirm(a, "remove queue %s and its schedules?", params[0]))
		return CTL_FAILED;
	return act(ctl, a, "SELECT jobq.queue_remove($1)", 1, params, "removed");
}

int
queue_compare(struct ctl *ctl, const struct args *a)
{
	const char *params[] = { a->operands[0], args_get(a, "since") };
	int status = ctl_find_queue(ctl, params[0]);

	if (status != CTL_DONE)
		return status;
	return ctl_list(ctl, ctl_query(ctl, ctl->json ?
	    "SELECT row_to_json(c) FROM jobq.retry_compare($1, $2::timestamptz) c" :
	    "SELECT policy, jobs, recovered, dead, share, low, high, attempts, "
	    "after_p50_ms, after_p95_ms, verdict "
	    "FROM jobq.retry_compare($1, $2::timestamptz)", 2, params), "");
}

int
capacity_run(struct ctl *ctl, const struct args *a)
{
	const char *growth = args_get(a, "growth");
	const char *params[] = { args_get(a, "since"), growth == NULL ? "1" : growth };

	return ctl_list(ctl, ctl_query(ctl, ctl->json ?
	    "SELECT row_to_json(c) FROM jobq.capacity($1::timestamptz, $2::float8) c" :
	    "SELECT queue, slots, per_second, per_second_peak, run_avg_ms, busy, busy_peak, "
	    "utilization, wait_p95_ms_peak, slots_wanted "
	    "FROM jobq.capacity($1::timestamptz, $2::float8)", 2, params),
	    "no queues");
}

/* The operand, or "*" for --all; NULL: said what is wrong. */
static const char *
name_or_all(const struct args *a, const char *command)
{
	bool all = args_has(a, "all");

	if (a->count + all != 1) {
		ctl_misuse("%s: the NAME of a queue, or --all", command);
		return NULL;
	}
	return all ? "*" : a->operands[0];
}

/* Do it, and say of which queue and which part of it. */
static int
act(struct ctl *ctl, const struct args *a, const char *sql, int nparams,
    const char *const *params, const char *done)
{
	struct buf b = { 0 };
	PGresult *res;
	struct err e;

	if (ctl_connect(ctl) < 0)
		return CTL_FAILED;
	res = ctl_try(ctl, sql, nparams, params, &e);
	if (res == NULL)
		return named(ctl, params[0], &e);
	PQclear(res);
	say_part(&b, a, params[0], ctl->json);
	if (ctl->json)
		printf("{%s,\"%s\":true}\n", b.data, done);
	else
		printf("%s: %s\n", b.data, done);
	buf_clear(&b);
	return CTL_DONE;
}

/* "queue work, type t", or the same as members of an object. */
static void
say_part(struct buf *b, const struct args *a, const char *name, bool json)
{
	static const char *const options[] = { "type", "tenant" };

	if (json) {
		buf_str(b, "\"name\":");
		buf_json(b, name, strlen(name));
	} else if (strcmp(name, "*") == 0)
		buf_str(b, "all queues");
	else
		buf_printf(b, "queue %s", name);
	for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++) {
		const char *value = args_get(a, options[i]);

		if (value == NULL)
			continue;
		if (json) {
			buf_printf(b, ",\"%s\":", options[i]);
			buf_json(b, value, strlen(value));
		} else {
			buf_printf(b, ", %s ", options[i]);
			out_escape(b, value, false);
		}
	}
}

/* Why a call failed: the queue is not there, or what the server said. */
static int
named(struct ctl *ctl, const char *name, const struct err *e)
{
	int status = strcmp(name, "*") == 0 ? CTL_DONE :
	    ctl_find_queue(ctl, name);

	return status != CTL_DONE ? status : ctl_fail("%s", e->msg);
}

/* What is paused of the queue, if anything. */
static int
show_holds(struct ctl *ctl, const char *name)
{
	const char *params[] = { name };

	return ctl_further(ctl_query(ctl, "SELECT CASE WHEN queue IS NULL THEN "
	    "'all queues' WHEN coalesce(type, tenant) IS NULL THEN 'the queue' "
	    "ELSE 'of the queue' END AS paused, type, tenant, by, "
	    SQL_TIME("at") " AS at, " SQL_TIME("until") " AS until, reason "
	    "FROM jobq.holds WHERE coalesce(queue, $1) = $1 "
	    "ORDER BY queue NULLS FIRST, type NULLS FIRST, tenant NULLS FIRST",
	    1, params));
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

/* Only where one has opened. */
static int
show_breakers(struct ctl *ctl, const char *name)
{
	const char *params[] = { name };

	return ctl_further(ctl_query(ctl, "SELECT coalesce(destination, "
	    "'(all jobs)') AS breaker, state, " SQL_TIME("since") " AS since, "
	    SQL_TIME("until") " AS until, failures, \"of\", waiting, last_error "
	    "FROM jobq.breakers WHERE queue = $1 ORDER BY state = 'closed', "
	    "destination LIMIT 100", 1, params));
}

/* What would make the wait endless is said at once. */
static int
drain_begin(struct ctl *ctl, const char *name, bool forever)
{
	const char *params[] = { name };
	PGresult *res = ctl_query(ctl, "SELECT NOT served AND ready > 0, "
	    "holds > 0 AND ready > 0 FROM jobq.queues WHERE name = $1",
	    1, params);
	int status = CTL_DONE;

	if (res == NULL)
		return CTL_FAILED;
	if (PQntuples(res) == 0)
		status = ctl_find_queue(ctl, name);
	else if (*PQgetvalue(res, 0, 0) == 't')
		status = ctl_fail("no running jobqd serves queue %s, so its jobs "
		    "do not run", name);
	else if (*PQgetvalue(res, 0, 1) == 't' && forever)
		status = ctl_fail("a type or tenant of queue %s is paused, so "
		    "its jobs do not run; resume it first, or give a --timeout",
		    name);
	PQclear(res);
	return status;
}

/* 1: not yet, with what is left; 0: drained; -1: said why it failed. */
static int
drain_look(struct ctl *ctl, const char *name, char *left, size_t size)
{
	const char *params[] = { name };
	PGresult *res = ctl_query(ctl, "SELECT ready + running > 0, ready || "
	    "' ready, ' || running || ' running', paused AND ready > 0 "
	    "FROM jobq.queues WHERE name = $1", 1, params);
	int status;

	if (res == NULL)
		return -1;
	status = PQntuples(res) > 0 && *PQgetvalue(res, 0, 0) == 't';
	if (status > 0)
		strlcpy(left, PQgetvalue(res, 0, 1), size);
	if (status > 0 && *PQgetvalue(res, 0, 2) == 't') {
		ctl_fail("queue %s is paused, so its jobs do not run; "
		    "\"jobqctl queue resume %s\" first", name, name);
		status = -1;
	}
	PQclear(res);
	return status;
}

/* Find out which jobs are meant, as arrays of ids, and how many they are. */
static int
plan(struct ctl *ctl, const char *sql, int nparams, const char *const *params,
    PGresult **pieces, long *count)
{
	struct err e;

	if (ctl_connect(ctl) < 0)
		return CTL_FAILED;
	*pieces = ctl_try(ctl, sql, nparams, params, &e);
	if (*pieces == NULL)
		return named(ctl, params[0], &e);
	*count = 0;
	for (int i = 0; i < PQntuples(*pieces); i++)
		*count += strtol(PQgetvalue(*pieces, i, 1), NULL, 10);
	return CTL_DONE;
}

/* Do it, each piece in a transaction of its own, and say how many it were. */
static int
carry_out(struct ctl *ctl, const char *name, PGresult *pieces, const char *sql,
    const char *done)
{
	const char *params[] = { name, NULL };
	PGresult *res;
	struct err e;
	long count = 0;

	for (int i = 0; i < PQntuples(pieces); i++) {
		params[1] = PQgetvalue(pieces, i, 0);
		if ((res = ctl_try(ctl, sql, 2, params, &e)) == NULL)
			return ctl_fail("%ld jobs were %s, then: %s", count,
			    done, e.msg);
		count += strtol(PQgetvalue(res, 0, 0), NULL, 10);
		PQclear(res);
	}
	if (ctl->json)
		printf("{\"name\":\"%s\",\"%s\":%ld}\n", name, done, count);
	else
		printf("queue %s: %ld job%s %s\n", name, count,
		    count == 1 ? "" : "s", done);
	return CTL_DONE;
}

/* Ask, unless --yes says not to; false: said that nothing was done. */
static bool
confirm(const struct args *a, const char *fmt, ...)
{
	char line[16] = "";
	va_list ap;

	if (args_has(a, "yes"))
		return true;
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputs(" [y/N] ", stderr);
	if (fgets(line, sizeof(line), stdin) == NULL)
		fputc('\n', stderr);
	line[strcspn(line, "\n")] = '\0';
	if (strcasecmp(line, "y") == 0 || strcasecmp(line, "yes") == 0)
		return true;
	ctl_fail("nothing was done; answer y, or give --yes");
	return false;
}
