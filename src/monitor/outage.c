/*
 * The alerts of the metric database_down: see outage.h.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "core/metric.h"
#include "core/rule.h"
#include "db/array.h"
#include "db/stmt.h"
#include "monitor/alert.h"
#include "monitor/outage.h"
#include "monitor/wording.h"

#define PAST_MAX 100		/* outages not noted yet; the oldest is forgotten */

/* One alert of the configuration. */
struct watch_down {
	const struct alert_conf *conf;
	struct rule rule;
	struct rule_state state;	/* of mono_now() */
	const char *severity;
	bool silenced;		/* as far as is known */
};

/* One that was, for the database to know. */
struct past {
	const struct watch_down *of;
	const char *severity;
	mono_t since, ended;
	bool told;
	char *line;
};

struct outage {
	const struct conf *conf;
	struct pg *pg;
	struct notify *notify;
	struct timer *timer;
	char *note_sql;
	struct watch_down *watches;
	size_t nwatches;
	bool down;
	char reason[512];
	struct past past[PAST_MAX];
	size_t npast, noting;	/* noting: of the first ones, on their way */
};

static void look(void *arg);
static mono_t step(struct outage *, struct watch_down *, mono_t now);
static void tell(struct outage *, char *const *channels, size_t count,
    const char *severity, enum rule_event, const struct wording *);
static void remember(struct outage *, struct watch_down *,
    const struct rule_state *, bool told, mono_t now);
static void forget(struct outage *, size_t n);
static void note(struct outage *);
static void noted(struct pg *, PGresult *, void *arg);

struct outage *
outage_new(const struct conf *conf, struct loop *loop, struct pg *pg,
    struct notify *notify)
{
	struct outage *o = xcalloc(1, sizeof(*o));

	o->conf = conf;
	o->pg = pg;
	o->notify = notify;
	o->timer = timer_new(loop, look, o);
	o->note_sql = stmt_in_schema("SELECT jobq.alert_note($1, $2::text[], "
	    "$3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], "
	    "$8::bigint[], $9::boolean[])", conf->database.schema);
	o->watches = xcalloc(conf->read.nalerts, sizeof(*o->watches));
	for (size_t i = 0; i < conf->read.nalerts; i++) {
		const struct alert_conf *a = &conf->read.alerts[i];
		struct watch_down *w = &o->watches[o->nwatches];

		if (strcmp(metric_at(a->metric)->name, "database_down") != 0)
			continue;
		w->conf = a;
		w->severity = conf_severities[a->severity];
		w->rule.over = *a->above != '\0';
		metric_parse(METRIC_COUNT, w->rule.over ? a->above : a->below,
		    &w->rule.limit);
		w->rule.clear = w->rule.limit;
		w->rule.for_us = a->for_ms * MONO_MS;
		w->rule.repeat_us = a->repeat_ms * MONO_MS;
		w->rule.escalate_us = a->escalate.after_ms * MONO_MS;
		o->nwatches++;
	}
	return o;
}

void
outage_free(struct outage *o)
{
	if (o == NULL)
		return;
	forget(o, o->npast);
	timer_free(o->timer);
	free(o->note_sql);
	free(o->watches);
	free(o);
}

void
outage_begins(struct outage *o, const char *reason)
{
	snprintf(o->reason, sizeof(o->reason), "%.*s",
	    (int)strcspn(reason, "\n"), reason);
	if (o->down)
		return;
	o->down = true;
	look(o);
}

void
outage_over(struct outage *o)
{
	o->down = false;
	look(o);
	note(o);
}

void
outage_learn(struct outage *o, const char *name, int64_t for_us,
    int64_t repeat_us, int64_t escalate_us, const char *severity, bool silenced)
{
	for (size_t i = 0; i < o->nwatches; i++) {
		struct watch_down *w = &o->watches[i];

		if (strcmp(w->conf->name, name) != 0)
			continue;
		w->rule.for_us = for_us;
		w->rule.repeat_us = repeat_us;
		w->rule.escalate_us = escalate_us;
		w->silenced = silenced;
		for (size_t n = 0; conf_severities[n] != NULL; n++)
			if (strcmp(conf_severities[n], severity) == 0)
				w->severity = conf_severities[n];
	}
}

static void
look(void *arg)
{
	struct outage *o = arg;
	mono_t now = mono_now(), next = -1;

	for (size_t i = 0; i < o->nwatches; i++) {
		mono_t wait = step(o, &o->watches[i], now);

		if (wait >= 0 && (next < 0 || wait < next))
			next = wait;
	}
	if (next >= 0)
		timer_set(o->timer, next > MONO_MS ? next : MONO_MS);
	else
		timer_stop(o->timer);
}

static dbtime_us
wall_clock(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (dbtime_us)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* Returns when something happens by time alone; -1: nothing does. */
static mono_t
step(struct outage *o, struct watch_down *w, mono_t now)
{
	struct rule_look seen = { .known = true, .value = o->down ? 1 : 0,
	    .silenced = w->silenced };
	struct rule_state before = w->state;
	struct wording words = { 0 };
	struct occasion occasion;
	enum rule_event event;
	bool told;

	event = rule_step(&w->rule, &w->state, &seen, now, &told);
	if (event == RULE_SAME || event == RULE_BREAKS || event == RULE_MENDS)
		return rule_wait(&w->rule, &w->state, &seen, now);
	occasion = (struct occasion){
		.alert = w->conf->name, .queue = "",
		.node = o->conf->daemon.node, .severity = w->severity,
		.metric = metric_at(w->conf->metric), .event = event,
		.over = w->rule.over, .limit = w->rule.limit, .known = true,
		.value = seen.value, .detail = o->reason, .now = wall_clock(),
	};
	occasion.since = occasion.now -
	    (now - (event == RULE_ENDS ? before.since : w->state.since));
	wording_make(&words, &occasion);
	alert_log(&occasion, words.line.data);
	if (told && event != RULE_ESCALATES)
		tell(o, w->conf->notify, w->conf->nnotify, w->severity, event,
		    &words);
	if (told && (event == RULE_ESCALATES || before.escalated))
		tell(o, w->conf->escalate.notify, w->conf->escalate.nnotify,
		    w->severity, event, &words);
	if (event == RULE_ENDS)
		remember(o, w, &before, told, now);
	wording_clear(&words);
	return rule_wait(&w->rule, &w->state, &seen, now);
}

static void
tell(struct outage *o, char *const *channels, size_t count,
    const char *severity, enum rule_event event, const struct wording *words)
{
	struct notice n = { .subject = words->subject.data,
	    .text = words->text.data, .json = words->json.data };

	alert_set_kind(&n, severity, event == RULE_ENDS);
	for (size_t i = 0; i < count; i++)
		notify_send(o->notify, channels[i], &n, NULL, NULL);
}

/*
 * For the database
 */

static void
remember(struct outage *o, struct watch_down *w, const struct rule_state *was,
    bool told, mono_t now)
{
	if (o->npast == PAST_MAX)
		forget(o, 1);
	o->past[o->npast++] = (struct past){
		.of = w, .severity = w->severity, .since = was->since,
		.ended = now, .told = told,
		.line = xasprintf("%s: %s", metric_at(w->conf->metric)->bad,
		    o->reason),
	};
}

/* The first n of them. */
static void
forget(struct outage *o, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(o->past[i].line);
	memmove(o->past, o->past + n, (o->npast - n) * sizeof(*o->past));
	o->npast -= n;
	o->noting = o->noting > n ? o->noting - n : 0;
}

static void
note(struct outage *o)
{
	struct array arrays[8] = { 0 };
	const char *params[9] = { o->conf->daemon.node };
	mono_t now = mono_now();
	struct err e;

	if (o->npast == 0 || o->noting > 0)
		return;
	for (size_t i = 0; i < o->npast; i++) {
		const struct past *p = &o->past[i];

		array_text(&arrays[0], p->of->conf->name);
		array_text(&arrays[1], "database_down");
		array_text(&arrays[2], p->severity);
		array_text(&arrays[3], p->of->rule.over ? "above 0" : "below 1");
		array_text(&arrays[4], p->line);
		array_int(&arrays[5], now - p->since);
		array_int(&arrays[6], now - p->ended);
		array_bool(&arrays[7], p->told);
	}
	for (int i = 0; i < 8; i++)
		params[i + 1] = array_close(&arrays[i]);
	if (pg_query(o->pg, o->note_sql, 9, params, noted, o, &e) == 0)
		o->noting = o->npast;
	for (int i = 0; i < 8; i++)
		array_clear(&arrays[i]);
}

static void
noted(struct pg *pg, PGresult *res, void *arg)
{
	struct outage *o = arg;
	size_t n = o->noting;

	(void)pg;
	o->noting = 0;
	if (res == NULL)
		return;		/* again when the connection is back */
	/* What the server refuses once it refuses always. */
	pg_ok(res, "note of an outage");
	forget(o, n);
}
