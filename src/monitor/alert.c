/*
 * Alerts: see alert.h.
 *
 * The database keeps how each alert stands, so any monitor can go on with them;
 * the role 'alerts' says which one does. A notice is marked when it was
 * delivered: it is sent again when its monitor died in between, and never
 * forgotten.
 */
#include "config.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "core/rule.h"
#include "db/array.h"
#include "db/stmt.h"
#include "monitor/alert.h"
#include "monitor/outage.h"
#include "os/instance.h"

/* How long the role outlasts its holder's next look. */
#define ROLE_MARGIN_MS 5000
#define TTL_MAX_MS 2000000000
/* What is due by time alone is never looked for more often. */
#define LOOK_MIN_US (100 * MONO_MS)
#define NOTICES 100		/* that alert_notices() returns at once */

/* Columns of alert_look(). */
enum {
	L_LEADER, L_WAIT, L_DUE, L_NOW, L_NAME, L_QUEUE, L_METRIC, L_SEVERITY,
	L_OVER, L_LIMIT, L_CLEAR, L_MIN_JOBS, L_FOR, L_REPEAT, L_ESCALATE,
	L_VALUE, L_SAMPLE, L_DETAIL, L_SILENCED, L_ACKNOWLEDGED, L_SINCE,
	L_FIRED, L_TOLD, L_ESCALATED, L_COLUMNS
};

/* Parameters of alert_store(). */
enum {
	S_NAME, S_QUEUE, S_EVENT, S_TELL, S_VALUE, S_METRIC, S_SEVERITY,
	S_THRESHOLD, S_MESSAGE, S_SUBJECT, S_TEXT, S_DATA, S_ARRAYS
};

/* Something to be said in the log when it is stored. */
struct said {
	STAILQ_ENTRY(said) link;
	struct occasion occasion;	/* its strings are ours */
	char *alert, *queue, *severity, *line;
};
STAILQ_HEAD(said_list, said);

/* A notice of the database that is with notify, or was. */
struct flight {
	LIST_ENTRY(flight) link;
	struct alerts *alerts;
	int64_t id;
	bool over;		/* delivered or given up; to be marked so */
	bool marking;
	char *error;		/* NULL: delivered */
};
LIST_HEAD(flights, flight);

struct alerts {
	const struct conf *conf;
	struct pg *pg;
	struct notify *notify;
	struct outage *outage;
	struct timer *timer;		/* the next look */
	char *look_sql, *store_sql, *notices_sql, *sent_sql;
	bool looking;			/* a look, or what it led to, is on its way */
	bool fetching;			/* notices are */
	bool stopping;
	struct array changes[S_ARRAYS];	/* of this look */
	struct said_list said;
	struct flights flights;
};

static void look(void *arg);
static void looked(struct pg *, PGresult *, void *arg);
static mono_t consider(struct alerts *, const PGresult *, int row, int64_t now);
static void change(struct alerts *, const struct occasion *, bool tell);
static void store(struct alerts *);
static void stored(struct pg *, PGresult *, void *arg);
static void say(struct alerts *, bool aloud);
static void fetch(struct alerts *);
static void fetched(struct pg *, PGresult *, void *arg);
static void dispatch(struct alerts *, const PGresult *, int row);
static void delivered(const char *error, void *arg);
static void mark(struct alerts *);
static void marked(struct pg *, PGresult *, void *arg);
static void flight_free(struct flight *);

static const char look_statement[] =
    "SELECT leader, wait_us, due, now_us, name, queue, metric, severity, over, "
    "\"limit\", clear, min_jobs, for_us, repeat_us, escalate_us, value, sample, "
    "detail, silenced, acknowledged, since_us, fired_us, told_us, escalated "
    "FROM jobq.alert_look($1, $2, $3::int)";

static const char store_statement[] =
    "SELECT jobq.alert_store($1, $2, $3::text[], $4::text[], $5::text[], "
    "$6::boolean[], $7::float8[], $8::text[], $9::text[], $10::text[], "
    "$11::text[], $12::text[], $13::text[], $14::text[], $15, $16)";

struct alerts *
alerts_new(const struct conf *conf, struct loop *loop, struct pg *pg,
    struct notify *notify)
{
	struct alerts *a = xcalloc(1, sizeof(*a));
	const char *schema = conf->database.schema;

	a->conf = conf;
	a->pg = pg;
	a->notify = notify;
	a->outage = outage_new(conf, loop, pg, notify);
	a->timer = timer_new(loop, look, a);
	a->look_sql = stmt_in_schema(look_statement, schema);
	a->store_sql = stmt_in_schema(store_statement, schema);
	a->notices_sql = stmt_in_schema("SELECT id, channel, event, severity, "
	    "subject, text, data FROM jobq.alert_notices()", schema);
	a->sent_sql = stmt_in_schema("SELECT jobq.alert_sent($1::bigint[], "
	    "$2::text[])", schema);
	STAILQ_INIT(&a->said);
	LIST_INIT(&a->flights);
	return a;
}

void
alerts_free(struct alerts *a)
{
	struct flight *f;

	if (a == NULL)
		return;
	while ((f = LIST_FIRST(&a->flights)) != NULL)
		flight_free(f);
	say(a, false);
	outage_free(a->outage);
	timer_free(a->timer);
	free(a->look_sql);
	free(a->store_sql);
	free(a->notices_sql);
	free(a->sent_sql);
	free(a);
}

void
alerts_up(struct alerts *a)
{
	outage_over(a->outage);
	mark(a);
	/* Who has no alerts has no channels for those of others. */
	if (a->conf->read.nalerts > 0)
		timer_set(a->timer, 0);
}

void
alerts_down(struct alerts *a, const char *reason)
{
	timer_stop(a->timer);
	outage_begins(a->outage, reason);
}

void
alerts_stop(struct alerts *a)
{
	a->stopping = true;
	timer_stop(a->timer);
}

/*
 * A look
 */

/* The number of a column; NAN for NULL. */
static double
real(const PGresult *res, int row, int column)
{
	const char *text = pg_text(res, row, column);

	return text == NULL ? NAN : strtod(text, NULL);
}

/* "" for NULL. */
static const char *
text(const PGresult *res, int row, int column)
{
	const char *s = pg_text(res, row, column);

	return s == NULL ? "" : s;
}

static void
look(void *arg)
{
	struct alerts *a = arg;
	int64_t ttl_ms = a->conf->monitor.interval_ms + ROLE_MARGIN_MS;
	char ttl[24];
	struct err e;

	timer_set(a->timer, a->conf->monitor.interval_ms * MONO_MS);
	if (a->looking || !pg_is_up(a->pg))
		return;
	mark(a);	/* what the server refused before */
	snprintf(ttl, sizeof(ttl), "%" PRId64,
	    ttl_ms < TTL_MAX_MS ? ttl_ms : TTL_MAX_MS);
	const char *params[] = { a->conf->daemon.node, instance_id(), ttl };
	if (pg_query(a->pg, a->look_sql, 3, params, looked, a, &e) == 0)
		a->looking = true;
}

static void
looked(struct pg *pg, PGresult *res, void *arg)
{
	struct alerts *a = arg;
	mono_t next = a->conf->monitor.interval_ms * MONO_MS;
	int64_t now;

	(void)pg;
	a->looking = false;
	if (a->stopping || !pg_ok(res, "look for alerts") || PQntuples(res) == 0 ||
	    PQnfields(res) != L_COLUMNS)
		return;
	now = pg_int(res, 0, L_NOW);
	/* Another one's role may be free then. */
	if (!pg_true(res, 0, L_LEADER) && pg_int(res, 0, L_WAIT) < next)
		next = pg_int(res, 0, L_WAIT);
	for (int row = 1; row < PQntuples(res); row++) {
		mono_t wait = consider(a, res, row, now);
		if (wait >= 0 && wait < next)
			next = wait;
	}
	timer_set(a->timer, next > LOOK_MIN_US ? next : LOOK_MIN_US);
	if (a->changes[S_NAME].count > 0)
		store(a);
	else if (pg_int(res, 0, L_DUE) > 0)
		fetch(a);
}

/* One rule and queue. Returns when it is to be looked at again; -1: any time. */
static mono_t
consider(struct alerts *a, const PGresult *res, int row, int64_t now)
{
	struct rule rule = {
		.over = pg_true(res, row, L_OVER),
		.limit = real(res, row, L_LIMIT),
		.min_sample = pg_int(res, row, L_MIN_JOBS),
		.for_us = pg_int(res, row, L_FOR),
		.repeat_us = pg_int(res, row, L_REPEAT),
		.escalate_us = pg_int(res, row, L_ESCALATE),
	};
	struct rule_look seen = {
		.known = pg_text(res, row, L_VALUE) != NULL,
		.value = real(res, row, L_VALUE),
		.sample = pg_text(res, row, L_SAMPLE) != NULL ?
		    pg_int(res, row, L_SAMPLE) : INT64_MAX,
		.silenced = pg_true(res, row, L_SILENCED),
		.acknowledged = pg_true(res, row, L_ACKNOWLEDGED),
	};
	struct rule_state state = {
		.broken = pg_text(res, row, L_SINCE) != NULL,
		.firing = pg_text(res, row, L_FIRED) != NULL,
		.told = pg_text(res, row, L_TOLD) != NULL,
		.escalated = pg_true(res, row, L_ESCALATED),
		.since = pg_int(res, row, L_SINCE),
		.fired_at = pg_int(res, row, L_FIRED),
		.told_at = pg_int(res, row, L_TOLD),
	};
	struct occasion o = {
		.alert = text(res, row, L_NAME), .queue = text(res, row, L_QUEUE),
		.node = a->conf->daemon.node,
		.severity = text(res, row, L_SEVERITY),
		.metric = metric_find(text(res, row, L_METRIC)),
		.over = rule.over, .limit = rule.limit, .known = seen.known,
		.value = seen.value, .detail = text(res, row, L_DETAIL),
		.since = state.broken ? state.since : now, .now = now,
	};
	bool tell;

	/* Told by a newer version. */
	if (o.metric == NULL || isnan(rule.limit))
		return -1;
	rule.clear = pg_text(res, row, L_CLEAR) != NULL ?
	    real(res, row, L_CLEAR) : rule.limit;
	if (strcmp(o.metric->name, "database_down") == 0) {
		outage_learn(a->outage, o.alert, rule.for_us, rule.repeat_us,
		    rule.escalate_us, o.severity, seen.silenced);
		return -1;
	}
	o.event = rule_step(&rule, &state, &seen, now, &tell);
	if (o.event != RULE_SAME)
		change(a, &o, tell);
	return rule_wait(&rule, &state, &seen, now);
}

static void
change(struct alerts *a, const struct occasion *o, bool tell)
{
	struct wording words = { 0 };
	char value[32], threshold[METRIC_TEXT_MAX + 8], limit[METRIC_TEXT_MAX];
	struct said *s;

	if (o->event != RULE_BREAKS && o->event != RULE_MENDS)
		wording_make(&words, o);
	snprintf(threshold, sizeof(threshold), "%s %s",
	    o->over ? "above" : "below",
	    metric_format(limit, o->metric->kind, o->limit));
	snprintf(value, sizeof(value), "%.15g", o->value);
	array_text(&a->changes[S_NAME], o->alert);
	array_text(&a->changes[S_QUEUE], o->queue);
	array_text(&a->changes[S_EVENT], rule_event_name(o->event));
	array_bool(&a->changes[S_TELL], tell);
	array_text(&a->changes[S_VALUE], o->known ? value : NULL);
	array_text(&a->changes[S_METRIC], o->metric->name);
	array_text(&a->changes[S_SEVERITY], o->severity);
	array_text(&a->changes[S_THRESHOLD], threshold);
	array_text(&a->changes[S_MESSAGE], words.line.data);
	array_text(&a->changes[S_SUBJECT], words.subject.data);
	array_text(&a->changes[S_TEXT], words.text.data);
	array_text(&a->changes[S_DATA], words.json.data);
	s = xcalloc(1, sizeof(*s));
	s->occasion = *o;
	s->occasion.alert = s->alert = xstrdup(o->alert);
	s->occasion.queue = s->queue = xstrdup(o->queue);
	s->occasion.severity = s->severity = xstrdup(o->severity);
	s->line = xstrdup(words.line.data);
	STAILQ_INSERT_TAIL(&a->said, s, link);
	wording_clear(&words);
}

static void
store(struct alerts *a)
{
	const char *params[S_ARRAYS + 4] = { a->conf->daemon.node,
	    instance_id() };
	struct err e;

	for (int i = 0; i < S_ARRAYS; i++)
		params[i + 2] = array_close(&a->changes[i]);
	params[S_ARRAYS + 2] = a->conf->monitor.quiet;
	params[S_ARRAYS + 3] = a->conf->daemon.timezone;
	if (pg_query(a->pg, a->store_sql, S_ARRAYS + 4, params, stored, a,
	    &e) == 0)
		a->looking = true;
	else
		say(a, false);
	for (int i = 0; i < S_ARRAYS; i++)
		array_clear(&a->changes[i]);
}

/* What was not stored has not happened: the next look, of whatever monitor,
 * comes upon it again. */
static void
stored(struct pg *pg, PGresult *res, void *arg)
{
	struct alerts *a = arg;
	bool done = pg_ok(res, "store alerts") && pg_text(res, 0, 0) != NULL;

	(void)pg;
	a->looking = false;
	say(a, done);
	if (done && pg_int(res, 0, 0) > 0)
		fetch(a);
}

static void
say(struct alerts *a, bool aloud)
{
	struct said *s;

	while ((s = STAILQ_FIRST(&a->said)) != NULL) {
		if (aloud)
			alert_log(&s->occasion, s->line);
		STAILQ_REMOVE_HEAD(&a->said, link);
		free(s->alert);
		free(s->queue);
		free(s->severity);
		free(s->line);
		free(s);
	}
}

void
alert_log(const struct occasion *o, const char *line)
{
	const char *severity = o->severity;

	if (o->event == RULE_ENDS)
		log_info("alert ended", "alert=%s queue=%s severity=%s reason=%s",
		    o->alert, o->queue, severity, line);
	else if (o->event != RULE_FIRES)
		return;
	else if (strcmp(severity, "critical") == 0)
		log_error("alert fires", "alert=%s queue=%s severity=%s reason=%s",
		    o->alert, o->queue, severity, line);
	else
		log_warn("alert fires", "alert=%s queue=%s severity=%s reason=%s",
		    o->alert, o->queue, severity, line);
}

/*
 * Notices
 */

void
alert_set_kind(struct notice *n, const char *severity, bool ends)
{
	n->kind = ends ? NOTICE_ENDED :
	    strcmp(severity, "critical") == 0 ? NOTICE_CRITICAL :
	    strcmp(severity, "info") == 0 ? NOTICE_INFO : NOTICE_WARNING;
}

static void
fetch(struct alerts *a)
{
	struct err e;

	if (!a->fetching && pg_query(a->pg, a->notices_sql, 0, NULL, fetched, a,
	    &e) == 0)
		a->fetching = true;
}

static void
fetched(struct pg *pg, PGresult *res, void *arg)
{
	struct alerts *a = arg;

	(void)pg;
	a->fetching = false;
	if (a->stopping || !pg_ok(res, "notices of alerts"))
		return;
	for (int row = 0; row < PQntuples(res); row++)
		dispatch(a, res, row);
}

static void
dispatch(struct alerts *a, const PGresult *res, int row)
{
	int64_t id = pg_int(res, row, 0);
	const char *channel = text(res, row, 1);
	struct notice n = { .subject = text(res, row, 4),
	    .text = text(res, row, 5), .json = text(res, row, 6) };
	struct flight *f;
	size_t i = 0;

	LIST_FOREACH(f, &a->flights, link)
		if (f->id == id)
			return;
	f = xcalloc(1, sizeof(*f));
	f->alerts = a;
	f->id = id;
	LIST_INSERT_HEAD(&a->flights, f, link);
	while (i < a->conf->read.nchannels &&
	    strcmp(a->conf->read.channels[i].name, channel) != 0)
		i++;
	/* The rule is of another node's configuration. */
	if (i == a->conf->read.nchannels) {
		log_warn("alert not told: this node has no such channel",
		    "channel=%s subject=%s", channel, n.subject);
		delivered("no such channel", f);
		return;
	}
	alert_set_kind(&n, text(res, row, 3), strcmp(text(res, row, 2), "ends") == 0);
	notify_send(a->notify, channel, &n, delivered, f);
}

static void
delivered(const char *error, void *arg)
{
	struct flight *f = arg;

	if (error != NULL && f->alerts->stopping)
		return;
	f->over = true;
	f->error = xstrdup(error);
	mark(f->alerts);
}

/* Tell the database what is over; what cannot be told now is when it is back. */
static void
mark(struct alerts *a)
{
	struct array ids = { 0 }, errors = { 0 };
	struct flight *f;
	struct err e;

	if (!pg_is_up(a->pg))
		return;
	LIST_FOREACH(f, &a->flights, link) {
		if (f->marking)
			return;		/* when that is answered */
		if (f->over) {
			array_int(&ids, f->id);
			array_text(&errors, f->error);
		}
	}
	const char *params[] = { array_close(&ids), array_close(&errors) };
	if (ids.count > 0 && pg_query(a->pg, a->sent_sql, 2, params, marked, a,
	    &e) == 0)
		LIST_FOREACH(f, &a->flights, link)
			f->marking = f->over;
	array_clear(&ids);
	array_clear(&errors);
}

static void
marked(struct pg *pg, PGresult *res, void *arg)
{
	struct alerts *a = arg;
	struct flight *f, *next;
	bool done = pg_ok(res, "notices that were sent");

	(void)pg;
	for (f = LIST_FIRST(&a->flights); f != NULL; f = next) {
		next = LIST_NEXT(f, link);
		if (f->marking && done)
			flight_free(f);
		else
			f->marking = false;
	}
	if (done)
		mark(a);	/* what came meanwhile */
}

static void
flight_free(struct flight *f)
{
	LIST_REMOVE(f, link);
	free(f->error);
	free(f);
}
