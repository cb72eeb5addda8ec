/*
 * jobqctl workflow: list, show, run, cancel, retry.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "ctl/ctl.h"
#include "ctl/out.h"

static int act(struct ctl *, const char *id, const char *sql,
    const char *done, const char *refused);
static int show_steps(struct ctl *, const char *id);

int
workflow_list(struct ctl *ctl, const struct args *a)
{
	static const char *const states[] = {
		"running", "completed", "failed", "cancelled"
	};
	const char *params[] = { args_get(a, "state"), NULL };
	char limit_text[16];
	long limit = 50;
	bool known = params[0] == NULL;
	struct err e;

	if (args_number(a, "limit", 1, 10000, &limit, &e) < 0)
		return ctl_misuse("workflow list: %s", e.msg);
	for (size_t i = 0; i < sizeof(states) / sizeof(*states) && !known; i++)
		known = strcmp(params[0], states[i]) == 0;
	if (!known)
		return ctl_misuse("workflow list: no state %s: running, "
		    "completed, failed or cancelled", params[0]);
	snprintf(limit_text, sizeof(limit_text), "%ld", limit);
	params[1] = limit_text;
	return ctl_list(ctl, ctl_query(ctl, ctl->json ?
	    "SELECT row_to_json(w) FROM (SELECT * FROM jobq.workflows "
	    "WHERE $1::text IS NULL OR state = $1 ORDER BY id DESC "
	    "LIMIT $2::int) w" :
	    "SELECT id, name, state, tenant, " SQL_TIME("created_at")
	    " AS created_at, " SQL_TIME("finished_at") " AS finished_at, "
	    "failed_step, error FROM jobq.workflows "
	    "WHERE $1::text IS NULL OR state = $1 ORDER BY id DESC "
	    "LIMIT $2::int", 2, params), "no workflows");
}

int
workflow_show(struct ctl *ctl, const struct args *a)
{
	const char *params[] = { a->operands[0] };
	PGresult *res;
	int64_t id;
	int status;

	if (ctl_parse_id(params[0], &id) < 0)
		return CTL_USAGE;
	res = ctl_query(ctl, ctl->json ?
	    "SELECT row_to_json(w) FROM jobq.workflows w "
	    "WHERE id = $1::bigint" :
	    "SELECT id, name, state, tenant, " SQL_TIME("created_at")
	    " AS created_at, " SQL_TIME("finished_at") " AS finished_at, "
	    "failed_step, error, on_failure_job, data FROM jobq.workflows "
	    "WHERE id = $1::bigint", 1, params);
	if (res == NULL)
		return CTL_FAILED;
	if (PQntuples(res) == 0) {
		PQclear(res);
		return ctl_missing("no workflow %s; \"jobqctl workflow list\" "
		    "shows them", params[0]);
	}
	status = ctl_one(ctl, res);
	return ctl->json ? status : show_steps(ctl, params[0]);
}

static int
show_steps(struct ctl *ctl, const char *id)
{
	const char *params[] = { id };

	puts("");
	return ctl_list(ctl, ctl_query(ctl,
	    "SELECT key AS step, value ->> 'state' AS state, "
	    "value ->> 'job_id' AS job, value ->> 'jobs' AS jobs, "
	    "value ->> 'completed' AS completed, value ->> 'failed' AS failed "
	    "FROM jobq.workflows, jsonb_each(steps) WHERE id = $1::bigint "
	    "ORDER BY (value ->> 'job_id')::bigint NULLS LAST, key", 1, params),
	    "no steps");
}

int
workflow_run(struct ctl *ctl, const struct args *a)
{
	const char *params[] = {
		a->operands[0], a->count > 1 ? a->operands[1] : "{}",
		args_get(a, "tenant"),
	};
	struct buf input = { 0 };
	PGresult *res;

	if (ctl_read_data(params[1], &input) < 0) {
		buf_clear(&input);
		return CTL_FAILED;
	}
	params[1] = input.data;
	res = ctl_query(ctl, "SELECT jobq.workflow($1, $2::jsonb, $3)", 3,
	    params);
	buf_clear(&input);
	if (res == NULL)
		return CTL_FAILED;
	printf(ctl->json ? "{\"id\":%s}\n" : "%s\n", PQgetvalue(res, 0, 0));
	PQclear(res);
	return CTL_DONE;
}

int
workflow_cancel(struct ctl *ctl, const struct args *a)
{
	return act(ctl, a->operands[0],
	    "SELECT jobq.workflow_cancel($1::bigint)", "cancelled",
	    "only a running one can be cancelled");
}

int
workflow_retry(struct ctl *ctl, const struct args *a)
{
	return act(ctl, a->operands[0],
	    "SELECT jobq.workflow_retry($1::bigint)", "retried",
	    "only a failed or cancelled one can be retried");
}

/* One function call on one workflow, and why it was refused. */
static int
act(struct ctl *ctl, const char *id, const char *sql, const char *done,
    const char *refused)
{
	const char *params[] = { id };
	int64_t number;
	PGresult *res;
	bool fine;
	int status = CTL_DONE;

	if (ctl_parse_id(id, &number) < 0)
		return CTL_USAGE;
	if ((res = ctl_query(ctl, sql, 1, params)) == NULL)
		return CTL_FAILED;
	fine = *PQgetvalue(res, 0, 0) == 't';
	PQclear(res);
	res = ctl_query(ctl, "SELECT state FROM jobq.workflows "
	    "WHERE id = $1::bigint", 1, params);
	if (res == NULL)
		return CTL_FAILED;
	if (PQntuples(res) == 0)
		status = ctl_missing("no workflow %s", id);
	else if (!fine)
		status = ctl_fail("workflow %s is %s; %s", id,
		    PQgetvalue(res, 0, 0), refused);
	else if (ctl->json)
		printf("{\"id\":%s,\"%s\":true,\"state\":\"%s\"}\n", id, done,
		    PQgetvalue(res, 0, 0));
	else
		printf("workflow %s: %s\n", id, done);
	PQclear(res);
	return status;
}
