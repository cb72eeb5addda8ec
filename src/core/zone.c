/*
 * Time zones: see zone.h.
 *
 * A file has a table of changes and, for all time after it, a rule in the
 * form of POSIX's TZ: "AEST-10AEDT,M10.1.0,M4.1.0/3". Names of zones and which
 * of them count as daylight saving do not matter here, offsets do.
 */
#include "config.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "core/calendar.h"
#include "core/zone.h"

#define HEADER_SIZE 44
#define TYPE_SIZE 6
#define OFFSET_MIN (-25 * 3600 + 1)	/* RFC 9636 */
#define OFFSET_MAX (26 * 3600 - 1)
#define RULE_HOURS_MAX 167		/* a change may be a week off its day */
#define RULE_YEARS 2			/* … so look so many years around */
#define RULE_CHANGES (2 * (2 * RULE_YEARS + 1))

/* When in a year the clocks change. */
struct yearly {
	enum { YEARLY_JULIAN, YEARLY_DAY, YEARLY_WEEKDAY } kind;
	int day;		/* 1 … 365 never Feb 29; 0 … 365; 0 … 6 */
	int week, month;	/* YEARLY_WEEKDAY: 1 … 5 (the last) */
	int32_t time;		/* seconds after local midnight */
};

struct zone {
	size_t count;
	int64_t *changes;	/* ascending */
	int32_t *offsets;	/* [i] until changes[i]; one more for the rest */
	bool ruled;		/* the rest goes by a rule */
	bool saves;		/* … with two changes a year */
	int32_t standard, daylight;
	struct yearly start, end;
};

struct change {
	int64_t at;
	int32_t offset;		/* from then on */
};

struct header {
	unsigned char version;
	uint32_t utcs, stds, leaps, times, types, chars;
};

struct reader {
	const unsigned char *p, *end;
};

/*
 * The file
 */

/* The next n bytes, NULL: there are not so many. */
static const unsigned char *
take(struct reader *r, uint64_t n)
{
	const unsigned char *at = r->p;

	if ((uint64_t)(r->end - r->p) < n)
		return NULL;
	r->p += n;
	return at;
}

static uint32_t
big32(const unsigned char *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
	    (uint32_t)p[2] << 8 | p[3];
}

static int64_t
big_time(const unsigned char *p, size_t size)
{
	if (size == 4)
		return (int32_t)big32(p);
	return (int64_t)((uint64_t)big32(p) << 32 | big32(p + 4));
}

static int
malformed(struct err *e, const char *why)
{
	return err_set(e, "not a usable time zone file: %s", why);
}

static int
read_header(struct reader *r, struct header *h, struct err *e)
{
	const unsigned char *p = take(r, HEADER_SIZE);

	if (p == NULL || memcmp(p, "TZif", 4) != 0)
		return malformed(e, "it does not begin like one (TZif)");
	h->version = p[4];
	h->utcs = big32(p + 20);
	h->stds = big32(p + 24);
	h->leaps = big32(p + 28);
	h->times = big32(p + 32);
	h->types = big32(p + 36);
	h->chars = big32(p + 40);
	return 0;
}

/* Numbers of 32 bits, times of `size` bytes: cannot overflow. */
static uint64_t
body_size(const struct header *h, size_t size)
{
	return (uint64_t)h->times * (size + 1) + (uint64_t)h->types * TYPE_SIZE +
	    h->chars + (uint64_t)h->leaps * (size + 4) + h->stds + h->utcs;
}

/* The offset of a type, or -1 with e. */
static int
read_type(const unsigned char *types, const struct header *h, uint32_t n,
    int32_t *offset, struct err *e)
{
	const unsigned char *type;

	if (n >= h->types)
		return malformed(e, "a change to a type that is not there");
	type = types + n * TYPE_SIZE;
	*offset = (int32_t)big32(type);
	if (*offset < OFFSET_MIN || *offset > OFFSET_MAX)
		return malformed(e, "an offset of more than a day");
	if (type[4] > 1 || type[5] >= h->chars)
		return malformed(e, "a type that makes no sense");
	return 0;
}

static int
read_body(struct zone *z, struct reader *r, const struct header *h,
    size_t size, struct err *e)
{
	const unsigned char *times = take(r, body_size(h, size));
	const unsigned char *kinds, *types;

	if (times == NULL)
		return malformed(e, "it ends too early");
	if (h->types == 0 || h->types > 256 || h->chars == 0 ||
	    (h->stds != 0 && h->stds != h->types) ||
	    (h->utcs != 0 && h->utcs != h->types))
		return malformed(e, "its counts do not agree");
	if (h->leaps != 0)
		return malformed(e, "it counts leap seconds, "
		    "which a database's clock does not");
	kinds = times + h->times * size;
	types = kinds + h->times;
	z->count = h->times;
	z->changes = xcalloc(z->count + 1, sizeof(*z->changes));
	z->offsets = xcalloc(z->count + 1, sizeof(*z->offsets));
	if (read_type(types, h, 0, &z->offsets[0], e) != 0)
		return -1;
	for (size_t i = 0; i < z->count; i++) {
		z->changes[i] = big_time(times + i * size, size);
		if (i > 0 && z->changes[i] <= z->changes[i - 1])
			return malformed(e, "its changes are not in order");
		if (read_type(types, h, kinds[i], &z->offsets[i + 1], e) != 0)
			return -1;
	}
	return 0;
}

/*
 * The rule. Each function takes what is its own from the head.
 */

static bool
take_char(struct reader *r, char c)
{
	if (r->p == r->end || *r->p != c)
		return false;
	r->p++;
	return true;
}

static bool
take_number(struct reader *r, int min, int max, int *value)
{
	const unsigned char *start = r->p;
	int n = 0;

	while (r->p < r->end && isdigit(*r->p) && r->p - start < 3)
		n = n * 10 + (*r->p++ - '0');
	*value = n;
	return r->p > start && n >= min && n <= max;
}

/* EST, or <+03>. */
static bool
take_name(struct reader *r)
{
	const unsigned char *start = r->p;
	bool quoted = take_char(r, '<');

	while (r->p < r->end && (isalpha(*r->p) || (quoted &&
	    (isdigit(*r->p) || *r->p == '+' || *r->p == '-'))))
		r->p++;
	return r->p - start >= 3 && (!quoted || take_char(r, '>'));
}

/* [+-]h[h[h]][:mm[:ss]], in seconds. */
static bool
take_time(struct reader *r, int hours_max, int32_t *seconds)
{
	bool minus = take_char(r, '-');
	int h, m = 0, s = 0;

	if (!minus)
		take_char(r, '+');
	if (!take_number(r, 0, hours_max, &h) ||
	    (take_char(r, ':') && (!take_number(r, 0, 59, &m) ||
	    (take_char(r, ':') && !take_number(r, 0, 59, &s)))))
		return false;
	*seconds = (minus ? -1 : 1) * ((h * 60 + m) * 60 + s);
	return true;
}

/* ,J60 or ,59 or ,M10.1.0, with /time. */
static bool
take_yearly(struct reader *r, struct yearly *y)
{
	bool good;

	y->time = 2 * 3600;
	if (!take_char(r, ','))
		return false;
	if (take_char(r, 'M')) {
		y->kind = YEARLY_WEEKDAY;
		good = take_number(r, 1, 12, &y->month) && take_char(r, '.') &&
		    take_number(r, 1, 5, &y->week) && take_char(r, '.') &&
		    take_number(r, 0, 6, &y->day);
	} else if (take_char(r, 'J')) {
		y->kind = YEARLY_JULIAN;
		good = take_number(r, 1, 365, &y->day);
	} else {
		y->kind = YEARLY_DAY;
		good = take_number(r, 0, 365, &y->day);
	}
	return good &&
	    (!take_char(r, '/') || take_time(r, RULE_HOURS_MAX, &y->time));
}

static bool
take_rule(struct reader *r, struct zone *z)
{
	/* East of Greenwich is negative in POSIX. */
	if (!take_name(r) || !take_time(r, 24, &z->standard))
		return false;
	z->standard = -z->standard;
	z->ruled = true;
	if (r->p == r->end)
		return true;
	z->saves = true;
	if (!take_name(r))
		return false;
	z->daylight = z->standard + 3600;
	if (r->p < r->end && *r->p != ',') {
		if (!take_time(r, 24, &z->daylight))
			return false;
		z->daylight = -z->daylight;
	}
	return take_yearly(r, &z->start) && take_yearly(r, &z->end) &&
	    r->p == r->end;
}

/* Between two newlines; nothing there is no rule. */
static int
read_rule(struct zone *z, struct reader *r, struct err *e)
{
	struct reader rule;

	if (!take_char(r, '\n') ||
	    (rule.end = memchr(r->p, '\n', (size_t)(r->end - r->p))) == NULL)
		return malformed(e, "the rule at its end is missing");
	rule.p = r->p;
	if (rule.p < rule.end && !take_rule(&rule, z))
		return malformed(e, "the rule at its end cannot be read");
	return 0;
}

struct zone *
zone_new(const void *bytes, size_t len, struct err *e)
{
	struct reader r = { bytes, (const unsigned char *)bytes + len };
	struct zone *z = xcalloc(1, sizeof(*z));
	struct header h;
	bool new;

	if (len > ZONE_FILE_MAX) {
		malformed(e, "it is too large");
		goto fail;
	}
	if (read_header(&r, &h, e) != 0)
		goto fail;
	/* From version 2 on what is of 32 bits stands there for old readers. */
	new = h.version >= '2';
	if (new && (take(&r, body_size(&h, 4)) == NULL)) {
		malformed(e, "it ends too early");
		goto fail;
	}
	if ((new && read_header(&r, &h, e) != 0) ||
	    read_body(z, &r, &h, new ? 8 : 4, e) != 0 ||
	    (new && read_rule(z, &r, e) != 0))
		goto fail;
	return z;
fail:
	zone_free(z);
	return NULL;
}

void
zone_free(struct zone *z)
{
	if (z == NULL)
		return;
	free(z->changes);
	free(z->offsets);
	free(z);
}

/*
 * Asking
 */

/* The local midnight at which a change's day of that year begins, in days. */
static int64_t
yearly_day(const struct yearly *y, int year)
{
	int64_t first;
	int day;

	switch (y->kind) {
	case YEARLY_WEEKDAY:
		first = calendar_day(year, y->month, 1);
		day = (y->day - calendar_weekday(first) + 7) % 7 +
		    7 * (y->week - 1);
		if (day >= calendar_month_length(year, y->month))
			day -= 7;
		return first + day;
	case YEARLY_JULIAN:
		/* March begins with day 60, of a leap year as well. */
		return y->day < 60 ? calendar_day(year, 1, y->day) :
		    calendar_day(year, 3, y->day - 59);
	default:
		return calendar_day(year, 1, 1) + y->day;
	}
}

/* The rule's changes in the years around one, in order. At the same instant
 * the end comes first: so a start of a year's first second, where daylight
 * saving lasts all year, undoes the end before. */
static void
rule_changes(const struct zone *z, int year, struct change changes[])
{
	int count = 0;

	for (int y = year - RULE_YEARS; y <= year + RULE_YEARS; y++)
		for (int i = 0; i < 2; i++) {
			const struct yearly *when = i == 0 ? &z->end : &z->start;
			struct change c = {
				.at = yearly_day(when, y) * CALENDAR_DAY_SECONDS +
				    when->time -
				    (i == 0 ? z->daylight : z->standard),
				.offset = i == 0 ? z->standard : z->daylight,
			};
			int n = count++;

			for (; n > 0 && (changes[n - 1].at > c.at ||
			    (changes[n - 1].at == c.at && i == 0)); n--)
				changes[n] = changes[n - 1];
			changes[n] = c;
		}
}

/* table: what the table says of all time after its last change. */
static struct zone_span
rule_span(const struct zone *z, struct zone_span table, int64_t t)
{
	const int64_t first = calendar_day(RULE_YEARS + 2, 1, 1),
	    last = calendar_day(9999, 12, 31);
	struct change changes[RULE_CHANGES];
	int64_t day = t / CALENDAR_DAY_SECONDS;
	int n = 0;

	if (!z->saves) {
		table.offset = z->standard;
		return table;
	}
	rule_changes(z, calendar_year(day < first ? first :
	    day > last ? last : day), changes);
	while (n < RULE_CHANGES && changes[n].at <= t)
		n++;
	table.offset = n > 0 ? changes[n - 1].offset : z->standard;
	if (n < RULE_CHANGES)
		table.until = changes[n].at;
	if (n > 0 && changes[n - 1].at > table.from) {
		table.from = changes[n - 1].at;
		table.before = n > 1 ? changes[n - 2].offset : table.offset;
	}
	return table;
}

struct zone_span
zone_span(const struct zone *z, int64_t t)
{
	struct zone_span span = { .from = INT64_MIN, .until = INT64_MAX };
	size_t low = 0, high = z == NULL ? 0 : z->count;

	if (z == NULL)
		return span;
	while (low < high) {	/* the changes up to t */
		size_t middle = low + (high - low) / 2;

		if (z->changes[middle] <= t)
			low = middle + 1;
		else
			high = middle;
	}
	if (low > 0)
		span.from = z->changes[low - 1];
	if (low < z->count)
		span.until = z->changes[low];
	span.offset = z->offsets[low];
	span.before = z->offsets[low > 0 ? low - 1 : 0];
	return z->ruled && low == z->count ? rule_span(z, span, t) : span;
}

int64_t
zone_to_local(const struct zone *z, int64_t t)
{
	return t + zone_span(z, t).offset;
}

int64_t
zone_to_utc(const struct zone *z, int64_t local)
{
	struct zone_span span = zone_span(z, local - OFFSET_MAX);

	/* The first span that has shown it, or that begins later. */
	while (span.until < INT64_MAX && local - span.offset >= span.until)
		span = zone_span(z, span.until);
	return local - span.offset > span.from ? local - span.offset : span.from;
}
