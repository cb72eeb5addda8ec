/*
 * jobqctl alert: list, rules, show, ack, silence, unsilence, set, reset.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "core/near.h"
#include "core/units.h"
#include "ctl/ctl.h"
#include "ctl/out.h"

#define NAMES_MAX 1000		/* rules that are compared with a mistyped one */

#define ALERT_COLUMNS "name, queue, state, severity, " SQL_TIME("since") \
    " AS since, acknowledged_by, message"

#define RULE_COLUMNS "name, metric, concat_ws(' ', 'above ' || above, " \
    "'below ' || below, 'clear ' || clear) AS \"limit\", \"for\", severity, " \
    "array_to_string(queues, ' ') AS queues, " \
    "array_to_string(notify, ' ') AS notify"

static int find_rule(struct ctl *, const char *name);
static int failed(struct ctl *, const char *name, const struct err *);
static int show_changes(struct ctl *, const char *name);
static int show_silences(struct ctl *, const char *name);
static int show_alerts(struct ctl *, const char *name);
static int read_changes(const struct args *, struct buf *);
static int said(struct ctl *, const char *name, const char *queue,
    const char *done);

int
alert_list(struct ctl *ctl, const struct args *a)
{
	const char *params[] = { args_get(a, "queue"),
	    args_has(a, "all") ? "t" : "f", NULL };
	char limit_text[16];
	long limit = 100;
	struct err e;

	if (args_number(a, "limit", 1, 10000, &limit, &e) < 0)
		return ctl_misuse("alert list: %s", e.msg);
	snprintf(limit_text, sizeof(limit_text), "%ld", limit);
	params[2] = limit_text;
	return ctl_list(ctl, ctl_query(ctl, ctl->json ?
	    "SELECT row_to_json(l) FROM (SELECT * FROM jobq.alerts "
	    "WHERE ($1::text IS NULL OR queue = $1) AND ($2 OR state <> 'ended') "
	    "ORDER BY ended_at DESC NULLS FIRST, since DESC LIMIT $3::int) l" :
	    "SELECT " ALERT_COLUMNS " FROM jobq.alerts l "
	    "WHERE ($1::text IS NULL OR queue = $1) AND ($2 OR state <> 'ended') "
	    "ORDER BY ended_at DESC NULLS FIRST, l.since DESC LIMIT $3::int",
	    3, params), "no alerts");
}

int
alert_rules(struct ctl *ctl, const struct args *a)
{
	(void)a;
	return ctl_list(ctl, ctl_query(ctl, ctl->json ?
	    "SELECT row_to_json(r) FROM jobq.alert_rules r ORDER BY name" :
	    "SELECT " RULE_COLUMNS " FROM jobq.alert_rules ORDER BY name",
	    0, NULL), "the configuration has no alerts");
}

int
alert_show(struct ctl *ctl, const struct args *a)
{
	const char *name = a->operands[0];
	const char *params[] = { name };
	PGresult *res = ctl_query(ctl, ctl->json ?
	    "SELECT to_jsonb(r) || jsonb_build_object('alerts', "
	    "(SELECT coalesce(jsonb_agg(l ORDER BY l.since DESC), '[]') FROM "
	    "(SELECT * FROM jobq.alerts l WHERE l.name = r.name "
	    "ORDER BY l.since DESC LIMIT 20) l), 'silences', "
	    "(SELECT coalesce(jsonb_agg(s), '[]') FROM jobq.silences s "
	    "WHERE coalesce(s.name, r.name) = r.name)) "
	    "FROM jobq.alert_rules r WHERE name = $1" :
	    "SELECT " RULE_COLUMNS ", \"window\", nullif(min_jobs, 0) AS min_jobs, "
	    "nullif(repeat, '0') AS repeat, CASE WHEN escalate_after <> '0' THEN "
	    "'after ' || escalate_after || ' to ' || array_to_string("
	    "escalate_notify, ' ') END AS escalates "
	    "FROM jobq.alert_rules WHERE name = $1", 1, params);

	if (res == NULL)
		return CTL_FAILED;
	if (PQntuples(res) == 0) {
		PQclear(res);
		return find_rule(ctl, name);
	}
	ctl_one(ctl, res);
	if (ctl->json)
		return CTL_DONE;
	if (show_changes(ctl, name) != CTL_DONE ||
	    show_silences(ctl, name) != CTL_DONE)
		return CTL_FAILED;
	return show_alerts(ctl, name);
}

int
alert_ack(struct ctl *ctl, const struct args *a)
{
	const char *notes = args_get(a, "notes");
	const char *params[] = { a->operands[0], args_get(a, "queue"),
	    args_get(a, "by"), notes == NULL ? "" : notes };
	PGresult *res;
	struct err e;
	long count;

	if (ctl_connect(ctl) < 0)
		return CTL_FAILED;
	res = ctl_try(ctl, "SELECT jobq.alert_ack($1, $2, $3, $4)", 4, params, &e);
	if (res == NULL)
		return failed(ctl, params[0], &e);
	count = (long)strtol(PQgetvalue(res, 0, 0), NULL, 10);
	PQclear(res);
	if (count == 0)
		return ctl_missing("alert %s does not fire%s%s", params[0],
		    params[1] == NULL ? "" : " for queue ",
		    params[1] == NULL ? "" : params[1]);
	return said(ctl, params[0], params[1], "acknowledged");
}

int
alert_silence(struct ctl *ctl, const struct args *a)
{
	const char *rest = args_get(a, "for"), *reason = args_get(a, "reason");
	bool all = args_has(a, "all");
	const char *params[] = { all ? "*" : a->operands[0], args_get(a, "until"),
	    NULL, args_get(a, "queue"), reason == NULL ? "" : reason,
	    args_get(a, "by") };
	char ms_text[24];
	PGresult *res;
	struct err e;
	int64_t ms;

	if (a->count + all != 1)
		return ctl_misuse("alert silence: the NAME of an alert, or --all");
	if ((rest != NULL) + (params[1] != NULL) != 1)
		return ctl_misuse("alert silence: for how long? --for or --until");
	if (rest != NULL) {
		if (units_duration_ms(rest, &ms) < 0 || ms == 0)
			return ctl_misuse("alert silence: --for \"%s\" is no "
			    "duration such as 30m or 2h", rest);
		snprintf(ms_text, sizeof(ms_text), "%lld", (long long)ms);
		params[2] = ms_text;
	}
	if (ctl_connect(ctl) < 0)
		return CTL_FAILED;
	res = ctl_try(ctl, "SELECT jobq.alert_silence($1, coalesce("
	    "$2::timestamptz, now() + $3::bigint * interval '1 ms'), $4, $5, $6)",
	    6, params, &e);
	if (res == NULL)
		return failed(ctl, params[0], &e);
	PQclear(res);
	return said(ctl, params[0], params[3], "silenced");
}

int
alert_unsilence(struct ctl *ctl, const struct args *a)
{
	bool all = args_has(a, "all"), done;
	const char *params[] = { all ? "*" : a->operands[0],
	    args_get(a, "queue") };
	PGresult *res;

	if (a->count + all != 1)
		return ctl_misuse("alert unsilence: the NAME of an alert, or "
		    "--all");
	res = ctl_query(ctl, "SELECT jobq.alert_unsilence($1, $2)", 2, params);
	if (res == NULL)
		return CTL_FAILED;
	done = *PQgetvalue(res, 0, 0) == 't';
	PQclear(res);
	if (!done)
		return ctl_missing("there is no such silence; \"jobqctl alert "
		    "show NAME\" shows those of an alert");
	return said(ctl, params[0], params[1], "no longer silenced");
}

int
alert_set(struct ctl *ctl, const struct args *a)
{
	struct buf changes = { 0 };
	const char *params[] = { a->operands[0], NULL };
	PGresult *res = NULL;
	struct err e;
	int status = read_changes(a, &changes);

	if (status == CTL_DONE && ctl_connect(ctl) < 0)
		status = CTL_FAILED;
	if (status == CTL_DONE) {
		params[1] = changes.data;
		res = ctl_try(ctl, "SELECT jobq.alert_set($1, $2::jsonb)", 2,
		    params, &e);
		if (res == NULL)
			status = failed(ctl, params[0], &e);
	}
	buf_clear(&changes);
	PQclear(res);
	return status == CTL_DONE ? said(ctl, params[0], NULL, "changed") :
	    status;
}

int
alert_reset(struct ctl *ctl, const struct args *a)
{
	const char *params[] = { a->operands[0] };
	PGresult *res;
	struct err e;

	if (ctl_connect(ctl) < 0)
		return CTL_FAILED;
	res = ctl_try(ctl, "SELECT jobq.alert_reset($1)", 1, params, &e);
	if (res == NULL)
		return failed(ctl, params[0], &e);
	PQclear(res);
	return said(ctl, params[0], NULL, "as the configuration says");
}

/* KEY=VALUE … as an object of texts. */
static int
read_changes(const struct args *a, struct buf *b)
{
	for (int i = 1; i < a->count; i++) {
		const char *pair = a->operands[i], *equals = strchr(pair, '=');

		if (equals == NULL || equals == pair)
			return ctl_misuse("alert set: \"%s\" is not KEY=VALUE, "
			    "as in above=500", pair);
		buf_char(b, i > 1 ? ',' : '{');
		buf_json(b, pair, (size_t)(equals - pair));
		buf_char(b, ':');
		if (equals[1] == '\0')
			buf_str(b, "null");
		else
			buf_json(b, equals + 1, strlen(equals + 1));
	}
	buf_char(b, '}');
	return CTL_DONE;
}

/* Is there such a rule? CTL_NOT_FOUND after a line with the nearest name. */
static int
find_rule(struct ctl *ctl, const char *name)
{
	PGresult *res = ctl_query(ctl, "SELECT name FROM jobq.alert_rules "
	    "ORDER BY name", 0, NULL);
	const char *names[NAMES_MAX], *near;
	size_t count = 0;
	int status = CTL_NOT_FOUND;

	if (res == NULL)
		return CTL_FAILED;
	for (int i = 0; i < PQntuples(res) && count < NAMES_MAX; i++) {
		names[count++] = PQgetvalue(res, i, 0);
		if (strcmp(PQgetvalue(res, i, 0), name) == 0)
			status = CTL_DONE;
	}
	if (status != CTL_DONE && (near = near_name(name, names, count)) != NULL)
		ctl_missing("no alert %s; did you mean %s?", name, near);
	else if (status != CTL_DONE)
		ctl_missing("no alert %s; \"jobqctl alert rules\" shows them",
		    name);
	PQclear(res);
	return status;
}

/* Why a call failed: the rule is not there, or what the server said. */
static int
failed(struct ctl *ctl, const char *name, const struct err *e)
{
	int status = strcmp(name, "*") == 0 ? CTL_DONE : find_rule(ctl, name);

	return status != CTL_DONE ? status : ctl_fail("%s", e->msg);
}

static int
show_changes(struct ctl *ctl, const char *name)
{
	const char *params[] = { name };

	return ctl_further(ctl_query(ctl, "SELECT k.key AS changed, k.value AS "
	    "\"to\", r.changed_by AS by, " SQL_TIME("r.changed_at") " AS at "
	    "FROM jobq.alert_rules r, jsonb_each_text(r.changes) k "
	    "WHERE r.name = $1 ORDER BY 1", 1, params));
}

static int
show_silences(struct ctl *ctl, const char *name)
{
	const char *params[] = { name };

	return ctl_further(ctl_query(ctl, "SELECT coalesce(queue, 'all queues') "
	    "AS silenced, " SQL_TIME("until") " AS until, by, reason "
	    "FROM jobq.silences WHERE coalesce(name, $1) = $1 ORDER BY 1",
	    1, params));
}

static int
show_alerts(struct ctl *ctl, const char *name)
{
	const char *params[] = { name };
	PGresult *res = ctl_query(ctl, "SELECT queue, state, " SQL_TIME("since")
	    " AS since, " SQL_TIME("ended_at") " AS ended_at, acknowledged_by, "
	    "message FROM jobq.alerts l WHERE name = $1 "
	    "ORDER BY l.since DESC LIMIT 20", 1, params);

	if (res == NULL)
		return CTL_FAILED;
	putchar('\n');
	out_table(res, "it has not fired");
	PQclear(res);
	return CTL_DONE;
}

/* What was done to which alerts. */
static int
said(struct ctl *ctl, const char *name, const char *queue, const char *done)
{
	bool all = strcmp(name, "*") == 0;
	struct buf b = { 0 };

	if (ctl->json) {
		buf_str(&b, "{\"name\":");
		if (all)
			buf_str(&b, "null");
		else
			buf_json(&b, name, strlen(name));
		buf_str(&b, ",\"queue\":");
		if (queue == NULL)
			buf_str(&b, "null");
		else
			buf_json(&b, queue, strlen(queue));
		buf_str(&b, ",\"done\":");
		buf_json(&b, done, strlen(done));
		buf_char(&b, '}');
	} else {
		buf_str(&b, all ? "all alerts" : "alert ");
		if (!all)
			out_escape(&b, name, false);
		if (queue != NULL) {
			buf_str(&b, " of queue ");
			out_escape(&b, queue, false);
		}
		buf_printf(&b, ": %s", done);
	}
	puts(b.data);
	buf_clear(&b);
	return CTL_DONE;
}
