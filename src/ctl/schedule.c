/*
 * jobqctl schedule: list, next.
 */
#include "config.h"

#include <stdio.h>

#include "ctl/ctl.h"
#include "ctl/out.h"

int
schedule_list(struct ctl *ctl, const struct args *a)
{
	PGresult *res;

	(void)a;
	res = ctl_query(ctl, ctl->json ?
	    "SELECT row_to_json(s) FROM jobq.schedules s ORDER BY name" :
	    "SELECT name, CASE WHEN paused THEN 'paused' WHEN NOT enabled "
	    "THEN 'disabled' ELSE 'on' END AS state, spec, timezone, queue, type, "
	    SQL_TIME("last_run") " AS last_run, " SQL_TIME("next_run")
	    " AS next_run FROM jobq.schedules ORDER BY name", 0, NULL);
	return ctl_list(ctl, res, "no schedules");
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
