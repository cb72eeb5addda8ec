/*
 * When something fires: see spec.h.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/spec.h"
#include "core/units.h"

#define EVERY_MIN_MS 1000

int
spec_parse(struct spec *spec, const char *text, struct err *e)
{
	const char *all = text;

	spec->every_ms = 0;
	if (strncmp(text, "every ", 6) == 0)
		text += 6 + strspn(text + 6, " ");
	else if (text[strspn(text, "0123456789")] == '\0' ||
	    strpbrk(text, " \t@") != NULL)
		return cron_parse(&spec->cron, text, e);
	if (units_duration_ms(text, &spec->every_ms) != 0 ||
	    spec->every_ms < EVERY_MIN_MS)
		return err_set(e, "\"%s\" is neither a cron expression nor a "
		    "duration of 1s or more", all);
	return 0;
}

int64_t
spec_next_ms(const struct spec *spec, int64_t after_ms)
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
char *
spec_time(char buf[SPEC_TIME_MAX], const struct zone *zone, int64_t ms)
{
	int32_t minutes = zone_span(zone, ms / 1000).offset / 60;
	time_t local = (time_t)(ms / 1000 + minutes * 60);
	struct tm tm;
	size_t len;

	gmtime_r(&local, &tm);
	len = strftime(buf, SPEC_TIME_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
	if (ms % 1000 != 0)
		len += (size_t)snprintf(buf + len, SPEC_TIME_MAX - len,
		    ".%03d", (int)(ms % 1000));
	snprintf(buf + len, SPEC_TIME_MAX - len, "%c%02d:%02d",
	    minutes < 0 ? '-' : '+', abs(minutes) / 60 % 100,
	    abs(minutes) % 60);
	return buf;
}
