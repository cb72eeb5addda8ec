/*
 * jobqctl schedule: list, next, explain.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/cron.h"
#include "ctl/ctl.h"
#include "ctl/out.h"

#define EXPLAIN_MAX 1000

static int parse_instant(const char *text, int64_t *seconds);
static void format_instant(char buf[32], int64_t seconds);

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

int
schedule_explain(struct ctl *ctl, const struct args *a)
{
	const char *zone = args_get(a, "tz"), *from = args_get(a, "from");
	int64_t at = (int64_t)time(NULL);
	long count = 5;
	struct cron cron;
	struct err e;
	char text[32];

	(void)ctl;
	if (cron_parse(&cron, a->operands[0], &e) < 0)
		return ctl_fail("schedule explain: %s", e.msg);
	if (zone != NULL && strcmp(zone, "UTC") != 0)
		return ctl_fail("schedule explain: time zone %s: this version "
		    "knows UTC only", zone);
	if (args_number(a, "count", 1, EXPLAIN_MAX, &count, &e) < 0)
		return ctl_misuse("schedule explain: %s", e.msg);
	if (from != NULL && parse_instant(from, &at) < 0)
		return ctl_misuse("schedule explain: --from \"%s\" is no time "
		    "such as 2026-12-01T10:00:00Z", from);
	if (ctl->json)
		putchar('[');
	for (long i = 0; i < count; i++) {
		if ((at = cron_next_utc(&cron, at)) < 0) {
			if (i > 0)
				break;
			if (ctl->json)
				puts("]");
			return ctl_fail("%s never fires", a->operands[0]);
		}
		format_instant(text, at);
		if (ctl->json)
			printf("%s\"%s\"", i == 0 ? "" : ",", text);
		else
			puts(text);
	}
	if (ctl->json)
		puts("]");
	return CTL_DONE;
}

/* 2026-12-01T10:00:00Z, or with an offset such as +01:00. */
static int
parse_instant(const char *text, int64_t *seconds)
{
	struct tm tm = { 0 };
	const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	int hours, minutes, n = 0;
	char sign;

	if (rest == NULL)
		return -1;
	*seconds = (int64_t)timegm(&tm);
	if (strcmp(rest, "Z") == 0 || *rest == '\0')
		return 0;
	if (sscanf(rest, "%c%2d:%2d%n", &sign, &hours, &minutes, &n) != 3 ||
	    rest[n] != '\0' || (sign != '+' && sign != '-'))
		return -1;
	*seconds -= (sign == '+' ? 60 : -60) * (hours * 60 + minutes);
	return 0;
}

static void
format_instant(char buf[32], int64_t seconds)
{
	time_t t = (time_t)seconds;
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(buf, 32, "%Y-%m-%dT%H:%M:%S+00:00", &tm);
}
