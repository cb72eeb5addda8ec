/*
 * What is said of an alert: see wording.h.
 */
#include "config.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/when.h"
#include "monitor/wording.h"

#define DETAIL_MAX 500		/* bytes of it that are told */

static void make_line(struct buf *, const struct occasion *);
static void make_text(struct wording *, const struct occasion *);
static void make_json(struct wording *, const struct occasion *);
static void put_field(struct buf *, const char *name, const char *value);
static void put_plain(struct buf *, const char *);
static void put_member(struct buf *, const char *name, const char *value);

void
wording_make(struct wording *w, const struct occasion *o)
{
	static const char *const before[] = {
		[RULE_FIRES] = "", [RULE_TELLS] = "",
		[RULE_REMINDS] = "still: ",
		[RULE_ESCALATES] = "not acknowledged: ",
		[RULE_ENDS] = "ended: ",
	};

	buf_reset(&w->line);
	buf_reset(&w->subject);
	buf_reset(&w->text);
	buf_reset(&w->json);
	make_line(&w->line, o);
	buf_printf(&w->subject, "[jobqd] %s%s", before[o->event], w->line.data);
	make_text(w, o);
	make_json(w, o);
}

void
wording_clear(struct wording *w)
{
	buf_clear(&w->line);
	buf_clear(&w->subject);
	buf_clear(&w->text);
	buf_clear(&w->json);
}

static char *
threshold(char *text, size_t size, const struct occasion *o)
{
	char limit[METRIC_TEXT_MAX];

	metric_format(limit, o->metric->kind, o->limit);
	snprintf(text, size, "%s %s", o->over ? "above" : "below", limit);
	return text;
}

static void
make_line(struct buf *b, const struct occasion *o)
{
	const struct metric *m = o->metric;
	bool ends = o->event == RULE_ENDS;
	const char *phrase = ends && m->ended != NULL ? m->ended : m->bad;
	char value[METRIC_TEXT_MAX] = "unknown", limit[METRIC_TEXT_MAX + 8];

	if (o->known)
		metric_format(value, m->kind, o->value);
	metric_phrase(b, phrase, o->queue, value);
	/* What has no value in its phrase has no limit either. */
	if (strstr(m->bad, "%v") != NULL && !ends)
		buf_printf(b, " (%s)", threshold(limit, sizeof(limit), o));
}

static void
make_text(struct wording *w, const struct occasion *o)
{
	char since[WHEN_TEXT_MAX], limit[METRIC_TEXT_MAX + 8];
	char lasted[METRIC_TEXT_MAX];
	struct buf *b = &w->text;
	struct buf field = { 0 };

	buf_printf(b, "%s%s\n\n", o->event == RULE_ENDS ? "Ended: " : "",
	    w->line.data);
	buf_printf(&field, "%s (%s)", o->alert, o->severity);
	put_field(b, "alert", field.data);
	put_field(b, "queue", o->queue);
	put_field(b, "limit", threshold(limit, sizeof(limit), o));
	buf_reset(&field);
	metric_format(lasted, METRIC_TIME, (double)(o->now - o->since) / 1e6);
	buf_printf(&field, "%s, for %s",
	    when_text(since, o->since - o->since % MONO_SECOND), lasted);
	put_field(b, "since", field.data);
	put_field(b, "node", o->node);
	put_field(b, "details", o->detail);
	buf_clear(&field);
	if (o->event == RULE_ENDS)
		return;
	buf_char(b, '\n');
	metric_phrase(b, o->metric->advice, o->queue, "");
	buf_printf(b, "\nWhoever takes it on says: jobqctl alert ack %s",
	    o->alert);
	if (*o->queue != '\0')
		buf_printf(b, " --queue %s", o->queue);
	buf_char(b, '\n');
}

static void
make_json(struct wording *w, const struct occasion *o)
{
	static const char *const events[] = {
		[RULE_FIRES] = "started", [RULE_TELLS] = "started",
		[RULE_REMINDS] = "reminder", [RULE_ESCALATES] = "escalated",
		[RULE_ENDS] = "ended",
	};
	char since[WHEN_TEXT_MAX], at[WHEN_TEXT_MAX], limit[METRIC_TEXT_MAX + 8];
	struct buf *b = &w->json, advice = { 0 };

	metric_phrase(&advice, o->metric->advice, o->queue, "");
	buf_char(b, '{');
	put_member(b, "event", events[o->event]);
	put_member(b, "alert", o->alert);
	if (*o->queue != '\0')
		put_member(b, "queue", o->queue);
	else
		buf_str(b, "\"queue\":null,");
	put_member(b, "state", o->event == RULE_ENDS ? "ended" : "firing");
	put_member(b, "severity", o->severity);
	put_member(b, "metric", o->metric->name);
	if (o->known && isfinite(o->value))
		buf_printf(b, "\"value\":%.15g,", o->value);
	else
		buf_str(b, "\"value\":null,");
	buf_printf(b, "\"limit\":%.15g,", o->limit);
	put_member(b, "threshold", threshold(limit, sizeof(limit), o));
	put_member(b, "message", w->line.data);
	put_member(b, "detail", o->detail);
	put_member(b, "advice", advice.data);
	put_member(b, "since", when_text(since, o->since));
	put_member(b, "at", when_text(at, o->now));
	buf_str(b, "\"node\":");
	buf_json(b, o->node, strlen(o->node));
	buf_char(b, '}');
	buf_clear(&advice);
}

static void
put_field(struct buf *b, const char *name, const char *value)
{
	if (*value == '\0')
		return;
	buf_printf(b, "%-9s", name);
	put_plain(b, value);
	buf_char(b, '\n');
}

/* A detail has what other programs call themselves: on one line, and short. */
static void
put_plain(struct buf *b, const char *text)
{
	size_t n = 0;

	for (const char *p = text; *p != '\0' && n < DETAIL_MAX; p++, n++)
		buf_char(b, (unsigned char)*p < ' ' || *p == 0x7f ? ' ' : *p);
}

static void
put_member(struct buf *b, const char *name, const char *value)
{
	buf_printf(b, "\"%s\":", name);
	buf_json(b, value, strlen(value));
	buf_char(b, ',');
}
