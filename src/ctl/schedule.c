/*
 * jobqctl schedule: list, show, next, run, pause, resume, put, remove.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "core/near.h"
#include "ctl/ctl.h"
#include "ctl/out.h"

#define SCHEDULE_STATE "CASE WHEN error IS NOT NULL THEN 'unreadable' " \
    "WHEN NOT served THEN 'not served' WHEN paused THEN 'paused' " \
    "WHEN NOT enabled THEN 'disabled' ELSE 'on' END AS state"

static int find(struct ctl *, const char *name);
static PGresult *act(struct ctl *, const char *sql, int nparams,
    const char *const *params, int *status);
static int act_and_say(struct ctl *, const char *sql, int nparams,
    const char *const *params, const char *done);

int
schedule_list(struct ctl *ctl, const struct args *a)
{
	PGresult *res;

	(void)a;
	res = ctl_query(ctl, ctl->json ?
	    "SELECT row_to_json(s) FROM jobq.schedules s ORDER BY name" :
	    "SELECT name, " SCHEDULE_STATE ", spec, timezone, queue, type, "
	    SQL_TIME("last_run") " AS last_run, last_outcome, "
	    SQL_TIME("next_run") " AS next_run "
	    "FROM jobq.schedules ORDER BY name", 0, NULL);
	return ctl_list(ctl, res, "no schedules");
}

int
schedule_show(struct ctl *ctl, const struct args *a)
{
	const char *params[] = { a->operands[0] };
	PGresult *res;

	res = ctl_query(ctl, ctl->json ?
	    "SELECT row_to_json(s) FROM jobq.schedules s WHERE name = $1" :
	    "SELECT name, " SCHEDULE_STATE ", CASE origin WHEN 'file' THEN "
	    "'the configuration' ELSE 'made at run time' END AS origin, "
	    "description, spec, timezone, queue, type, data, priority, tenant, "
	    "overlap, only_if, for_each, "
	    SQL_TIME("next_run") " AS next_run, "
	    SQL_TIME("last_run") " AS last_run, last_outcome, last_job_id, "
	    "CASE WHEN last_run IS NOT NULL THEN nullif(last_jobs, 1) END "
	    "AS last_jobs, CASE WHEN last_run IS NOT NULL THEN lateness_ms END "
	    "AS lateness_ms, fired, "
	    "nullif(skipped, 0) AS skipped, nullif(failed, 0) AS failed, "
	    "nullif(missed, 0) AS missed, "
	    SQL_TIME("last_error_at") " AS last_error_at, last_error, error "
	    "FROM jobq.schedules WHERE name = $1", 1, params);
	if (res == NULL)
		return CTL_FAILED;
	if (PQntuples(res) == 0) {
		PQclear(res);
		return find(ctl, params[0]);
	}
	return ctl_one(ctl, res);
}

int
schedule_next(struct ctl *ctl, const struct args *a)
{
	const char *name = a->count > 0 ? a->operands[0] : NULL;
	const char *params[] = { name, NULL };
	char limit_text[16];
	long limit = 20;
	PGresult *res;
	struct err e;
	int rows;

	if (args_number(a, "limit", 1, 10000, &limit, &e) < 0)
		return ctl_misuse("schedule next: %s", e.msg);
	snprintf(limit_text, sizeof(limit_text), "%ld", limit);
	params[1] = limit_text;
	res = ctl_query(ctl, ctl->json ?
	    "SELECT row_to_json(s) FROM jobq.schedules s WHERE next_run "
	    "IS NOT NULL AND ($1::text IS NULL OR name = $1) "
	    "ORDER BY next_run, name LIMIT $2::int" :
	    "SELECT " SQL_TIME("next_run") " AS next_run, name, queue, type "
	    "FROM jobq.schedules WHERE next_run IS NOT NULL "
	    "AND ($1::text IS NULL OR name = $1) "
	    "ORDER BY jobq.schedules.next_run, name LIMIT $2::int", 2, params);
	if (res == NULL)
		return CTL_FAILED;
	rows = PQntuples(res);
	if (ctl->json)
		out_json_list(res);
	else if (rows > 0 || name == NULL)
		out_table(res, "no schedule is to fire");
	PQclear(res);
	if (rows == 0 && name != NULL)
		return ctl_missing("no schedule %s that is to fire; "
		    "\"jobqctl schedule list\" shows them", name);
	return CTL_DONE;
}

/* The ids of its jobs, one a line. */
int
schedule_run(struct ctl *ctl, const struct args *a)
{
	const char *params[] = { a->operands[0] };
	struct buf b = { 0 };
	int status;
	PGresult *res = act(ctl, "SELECT jobq.schedule_run($1)", 1, params,
	    &status);

	if (res == NULL)
		return status;
	for (int i = 0; i < PQntuples(res); i++)
		buf_printf(&b, "%s%s", i == 0 ? "" : ctl->json ? "," : "\n",
		    PQgetvalue(res, i, 0));
	PQclear(res);
	if (ctl->json) {
		printf("{\"name\":\"%s\",\"jobs\":[%s]}\n", params[0],
		    b.len > 0 ? b.data : "");
	} else if (b.len > 0) {
		puts(b.data);
	}
	buf_clear(&b);
	return CTL_DONE;
}

int
schedule_pause(struct ctl *ctl, const struct args *a)
{
	return act_and_say(ctl, "SELECT jobq.schedule_pause($1)", 1,
	    a->operands, "paused");
}

int
schedule_resume(struct ctl *ctl, const struct args *a)
{
	return act_and_say(ctl, "SELECT jobq.schedule_resume($1)", 1,
	    a->operands, "resumed");
}

int
schedule_remove(struct ctl *ctl, const struct args *a)
{
	return act_and_say(ctl, "SELECT jobq.schedule_remove($1)", 1,
	    a->operands, "removed");
}

/* An object, what the options say, or both. */
int
schedule_put(struct ctl *ctl, const struct args *a)
{
	const char *data = args_get(a, "data"), *queue = args_get(a, "queue");
	struct buf whole = { 0 }, job = { 0 };
	int status = CTL_DONE;

	if (a->count > 1 && data != NULL && strcmp(a->operands[1], "-") == 0 &&
	    strcmp(data, "-") == 0)
		return ctl_misuse("schedule put: standard input cannot be both");
	if ((a->count > 1 && ctl_read_data(a->operands[1], &whole) < 0) ||
	    (data != NULL && ctl_read_data(data, &job) < 0))
		status = CTL_FAILED;
	else if (data != NULL && queue != NULL)
		status = key_seal(ctl, queue, &job);
	if (status != CTL_DONE) {
		buf_clear(&whole);
		buf_clear(&job);
		return status;
	}
	const char *params[] = {
		a->operands[0], whole.data, job.data, args_get(a, "cron"),
		args_get(a, "every"), args_get(a, "at"), args_get(a, "tz"),
		queue, args_get(a, "type"), args_get(a, "priority"),
		args_get(a, "tenant"), args_get(a, "overlap"),
	};
	status = act_and_say(ctl, "SELECT jobq.schedule_put($1, "
	    "coalesce($2::jsonb, '{}') || jsonb_strip_nulls(jsonb_build_object("
	    "'cron', $4::text, 'every', $5::text, 'at', $6::text, "
	    "'timezone', $7::text, 'queue', $8::text, 'type', $9::text, "
	    "'priority', $10::text, 'tenant', $11::text, 'overlap', $12::text)) "
	    "|| CASE WHEN $3::text IS NULL THEN '{}' "
	    "ELSE jsonb_build_object('data', $3::jsonb) END)", 12, params,
	    "put");
	buf_clear(&whole);
	buf_clear(&job);
	return status;
}

/* Is there a schedule of that name? As ctl_find_queue() of queues. */
static int
find(struct ctl *ctl, const char *name)
{
	PGresult *res = ctl_query(ctl,
	    "SELECT name FROM jobq.schedules ORDER BY name", 0, NULL);
	const char **names, *near;
	bool there = false;
	int count;

	if (res == NULL)
		return CTL_FAILED;
	count = PQntuples(res);
	names = xcalloc((size_t)count, sizeof(*names));
	for (int i = 0; i < count; i++) {
		names[i] = PQgetvalue(res, i, 0);
		if (strcmp(names[i], name) == 0)
			there = true;
	}
	near = there ? NULL : near_name(name, names, (size_t)count);
	if (near != NULL)
		ctl_missing("no schedule %s; did you mean %s?", name, near);
	else if (!there)
		ctl_missing("no schedule %s; \"jobqctl schedule list\" shows "
		    "them", name);
	free(names);
	PQclear(res);
	return there ? CTL_DONE : CTL_NOT_FOUND;
}

/* What is done to the schedule $1; NULL: said why not, *status says how bad. */
static PGresult *
act(struct ctl *ctl, const char *sql, int nparams, const char *const *params,
    int *status)
{
	PGresult *res;
	struct err e;

	*status = CTL_FAILED;
	if (ctl_connect(ctl) < 0)
		return NULL;
	res = ctl_try(ctl, sql, nparams, params, &e);
	/* Making one is about a name that is not there yet. */
	if (res == NULL && nparams == 1)
		*status = find(ctl, params[0]);
	if (res == NULL && *status != CTL_NOT_FOUND)
		*status = ctl_fail("%s", e.msg);
	return res;
}

static int
act_and_say(struct ctl *ctl, const char *sql, int nparams,
    const char *const *params, const char *done)
{
	int status;
	PGresult *res = act(ctl, sql, nparams, params, &status);

	if (res == NULL)
		return status;
	PQclear(res);
	if (ctl->json)
		printf("{\"name\":\"%s\",\"%s\":true}\n", params[0], done);
	else
		printf("schedule %s: %s\n", params[0], done);
	return CTL_DONE;
}
