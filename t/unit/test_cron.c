#include "unit.h"

#include <time.h>

#include "conf/zones.h"
#include "core/cron.h"

/*
 * Instants as people write them.
 */

static int64_t
at(const char *text)
{
	struct tm tm = { 0 };
	char zero;

	assert_int_equal(sscanf(text, "%d-%d-%d %d:%d:%d%c", &tm.tm_year,
	    &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec,
	    &zero), 6);
	tm.tm_year -= 1900;
	tm.tm_mon--;
	return timegm(&tm);
}

static struct cron
parsed(const char *text)
{
	struct cron c;
	struct err e = { 0 };

	if (cron_parse(&c, text, &e) != 0)
		fail_msg("%s: %s", text, e.msg);
	return c;
}

/* The instants that follow, up to NULL; "never" for none. */
static void
check(const char *text, const char *after, const char *const *expected)
{
	struct cron c = parsed(text);
	int64_t t = at(after);

	for (; *expected != NULL; expected++) {
		t = cron_next_utc(&c, t);
		if (strcmp(*expected, "never") == 0)
			assert_int_equal(t, -1);
		else if (t != at(*expected))
			fail_msg("%s: expected %s, got %lld", text, *expected,
			    (long long)t);
	}
}
#define CHECK(text, after, ...) \
	check(text, after, (const char *const[]){ __VA_ARGS__, NULL })

static void
refuse(const char *text, const char *message)
{
	struct cron c, before;
	struct err e = { 0 };

	memset(&c, 0x5a, sizeof(c));
	before = c;
	if (cron_parse(&c, text, &e) == 0)
		fail_msg("%s: accepted", text);
	if (strstr(e.msg, message) == NULL)
		fail_msg("%s: %s", text, e.msg);
	assert_memory_equal(&c, &before, sizeof(c));
}

/*
 * By example.
 */

static void
test_cron_minutes_and_seconds(void **state)
{
	(void)state;
	CHECK("*/15 * * * *", "2026-11-21 10:14:59", "2026-11-21 10:15:00",
	    "2026-11-21 10:30:00");
	CHECK("*/30 * * * * *", "2026-11-21 23:59:29", "2026-11-21 23:59:30",
	    "2026-11-22 00:00:00");
	CHECK("0 2 * * *", "2026-11-21 02:00:00", "2026-11-22 02:00:00");
	CHECK("0 2 * * *", "2026-11-21 01:59:59", "2026-11-21 02:00:00");
	CHECK("59 59 23 31 12 *", "2026-11-21 00:00:00", "2026-12-31 23:59:59",
	    "2027-12-31 23:59:59");
	CHECK("\t5   *\t* * * ", "2026-11-21 10:05:00", "2026-11-21 11:05:00");
}

static void
test_cron_steps_and_lists(void **state)
{
	(void)state;
	CHECK("5/15 * * * *", "2026-11-21 10:00:00", "2026-11-21 10:05:00",
	    "2026-11-21 10:20:00", "2026-11-21 10:35:00",
	    "2026-11-21 10:50:00", "2026-11-21 11:05:00");
	CHECK("10-40/15,55 8 * * *", "2026-11-21 00:00:00",
	    "2026-11-21 08:10:00", "2026-11-21 08:25:00",
	    "2026-11-21 08:40:00", "2026-11-21 08:55:00",
	    "2026-11-22 08:10:00");
	CHECK("*/90 * * * *", "2026-11-21 10:00:00", "2026-11-21 11:00:00");
	CHECK("0 0 */10 * *", "2026-11-21 00:00:00", "2026-12-01 00:00:00",
	    "2026-12-11 00:00:00");
	CHECK("0 0 ? * ?", "2026-11-21 00:00:00", "2026-11-22 00:00:00");
	CHECK("?/20 ? ? ? ?", "2026-11-21 00:00:00", "2026-11-21 00:20:00");
}

static void
test_cron_names(void **state)
{
	(void)state;
	CHECK("0 8 * * MON", "2026-11-21 00:00:00", "2026-11-23 08:00:00");
	CHECK("0 8 * jan,JUL-Aug *", "2026-11-21 00:00:00",
	    "2027-01-01 08:00:00");
	CHECK("0 8 1 feb-apr/2 *", "2026-11-21 00:00:00",
	    "2027-02-01 08:00:00", "2027-04-01 08:00:00");
}

/* Sunday is 0 and 7, first of a range and last. */
static void
test_cron_sundays(void **state)
{
	(void)state;
	CHECK("0 0 * * 0", "2026-11-21 00:00:00", "2026-11-22 00:00:00",
	    "2026-11-29 00:00:00");
	CHECK("0 0 * * 7", "2026-11-21 00:00:00", "2026-11-22 00:00:00",
	    "2026-11-29 00:00:00");
	CHECK("0 0 * * fri-sun", "2026-11-22 00:00:00", "2026-11-27 00:00:00",
	    "2026-11-28 00:00:00", "2026-11-29 00:00:00",
	    "2026-12-04 00:00:00");
	CHECK("0 0 * * 6-7", "2026-11-22 00:00:00", "2026-11-28 00:00:00",
	    "2026-11-29 00:00:00", "2026-12-05 00:00:00");
	CHECK("0 0 * * 7-2", "2026-11-22 00:00:00", "2026-11-23 00:00:00",
	    "2026-11-24 00:00:00", "2026-11-29 00:00:00");
	CHECK("0 0 * * 1-7/2", "2026-11-22 00:00:00", "2026-11-23 00:00:00",
	    "2026-11-25 00:00:00", "2026-11-27 00:00:00",
	    "2026-11-29 00:00:00");
	assert_int_equal(parsed("0 0 * * 0-7").weekdays, 0x7f);
	assert_int_equal(parsed("0 0 * * 7-7").weekdays, 1);
	assert_int_equal(parsed("0 0 * * 7-0").weekdays, 1);
	assert_int_equal(parsed("0 0 * * 7/2").weekdays, 0x55);
	assert_int_equal(parsed("0 0 * * 1/2").weekdays, 0x2a);
}

/* Either day field when both are restricted, and a star with a step is a star. */
static void
test_cron_either_day(void **state)
{
	(void)state;
	CHECK("0 0 13 * 5", "2026-11-01 00:00:00", "2026-11-06 00:00:00",
	    "2026-11-13 00:00:00", "2026-11-20 00:00:00",
	    "2026-11-27 00:00:00", "2026-12-04 00:00:00",
	    "2026-12-11 00:00:00", "2026-12-13 00:00:00");
	CHECK("0 0 */2 * 5", "2026-11-01 00:00:00", "2026-11-13 00:00:00",
	    "2026-11-27 00:00:00", "2026-12-11 00:00:00");
	CHECK("0 0 13 * */2", "2026-11-01 00:00:00", "2026-12-13 00:00:00");
	CHECK("0 0 13 * ?", "2026-11-01 00:00:00", "2026-11-13 00:00:00");
	CHECK("0 0 13 * 0-6", "2026-11-01 00:00:00", "2026-11-02 00:00:00");
}

static void
test_cron_last_days(void **state)
{
	(void)state;
	CHECK("0 0 L * *", "2027-12-31 00:00:00", "2028-01-31 00:00:00",
	    "2028-02-29 00:00:00", "2028-03-31 00:00:00",
	    "2028-04-30 00:00:00");
	CHECK("0 0 LW * *", "2026-01-01 00:00:00", "2026-01-30 00:00:00",
	    "2026-02-27 00:00:00", "2026-03-31 00:00:00",
	    "2026-04-30 00:00:00", "2026-05-29 00:00:00");
	CHECK("0 0 1,L * *", "2026-11-21 00:00:00", "2026-11-30 00:00:00",
	    "2026-12-01 00:00:00");
	CHECK("0 0 * * 5L", "2026-11-21 00:00:00", "2026-11-27 00:00:00",
	    "2026-12-25 00:00:00", "2027-01-29 00:00:00");
	CHECK("0 0 * * 0L,7L", "2026-11-21 00:00:00", "2026-11-29 00:00:00",
	    "2026-12-27 00:00:00");
	CHECK("0 0 * * fril", "2026-11-21 00:00:00", "2026-11-27 00:00:00");
	CHECK("0 0 L * 5L", "2026-11-21 00:00:00", "2026-11-27 00:00:00",
	    "2026-11-30 00:00:00", "2026-12-25 00:00:00");
}

static void
test_cron_nearest_weekday(void **state)
{
	(void)state;
	CHECK("0 0 15W * *", "2026-08-01 00:00:00", "2026-08-14 00:00:00",
	    "2026-09-15 00:00:00", "2026-10-15 00:00:00",
	    "2026-11-16 00:00:00");
	/* Saturday the first goes forward, Sunday the last goes back. */
	CHECK("0 0 1W * *", "2026-07-31 00:00:00", "2026-08-03 00:00:00");
	CHECK("0 0 31W * *", "2027-01-01 00:00:00", "2027-01-29 00:00:00",
	    "2027-03-31 00:00:00");
	CHECK("0 0 28w feb *", "2026-11-01 00:00:00", "2027-02-26 00:00:00");
}

static void
test_cron_nth_weekday(void **state)
{
	(void)state;
	CHECK("0 0 * * 5#3", "2026-11-01 00:00:00", "2026-11-20 00:00:00",
	    "2026-12-18 00:00:00");
	CHECK("0 0 * * mon#1,7#5", "2026-11-01 00:00:00",
	    "2026-11-02 00:00:00", "2026-11-29 00:00:00",
	    "2026-12-07 00:00:00");
	CHECK("0 0 * * 1#5", "2026-12-01 00:00:00", "2027-03-29 00:00:00");
}

static void
test_cron_words(void **state)
{
	static const struct { const char *word, *text; } words[] = {
		{ "@yearly", "0 0 1 1 *" }, { "@annually", "0 0 1 1 *" },
		{ "@monthly", "0 0 1 * *" }, { "@weekly", "0 0 * * 0" },
		{ "@daily", "0 0 * * *" }, { "@midnight", "0 0 * * *" },
		{ "@hourly", "0 * * * *" }, { " @Hourly ", "0 * * * *" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		struct cron a = parsed(words[i].word), b = parsed(words[i].text);

		assert_memory_equal(&a, &b, sizeof(a));
	}
	refuse("@reboot", "@reboot names no time");
	refuse("@dialy", "did you mean @daily");
	refuse("@x", "try one like @daily");
	refuse("@", "no such word");
	refuse("@every 5m", "nothing may follow");
	refuse("@a-word-that-is-long", "no such word");
}

/* What the treatment of daylight saving depends on. */
static void
test_cron_fixed(void **state)
{
	(void)state;
	assert_true(parsed("30 2 * * *").fixed);
	assert_true(parsed("*/10 30 2 * * *").fixed);
	assert_true(parsed("5/15 2-4 * * *").fixed);
	assert_true(parsed("@daily").fixed);
	assert_false(parsed("@hourly").fixed);
	assert_false(parsed("*/5 2 * * *").fixed);
	assert_false(parsed("0 */2 * * *").fixed);
	assert_false(parsed("0 ? * * *").fixed);
}

static void
test_cron_impossible_dates(void **state)
{
	(void)state;
	CHECK("0 0 30 2 *", "2026-11-21 00:00:00", "never");
	CHECK("0 0 31 4,6,9,11 *", "2026-11-21 00:00:00", "never");
	CHECK("0 0 30W 2 *", "2026-11-21 00:00:00", "never");
	CHECK("0 0 * 2 1#5", "2026-11-21 00:00:00", "2044-02-29 00:00:00");
	CHECK("0 0 29 2 *", "2096-03-01 00:00:00", "2104-02-29 00:00:00");
	CHECK("0 0 30 2 1", "2026-11-21 00:00:00", "2027-02-01 00:00:00");
}

static void
test_cron_ends_of_time(void **state)
{
	struct cron c = parsed("* * * * * *");

	(void)state;
	assert_int_equal(cron_next_utc(&c, -1), 0);
	assert_int_equal(cron_next_utc(&c, INT64_MIN), 0);
	assert_int_equal(cron_next_utc(&c, 0), 1);
	CHECK("0 0 1 1 *", "1969-01-01 00:00:00", "1970-01-01 00:00:00");
	CHECK("* * * * * *", "9999-12-31 23:59:58", "9999-12-31 23:59:59",
	    "never");
	CHECK("0 0 1 1 *", "9998-12-31 00:00:00", "9999-01-01 00:00:00",
	    "never");
	CHECK("0 0 29 2 *", "9996-03-01 00:00:00", "never");
	assert_int_equal(cron_next_utc(&c, INT64_MAX), -1);
}

static void
test_cron_refusals(void **state)
{
	char wide[2000];

	(void)state;
	refuse("", "no fields");
	refuse("   ", "no fields");
	refuse("* * * *", "too few fields");
	refuse("* * * * * * *", "too many fields");
	refuse("60 * * * *", "minute \"60\": 60 is not in 0-59");
	refuse("60 * * * * *", "second \"60\": 60 is not in 0-59");
	refuse("* 24 * * *", "hour \"24\": 24 is not in 0-23");
	refuse("* * 0 * *", "day of month \"0\": 0 is not in 1-31");
	refuse("* * 32 * *", "32 is not in 1-31");
	refuse("* * * 13 *", "month \"13\"");
	refuse("* * * 0 *", "month \"0\"");
	refuse("* * * * 8", "day of week \"8\": 8 is not in 0-7");
	refuse("1,99 * * * *", "minute \"99\"");
	refuse("5-70 * * * *", "70 is not in 0-59");
	refuse("*/0 * * * *", "a step of 0");
	refuse("*/ * * * *", "a number is missing");
	refuse("1- * * * *", "a number is missing");
	refuse("* 22-2 * * *", "runs backwards");
	refuse("* * * * 5-2", "runs backwards");
	refuse("1,,2 * * * *", "is empty");
	refuse("1, * * * *", "is empty");
	refuse("a * * * *", "not *, a number or a range");
	refuse("* * * janu *", "more than can be read");
	refuse("* * * ja *", "a name of three letters");
	refuse("* * * * monday", "more than can be read");
	refuse("-1 * * * *", "not *");
	refuse("99999 * * * *", "too large");
	refuse("*/99999 * * * *", "too large");
	refuse("** * * * *", "more than can be read");
	refuse("*5 * * * *", "more than can be read");
	refuse("1/2/3 * * * *", "more than can be read");
	refuse("1-2-3 * * * *", "more than can be read");
	refuse("L * * * *", "not *");
	refuse("* * L-3 * *", "more than can be read");
	refuse("* * WL * *", "not *");
	refuse("* * 1-5W * *", "more than can be read");
	refuse("* * *W * *", "more than can be read");
	refuse("* * 0W * *", "0 is not in 1-31");
	refuse("* * 5WL * *", "more than can be read");
	refuse("* * * * L", "not *");
	refuse("* * * * 8L", "8 is not in 0-7");
	refuse("* * * * 5#0", "is not in 1-5");
	refuse("* * * * 5#6", "is not in 1-5");
	refuse("* * * * 5#", "a number is missing");
	refuse("* * * * 1-5#2", "more than can be read");
	refuse("* * * * 5L#2", "more than can be read");
	refuse("* * * * mon\n", "more than can be read");
	memset(wide, '1', sizeof(wide) - 1);
	wide[sizeof(wide) - 1] = '\0';
	refuse(wide, "at most 1024 bytes");
}

/*
 * Against a search by brute force: a random expression is kept in parts, and
 * an instant is judged part by part, by definition.
 */

enum kind { STAR, VALUE, RANGE, LAST, LAST_WORKDAY, NEAREST, LAST_OF, NTH_OF };
struct part { enum kind kind; int a, b, step; };	/* step 0: none written */
struct field { struct part parts[3]; int count; };
struct expression { struct field fields[6]; bool seconds; };

static const int lows[6] = { 0, 0, 0, 1, 1, 0 };
static const int highs[6] = { 59, 59, 23, 31, 12, 6 };
static const char *const months = "janfebmaraprmayjunjulaugsepoctnovdec";
static const char *const weekdays = "sunmontuewedthufrisat";

static struct part
random_part(int field, uint64_t *seed)
{
	int low = lows[field], span = highs[field] - low + 1;
	struct part p = { VALUE, low + chance_below(seed, span), 0, 0 };
	int kind = chance_below(seed, 12);

	if (kind < 3)
		p.kind = STAR;
	else if (kind < 6) {
		p.kind = RANGE;
		p.b = p.a + chance_below(seed, highs[field] - p.a + 1);
	} else if (kind == 6 && field == 3)
		p.kind = LAST;
	else if (kind == 7 && field == 3)
		p.kind = LAST_WORKDAY;
	else if (kind == 8 && field == 3)
		p.kind = NEAREST;
	else if (kind == 6 && field == 5)
		p.kind = LAST_OF;
	else if (kind == 7 && field == 5) {
		p.kind = NTH_OF;
		p.b = 1 + chance_below(seed, 5);
	}
	if (p.kind <= RANGE && chance_below(seed, 3) == 0)
		p.step = 1 + chance_below(seed, span);
	return p;
}

static struct expression
random_expression(uint64_t *seed)
{
	struct expression x = { .seconds = chance_below(seed, 2) };

	for (int i = 0; i < 6; i++) {
		x.fields[i].count = 1 + chance_below(seed, 4) % 3;
		for (int n = 0; n < x.fields[i].count; n++)
			x.fields[i].parts[n] = random_part(i, seed);
		if (i >= 3 && chance_below(seed, 2) == 0) {
			x.fields[i].count = 1;
			x.fields[i].parts[0] = (struct part){ .kind = STAR };
		}
	}
	if (!x.seconds) {
		x.fields[0].count = 1;
		x.fields[0].parts[0] = (struct part){ .kind = VALUE };
	}
	return x;
}

static int
print_value(char *text, size_t size, int field, int value, uint64_t *seed)
{
	const char *names = field == 4 ? months : weekdays;

	if (field >= 4 && chance_below(seed, 3) == 0)
		return snprintf(text, size, "%.3s",
		    names + 3 * (value - lows[field]));
	if (field == 5 && value == 0 && chance_below(seed, 2) == 0)
		value = 7;
	return snprintf(text, size, "%d", value);
}

static void
print_part(char *out, size_t size, int field, struct part p, uint64_t *seed)
{
	char a[16] = "", b[16] = "", step[16] = "";

	if (p.kind != STAR)
		print_value(a, sizeof(a), field, p.a, seed);
	if (p.kind == RANGE)
		print_value(b, sizeof(b), field, p.b, seed);
	if (p.step > 0)
		snprintf(step, sizeof(step), "/%d", p.step);
	if (p.kind == RANGE && field == 5 && p.a == 0)
		strcpy(a, "0");		/* 7-7 would be one day of range 0-0 */
	if (p.kind == RANGE && field == 5 && p.b == 0)
		strcpy(b, "0");
	switch (p.kind) {
	case STAR:
		snprintf(out, size, "%s%s", chance_below(seed, 5) ? "*" : "?", step);
		break;
	case VALUE:
		snprintf(out, size, "%s%s", a, step);
		break;
	case RANGE:
		snprintf(out, size, "%s-%s%s", a, b, step);
		break;
	case LAST:
		snprintf(out, size, "L");
		break;
	case LAST_WORKDAY:
		snprintf(out, size, "LW");
		break;
	case NEAREST:
		snprintf(out, size, "%dW", p.a);
		break;
	case LAST_OF:
		snprintf(out, size, "%sL", a);
		break;
	case NTH_OF:
		snprintf(out, size, "%s#%d", a, p.b);
		break;
	}
}

static void
print_expression(char *out, size_t size, const struct expression *x,
    uint64_t *seed)
{
	size_t len = 0;

	for (int i = x->seconds ? 0 : 1; i < 6; i++)
		for (int n = 0; n < x->fields[i].count; n++) {
			print_part(out + len, size - len, i,
			    x->fields[i].parts[n], seed);
			len += strlen(out + len);
			len += (size_t)snprintf(out + len, size - len, "%s",
			    n + 1 < x->fields[i].count ? "," : i < 5 ? " " : "");
		}
}

static int
length_of_month(const struct tm *tm)
{
	struct tm next = { .tm_year = tm->tm_year, .tm_mon = tm->tm_mon + 1 };

	timegm(&next);			/* the day before the next first */
	return next.tm_mday;
}

static bool
workday(const struct tm *tm, int day)
{
	int weekday = ((tm->tm_wday + day - tm->tm_mday) % 7 + 7) % 7;

	return weekday != 0 && weekday != 6;
}

/* Whether today is the workday of its month that is nearest to that day; of
 * two equally near there are never two, weekends being two days. */
static bool
is_nearest(const struct tm *tm, int day)
{
	int length = length_of_month(tm), best = 99;

	for (int d = 1; d <= length; d++)
		if (workday(tm, d) && abs(d - day) < abs(best - day))
			best = d;
	return day <= length && best == tm->tm_mday;
}

static bool
part_matches(struct part p, int field, int value, const struct tm *tm)
{
	int to = p.kind == STAR || (p.kind == VALUE && p.step > 0) ?
	    highs[field] : p.kind == VALUE ? p.a : p.b;
	int from = p.kind == STAR ? lows[field] : p.a;

	switch (p.kind) {
	case LAST:
		return value == length_of_month(tm);
	case LAST_WORKDAY:
		return is_nearest(tm, length_of_month(tm));
	case NEAREST:
		return is_nearest(tm, p.a);
	case LAST_OF:
		return value == p.a && tm->tm_mday + 7 > length_of_month(tm);
	case NTH_OF:
		return value == p.a && (tm->tm_mday + 6) / 7 == p.b;
	default:
		return value >= from && value <= to &&
		    (p.step == 0 || (value - from) % p.step == 0);
	}
}

static bool
field_matches(const struct expression *x, int field, int value,
    const struct tm *tm)
{
	for (int n = 0; n < x->fields[field].count; n++)
		if (part_matches(x->fields[field].parts[n], field, value, tm))
			return true;
	return false;
}

static bool
day_matches(const struct expression *x, const struct tm *tm)
{
	bool day = field_matches(x, 3, tm->tm_mday, tm);
	bool weekday = field_matches(x, 5, tm->tm_wday, tm);
	bool both = x->fields[3].parts[0].kind == STAR ||
	    x->fields[5].parts[0].kind == STAR;

	return field_matches(x, 4, tm->tm_mon + 1, tm) &&
	    (both ? day && weekday : day || weekday);
}

/* The next instant before `limit`, else limit. */
static int64_t
brute_force(const struct expression *x, int64_t after, int64_t limit)
{
	int64_t t = after + 1;

	while (t < limit) {
		time_t now = t;
		struct tm tm;

		gmtime_r(&now, &tm);
		if (!day_matches(x, &tm))
			t += 86400 - t % 86400;
		else if (!field_matches(x, 2, tm.tm_hour, &tm) ||
		    !field_matches(x, 1, tm.tm_min, &tm))
			t += 60 - t % 60;
		else if (!field_matches(x, 0, tm.tm_sec, &tm))
			t++;
		else
			return t;
	}
	return limit;
}

static void
test_cron_against_brute_force(void **state)
{
	uint64_t seed = 6;

	(void)state;
	for (int i = 0; i < 5000; i++) {
		struct expression x = random_expression(&seed);
		int64_t t = (int64_t)(chance(&seed) % 4102444800), limit;
		struct cron c;
		char text[256];

		print_expression(text, sizeof(text), &x, &seed);
		c = parsed(text);
		limit = t + INT64_C(13) * 366 * 86400;
		for (int n = 0; n < 6 && t < limit; n++) {
			int64_t expected = brute_force(&x, t, limit);
			int64_t got = cron_next_utc(&c, t);

			if (expected == limit ? got >= 0 && got < limit :
			    got != expected)
				fail_msg("%s after %lld: %lld, not %lld", text,
				    (long long)t, (long long)got,
				    (long long)expected);
			t = expected;
		}
	}
}

/* Whatever is accepted has a next instant in bounded time, later than asked. */
static void
test_cron_mutations(void **state)
{
	static const char *const samples[] = {
		"*/30 * * * * *", "5/15 2-4 * * *", "0 0 L,15W,LW feb-nov/3 ?",
		"0 0 29 2 mon#1,5L", "@monthly", "59 23 31 12 7-2",
	};
	int accepted = 0;
	uint64_t seed = 7;

	(void)state;
	for (int i = 0; i < 60000; i++) {
		const char *sample = samples[chance_below(&seed, 6)];
		size_t len = strlen(sample);
		int64_t t = (int64_t)(chance(&seed) % 253402300800), next;
		char text[64], *typed;
		struct err e = { 0 };
		struct cron c;

		memcpy(text, sample, len);
		len = mutate(text, len, sizeof(text), "0123456789*/-,?LW# ", &seed);
		typed = exact(text, len, true);
		if (cron_parse(&c, typed, &e) == 0) {
			accepted++;
			next = cron_next_utc(&c, t);
			assert_true(next == -1 ||
			    (next > t && next < 253402300800));
		} else
			assert_string_not_equal(e.msg, "");
		free(typed);
	}
	assert_in_range(accepted, 1000, 59000);
}

/*
 * In zones: expected instants are in UTC. The system's files, as 2025 has them.
 */

static void
check_in(const char *name, enum cron_dst dst, const char *text,
    const char *after, const char *const *expected)
{
	const struct zone *zone;
	struct cron c = parsed(text);
	int64_t t = at(after);
	struct err e = { 0 };

	if (zones_find(name, &zone, &e) != 0) {
		print_message("%s: %s\n", name, e.msg);
		skip();
	}
	for (; *expected != NULL; expected++) {
		t = cron_next(&c, zone, dst, t);
		if (t != at(*expected))
			fail_msg("%s in %s: expected %s, got %lld", text, name,
			    *expected, (long long)t);
	}
}
#define CHECK_IN(zone, dst, text, after, ...) \
	check_in(zone, CRON_DST_ ## dst, text, after, \
	    (const char *const[]){ __VA_ARGS__, NULL })

/* S3-11 … S3-14: 2:00 and 3:00, the night in which 2:00 becomes 3:00. */
static void
test_cron_sydney_forward(void **state)
{
	(void)state;
	CHECK_IN("Australia/Sydney", STANDARD, "0 2 * * *",
	    "2026-10-02 12:00:00", "2026-10-02 16:00:00",
	    "2026-10-03 16:00:00", "2026-10-04 15:00:00");
	CHECK_IN("Australia/Sydney", STANDARD, "0 3 * * *",
	    "2026-10-02 12:00:00", "2026-10-02 17:00:00",
	    "2026-10-03 16:00:00", "2026-10-04 16:00:00");
	/* several in the gap are one; so is one that is due then anyway */
	CHECK_IN("Australia/Sydney", STANDARD, "0,15,59 2 * * *",
	    "2026-10-03 12:00:00", "2026-10-03 16:00:00",
	    "2026-10-04 15:00:00");
	CHECK_IN("Australia/Sydney", STANDARD, "0,30 1,2,3 * * *",
	    "2026-10-03 15:00:00", "2026-10-03 15:30:00",
	    "2026-10-03 16:00:00", "2026-10-03 16:30:00",
	    "2026-10-04 14:00:00");
	/* asked in the middle of it all */
	CHECK_IN("Australia/Sydney", STANDARD, "30 2 * * *",
	    "2026-10-03 15:59:59", "2026-10-03 16:00:00");
	CHECK_IN("Australia/Sydney", STANDARD, "30 2 * * *",
	    "2026-10-03 16:00:00", "2026-10-04 15:30:00");
	/* no fixed time: by the clock */
	CHECK_IN("Australia/Sydney", STANDARD, "*/30 * * * *",
	    "2026-10-03 15:00:00", "2026-10-03 15:30:00",
	    "2026-10-03 16:00:00", "2026-10-03 16:30:00");
	CHECK_IN("Australia/Sydney", STANDARD, "0 */2 * * *",
	    "2026-10-03 13:00:00", "2026-10-03 14:00:00",
	    "2026-10-03 17:00:00");
	CHECK_IN("Australia/Sydney", SKIP, "0 2 * * *", "2026-10-03 12:00:00",
	    "2026-10-04 15:00:00");
	CHECK_IN("Australia/Sydney", CLOCK, "0 2 * * *", "2026-10-03 12:00:00",
	    "2026-10-04 15:00:00");
}

/* … and the one in which 3:00 becomes 2:00. */
static void
test_cron_sydney_back(void **state)
{
	(void)state;
	CHECK_IN("Australia/Sydney", STANDARD, "0 2 * * *",
	    "2027-04-03 12:00:00", "2027-04-03 15:00:00",
	    "2027-04-04 16:00:00");
	CHECK_IN("Australia/Sydney", STANDARD, "0 3 * * *",
	    "2027-04-03 12:00:00", "2027-04-03 17:00:00",
	    "2027-04-04 17:00:00");
	CHECK_IN("Australia/Sydney", STANDARD, "59 59 2 * * *",
	    "2027-04-03 12:00:00", "2027-04-03 15:59:59",
	    "2027-04-04 16:59:59");
	CHECK_IN("Australia/Sydney", STANDARD, "0 2 * * *",
	    "2027-04-03 15:30:00", "2027-04-04 16:00:00");
	CHECK_IN("Australia/Sydney", STANDARD, "*/30 * * * *",
	    "2027-04-03 15:00:00", "2027-04-03 15:30:00",
	    "2027-04-03 16:00:00", "2027-04-03 16:30:00",
	    "2027-04-03 17:00:00");
	CHECK_IN("Australia/Sydney", STANDARD, "0 */2 * * *",
	    "2027-04-03 13:00:00", "2027-04-03 15:00:00",
	    "2027-04-03 16:00:00", "2027-04-03 18:00:00");
	CHECK_IN("Australia/Sydney", SKIP, "0 2 * * *", "2027-04-03 12:00:00",
	    "2027-04-03 15:00:00", "2027-04-04 16:00:00");
	CHECK_IN("Australia/Sydney", SKIP, "*/30 * * * *",
	    "2027-04-03 15:00:00", "2027-04-03 15:30:00",
	    "2027-04-03 17:00:00");
	CHECK_IN("Australia/Sydney", CLOCK, "0 2 * * *", "2027-04-03 12:00:00",
	    "2027-04-03 15:00:00", "2027-04-03 16:00:00",
	    "2027-04-04 16:00:00");
}

static void
test_cron_unusual_changes(void **state)
{
	(void)state;
	/* half an hour */
	CHECK_IN("Australia/Lord_Howe", STANDARD, "15 2 * * *",
	    "2026-10-03 00:00:00", "2026-10-03 15:30:00",
	    "2026-10-04 15:15:00");
	CHECK_IN("Australia/Lord_Howe", STANDARD, "45 1 * * *",
	    "2027-04-03 00:00:00", "2027-04-03 14:45:00",
	    "2027-04-04 15:15:00");
	/* a day that never was */
	CHECK_IN("Pacific/Apia", STANDARD, "0 8 * * *", "2011-12-29 20:00:00",
	    "2011-12-30 10:00:00", "2011-12-30 18:00:00");
	CHECK_IN("Pacific/Apia", STANDARD, "0 8 30 12 *", "2011-01-01 00:00:00",
	    "2011-12-30 10:00:00", "2012-12-29 18:00:00");
	CHECK_IN("Pacific/Apia", SKIP, "0 8 30 12 *", "2011-01-01 00:00:00",
	    "2012-12-29 18:00:00");
	/* at midnight, both ways */
	CHECK_IN("America/Sao_Paulo", STANDARD, "@daily", "2018-11-03 12:00:00",
	    "2018-11-04 03:00:00", "2018-11-05 02:00:00");
	CHECK_IN("America/Sao_Paulo", STANDARD, "30 23 * * *",
	    "2018-02-17 12:00:00", "2018-02-18 01:30:00",
	    "2018-02-19 02:30:00");
	/* Ramadan */
	CHECK_IN("Africa/Casablanca", STANDARD, "30 2 * * *",
	    "2026-02-14 12:00:00", "2026-02-15 01:30:00",
	    "2026-02-16 02:30:00");
	CHECK_IN("Africa/Casablanca", STANDARD, "30 2 * * *",
	    "2026-03-21 12:00:00", "2026-03-22 02:00:00",
	    "2026-03-23 01:30:00");
}

static void
test_cron_ends_of_time_in_zones(void **state)
{
	const struct zone *zone;
	struct cron c = parsed("0 2 * * *");

	(void)state;
	if (zones_find("America/New_York", &zone, NULL) != 0)
		skip();
	assert_int_equal(cron_next(&c, zone, CRON_DST_STANDARD, -1), 7 * 3600);
	assert_int_equal(cron_next(&c, zone, CRON_DST_STANDARD, INT64_MIN),
	    7 * 3600);
	assert_int_equal(cron_next(&c, zone, CRON_DST_STANDARD, INT64_MAX), -1);
	assert_int_equal(cron_next(&c, zone, CRON_DST_STANDARD,
	    INT64_C(253402300799)), -1);
	c = parsed("0 0 30 2 *");
	assert_int_equal(cron_next(&c, zone, CRON_DST_STANDARD, 0), -1);
	/* a leap day, and one that is a Sunday: dozens of changes away */
	c = parsed("0 0 29 2 ?");
	assert_int_equal(cron_next(&c, zone, CRON_DST_STANDARD,
	    at("2096-03-01 00:00:00")), at("2104-02-29 05:00:00"));
	c = parsed("0 0 29 2 */7");
	assert_int_equal(cron_next(&c, zone, CRON_DST_STANDARD,
	    at("2088-03-01 00:00:00")), at("2128-02-29 05:00:00"));
}

/* Microseconds, also where a zone's table has ended. A limit that only
 * something grossly wrong exceeds, since other things run here too. */
static void
test_cron_next_is_fast(void **state)
{
	static const char *const texts[] = { "0 2 * * *", "*/30 * * * * *",
	    "0 9 1 * *", "0 8 * * 1", "30 3 29 2 *" };
	const struct zone *zone;
	int64_t t = at("2050-01-01 00:00:00");
	struct timespec from, until;
	int64_t ns;

	(void)state;
	if (zones_find("Australia/Sydney", &zone, NULL) != 0)
		skip();
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
	for (int i = 0; i < 10000; i++) {
		struct cron c = parsed(texts[i % 5]);

		assert_true(cron_next(&c, zone, CRON_DST_STANDARD,
		    t + i * 7919) > 0);
	}
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &until);
	ns = (until.tv_sec - from.tv_sec) * INT64_C(1000000000) +
	    until.tv_nsec - from.tv_nsec;
	print_message("%lld ns to parse an expression and find its next instant\n",
	    (long long)(ns / 10000));
	assert_true(ns < INT64_C(10000) * 200000);
}

static void
test_every_next(void **state)
{
	uint64_t seed = 8;

	(void)state;
	assert_int_equal(every_next_ms(30000, 0), 30000);
	assert_int_equal(every_next_ms(30000, 29999), 30000);
	assert_int_equal(every_next_ms(30000, 30000), 60000);
	assert_int_equal(every_next_ms(30000, -1), 0);
	assert_int_equal(every_next_ms(30000, -30000), 0);
	assert_int_equal(every_next_ms(30000, -30001), -30000);
	assert_int_equal(every_next_ms(1, 5), 6);
	assert_int_equal(every_next_ms(INT64_MAX, 1), INT64_MAX);
	assert_int_equal(every_next_ms(2, INT64_MAX), -1);
	for (int i = 0; i < 100000; i++) {
		int64_t every = 1 + (int64_t)(chance(&seed) % 1000000000);
		int64_t after = (int64_t)(chance(&seed) % 8000000000000);
		int64_t next = every_next_ms(every, after);

		assert_true(next > after && next - after <= every);
		assert_true(next % every == 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cron_minutes_and_seconds),
		cmocka_unit_test(test_cron_steps_and_lists),
		cmocka_unit_test(test_cron_names),
		cmocka_unit_test(test_cron_sundays),
		cmocka_unit_test(test_cron_either_day),
		cmocka_unit_test(test_cron_last_days),
		cmocka_unit_test(test_cron_nearest_weekday),
		cmocka_unit_test(test_cron_nth_weekday),
		cmocka_unit_test(test_cron_words),
		cmocka_unit_test(test_cron_fixed),
		cmocka_unit_test(test_cron_impossible_dates),
		cmocka_unit_test(test_cron_ends_of_time),
		cmocka_unit_test(test_cron_refusals),
		cmocka_unit_test(test_cron_against_brute_force),
		cmocka_unit_test(test_cron_mutations),
		cmocka_unit_test(test_cron_sydney_forward),
		cmocka_unit_test(test_cron_sydney_back),
		cmocka_unit_test(test_cron_unusual_changes),
		cmocka_unit_test(test_cron_ends_of_time_in_zones),
		cmocka_unit_test(test_cron_next_is_fast),
		cmocka_unit_test(test_every_next),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
