/*
 * The routes of schedules and workflows: their SQL is in 94-api-schedules.sql.
 * When schedules fire is told by the code that fires them, without the database.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "api/ask.h"
#include "api/route.h"
#include "base/xalloc.h"
#include "conf/conf.h"
#include "conf/instant.h"
#include "conf/zones.h"
#include "core/spec.h"

#define NAME { "name", IN_PATH, PARAM_TEXT, "the schedule's name" }
#define WORKFLOW { "workflow", IN_PATH, PARAM_ID, "the workflow" }
#define LIMIT { "limit", IN_QUERY, PARAM_INTEGER, "at most so many", .min = 1, .max = 1000, \
	.def = "100" }
#define CURSOR { "cursor", IN_QUERY, PARAM_TEXT, "where the last page ended", .min = 1, \
	.max = 1024 }

static answer_fn show, explain;

static const struct param list_params[] = {
	{ "queue", IN_QUERY, PARAM_TEXT, "of this queue" },
	{ "type", IN_QUERY, PARAM_TEXT, "of this type" },
	{ "enabled", IN_QUERY, PARAM_BOOLEAN, "whether it is enabled" },
	{ "origin", IN_QUERY, PARAM_WORD, "of the configuration, or made at run time",
	    .words = "file sql" },
	LIMIT, CURSOR,
	{ 0 }
};
static const struct param one_schedule[] = { NAME, { 0 } };
static const struct param show_params[] = {
	NAME,
	{ "count", IN_QUERY, PARAM_INTEGER, "how many of its next runs to tell", .min = 0,
	    .max = 1000, .def = "5" },
	{ 0 }
};
static const struct param explain_params[] = {
	{ "cron", IN_QUERY, PARAM_TEXT, "a cron expression", .min = 1, .max = 1024 },
	{ "every", IN_QUERY, PARAM_TEXT, "or a duration, like 30s" },
	{ "timezone", IN_QUERY, PARAM_TEXT, "of the expression, and of the answer", .def = "UTC" },
	{ "dst", IN_QUERY, PARAM_WORD, "what becomes of times that a change of the clocks skips "
	    "or repeats", .words = "standard skip clock", .def = "standard" },
	{ "from", IN_QUERY, PARAM_INSTANT, "after when; else now" },
	{ "count", IN_QUERY, PARAM_INTEGER, "how many", .min = 1, .max = 1000, .def = "5" },
	{ 0 }
};

/* As in the configuration; $2 … $21 of PUT. */
#define KEYS \
	{ "queue", IN_BODY, PARAM_TEXT, "the queue of its jobs", true }, \
	{ "type", IN_BODY, PARAM_TEXT, "their type", .max = 255 }, \
	{ "cron", IN_BODY, PARAM_TEXT, "when: a cron expression", .min = 1, .max = 1024 }, \
	{ "every", IN_BODY, PARAM_TEXT, "or a duration, like 30s" }, \
	{ "at", IN_BODY, PARAM_TEXT, "or an instant, once" }, \
	{ "timezone", IN_BODY, PARAM_TEXT, "of cron, and of instants without an offset" }, \
	{ "dst", IN_BODY, PARAM_WORD, "what becomes of times that a change of the clocks skips " \
	    "or repeats", .words = "standard skip clock" }, \
	{ "starts", IN_BODY, PARAM_TEXT, "not before" }, \
	{ "ends", IN_BODY, PARAM_TEXT, "not after" }, \
	{ "data", IN_BODY, PARAM_OBJECT, "of its jobs" }, \
	{ "priority", IN_BODY, PARAM_JSON, "a number, or a name like high" }, \
	{ "tenant", IN_BODY, PARAM_TEXT, "whose jobs they are" }, \
	{ "enabled", IN_BODY, PARAM_BOOLEAN, "whether it fires" }, \
	{ "description", IN_BODY, PARAM_TEXT, "for people", .max = 2000 }, \
	{ "overlap", IN_BODY, PARAM_WORD, "when its last jobs have not ended", \
	    .words = "allow skip replace" }, \
	{ "catch_up", IN_BODY, PARAM_WORD, "what was missed", .words = "none last all" }, \
	{ "catch_up_window", IN_BODY, PARAM_TEXT, "… so long" }, \
	{ "jitter", IN_BODY, PARAM_TEXT, "fire up to so much later" }, \
	{ "requires_env", IN_BODY, PARAM_TEXTS, "variables without which it does not fire" }, \
	{ "only_if", IN_BODY, PARAM_TEXT, "is SQL: not taken here", .max = 10000 }, \
	{ "for_each", IN_BODY, PARAM_TEXT, "is SQL: not taken here", .max = 10000 }
#define PUT_SQL(fresh) \
	"SELECT CASE WHEN made THEN 201 ELSE 200 END AS status, " \
	"CASE WHEN made THEN '/v1/schedules/' || $1 END AS location, body " \
	"FROM jobq.api_schedule_put($1, jsonb_strip_nulls(jsonb_build_object(" \
	"'queue', $2::text, 'type', $3::text, 'cron', $4::text, 'every', $5::text, " \
	"'at', $6::text, 'timezone', $7::text, 'dst', $8::text, 'starts', $9::text, " \
	"'ends', $10::text, 'priority', $12::jsonb, 'tenant', $13::text, " \
	"'enabled', $14::boolean, 'description', $15::text, 'overlap', $16::text, " \
	"'catch_up', $17::text, 'catch_up_window', $18::text, 'jitter', $19::text, " \
	"'requires_env', $20::text[], 'only_if', $21::text, 'for_each', $22::text)) || " \
	"CASE WHEN $11::jsonb IS NULL THEN '{}' ELSE jsonb_build_object('data', $11::jsonb) " \
	"END, " fresh ")"

static const struct param post_params[] = {
	{ "name", IN_BODY, PARAM_TEXT, "its name", true, .min = 1, .max = 63 }, KEYS, { 0 }
};
static const struct param put_params[] = { NAME, KEYS, { 0 } };
static const struct param workflows_params[] = {
	{ "name", IN_QUERY, PARAM_TEXT, "of this definition" },
	{ "state", IN_QUERY, PARAM_WORD, "in this state", .words = "running completed failed "
	    "cancelled" },
	LIMIT, CURSOR,
	{ 0 }
};
static const struct param one_workflow[] = { WORKFLOW, { 0 } };

const struct route schedules_routes[] = {
	{ "GET", "/v1/schedules", "The schedules", "schedules", ROLE_VIEWER, true,
	    "SELECT jobq.api_schedules($1, $2, $3, $4, $5, $6) AS body", .params = list_params },
	{ "GET", "/v1/schedules/explain", "When an expression fires", "schedules", ROLE_VIEWER,
	    true, .answer = explain, .params = explain_params },
	{ "GET", "/v1/schedules/{name}", "A schedule, with its last jobs and next runs",
	    "schedules", ROLE_VIEWER, true, .answer = show, .params = show_params },
	{ "POST", "/v1/schedules", "Make a schedule", "schedules", ROLE_ADMIN, false,
	    PUT_SQL("true"), .params = post_params, .status = 201, .seals = true },
	{ "PUT", "/v1/schedules/{name}", "Make a schedule, or replace one that was made at run "
	    "time", "schedules", ROLE_ADMIN, false, PUT_SQL("false"), .params = put_params,
	    .seals = true },
	{ "DELETE", "/v1/schedules/{name}", "Remove a schedule that was made at run time; its jobs "
	    "stay", "schedules", ROLE_ADMIN, false, "SELECT jobq.api_schedule_remove($1)",
	    .params = one_schedule, .status = 204 },
	{ "POST", "/v1/schedules/{name}/run", "Run it now, whatever it says of the time",
	    "schedules", ROLE_OPERATOR, false, "SELECT jobq.api_schedule_run($1) AS body",
	    .params = one_schedule },
	{ "POST", "/v1/schedules/{name}/pause", "Let it not fire", "schedules", ROLE_OPERATOR,
	    false, "SELECT jobq.api_schedule_pause($1, true) AS body", .params = one_schedule },
	{ "POST", "/v1/schedules/{name}/resume", "Let it fire again", "schedules", ROLE_OPERATOR,
	    false, "SELECT jobq.api_schedule_pause($1, false) AS body", .params = one_schedule },
	{ "GET", "/v1/workflows", "Runs of workflows, the newest first", "workflows", ROLE_VIEWER,
	    true, "SELECT jobq.api_workflows($1, $2, $3, $4) AS body",
	    .params = workflows_params },
	{ "GET", "/v1/workflows/{workflow}", "A run of a workflow, with its steps", "workflows",
	    ROLE_VIEWER, true, "SELECT jobq.api_workflow($1) AS body", .params = one_workflow },
	{ "POST", "/v1/workflows/{workflow}/cancel", "Cancel it, with all its jobs", "workflows",
	    ROLE_OPERATOR, true, "SELECT jobq.api_workflow_cancel($1) AS body",
	    .params = one_workflow },
	{ "POST", "/v1/workflows/{workflow}/retry", "Take it up where it failed", "workflows",
	    ROLE_OPERATOR, true, "SELECT jobq.api_workflow_retry($1) AS body",
	    .params = one_workflow },
	{ 0 }
};

/*
 * When an expression fires
 */

static void
refuse(struct exchange *x, const char *field, const char *text)
{
	exchange_problem_of(x, 422, field, text);
	exchange_done(x);
}

static enum cron_dst
dst_of(const char *name)
{
	int rule = 0;

	while (strcmp(name, cron_dst_names[rule]) != 0)
		rule++;		/* the route knows no other words */
	return (enum cron_dst)rule;
}

static void
explain(struct exchange *x, void *arg)
{
	const char *cron = route_value(x, "cron"), *every = route_value(x, "every");
	const char *from = route_value(x, "from");
	int64_t at = (int64_t)time(NULL) * 1000;
	struct spec spec = { 0 };
	char text[SPEC_TIME_MAX];
	struct err e;

	(void)arg;
	if ((cron == NULL) == (every == NULL)) {
		refuse(x, "cron", "one of cron and every is needed");
		return;
	}
	if (zones_find(route_value(x, "timezone"), &spec.zone, &e) != 0) {
		refuse(x, "timezone", e.msg);
		return;
	}
	if ((cron != NULL ? cron_parse(&spec.cron, cron, &e) :
	    spec_parse(&spec, every, &e)) != 0 || (every != NULL && spec.every_ms == 0)) {
		refuse(x, cron != NULL ? "cron" : "every",
		    cron != NULL || spec.every_ms != 0 ? e.msg : "every is no duration");
		return;
	}
	spec.dst = dst_of(route_value(x, "dst"));
	if (from != NULL)
		instant_parse(from, &at);	/* it was checked */
	x->status = 200;
	buf_str(&x->body, "{\"items\":[");
	for (long i = strtol(route_value(x, "count"), NULL, 10), n = 0; n < i; n++) {
		if ((at = spec_next_ms(&spec, at)) < 0)
			break;
		buf_printf(&x->body, "%s\"%s\"", n > 0 ? "," : "",
		    spec_time(text, spec.zone, at));
	}
	buf_printf(&x->body, "],\"never_again\":%s}\n", at < 0 ? "true" : "false");
	exchange_done(x);
}

/*
 * A schedule with its next runs
 */

/* The instant after this one; -1: none. */
static int64_t
next_of(const struct schedule_conf *s, int64_t after_ms)
{
	struct spec spec = { .cron = s->cron, .zone = s->zone, .dst = s->dst };
	int64_t at;

	if (s->kind == SPEC_AT)
		return -1;
	if (s->kind == SPEC_EVERY)
		spec.every_ms = s->every_ms;
	at = spec_next_ms(&spec, after_ms);
	return s->ends_ms > 0 && at > s->ends_ms ? -1 : at;
}

static const struct schedule_conf *
configured(const struct conf *conf, const char *name)
{
	for (size_t i = 0; i < conf->nschedules; i++)
		if (strcmp(conf->schedules[i].name, name) == 0)
			return &conf->schedules[i];
	return NULL;
}

static void
on_schedule(struct exchange *x, const PGresult *res, void *arg)
{
	const char *body = pg_text(res, 0, 0), *definition = pg_text(res, 0, 1);
	const char *name = route_value(x, "name");
	long count = strtol(route_value(x, "count"), NULL, 10);
	int64_t at = pg_text(res, 0, 2) != NULL ? pg_int(res, 0, 2) : -1;
	struct schedule_conf *made = NULL;
	const struct schedule_conf *s;
	char text[SPEC_TIME_MAX];
	struct err e;

	(void)arg;
	if (definition != NULL)
		s = made = conf_schedule_new(name, definition, &e);
	else
		s = configured(ask_conf(x), name);
	x->status = 200;
	buf_put(&x->body, body, strlen(body) - 1);	/* without its } */
	buf_str(&x->body, ",\"next_runs\":[");
	for (long n = 0; n < count && at >= 0; n++) {
		buf_printf(&x->body, "%s\"%s\"", n > 0 ? "," : "",
		    spec_time(text, s != NULL ? s->zone : NULL, at));
		at = s != NULL ? next_of(s, at) : -1;
	}
	buf_str(&x->body, "]}\n");
	conf_schedule_free(made);
	exchange_done(x);
}

static void
show(struct exchange *x, void *arg)
{
	(void)arg;
	ask(x, "SELECT body, body ->> 'definition', "
	    "(extract(epoch FROM (body ->> 'next_run')::timestamptz) * 1000)::bigint "
	    "FROM jobq.api_schedule($1) body", 1, (const char *const *)x->values,
	    on_schedule, NULL);
}
