/*
 * Cron expressions: see cron.h.
 *
 * A parsed expression is a set of bits for each field. The next instant is
 * found by jumping: a month without a matching day costs a few operations, a
 * time of day three searches for a bit. In a zone it is looked for among the
 * local times of one span after the other.
 */
#include "config.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "core/calendar.h"
#include "core/cron.h"
#include "core/near.h"

#define DAY_SECONDS CALENDAR_DAY_SECONDS
#define YEAR_LAST 9999
#define LAST INT64_C(253402300799)	/* 9999-12-31 23:59:59 */
#define YEAR_CYCLE 400		/* the calendar repeats, weekdays included */
#define TEXT_MAX 1024
#define DIGITS_MAX 4

enum { SECOND, MINUTE, HOUR, DAY, MONTH, WEEKDAY, FIELD_COUNT };

const char *const cron_dst_names[] = { "standard", "skip", "clock", NULL };

static const char *const month_names[] = {
	"jan", "feb", "mar", "apr", "may", "jun",
	"jul", "aug", "sep", "oct", "nov", "dec", NULL,
};
static const char *const weekday_names[] = {
	"sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL,
};

static const struct field {
	const char *name;
	int min, last;		/* what a star and n/step run to */
	int max;		/* what may be written */
	const char *const *names;	/* of min and on; NULL: none */
} fields[FIELD_COUNT] = {
	[SECOND] = { "second", 0, 59, 59, NULL },
	[MINUTE] = { "minute", 0, 59, 59, NULL },
	[HOUR] = { "hour", 0, 23, 23, NULL },
	[DAY] = { "day of month", 1, 31, 31, NULL },
	[MONTH] = { "month", 1, 12, 12, month_names },
	[WEEKDAY] = { "day of week", 0, 6, 7, weekday_names },
};

static const char *const word_names[] = {
	"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight",
	"@hourly",
};
static const char *const word_texts[] = {
	"0 0 1 1 *", "0 0 1 1 *", "0 0 1 * *", "0 0 * * 0", "0 0 * * *",
	"0 0 * * *", "0 * * * *",
};
#define WORD_COUNT (sizeof(word_names) / sizeof(word_names[0]))

/* One item of a field's list, while it is read. */
struct item {
	const struct field *field;
	const char *text, *p, *end;	/* whole, next byte, end */
	int from, to;
	bool single;			/* one value, neither star nor range */
};

/*
 * Reading. Each function takes what is its own from the item's head.
 */

static int
bad_item(const struct item *item, struct err *e, const char *why)
{
	return err_set(e, "%s \"%.*s\": %s", item->field->name,
	    (int)(item->end - item->text), item->text, why);
}

static bool
take(struct item *item, char c)
{
	if (item->p == item->end || toupper((unsigned char)*item->p) != c)
		return false;
	item->p++;
	return true;
}

static int
take_number(struct item *item, int *value, struct err *e)
{
	const char *start = item->p;
	int n = 0;

	while (item->p < item->end && isdigit((unsigned char)*item->p)) {
		if (item->p - start == DIGITS_MAX)
			return bad_item(item, e, "the number is too large");
		n = n * 10 + (*item->p++ - '0');
	}
	if (item->p == start)
		return bad_item(item, e, "a number is missing");
	*value = n;
	return 0;
}

static bool
take_name(struct item *item, int *value)
{
	const struct field *f = item->field;

	if (f->names == NULL || item->end - item->p < 3)
		return false;
	for (int i = 0; f->names[i] != NULL; i++)
		if (strncasecmp(item->p, f->names[i], 3) == 0) {
			item->p += 3;
			*value = f->min + i;
			return true;
		}
	return false;
}

static int
take_value(struct item *item, int *value, struct err *e)
{
	const struct field *f = item->field;

	if (take_name(item, value))
		return 0;
	if (item->p < item->end && !isdigit((unsigned char)*item->p))
		return bad_item(item, e, f->names == NULL ?
		    "not *, a number or a range" :
		    "not *, a number, a name of three letters or a range");
	if (take_number(item, value, e) != 0)
		return -1;
	if (*value < f->min || *value > f->max)
		return err_set(e, "%s \"%.*s\": %d is not in %d-%d", f->name,
		    (int)(item->end - item->text), item->text, *value, f->min,
		    f->max);
	return 0;
}

/*
 * Sunday begins the week as the start of a range and ends it as the end, by
 * whichever number or name: sun-tue and 7-2 are three days, fri-sun as well.
 */
static int
take_range_end(struct item *item, struct err *e)
{
	if (take_value(item, &item->to, e) != 0)
		return -1;
	if (item->field == &fields[WEEKDAY]) {
		if (item->to == 0 && item->from > 0)
			item->to = 7;
		if (item->from == 7 && item->to < 7)
			item->from = 0;
	}
	if (item->from > item->to)
		return bad_item(item, e, "the range runs backwards; "
		    "write it as two, like 22-23,0-2");
	item->single = false;
	return 0;
}

static int
take_values(struct item *item, struct err *e)
{
	if (take(item, '*') || take(item, '?')) {
		item->from = item->field->min;
		item->to = item->field->last;
		item->single = false;
		return 0;
	}
	if (take_value(item, &item->from, e) != 0)
		return -1;
	item->to = item->from;
	item->single = true;
	return take(item, '-') ? take_range_end(item, e) : 0;
}

static int
check_end(const struct item *item, struct err *e)
{
	if (item->p == item->end)
		return 0;
	return bad_item(item, e, "there is more than can be read");
}

/* Values with a step or without, as bits. */
static int
take_steps(struct item *item, uint64_t *bits, struct err *e)
{
	int step = 1;

	if (take(item, '/')) {
		if (take_number(item, &step, e) != 0)
			return -1;
		if (step == 0)
			return bad_item(item, e, "a step of 0 leads nowhere");
		if (item->single) {
			if (item->from > item->field->last)
				item->from = item->field->min;
			item->to = item->field->last;
		}
	}
	if (check_end(item, e) != 0)
		return -1;
	for (int v = item->from; v <= item->to; v += step)
		*bits |= UINT64_C(1) << v;
	return 0;
}

static int
parse_day(struct cron *c, struct item *item, uint64_t *bits, struct err *e)
{
	if (take(item, 'L')) {
		if (take(item, 'W'))
			c->last_weekday = true;
		else
			c->last_day = true;
		return check_end(item, e);
	}
	if (take_values(item, e) != 0)
		return -1;
	if (item->single && take(item, 'W')) {
		c->nearest |= UINT32_C(1) << item->from;
		return check_end(item, e);
	}
	return take_steps(item, bits, e);
}

static int
parse_weekday(struct cron *c, struct item *item, uint64_t *bits, struct err *e)
{
	int nth;

	if (take_values(item, e) != 0)
		return -1;
	if (item->single && take(item, 'L')) {
		c->last_of |= (uint8_t)(1 << item->from % 7);
		return check_end(item, e);
	}
	if (item->single && take(item, '#')) {
		if (take_number(item, &nth, e) != 0)
			return -1;
		if (nth < 1 || nth > 5)
			return bad_item(item, e, "what follows # is not in 1-5");
		c->nth_of[item->from % 7] |= (uint8_t)(1 << nth);
		return check_end(item, e);
	}
	return take_steps(item, bits, e);
}

static int
parse_item(struct cron *c, struct item *item, uint64_t *bits, struct err *e)
{
	if (item->text == item->end)
		return err_set(e, "%s: an item of the list is empty",
		    item->field->name);
	if (item->field == &fields[DAY])
		return parse_day(c, item, bits, e);
	if (item->field == &fields[WEEKDAY])
		return parse_weekday(c, item, bits, e);
	if (take_values(item, e) != 0)
		return -1;
	return take_steps(item, bits, e);
}

static int
parse_field(struct cron *c, const struct field *field, const char *text,
    size_t len, struct err *e)
{
	const char *end = text + len;
	uint64_t bits = 0;

	for (;;) {
		const char *comma = memchr(text, ',', (size_t)(end - text));
		struct item item = {
			.field = field, .text = text, .p = text,
			.end = comma ? comma : end,
		};

		if (parse_item(c, &item, &bits, e) != 0)
			return -1;
		if (comma == NULL)
			break;
		text = comma + 1;
	}
	switch (field - fields) {
	case SECOND:
		c->seconds = bits;
		break;
	case MINUTE:
		c->minutes = bits;
		break;
	case HOUR:
		c->hours = (uint32_t)bits;
		break;
	case DAY:
		c->days = (uint32_t)bits;
		break;
	case MONTH:
		c->months = (uint32_t)bits;
		break;
	case WEEKDAY:
		c->weekdays = (uint8_t)((bits | bits >> 7) & 0x7f);
		break;
	}
	return 0;
}

static bool
starred(const char *field)
{
	return *field == '*' || *field == '?';
}

/* Cut the text at its blanks; how many fields, at most FIELD_COUNT + 1. */
static int
split(const char *text, const char *starts[], size_t lens[])
{
	int count = 0;

	for (;;) {
		text += strspn(text, " \t");
		if (*text == '\0' || count > FIELD_COUNT)
			return count;
		starts[count] = text;
		lens[count] = strcspn(text, " \t");
		text += lens[count++];
	}
}

static int
parse_fields(struct cron *c, const char *text, struct err *e)
{
	const char *starts[FIELD_COUNT + 1];
	size_t lens[FIELD_COUNT + 1];
	int count = split(text, starts, lens);
	int first = FIELD_COUNT - count;	/* 1: no field of seconds */

	if (first != 0 && first != 1)
		return err_set(e, "%s fields; a cron expression has 5 (minute "
		    "hour day-of-month month day-of-week), or 6 with the "
		    "second first", first < 0 ? "too many" :
		    count == 0 ? "no" : "too few");
	c->seconds = 1;
	for (int i = first; i < FIELD_COUNT; i++)
		if (parse_field(c, &fields[i], starts[i - first],
		    lens[i - first], e) != 0)
			return -1;
	c->day_star = starred(starts[DAY - first]);
	c->weekday_star = starred(starts[WEEKDAY - first]);
	c->fixed = !starred(starts[MINUTE - first]) &&
	    !starred(starts[HOUR - first]);
	return 0;
}

/* What an @word stands for, NULL with e. */
static const char *
expand_word(const char *word, size_t len, struct err *e)
{
	char typed[16];
	const char *nearest;

	if (len == 7 && strncasecmp(word, "@reboot", len) == 0) {
		err_set(e, "@reboot names no time; a schedule needs one");
		return NULL;
	}
	for (size_t i = 0; i < WORD_COUNT; i++)
		if (strlen(word_names[i]) == len &&
		    strncasecmp(word, word_names[i], len) == 0)
			return word_texts[i];
	if (len >= sizeof(typed)) {
		err_set(e, "no such word, and no cron expression begins with @");
		return NULL;
	}
	memcpy(typed, word, len);
	typed[len] = '\0';
	nearest = near_name(typed, word_names, WORD_COUNT);
	err_set(e, "%s: no such word; %s %s", typed,
	    nearest ? "did you mean" : "try one like",
	    nearest ? nearest : "@daily");
	return NULL;
}

int
cron_parse(struct cron *out, const char *text, struct err *e)
{
	struct cron c = { 0 };

	if (strnlen(text, TEXT_MAX + 1) > TEXT_MAX)
		return err_set(e, "a cron expression has at most %d bytes",
		    TEXT_MAX);
	text += strspn(text, " \t");
	if (*text == '@') {
		size_t len = strcspn(text, " \t");

		if (text[len + strspn(text + len, " \t")] != '\0')
			return err_set(e, "nothing may follow a word with @");
		if ((text = expand_word(text, len, e)) == NULL)
			return -1;
	}
	if (parse_fields(&c, text, e) != 0)
		return -1;
	*out = c;
	return 0;
}

/*
 * The calendar.
 */

/* What is in the mask from bit `from` on: the lowest, or -1. */
static int
lowest(uint64_t mask, int from)
{
	if (from > 63 || mask >> from == 0)
		return -1;
	return from + __builtin_ctzll(mask >> from);
}

/* The weekday (Monday to Friday) nearest to that day, within its month. */
static int
nearest_weekday(int day, int weekday, int length)
{
	if (weekday == 6)
		return day > 1 ? day - 1 : day + 2;
	if (weekday == 0)
		return day < length ? day + 1 : day - 2;
	return day;
}

/* The days of a month that match, as bits; first is the weekday of its 1st. */
static uint32_t
matching_days(const struct cron *c, int length, int first)
{
	uint32_t by_day = c->days, by_weekday = 0;

	if (c->last_day)
		by_day |= UINT32_C(1) << length;
	if (c->last_weekday)
		by_day |= UINT32_C(1) << nearest_weekday(length,
		    (first + length - 1) % 7, length);
	for (int day = 1; day <= length; day++) {
		int weekday = (first + day - 1) % 7;

		if (c->nearest >> day & 1)
			by_day |= UINT32_C(1) <<
			    nearest_weekday(day, weekday, length);
		if ((c->weekdays >> weekday & 1) ||
		    ((c->last_of >> weekday & 1) && day + 7 > length) ||
		    (c->nth_of[weekday] >> ((day - 1) / 7 + 1) & 1))
			by_weekday |= UINT32_C(1) << day;
	}
	by_day &= (uint32_t)((UINT64_C(2) << length) - 1);
	return c->day_star || c->weekday_star ? by_day & by_weekday :
	    by_day | by_weekday;
}

static int
second_of_day(int hour, int minute, int second)
{
	return (hour * 60 + minute) * 60 + second;
}

/* The first matching second of a day from that one on, or -1. */
static int
matching_second(const struct cron *c, int from)
{
	int hour = from / 3600, minute = from / 60 % 60, second;
	int first_second = lowest(c->seconds, 0);

	if (c->hours >> hour & 1) {
		second = lowest(c->seconds, from % 60);
		if ((c->minutes >> minute & 1) && second >= 0)
			return second_of_day(hour, minute, second);
		minute = lowest(c->minutes, minute + 1);
		if (minute >= 0)
			return second_of_day(hour, minute, first_second);
	}
	hour = lowest(c->hours, hour + 1);
	if (hour < 0)
		return -1;
	return second_of_day(hour, lowest(c->minutes, 0), first_second);
}

/* The first matching day of a month from that one on, or -1. */
static int
matching_day(const struct cron *c, int year, int month, int64_t month_start,
    int from)
{
	int length = calendar_month_length(year, month);

	if (!(c->months >> month & 1))
		return -1;
	return lowest(matching_days(c, length, calendar_weekday(month_start)),
	    from);
}

int64_t
cron_next_utc(const struct cron *c, int64_t after)
{
	int64_t from, today, month_start;
	int second, year, month = 1, day, year_end;

	if (after >= LAST)
		return -1;
	from = after < 0 ? 0 : after + 1;
	today = from / DAY_SECONDS;
	year = calendar_year(today);
	month_start = calendar_day(year, 1, 1);
	while (month_start + calendar_month_length(year, month) <= today)
		month_start += calendar_month_length(year, month++);
	day = (int)(today - month_start) + 1;
	second = matching_second(c, (int)(from % DAY_SECONDS));
	if (second >= 0 && matching_day(c, year, month, month_start, day) == day)
		return today * DAY_SECONDS + second;
	second = matching_second(c, 0);
	year_end = year + YEAR_CYCLE < YEAR_LAST ? year + YEAR_CYCLE : YEAR_LAST;
	for (day++; second >= 0 && year <= year_end; day = 1) {
		day = matching_day(c, year, month, month_start, day);
		if (day > 0)
			return (month_start + day - 1) * DAY_SECONDS + second;
		month_start += calendar_month_length(year, month);
		month = month % 12 + 1;
		year += month == 1;
	}
	return -1;
}

/* A run is due at the span's start for local times skipped before it. */
static bool
due_after_gap(const struct cron *c, const struct zone_span *span)
{
	int64_t skipped;

	if (span->before >= span->offset)
		return false;
	skipped = cron_next_utc(c, span->from + span->before - 1);
	return skipped >= 0 && skipped < span->from + span->offset;
}

int64_t
cron_next(const struct cron *c, const struct zone *zone, enum cron_dst dst,
    int64_t after)
{
	bool made_up = dst == CRON_DST_STANDARD && c->fixed;
	bool once = made_up || dst == CRON_DST_SKIP;
	struct zone_span span;
	int64_t t, next;

	if (zone == NULL || after >= LAST)
		return cron_next_utc(c, after);
	t = after < 0 ? 0 : after + 1;
	for (;; t = span.until) {
		span = zone_span(zone, t);
		if (made_up && t == span.from && due_after_gap(c, &span))
			return t;
		/* What the clock shows again after it was put back is over. */
		if (once && span.before > span.offset &&
		    t < span.from + span.before - span.offset)
			t = span.from + span.before - span.offset;
		next = cron_next_utc(c, t + span.offset - 1);
		if (next < 0 || next - span.offset < span.until)
			return next < 0 ? -1 : next - span.offset;
	}
}

int64_t
every_next_ms(int64_t every_ms, int64_t after_ms)
{
	int64_t past = after_ms % every_ms, next;

	if (past < 0)
		past += every_ms;
	if (__builtin_add_overflow(after_ms, every_ms - past, &next))
		return -1;
	return next;
}
