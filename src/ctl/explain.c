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
#include "core/spec.h"
#include "ctl/ctl.h"

#define EXPLAIN_MAX 1000
#define EDGES 2			/* changes of the clocks that --edges tells of */
#define EDGE_FIRINGS 4		/* … and what fires then, at most */

static int read_call(struct spec *, int64_t *from_ms, long *count,
    const struct args *);
static void tell_edges(const struct spec *, int64_t from);

int
schedule_explain(struct ctl *ctl, const struct args *a)
{
	char text[SPEC_TIME_MAX];
	int64_t from, at;
	struct spec spec;
	long count = 5;
	int status = read_call(&spec, &from, &count, a);

	if (status != CTL_DONE)
		return status;
	if ((at = spec_next_ms(&spec, from)) < 0) {
		if (ctl->json)
			puts("[]");
		return ctl_fail("%s never fires", a->operands[0]);
	}
	if (ctl->json)
		putchar('[');
	for (long i = 0; i < count && at >= 0; i++, at = spec_next_ms(&spec, at)) {
		spec_time(text, spec.zone, at);
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

	*spec = (struct spec){ 0 };
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
	if (spec_parse(spec, a->operands[0], &e) != 0)
		return ctl_fail("schedule explain: %s", e.msg);
	return CTL_DONE;
}

/*
 * The changes of the clocks
 */

/* What fires for times that are skipped or come twice. */
static void
tell_firings(const struct spec *spec, const struct zone_span *span)
{
	int64_t shift = span->before - span->offset, at, from, until;
	char text[SPEC_TIME_MAX];

	/* Of a gap nothing can but the instant of the change. */
	from = shift > 0 ? span->from - shift : span->from;
	until = shift > 0 ? span->from + shift : span->from + 1;
	at = spec_next_ms(spec, from * 1000 - 1);
	if (at < 0 || at >= until * 1000) {
		fputs("fires at none of these\n", stderr);
		return;
	}
	fputs("fires at", stderr);
	for (int n = 0; at >= 0 && at < until * 1000; n++) {
		spec_time(text, spec->zone, at);
		fprintf(stderr, " %s", n < EDGE_FIRINGS ? text : "...");
		if (n == EDGE_FIRINGS)
			break;
		at = spec_next_ms(spec, at);
	}
	fputc('\n', stderr);
}

/* "2026-10-04T03:00:00+11:00: the clocks go forward from 02:00:00; fires at …" */
static void
tell_edges(const struct spec *spec, int64_t from)
{
	struct zone_span span = zone_span(spec->zone, from);
	char text[SPEC_TIME_MAX];
	time_t was;
	struct tm tm;
	int told = 0;

	while (told < EDGES && span.until < INT64_C(253402300800)) {
		span = zone_span(spec->zone, span.until);
		if (span.before == span.offset)
			continue;
		was = (time_t)(span.from + span.before);
		gmtime_r(&was, &tm);
		spec_time(text, spec->zone, span.from * 1000);
		fprintf(stderr, "%s: the clocks go %s from %02d:%02d:%02d; ",
		    text, span.before < span.offset ? "forward" : "back",
		    tm.tm_hour, tm.tm_min, tm.tm_sec);
		tell_firings(spec, &span);
		told++;
	}
	if (told == 0)
		fputs("no change of the clocks is known\n", stderr);
}
