#include "config.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/xalloc.h"
#include "monitor/digest.h"

#define TEXT_MAX 240		/* bytes of one error */
#define NUMBER_MAX 1e15

/*
 * Values
 */

int64_t
digest_number(const json_t *o, const char *key)
{
	const json_t *value = json_object_get(o, key);
	double real = json_number_value(value);

	if (json_is_integer(value))
		return json_integer_value(value);
	return real > -NUMBER_MAX && real < NUMBER_MAX ? (int64_t)real : 0;
}

double
digest_rate(const json_t *o, const char *key)
{
	return json_number_value(json_object_get(o, key));
}

const char *
digest_text(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text != NULL ? text : "";
}

size_t
digest_count(const struct digest *d, const char *key)
{
	return json_array_size(json_object_get(d->report, key));
}

static bool
is_quiet(const json_t *q)
{
	return digest_number(q, "completed") + digest_number(q, "failed") +
	    digest_number(q, "dead") + digest_number(q, "cancelled") +
	    digest_number(q, "lost") + digest_number(q, "ready") +
	    digest_number(q, "dead_letters") == 0;
}

static int64_t
attempts_of(const json_t *q)
{
	return is_quiet(q) ? -1 : digest_number(q, "completed") +
	    digest_number(q, "failed") + digest_number(q, "dead");
}

static int
by_attempts(const void *va, const void *vb)
{
	const json_t *a = *(json_t *const *)va, *b = *(json_t *const *)vb;
	int64_t x = attempts_of(a), y = attempts_of(b);

	return x != y ? (x < y ? 1 : -1) :
	    strcmp(digest_text(a, "name"), digest_text(b, "name"));
}

double
digest_share(int64_t part, int64_t rest)
{
	return part + rest > 0 ? (double)part / (double)(part + rest) : 0;
}

static void
add_up(struct digest *d)
{
	const json_t *queues = json_object_get(d->report, "queues"), *q;
	size_t i;

	d->nqueues = json_array_size(queues);
	d->queues = xcalloc(d->nqueues, sizeof(*d->queues));
	json_array_foreach(queues, i, q) {
		const json_t *before = json_object_get(q, "before");

		d->queues[i] = q;
		d->nquiet += is_quiet(q);

		d->completed += digest_number(q, "completed");
		d->failed += digest_number(q, "failed");
		d->dead += digest_number(q, "dead");
		d->ready += digest_number(q, "ready");
		d->before_completed += digest_number(before, "completed");
		d->before_failed += digest_number(before, "failed");
		d->before_dead += digest_number(before, "dead");
	}
	if (d->nqueues > 0)
		qsort(d->queues, d->nqueues, sizeof(*d->queues), by_attempts);
	d->bad = d->dead > 0 || digest_count(d, "schedules") > 0;
}

int
digest_make(struct digest *d, const char *json, const char *node,
    const struct summary_clock *clock, struct err *e)
{
	json_error_t je;

	*d = (struct digest){ .report = json_loads(json, 0, &je), .node = node, .clock = clock };
	if (d->report == NULL)
		return err_set(e, "the report is no JSON: %s", je.text);
	if (!json_is_array(json_object_get(d->report, "queues")))
		return err_set(e, "the report has no queues");
	add_up(d);
	return 0;
}

void
digest_clear(struct digest *d)
{
	free(d->queues);
	json_decref(d->report);
}

/*
 * How values are written
 */

void
digest_put_number(struct buf *b, int64_t n)
{
	char digits[24];
	int len = snprintf(digits, sizeof(digits), "%" PRId64, n);

	for (int i = 0; i < len; i++) {
		buf_char(b, digits[i]);
		if (i < len - 1 && digits[i] != '-' && (len - 1 - i) % 3 == 0)
			buf_char(b, ',');
	}
}

void
digest_put_percent(struct buf *b, double part)
{
	double percent = part * 100;

	if (percent > 0 && percent < 0.01)
		percent = 0.01;
	buf_printf(b, "%.*f %%", percent < 1 ? 2 : percent < 10 ? 1 : 0, percent);
}

void
digest_put_duration(struct buf *b, const json_t *o, const char *key)
{
	static const struct {
		double ms;
		const char *unit;
	} units[] = { { 86400000, "d" }, { 3600000, "h" }, { 60000, "min" },
	    { 1000, "s" } };
	double ms = json_number_value(json_object_get(o, key));

	if (!json_is_number(json_object_get(o, key))) {
		buf_str(b, "-");
		return;
	}
	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++)
		if (ms >= units[i].ms) {
			buf_printf(b, "%.1f %s", ms / units[i].ms, units[i].unit);
			return;
		}
	buf_printf(b, "%.0f ms", ms);
}

/* What PostgreSQL writes of a timestamptz in JSON, as seconds since the epoch. */
static bool
read_instant(const char *text, int64_t *out)
{
	struct tm tm = { 0 };
	int hours = 0, minutes = 0;
	const char *p = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);

	if (p == NULL)
		return false;
	if (*p == '.')
		p += 1 + strspn(p + 1, "0123456789");
	if (*p == '+' || *p == '-') {
		if (sscanf(p + 1, "%2d:%2d", &hours, &minutes) < 1)
			return false;
	} else if (*p != 'Z' && *p != '\0') {
		return false;
	}
	*out = (int64_t)timegm(&tm) - (*p == '-' ? -1 : 1) *
	    (hours * 3600 + minutes * 60);
	return true;
}

void
digest_put_instant(struct buf *b, const struct digest *d, const char *text,
    enum digest_detail detail)
{
	char shown[64] = "";
	struct tm tm;
	int64_t at;

	if (!read_instant(text, &at)) {
		buf_str(b, "-");
		return;
	}
	gmtime_r(&(time_t){ at + d->clock->offset }, &tm);
	switch (detail) {
	case DIGEST_DAY:
		strftime(shown, sizeof(shown), "%-d %b", &tm);
		break;
	case DIGEST_CLOCK:
		strftime(shown, sizeof(shown), "%H:%M", &tm);
		break;
	case DIGEST_SECOND:
		strftime(shown, sizeof(shown), "%-d %b %H:%M:%S", &tm);
		break;
	case DIGEST_MINUTE:
		strftime(shown, sizeof(shown), "%-d %b %Y %H:%M", &tm);
		break;
	}
	buf_str(b, shown);
}

void
digest_put_period(struct buf *b, const struct digest *d)
{
	digest_put_instant(b, d, digest_text(d->report, "since"), DIGEST_MINUTE);
	buf_str(b, " to ");
	digest_put_instant(b, d, digest_text(d->report, "until"), DIGEST_MINUTE);
	buf_printf(b, " %s", d->clock->zone);
}

void
digest_put_change(struct buf *b, const char *open, int64_t now, int64_t before,
    const char *close)
{
	double percent = before > 0 ?
	    ((double)now / (double)before - 1) * 100 : 0;

	if (now <= 0 && before <= 0)
		return;
	buf_str(b, open);
	if (before <= 0) {
		buf_str(b, "none before");
	} else if (percent > 1000) {
		buf_str(b, "was ");
		digest_put_number(b, before);
	} else if (percent > -0.5 && percent < 0.5) {
		buf_str(b, "as before");
	} else {
		buf_printf(b, "%+.0f %%", percent);
	}
	buf_str(b, close);
}

void
digest_put_cut(struct buf *b, const char *text)
{
	size_t len = strlen(text), max = len;

	if (len > TEXT_MAX)
		for (max = TEXT_MAX; max > 0 &&
		    ((unsigned char)text[max] & 0xc0) == 0x80; )
			max--;
	for (size_t i = 0; i < max; i++)
		buf_char(b, iscntrl((unsigned char)text[i]) ? ' ' : text[i]);
	if (max < len)
		buf_str(b, "\xe2\x80\xa6");
}
