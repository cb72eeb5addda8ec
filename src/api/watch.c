/*
 * The routes of what there is to watch: workers, nodes, statistics, history,
 * inventory, alerts. Their SQL is in 94-api-watch.sql.
 */
#include "config.h"

#include <stdlib.h>

#include "api/ask.h"
#include "api/route.h"
#include "conf/inventory.h"

#define LIMIT(most) { "limit", IN_QUERY, PARAM_INTEGER, "at most so many", .min = 1, \
	.max = 1000, .def = most }
#define CURSOR { "cursor", IN_QUERY, PARAM_TEXT, "where the last page ended", .min = 1, \
	.max = 1024 }
#define QUEUE { "queue", IN_QUERY, PARAM_TEXT, "only of this queue" }
#define TYPE { "type", IN_QUERY, PARAM_TEXT, "only of this type" }
#define TENANT { "tenant", IN_QUERY, PARAM_TEXT, "only of this tenant" }
#define CLASSES "error validation rate_limit auth network timeout resource crash lost"
#define ALERT { "name", IN_PATH, PARAM_TEXT, "the alert's name" }

static answer_fn inventory;

static const struct param workers_params[] = {
	{ "node", IN_QUERY, PARAM_TEXT, "only of this node" },
	QUEUE,
	{ "state", IN_QUERY, PARAM_TEXT, "only in this state" },
	LIMIT("1000"), CURSOR,
	{ 0 }
};
static const struct param stats_params[] = {
	{ "range", IN_QUERY, PARAM_DURATION, "how far back to look, e.g. 1h", .def = "1 hour" },
	{ "by", IN_QUERY, PARAM_WORD, "a row for each of these", .words = "queue type tenant",
	    .def = "queue" },
	{ 0 }
};
static const struct param metrics_params[] = {
	{ "range", IN_QUERY, PARAM_DURATION, "how far back, e.g. 24h, which it is else" },
	{ "since", IN_QUERY, PARAM_INSTANT, "or from when on" },
	{ "until", IN_QUERY, PARAM_INSTANT, "until when; else now" },
	{ "step", IN_QUERY, PARAM_DURATION, "how long a point is; else for 300 of them at most" },
	QUEUE, TYPE, TENANT,
	{ "by", IN_QUERY, PARAM_WORD, "a series for each of these", .words = "queue type tenant" },
	{ 0 }
};
static const struct param errors_params[] = {
	{ "range", IN_QUERY, PARAM_DURATION, "how far back, 30 days at most", .def = "1 day" },
	QUEUE, TYPE,
	{ "class", IN_QUERY, PARAM_WORD, "only of this class", .words = CLASSES },
	LIMIT("50"),
	{ 0 }
};
static const struct param report_params[] = {
	{ "range", IN_QUERY, PARAM_DURATION, "how far back", .def = "1 day" },
	{ 0 }
};
static const struct param history_params[] = {
	QUEUE, TYPE, TENANT,
	{ "state", IN_QUERY, PARAM_WORD, "how they ended; else completed, dead or cancelled",
	    .words = "completed dead cancelled failed lost" },
	{ "since", IN_QUERY, PARAM_INSTANT, "not before" },
	{ "until", IN_QUERY, PARAM_INSTANT, "not after" },
	LIMIT("50"), CURSOR,
	{ 0 }
};
static const struct param audit_params[] = {
	{ "actor", IN_QUERY, PARAM_TEXT, "only what this one did" },
	{ "action", IN_QUERY, PARAM_TEXT, "only this, as pause" },
	{ "target", IN_QUERY, PARAM_TEXT, "only of this, as \"job 42\"" },
	{ "since", IN_QUERY, PARAM_INSTANT, "not before" },
	{ "until", IN_QUERY, PARAM_INSTANT, "not after" },
	LIMIT("100"), CURSOR,
	{ 0 }
};
static const struct param alerts_params[] = {
	{ "name", IN_QUERY, PARAM_TEXT, "only of this name" },
	QUEUE,
	{ "state", IN_QUERY, PARAM_WORD, "only in this state; live: not ended",
	    .words = "firing acknowledged silenced ended live" },
	LIMIT("100"), CURSOR,
	{ 0 }
};
static const struct param one_alert[] = { ALERT, { 0 } };
/* JSON, as null takes a change back. */
static const struct param alert_params[] = {
	ALERT,
	{ "above", IN_BODY, PARAM_JSON, "a number, share, duration or size, as the metric has it" },
	{ "below", IN_BODY, PARAM_JSON, "the same" },
	{ "clear", IN_BODY, PARAM_JSON, "well again at this" },
	{ "for", IN_BODY, PARAM_JSON, "how long before it fires" },
	{ "window", IN_BODY, PARAM_JSON, "of what time a rate is" },
	{ "min_jobs", IN_BODY, PARAM_JSON, "fewer say nothing" },
	{ "severity", IN_BODY, PARAM_JSON, "info, warning or critical" },
	{ "repeat", IN_BODY, PARAM_JSON, "remind so often" },
	{ 0 }
};
static const struct param ack_params[] = {
	ALERT,
	{ "queue", IN_BODY, PARAM_TEXT, "only of this queue" },
	{ "note", IN_BODY, PARAM_TEXT, "for the audit", .max = 1000 },
	{ 0 }
};
static const struct param silence_params[] = {
	{ "name", IN_PATH, PARAM_TEXT, "the alert's name; * is all of them" },
	{ "queue", IN_BODY, PARAM_TEXT, "only of this queue" },
	{ "until", IN_BODY, PARAM_INSTANT, "until when" },
	{ "for", IN_BODY, PARAM_DURATION, "or for how long" },
	{ "reason", IN_BODY, PARAM_TEXT, "why", .max = 1000 },
	{ 0 }
};
static const struct param unsilence_params[] = {
	{ "name", IN_PATH, PARAM_TEXT, "the alert's name; * is all of them" },
	{ "queue", IN_BODY, PARAM_TEXT, "as it was silenced" },
	{ 0 }
};

const struct route watch_routes[] = {
	{ "GET", "/v1/workers", "The workers, and what they run", "watching", ROLE_VIEWER, false,
	    "SELECT jobq.api_workers($1, $2, $3, $4, $5) AS body", .params = workers_params },
	{ "GET", "/v1/nodes", "The running jobqds", "watching", ROLE_VIEWER, false,
	    "SELECT jobq.api_nodes() AS body" },
	{ "GET", "/v1/stats", "How each queue, type or tenant stands and did of late, and all "
	    "together", "watching", ROLE_VIEWER, true, "SELECT jobq.api_stats($1, $2) AS body",
	    .params = stats_params },
	{ "GET", "/v1/metrics", "Time series: how many ended how, how long they waited and ran, "
	    "how many were ready", "watching", ROLE_VIEWER, true,
	    "SELECT jobq.api_metrics($1, $2, $3, $4, $5, $6, $7, $8) AS body",
	    .params = metrics_params },
	{ "GET", "/v1/errors", "For which reasons attempts failed, the most frequent first",
	    "watching", ROLE_VIEWER, false, "SELECT jobq.api_errors($1, $2, $3, $4, $5) AS body",
	    .params = errors_params },
	{ "GET", "/v1/history", "Jobs that have ended, the last ones first", "watching",
	    ROLE_VIEWER, true, "SELECT jobq.api_history($1, $2, $3, $4, $5, $6, $7, $8) AS body",
	    .params = history_params },
	{ "GET", "/v1/report", "What the daily report tells", "watching", ROLE_VIEWER, false,
	    "SELECT jobq.report_json($1) AS body", .params = report_params },
	{ "GET", "/v1/inventory", "All there is, of this node's configuration and the database: "
	    "queues, types, schedules, handlers, workers and more", "watching", ROLE_VIEWER,
	    true, .answer = inventory },
	{ "GET", "/v1/checkup", "Is all in order? What \"jobqctl doctor\" asks the database",
	    "watching", ROLE_VIEWER, false, "SELECT jobq.api_checkup() AS body" },
	{ "GET", "/v1/audit", "Who did what, the newest first", "watching", ROLE_ADMIN, false,
	    "SELECT jobq.api_audit($1, $2, $3, $4, $5, $6, $7) AS body", .params = audit_params },
	{ "GET", "/v1/alerts", "Alerts that have fired, the newest first", "alerts", ROLE_VIEWER,
	    false, "SELECT jobq.api_alerts($1, $2, $3, $4, $5) AS body",
	    .params = alerts_params },
	{ "GET", "/v1/alert-rules", "The rules of alerts, as they are in force", "alerts",
	    ROLE_VIEWER, false, "SELECT jobq.api_alert_rules() AS body" },
	{ "GET", "/v1/silences", "What is silenced", "alerts", ROLE_VIEWER, false,
	    "SELECT jobq.api_silences() AS body" },
	{ "GET", "/v1/alerts/{name}", "A rule, what of it fires, and when it did", "alerts",
	    ROLE_VIEWER, false, "SELECT jobq.api_alert($1) AS body", .params = one_alert },
	{ "PUT", "/v1/alerts/{name}", "Change a rule; null: as the configuration has it", "alerts",
	    ROLE_ADMIN, false, "SELECT jobq.api_alert_set($1, $2, $3, $4, $5, $6, $7, $8, $9) "
	    "AS body", .params = alert_params },
	{ "POST", "/v1/alerts/{name}/reset", "All of a rule as the configuration has it", "alerts",
	    ROLE_ADMIN, false, "SELECT jobq.api_alert_reset($1) AS body", .params = one_alert },
	{ "POST", "/v1/alerts/{name}/ack", "Take on what fires: no more reminders", "alerts",
	    ROLE_OPERATOR, false, "SELECT jobq.api_alert_ack($1, $2, $3) AS body",
	    .params = ack_params },
	{ "POST", "/v1/alerts/{name}/silence", "Say nothing of it for a while", "alerts",
	    ROLE_OPERATOR, false, "SELECT jobq.api_alert_silence($1, $2, $3, $4, $5) AS body",
	    .params = silence_params },
	{ "POST", "/v1/alerts/{name}/unsilence", "End that", "alerts", ROLE_OPERATOR, false,
	    "SELECT jobq.api_alert_unsilence($1, $2) AS body", .params = unsilence_params },
	{ 0 }
};

/* As "jobqctl inventory --json" has it; a tenant's share is the database's alone. */
static void
on_inventory(struct exchange *x, const PGresult *res, void *arg)
{
	const struct conf *conf = ask_conf(x);
	json_t *all, *found;
	char *text;

	(void)arg;
	x->status = 200;
	if (x->caller.tenant != NULL) {
		buf_printf(&x->body, "%s\n", pg_text(res, 0, 0));
		exchange_done(x);
		return;
	}
	all = inventory_new(conf);
	if (conf->nfiles > 0)
		json_object_set_new(all, "configuration", json_string(conf->files[0]));
	json_object_set_new(all, "database", json_string(pg_text(res, 0, 1)));
	json_object_set_new(all, "at", json_string(pg_text(res, 0, 2)));
	found = json_loads(pg_text(res, 0, 0), 0, NULL);
	inventory_add(all, found, true);
	inventory_count(all);
	text = json_dumps(all, JSON_COMPACT);
	buf_printf(&x->body, "%s\n", text);
	free(text);
	json_decref(found);
	json_decref(all);
	exchange_done(x);
}

static void
inventory(struct exchange *x, void *arg)
{
	(void)arg;
	ask(x, "SELECT jobq.api_inventory(), current_database(), "
	    "jobq.rfc3339(clock_timestamp())", 0, NULL, on_inventory, NULL);
}
