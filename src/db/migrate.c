/*
 * The schema: creating it, and telling it the configuration. See migrate.h.
 */
#include "config.h"

#include "db/migrate.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/xalloc.h"
#include "core/metric.h"
#include "core/units.h"
#include "db/pg.h"
#include "db/pgsync.h"
#include "db/sqltext.h"
#include "db/stmt.h"
#include "os/instance.h"

/* Made apart from the schema, since it needs other rights. */
#define ROLES_TEXT "95-roles"
#define LADDER_MARGIN_MS 10000		/* an attempt is over so long after the ladder */

static int schema_version(PGconn *, const char *schema, int *version,
    struct err *);
static int check_server(PGconn *, struct err *);
static int too_new(int version, struct err *);
static char *text_of(const struct sqltext *, const char *schema);
static int execute(PGconn *, const struct sqltext *, const char *schema,
    struct err *);
static int command(PGconn *, const char *sql, struct err *);
static void put_queue(struct buf *, const struct queue_conf *);
static void put_weights(struct buf *, const struct queue_conf *);
static void put_limit(struct buf *, const struct limit_conf *);
static void put_schedule(struct buf *, const struct schedule_conf *);
static void put_workflow(struct buf *, const struct workflow_conf *);
static void put_step(struct buf *, const struct step_conf *);
static void put_alert(struct buf *, const struct alert_conf *);
static void put_words(struct buf *, const char *key, char *const *words,
    size_t count);
static void put_duration(struct buf *, const char *key, int64_t ms);
static void put_given(struct buf *, const char *key, const char *value);
static void put_text(struct buf *, const char *key, const char *value);
static void put_number(struct buf *, const char *key, int64_t value);

/* Who has waited for the lock is to see what was done meanwhile. */
static const char begin[] = "BEGIN ISOLATION LEVEL READ COMMITTED;\n"
    PG_SETTLE("true") ";\n";

int
migrate_run(PGconn *db, const char *schema, struct err *e)
{
	const char *params[] = { schema };
	PGresult *res;
	int version = 0, status = 0;

	if (check_server(db, e) < 0 || command(db, begin, e) < 0)
		return -1;
	/* Nodes that start together: one does it, the others find it done. */
	res = pgsync_query(db, "SELECT pg_advisory_xact_lock("
	    "hashtextextended('jobqd migrate ' || $1, 0))", 1, params, e);
	PQclear(res);
	if (res == NULL || schema_version(db, schema, &version, e) < 0)
		status = -1;
	else if (version > SCHEMA_VERSION)
		status = too_new(version, e);
	/* An older version would be brought up here, a step a version. */
	for (const struct sqltext *t = sqltext;
	    status == 0 && version == 0 && t->name != NULL; t++)
		if (strcmp(t->name, ROLES_TEXT) != 0)
			status = execute(db, t, schema, e);
	if (status < 0) {
		PQclear(PQexec(db, "ROLLBACK"));
		return -1;
	}
	return command(db, "COMMIT", e);
}

int
migrate_check(PGconn *db, const char *schema, struct err *e)
{
	int version;

	if (schema_version(db, schema, &version, e) < 0)
		return -1;
	if (version > SCHEMA_VERSION)
		return too_new(version, e);
	if (version < SCHEMA_VERSION)
		return err_code(e, ERR_CONFIG, "the schema \"%s\" is %s: run "
		    "\"jobqctl migrate\", or set database.migrate to auto",
		    schema, version == 0 ? "not there" : "of an older jobqd");
	return 0;
}

void
migrate_print(FILE *out, const char *schema)
{
	fputs(begin, out);
	for (const struct sqltext *t = sqltext; t->name != NULL; t++) {
		char *text;

		if (strcmp(t->name, ROLES_TEXT) == 0)
			continue;
		text = text_of(t, schema);
		fputs(text, out);
		free(text);
	}
	fputs("COMMIT;\n", out);
}

int
migrate_roles(PGconn *db, const char *schema, struct err *e)
{
	for (const struct sqltext *t = sqltext; t->name != NULL; t++)
		if (strcmp(t->name, ROLES_TEXT) == 0)
			return execute(db, t, schema, e);
	return err_set(e, "this build has no roles");
}

int
migrate_check_fence(PGconn *db, const char *schema, struct err *e)
{
	char *sql = stmt_in_schema("SELECT jobq.fence_broken()", schema);
	PGresult *res = pgsync_query(db, sql, 0, NULL, e);
	int status = 0;

	free(sql);
	if (res == NULL)
		return -1;
	if (pg_text(res, 0, 0) != NULL)
		status = err_code(e, ERR_CONFIG, "api.tokens_file has tokens of "
		    "tenants, and PostgreSQL would not keep these apart: %s: "
		    "connect as an ordinary role that owns the schema",
		    pg_text(res, 0, 0));
	PQclear(res);
	return status;
}

/* 0: there is none. */
static int
schema_version(PGconn *db, const char *schema, int *version, struct err *e)
{
	const char *params[] = { schema };
	PGresult *res;
	char *sql;
	bool there;

	*version = 0;
	res = pgsync_query(db, "SELECT to_regclass(quote_ident($1) || '.meta') "
	    "IS NOT NULL", 1, params, e);
	if (res == NULL)
		return -1;
	there = pg_true(res, 0, 0);
	PQclear(res);
	if (!there)
		return 0;
	sql = stmt_in_schema("SELECT schema_version FROM jobq.meta", schema);
	res = pgsync_query(db, sql, 0, NULL, e);
	free(sql);
	if (res == NULL)
		return -1;
	if (PQntuples(res) == 1)
		*version = (int)pg_int(res, 0, 0);
	PQclear(res);
	return 0;
}

static int
check_server(PGconn *db, struct err *e)
{
	const char *encoding = PQparameterStatus(db, "server_encoding");
	int version = PQserverVersion(db);

	if (version < SERVER_MIN)
		return err_code(e, ERR_CONFIG, "the server is PostgreSQL %d: "
		    "jobqd needs %d or later", version / 10000,
		    SERVER_MIN / 10000);
	/* Data and what jobs print is UTF-8. */
	if (encoding != NULL && strcmp(encoding, "UTF8") != 0)
		return err_code(e, ERR_CONFIG, "the database \"%s\" has the "
		    "encoding %s, which cannot hold all that jobs say: make one "
		    "of UTF8, createdb -T template0 -E UTF8", PQdb(db), encoding);
	return 0;
}

static int
too_new(int version, struct err *e)
{
	return err_code(e, ERR_CONFIG, "the schema is of version %d and this "
	    "jobqd knows %d: install a newer jobqd", version, SCHEMA_VERSION);
}

/*
 * In these files the word jobq, alone, is the schema's name: also where no dot
 * follows, and in strings. The name is one that needs no quotes (the
 * configuration sees to it).
 */
static char *
text_of(const struct sqltext *t, const char *schema)
{
	struct buf b = { 0 };

	for (const char *const *line = t->lines; *line != NULL; line++) {
		const char *from = *line, *p = from;

		while ((p = strstr(p, SCHEMA_DEFAULT)) != NULL) {
			const char *after = p + strlen(SCHEMA_DEFAULT);

			if ((p == *line || (!isalnum((unsigned char)p[-1]) &&
			    p[-1] != '_')) &&
			    !isalnum((unsigned char)*after) && *after != '_') {
				buf_put(&b, from, (size_t)(p - from));
				buf_str(&b, schema);
				from = after;
			}
			p = after;
		}
		buf_str(&b, from);
		buf_char(&b, '\n');
	}
	return buf_detach(&b);
}

static int
execute(PGconn *db, const struct sqltext *t, const char *schema, struct err *e)
{
	char *text = text_of(t, schema);
	int status = command(db, text, e);

	free(text);
	return status < 0 ? err_prepend(e, "schema %s, part %s", schema,
	    t->name) : 0;
}

/* Any number of statements. */
static int
command(PGconn *db, const char *sql, struct err *e)
{
	PGresult *res = PQexec(db, sql);
	ExecStatusType status = PQresultStatus(res);

	if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
		pg_error(res, e);
		if (PQstatus(db) == CONNECTION_BAD && e != NULL)
			e->code = ERR_DOWN;
		PQclear(res);
		return -1;
	}
	PQclear(res);
	return 0;
}

int
migrate_register(PGconn *db, const struct conf *conf, struct err *e)
{
	struct buf b = { 0 };
	const char *params[1];
	PGresult *res;
	char *sql;

	buf_char(&b, '{');
	put_text(&b, "node", conf->daemon.node);
	put_text(&b, "instance", instance_id());
	put_text(&b, "version", PACKAGE_VERSION);
	buf_str(&b, "\"queues\":[");
	for (size_t i = 0; i < conf->nqueues; i++) {
		buf_str(&b, i > 0 ? ",{" : "{");
		put_queue(&b, &conf->queues[i]);
	}
	buf_str(&b, "],\"limits\":[");
	for (size_t i = 0; i < conf->nlimits; i++) {
		buf_str(&b, i > 0 ? ",{" : "{");
		put_limit(&b, &conf->limits[i]);
	}
	buf_str(&b, "],\"schedules\":[");
	for (size_t i = 0; i < conf->nschedules; i++) {
		buf_str(&b, i > 0 ? ",{" : "{");
		put_schedule(&b, &conf->schedules[i]);
	}
	buf_str(&b, "],\"workflows\":{");
	for (size_t i = 0; i < conf->read.nworkflows; i++) {
		buf_str(&b, i > 0 ? "," : "");
		put_workflow(&b, &conf->read.workflows[i]);
	}
	buf_str(&b, "},\"alerts\":[");
	for (size_t i = 0; i < conf->read.nalerts; i++) {
		buf_str(&b, i > 0 ? ",{" : "{");
		put_alert(&b, &conf->read.alerts[i]);
	}
	buf_str(&b, "]}");
	params[0] = b.data;
	sql = stmt_in_schema("SELECT jobq.register($1::jsonb)",
	    conf->database.schema);
	res = pgsync_query(db, sql, 1, params, e);
	free(sql);
	buf_clear(&b);
	PQclear(res);
	return res == NULL ? -1 : 0;
}

/* The longest that an attempt can take, with the cancel ladder and a margin. */
static int64_t
longest_ms(const struct queue_conf *q)
{
	int64_t ms = q->timeout_ms;

	for (size_t i = 0; i < q->ntypes; i++)
		if (q->types[i].timeout_ms > ms)
			ms = q->types[i].timeout_ms;
	return ms + q->grace_ms + LADDER_MARGIN_MS;
}

int
migrate_running(PGconn *db, const struct conf *conf, struct err *e)
{
	struct buf digests = { 0 };
	const char *params[3];
	char *text = NULL, *sql;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	PGresult *res;

	if (f == NULL)
		return err_set(e, "no memory");
	conf_dump(conf, f);
	fclose(f);
	migrate_digests(conf, &digests);
	params[0] = conf->daemon.node;
	params[1] = text;
	params[2] = digests.data;
	sql = stmt_in_schema("SELECT jobq.running_put($1, $2, $3::jsonb)",
	    conf->database.schema);
	res = pgsync_query(db, sql, 3, params, e);
	free(sql);
	free(text);
	buf_clear(&digests);
	PQclear(res);
	return res == NULL ? -1 : 0;
}

void
migrate_digests(const struct conf *conf, struct buf *b)
{
	buf_printf(b, "{\"%s\":\"%016" PRIx64 "\",\"%s\":\"%016" PRIx64 "\"",
	    DIGEST_WHOLE, conf->whole_digest, DIGEST_SHARED,
	    conf->shared_digest);
	for (size_t i = 0; i < conf->nqueues; i++)
		buf_printf(b, ",\"%s\":\"%016" PRIx64 "\"",
		    conf->queues[i].name, conf->queues[i].digest);
	buf_char(b, '}');
}

static void
put_queue(struct buf *b, const struct queue_conf *q)
{
	static const char *const conflicts[] = {
		[CONFLICT_EXISTING] = "existing",
		[CONFLICT_REPLACE] = "replace",
		[CONFLICT_MOVE] = "move",
	};

	put_text(b, "name", q->name);
	put_number(b, "workers", q->workers);
	put_number(b, "concurrency", q->concurrency);
	put_number(b, "timeout_ms", q->timeout_ms);
	put_number(b, "priority", q->priority);
	put_number(b, "max_payload", q->max_payload);
	put_number(b, "max_attempts", q->retry->attempts);
	put_text(b, "unique", q->unique);
	put_text(b, "unique_conflict", conflicts[q->unique_conflict]);
	put_number(b, "unique_until_ms", q->unique_ms);
	put_text(b, "key", q->concurrency_key);
	put_number(b, "per_key", q->per_key);
	put_text(b, "fair", q->fair);
	put_number(b, "ageing_ms", q->ageing_ms);
	put_weights(b, q);
	put_words(b, "limits", q->limits, q->nlimits);
	put_number(b, "lease_ms", q->lease_ms);
	put_number(b, "expire_ms", q->expire_ms);
	put_number(b, "longest_ms", longest_ms(q));
	buf_printf(b, "\"large_first\":%s,\"enabled\":%s,\"breaker\":%s,"
	    "\"sealed\":%s,\"keep\":{",
	    q->scale->large_first ? "true" : "false",
	    q->enabled ? "true" : "false", q->breaker ? "true" : "false",
	    *q->encrypt.key_file != '\0' && q->encrypt.required ? "true" : "false");
	put_number(b, "completed_ms", q->keep.completed_ms);
	put_number(b, "dead_ms", q->keep.dead_ms);
	put_number(b, "cancelled_ms", q->keep.cancelled_ms);
	buf_printf(b, "\"history_ms\":%" PRId64 "}}", q->keep.history_ms);
}

static void
put_weights(struct buf *b, const struct queue_conf *q)
{
	char *weights;

	if (q->fair_weights == NULL)
		return;
	weights = node_json(q->fair_weights);
	buf_printf(b, "\"weights\":%s,", weights);
	free(weights);
}

static void
put_limit(struct buf *b, const struct limit_conf *l)
{
	put_text(b, "name", l->name);
	put_number(b, "rate", l->rate_count);
	put_number(b, "period_ms", l->rate_period_ms);
	put_number(b, "min_gap_ms", l->min_gap_ms);
	buf_printf(b, "\"concurrency\":%d}", l->concurrency);
}

static void
put_schedule(struct buf *b, const struct schedule_conf *s)
{
	static const char *const overlaps[] = {
		[OVERLAP_ALLOW] = "allow",
		[OVERLAP_SKIP] = "skip",
		[OVERLAP_REPLACE] = "replace",
	};

	put_text(b, "name", s->name);
	put_text(b, "queue", s->queue);
	put_text(b, "type", s->type);
	put_text(b, "spec", s->spec);
	put_text(b, "timezone", s->timezone);
	put_text(b, "description", s->description);
	put_text(b, "overlap", overlaps[s->overlap]);
	put_given(b, "only_if", s->only_if);
	put_given(b, "for_each", s->for_each);
	put_given(b, "tenant", s->tenant);
	if (s->priority >= 0)
		put_number(b, "priority", s->priority);
	put_number(b, "jitter_ms", s->jitter_ms);
	buf_printf(b, "\"data\":%s,\"enabled\":%s}",
	    s->data != NULL && *s->data != '\0' ? s->data : "{}",
	    s->enabled ? "true" : "false");
}

/* "name":{…} */
static void
put_workflow(struct buf *b, const struct workflow_conf *w)
{
	buf_printf(b, "\"%s\":{\"steps\":{", w->name);
	for (size_t i = 0; i < w->nsteps; i++) {
		buf_printf(b, "%s\"%s\":", i > 0 ? "," : "", w->steps[i].name);
		put_step(b, &w->steps[i]);
	}
	buf_char(b, '}');
	if (*w->on_failure.queue != '\0') {
		buf_str(b, ",\"on_failure\":");
		put_step(b, &w->on_failure);
	}
	buf_char(b, '}');
}

/* What is not said is left out: enqueue() has the queue's then. */
static void
put_step(struct buf *b, const struct step_conf *s)
{
	buf_char(b, '{');
	put_given(b, "if", s->condition);
	put_given(b, "for_each", s->for_each);
	put_given(b, "tenant", s->tenant);
	put_given(b, "key", s->key);
	if (s->priority >= 0)
		put_number(b, "priority", s->priority);
	if (s->max_attempts > 0)
		put_number(b, "max_attempts", s->max_attempts);
	if (s->delay_ms > 0)
		buf_printf(b, "\"delay\":\"%" PRId64 " ms\",", s->delay_ms);
	if (s->timeout_ms > 0)
		buf_printf(b, "\"timeout\":\"%" PRId64 " ms\",", s->timeout_ms);
	if (s->allow_failure)
		buf_str(b, "\"allow_failure\":true,");
	if (s->data != NULL) {
		char *data = node_json(s->data);

		buf_printf(b, "\"data\":%s,", data);
		free(data);
	}
	if (s->nafter > 0) {
		buf_str(b, "\"after\":[");
		for (size_t i = 0; i < s->nafter; i++)
			buf_printf(b, "%s\"%s\"", i > 0 ? "," : "", s->after[i]);
		buf_str(b, "],");
	}
	put_text(b, "type", s->type);
	buf_printf(b, "\"queue\":\"%s\"}", s->queue);
}

/* Amounts and durations as they are written: alert_set() changes them so. */
static void
put_alert(struct buf *b, const struct alert_conf *a)
{
	const struct metric *m = metric_at(a->metric);

	put_text(b, "name", a->name);
	put_text(b, "metric", m->name);
	put_text(b, "kind", metric_kind_name(m->kind));
	put_given(b, "above", a->above);
	put_given(b, "below", a->below);
	put_given(b, "clear", a->clear);
	put_duration(b, "window", a->window_ms);
	put_duration(b, "for", a->for_ms);
	put_duration(b, "repeat", a->repeat_ms);
	put_duration(b, "escalate_after", a->escalate.after_ms);
	put_number(b, "min_jobs", a->min_jobs);
	put_words(b, "queues", a->queues, a->nqueues);
	put_words(b, "notify", a->notify, a->nnotify);
	put_words(b, "escalate_notify", a->escalate.notify,
	    a->escalate.nnotify);
	buf_printf(b, "\"severity\":\"%s\"}", conf_severities[a->severity]);
}

static void
put_words(struct buf *b, const char *key, char *const *words, size_t count)
{
	buf_printf(b, "\"%s\":[", key);
	for (size_t i = 0; i < count; i++) {
		buf_str(b, i > 0 ? "," : "");
		buf_json(b, words[i], strlen(words[i]));
	}
	buf_str(b, "],");
}

static void
put_duration(struct buf *b, const char *key, int64_t ms)
{
	char text[UNITS_TEXT_MAX];

	units_format_duration(text, sizeof(text), ms);
	put_text(b, key, text);
}

static void
put_given(struct buf *b, const char *key, const char *value)
{
	if (value != NULL && *value != '\0')
		put_text(b, key, value);
}

/* "key":"value", with the comma; an empty text for NULL. */
static void
put_text(struct buf *b, const char *key, const char *value)
{
	if (value == NULL)
		value = "";
	buf_printf(b, "\"%s\":", key);
	buf_json(b, value, strlen(value));
	buf_char(b, ',');
}

static void
put_number(struct buf *b, const char *key, int64_t value)
{
	buf_printf(b, "\"%s\":%" PRId64 ",", key, value);
}
