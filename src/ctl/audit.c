/*
 * jobqctl audit: list, verify.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "ctl/ctl.h"
#include "ctl/out.h"

#define AUDIT_WHERE " FROM jobq.audit a WHERE ($1::text IS NULL OR target = $1) " \
    "AND ($2::text IS NULL OR actor = $2) AND ($3::text IS NULL OR action = $3) " \
    "AND ($4::timestamptz IS NULL OR at >= $4) " \
    "ORDER BY a.at DESC, a.id DESC LIMIT $5::int"

int
audit_list(struct ctl *ctl, const struct args *a)
{
	const char *params[] = { args_get(a, "target"), args_get(a, "actor"),
	    args_get(a, "action"), args_get(a, "since"), NULL };
	char limit_text[16];
	long limit = 100;
	struct err e;

	if (args_number(a, "limit", 1, 10000, &limit, &e) < 0)
		return ctl_misuse("audit list: %s", e.msg);
	snprintf(limit_text, sizeof(limit_text), "%ld", limit);
	params[4] = limit_text;
	return ctl_list(ctl, ctl_query(ctl, ctl->json ?
	    "SELECT to_jsonb(l) || jsonb_build_object('hash', encode(l.hash, 'hex')) "
	    "FROM (SELECT *" AUDIT_WHERE ") l" :
	    "SELECT " SQL_TIME("at") " AS at, actor, source AS \"from\", action, "
	    "target, detail, left(before::text, 200) AS before, "
	    "left(after::text, 200) AS after" AUDIT_WHERE, 5, params),
	    "nothing is in the audit");
}

/* Exit status 1: it is not whole. */
int
audit_verify(struct ctl *ctl, const struct args *a)
{
	const char *params[] = { args_get(a, "head") };
	PGresult *res = ctl_query(ctl, "SELECT checked, head_hash, seq, id, problem, "
	    "row_to_json(v) FROM jobq.audit_verify($1) v", 1, params);
	const char *checked, *head, *problem;
	bool whole;

	if (res == NULL)
		return CTL_FAILED;
	whole = PQgetisnull(res, 0, 4);
	checked = PQgetvalue(res, 0, 0);
	head = PQgetvalue(res, 0, 1);
	problem = PQgetvalue(res, 0, 4);
	if (ctl->json)
		out_line("%s", PQgetvalue(res, 0, 5));
	else if (whole)
		out_line("the audit is whole: %s entries checked, head %s",
		    checked, *head == '\0' ? "none" : head);
	else if (PQgetisnull(res, 0, 2))
		ctl_fail("the audit is not whole, of %s entries: %s", checked,
		    problem);
	else
		ctl_fail("the audit is not whole: entry %s of %s%s%s%s: %s",
		    PQgetvalue(res, 0, 2), checked,
		    PQgetisnull(res, 0, 3) ? "" : " (id ",
		    PQgetisnull(res, 0, 3) ? "" : PQgetvalue(res, 0, 3),
		    PQgetisnull(res, 0, 3) ? "" : ")", problem);
	PQclear(res);
	return whole ? CTL_DONE : CTL_FAILED;
}
