/*
 * jobqctl status: what a person wants to know first, on one page.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "ctl/ctl.h"
#include "ctl/out.h"

static int status_json(struct ctl *);
static int print_nodes(struct ctl *);
static int print_queues(struct ctl *);
static int print_notes(struct ctl *);

int
status_run(struct ctl *ctl, const struct args *a)
{
	int status;

	(void)a;
	if (ctl->json)
		return status_json(ctl);
	if ((status = print_nodes(ctl)) == CTL_DONE &&
	    (status = print_queues(ctl)) == CTL_DONE)
		status = print_notes(ctl);
	return status;
}

static int
status_json(struct ctl *ctl)
{
	PGresult *res = ctl_query(ctl, "SELECT row_to_json(s) FROM (SELECT "
	    "current_database() AS database, clock_timestamp() AS at, "
	    "(SELECT coalesce(json_agg(n ORDER BY n.name), '[]') "
	    "FROM jobq.nodes n) AS nodes, "
	    "(SELECT coalesce(json_agg(q ORDER BY q.name), '[]') "
	    "FROM jobq.queues q) AS queues, "
	    "(SELECT coalesce(json_agg(c ORDER BY c.name), '[]') "
	    "FROM jobq.schedules c) AS schedules, "
	    "(SELECT coalesce(json_agg(b ORDER BY b.queue, b.destination), "
	    "'[]') FROM jobq.breakers b WHERE b.state <> 'closed') AS breakers, "
	    "(SELECT coalesce(json_agg(l), '[]') "
	    "FROM jobq.alerts l WHERE l.state <> 'ended') AS alerts) s", 0, NULL);

	if (res == NULL)
		return CTL_FAILED;
	out_json_value(PQgetvalue(res, 0, 0));
	putchar('\n');
	PQclear(res);
	return CTL_DONE;
}

static int
print_nodes(struct ctl *ctl)
{
	PGresult *res = ctl_query(ctl, "SELECT name, count(w.pid), "
	    "count(*) FILTER (WHERE w.state = 'busy') FROM jobq.nodes n "
	    "LEFT JOIN jobq.workers w ON w.node = n.name "
	    "WHERE n.alive "
	    "GROUP BY name ORDER BY name", 0, NULL);

	if (res == NULL)
		return CTL_FAILED;
	if (PQntuples(res) == 0)
		puts("no jobqd is running");
	for (int i = 0; i < PQntuples(res); i++)
		printf("jobqd runs on %s: %s workers, %s busy\n",
		    PQgetvalue(res, i, 0), PQgetvalue(res, i, 1),
		    PQgetvalue(res, i, 2));
	putchar('\n');
	PQclear(res);
	return CTL_DONE;
}

static int
print_queues(struct ctl *ctl)
{
	PGresult *res = ctl_query(ctl, "SELECT name AS queue, ready, running, "
	    "scheduled, blocked, retrying, completed, dead, cancelled, workers, "
	    "concat_ws(', ', CASE WHEN paused THEN 'paused' || "
	    "coalesce(': ' || nullif(pause_reason, ''), '') END, "
	    "CASE WHEN holds > 0 THEN 'partly paused' END, "
	    "CASE WHEN NOT served THEN 'not served' END, "
	    "'oldest ready ' || CASE WHEN clock_timestamp() - oldest_ready_at > "
	    "interval '1 second' THEN date_trunc('second', clock_timestamp() - "
	    "oldest_ready_at)::text END) AS note "
	    "FROM jobq.queues ORDER BY name", 0, NULL);

	if (res == NULL)
		return CTL_FAILED;
	out_table(res, "no queues");
	PQclear(res);
	return CTL_DONE;
}

/* Only what there is to say. */
static int
print_notes(struct ctl *ctl)
{
	PGresult *res = ctl_query(ctl, "SELECT "
	    "(SELECT count(*) FROM jobq.schedules WHERE enabled AND NOT paused), "
	    "(SELECT name || ' at ' || " SQL_TIME("next_run") " FROM "
	    "jobq.schedules WHERE next_run IS NOT NULL ORDER BY next_run LIMIT 1), "
	    "(SELECT coalesce(sum(dead), 0) FROM jobq.queues), "
	    "(SELECT string_agg(name || coalesce(' (' || nullif(queue, '') || "
	    "')', ''), ', ') FROM jobq.alerts WHERE state = 'firing'), "
	    "(SELECT string_agg(concat_ws(' ', queue, destination, "
	    "'(' || state || CASE state WHEN 'open' THEN ' until ' || "
	    SQL_TIME("until") " ELSE '' END || ')'), ', ') FROM (SELECT * FROM "
	    "jobq.breakers WHERE state <> 'closed' ORDER BY queue, destination "
	    "LIMIT 20) b)", 0, NULL);
	const char *next, *dead, *alerts, *breakers;

	if (res == NULL)
		return CTL_FAILED;
	next = PQgetvalue(res, 0, 1);
	dead = PQgetvalue(res, 0, 2);
	alerts = PQgetvalue(res, 0, 3);
	breakers = PQgetvalue(res, 0, 4);
	putchar('\n');
	printf("schedules: %s%s%s\n", PQgetvalue(res, 0, 0),
	    *next == '\0' ? "" : ", next ", next);
	if (strcmp(dead, "0") != 0)
		printf("dead letters: %s (jobqctl dead list)\n", dead);
	if (*alerts != '\0')
		printf("alerts: %s\n", alerts);
	if (*breakers != '\0')
		printf("breakers: %s\n", breakers);
	PQclear(res);
	return CTL_DONE;
}
