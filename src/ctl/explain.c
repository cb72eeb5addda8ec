/*
 * jobqctl schedule explain: when an expression fires, without a database.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "conf/instant.h"
#include "conf/zones.h"
#include "core/cron.h"
#include "core/units.h"
#include "ctl/ctl.h"

#define EXPLAIN_MAX 1000
#define EVERY_MIN_MS 1000
#define EDGES 2			/* changes of the clocks that --edges tells of */
#define EDGE_FIRINGS 4		/* … and what fires then, at most */
#define TIME_TEXT_MAX 40

struct spec {
	const char *text;
	int64_t every_ms;	/* 0: cron */
	struct cron cron;
	const struct zone *zone;
	enum cron_dst dst;
};

static int read_call(struct spec *, int64_t *from_ms, long *count,
    const struct args *);
static int read_text(struct spec *, const char *text, struct err *);
static int64_t next_ms(const struct spec *, int64_t after_ms);
static void format_time(char *buf, const struct zone *, int64_t ms);
static void tell_edges(const struct spec *, int64_t from);

int
schedule_explain(struct ctl *ctl, const struct args *a)
{
	char text[TIME_TEXT_MAX];
	int64_t from, at;
	struct spec spec;
	long count = 5;
	int status = read_call(&spec, &from, &count, a);

	if (status != CTL_DONE)
		return status;
	if ((at = next_ms(&spec, from)) < 0) {
		if (ctl->json)
			puts("[]");
		return ctl_fail("%s never fires", spec.text);
	}
	if (ctl->json)
		putchar('[');
	for (long i = 0; i < count && at >= 0; i++, at = next_ms(&spec, at)) {
		format_time(text, spec.zone, at);
		if (ctl->json)
			printf("%s\"%s\"", i == 0 ? "" : ",", text);
		else
			puts(text);
	}
	if (ctl->json)
		puts("]");
	if (args_has(a, "edges"))
		tell_edges(&spec, from / 1000);
	return CTL_DONE;
}

static int
read_call(struct spec *spec, int64_t *from_ms, long *count,
    const struct args *a)
{
	const char *zone = args_get(a, "tz"), *from = args_get(a, "from"),
	    *dst = args_get(a, "dst");
	int rule = 0;
	struct err e;

	*spec = (struct spec){ .text = a->operands[0] };
	if (args_number(a, "count", 1, EXPLAIN_MAX, count, &e) < 0)
		return ctl_misuse("schedule explain: %s", e.msg);
	if (zone != NULL && zones_find(zone, &spec->zone, &e) != 0)
		return ctl_misuse("schedule explain: --tz \"%s\": %s", zone,
		    e.msg);
	while (dst != NULL && strcmp(dst, cron_dst_names[rule]) != 0)
		if (cron_dst_names[++rule] == NULL)
			return ctl_misuse("schedule explain: --dst \"%s\" is "
			    "not standard, skip or clock", dst);
	spec->dst = (enum cron_dst)rule;
	*from_ms = (int64_t)time(NULL) * 1000;
	if (from != NULL && instant_parse(from, from_ms) != 0)
		return ctl_misuse("schedule explain: --from \"%s\" is no time "
		    "such as 2026-12-01T10:00:00Z", from);
	if (from != NULL && instant_is_local(from))
		*from_ms = zone_to_utc(spec->zone, *from_ms / 1000) * 1000 +
		    *from_ms % 1000;
	if (read_text(spec, spec->text, &e) != 0)
		return ctl_fail("schedule explain: %s", e.msg);
	return CTL_DONE;
}

/* "every 30s" and "30s" are durations. */
static int
read_text(struct spec *spec, const char *text, struct err *e)
{
	if (strncmp(text, "every ", 6) == 0)
		text += 6 + strspn(text + 6, " ");
	else if (text[strspn(text, "0123456789")] == '\0' ||
	    strpbrk(text, " \t@") != NULL)
		return cron_parse(&spec->cron, text, e);
	if (units_duration_ms(text, &spec->every_ms) != 0 ||
	    spec->every_ms < EVERY_MIN_MS)
		return err_set(e, "\"%s\" is neither a cron expression nor a "
		    "duration of 1s or more", spec->text);
	return 0;
}

/* The next instant, or -1. */
static int64_t
next_ms(const struct spec *spec, int64_t after_ms)
{
	int64_t at;

	if (spec->every_ms > 0)
		return every_next_ms(spec->every_ms, after_ms);
	at = cron_next(&spec->cron, spec->zone, spec->dst,
	    after_ms < 0 ? -1 : after_ms / 1000);
	return at < 0 ? -1 : at * 1000;
}

/* RFC 3339 has offsets of whole minutes; of an old one with seconds, the time
 * shown is that of the minutes. */
static void
format_time(char *buf, const struct zone *zone, int64_t ms)
{
	int32_t minutes = zone_span(zone, ms / 1000).offset / 60;
	time_t local = (time_t)(ms / 1000 + minutes * 60);
	struct tm tm;
	size_t len;

	gmtime_r(&local, &tm);
	len = strftime(buf, TIME_TEXT_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
	if (ms % 1000 != 0)
		len += (size_t)snprintf(buf + len, TIME_TEXT_MAX - len,
		    ".%03d", (int)(ms % 1000));
	snprintf(buf + len, TIME_TEXT_MAX - len, "%c%02d:%02d",
	    minutes < 0 ? '-' : '+', abs(minutes) / 60 % 100,
	    abs(minutes) % 60);
}

/*
 * The changes of the clocks
 */

/* What fires for times that are skipped or come twice. */
static void
tell_firings(const struct spec *spec, const struct zone_span *span)
{
	int64_t shift = span->before - span->offset, at, from, until;
	char text[TIME_TEXT_MAX];

	/* Of a gap nothing can but the instant of the change. */
	from = shift > 0 ? span->from - shift : span->from;
	until = shift > 0 ? span->from + shift : span->from + 1;
	at = next_ms(spec, from * 1000 - 1);
	if (at < 0 || at >= until * 1000) {
		fputs("fires at none of these\n", stderr);
		return;
	}
	fputs("fires at", stderr);
	for (int n = 0; at >= 0 && at < until * 1000; n++) {
		format_time(text, spec->zone, at);
		fprintf(stderr, " %s", n < EDGE_FIRINGS ? text : "...");
		if (n == EDGE_FIRINGS)
			break;
		at = next_ms(spec, at);
	}
	fputc('\n', stderr);
}

/* "2026-10-04T03:00:00+11:00: the clocks go forward from 02:00:00; fires at …" */
static void
tell_edges(const struct spec *spec, int64_t from)
{
	struct zone_span span = zone_span(spec->zone, from);
	char text[TIME_TEXT_MAX];
	time_t was;
	struct tm tm;
	int told = 0;

	while (told < EDGES && span.until < INT64_C(253402300800)) {
		span = zone_span(spec->zone, span.until);
		if (span.before == span.offset)
			continue;
		was = (time_t)(span.from + span.before);
		gmtime_r(&was, &tm);
		format_time(text, spec->zone, span.from * 1000);
		fprintf(stderr, "%s: the clocks go %s from %02d:%02d:%02d; ",
		    text, span.before < span.offset ? "forward" : "back",
		    tm.tm_hour, tm.tm_min, tm.tm_sec);
		tell_firings(spec, &span);
		told++;
	}
	if (told == 0)
		fputs("no change of the clocks is known\n", stderr);
}
