#include "unit.h"

#include <time.h>

#include "core/cron.h"
#include "core/zone.h"

/*
 * Files, written here.
 */

#define FILE_MAX 4096

struct file {
	unsigned char bytes[FILE_MAX];
	size_t len;
};

static void
put(struct file *f, const void *bytes, size_t len)
{
	assert_true(f->len + len <= FILE_MAX);
	memcpy(f->bytes + f->len, bytes, len);
	f->len += len;
}

static void
put_number(struct file *f, int64_t n, int size)
{
	for (int shift = 8 * (size - 1); shift >= 0; shift -= 8)
		put(f, &(unsigned char){ (unsigned char)((uint64_t)n >> shift) }, 1);
}

struct moment {
	int64_t at;
	int type;
};

static void
put_block(struct file *f, char version, int size, const struct moment *moments,
    const int32_t *offsets)
{
	int times = 0, types = 0;

	while (moments != NULL && moments[times].type >= 0)
		times++;
	while (offsets[types] != INT32_MAX)
		types++;
	put(f, "TZif", 4);
	put(f, &version, 1);
	put(f, (char[15]){ 0 }, 15);
	for (int i = 0; i < 3; i++)
		put_number(f, 0, 4);
	put_number(f, times, 4);
	put_number(f, types, 4);
	put_number(f, 4, 4);
	for (int i = 0; i < times; i++)
		put_number(f, moments[i].at, size);
	for (int i = 0; i < times; i++)
		put_number(f, moments[i].type, 1);
	for (int i = 0; i < types; i++) {
		put_number(f, offsets[i], 4);
		put_number(f, i % 2, 1);
		put_number(f, 0, 1);
	}
	put(f, "LMT", 4);
}

/* moments up to a type of -1, offsets up to INT32_MAX; rule NULL: version 1. */
static struct file
file(char version, const struct moment *moments, const int32_t *offsets,
    const char *rule)
{
	struct file f = { .len = 0 };

	if (rule == NULL) {
		put_block(&f, version, 4, moments, offsets);
		return f;
	}
	put_block(&f, version, 4, NULL, (const int32_t[]){ 0, INT32_MAX });
	put_block(&f, version, 8, moments, offsets);
	put(&f, "\n", 1);
	put(&f, rule, strlen(rule));
	put(&f, "\n", 1);
	return f;
}

static struct zone *
opened(const struct file *f)
{
	struct err e = { 0 };
	struct zone *z = zone_new(f->bytes, f->len, &e);

	if (z == NULL)
		fail_msg("%s", e.msg);
	return z;
}

/* A zone that is only a rule. */
static struct zone *
ruled(const char *rule)
{
	struct file f = file('3', NULL, (const int32_t[]){ 0, INT32_MAX }, rule);

	return opened(&f);
}

static int64_t
at(const char *text)
{
	struct tm tm = { 0 };

	assert_non_null(strptime(text, "%Y-%m-%d %H:%M:%S", &tm));
	return timegm(&tm);
}

/* The span around an instant. */
static void
check_span(const struct zone *z, const char *t, const char *from,
    const char *until, int32_t offset, int32_t before)
{
	struct zone_span s = zone_span(z, at(t));

	assert_int_equal(s.from, from == NULL ? INT64_MIN : at(from));
	assert_int_equal(s.until, until == NULL ? INT64_MAX : at(until));
	assert_int_equal(s.offset, offset);
	assert_int_equal(s.before, before);
}

static const char sydney[] = "AEST-10AEDT,M10.1.0,M4.1.0/3";

/*
 * Tests
 */

static void
test_zone_none_is_utc(void **state)
{
	(void)state;
	check_span(NULL, "2026-01-01 00:00:00", NULL, NULL, 0, 0);
	assert_int_equal(zone_to_local(NULL, 5), 5);
	assert_int_equal(zone_to_utc(NULL, 5), 5);
}

static void
test_zone_table(void **state)
{
	static const struct moment moments[] = {
		{ 1000, 1 }, { 2000, 0 }, { 3000, 1 }, { 0, -1 } };
	static const int32_t offsets[] = { 3600, 7200, INT32_MAX };
	static const char versions[] = { 0, '2', '3', '4', '5' };

	(void)state;
	for (size_t i = 0; i < sizeof(versions); i++) {
		struct file f = file(versions[i], moments, offsets,
		    i == 0 ? NULL : "");
		struct zone *z = opened(&f);
		struct zone_span s = zone_span(z, 999);

		assert_int_equal(s.from, INT64_MIN);
		assert_int_equal(s.until, 1000);
		assert_int_equal(s.offset, 3600);
		s = zone_span(z, 1000);
		assert_int_equal(s.from, 1000);
		assert_int_equal(s.until, 2000);
		assert_int_equal(s.offset, 7200);
		assert_int_equal(s.before, 3600);
		s = zone_span(z, INT64_MAX);
		assert_int_equal(s.from, 3000);
		assert_int_equal(s.until, INT64_MAX);
		assert_int_equal(s.offset, 7200);
		zone_free(z);
	}
}

static void
test_zone_rule_of_weekdays(void **state)
{
	struct zone *z = ruled(sydney);

	(void)state;
	check_span(z, "2026-10-03 15:59:59", "2026-04-04 16:00:00",
	    "2026-10-03 16:00:00", 36000, 39600);
	check_span(z, "2026-10-03 16:00:00", "2026-10-03 16:00:00",
	    "2027-04-03 16:00:00", 39600, 36000);
	check_span(z, "2026-01-01 00:00:00", "2025-10-04 16:00:00",
	    "2026-04-04 16:00:00", 39600, 36000);
	check_span(z, "9999-07-01 00:00:00", "9999-04-03 16:00:00",
	    "9999-10-02 16:00:00", 36000, 39600);
	zone_free(z);
}

static void
test_zone_rules_by_day(void **state)
{
	struct zone *z = ruled("AAA0BBB,J60/0,J300/0");

	(void)state;
	check_span(z, "2024-06-01 00:00:00", "2024-03-01 00:00:00",
	    "2024-10-26 23:00:00", 3600, 0);
	check_span(z, "2026-06-01 00:00:00", "2026-03-01 00:00:00",
	    "2026-10-26 23:00:00", 3600, 0);
	zone_free(z);
	z = ruled("AAA0BBB,59/0,299/0");
	check_span(z, "2024-06-01 00:00:00", "2024-02-29 00:00:00",
	    "2024-10-25 23:00:00", 3600, 0);
	check_span(z, "2026-06-01 00:00:00", "2026-03-01 00:00:00",
	    "2026-10-26 23:00:00", 3600, 0);
	zone_free(z);
}

/* What only later versions have: times of more than a day and before midnight. */
static void
test_zone_rules_off_their_days(void **state)
{
	struct zone *z = ruled("<-02>2<-01>,M3.5.0/-1,M10.5.0/0");

	(void)state;
	/* Greenland: 23:00 on the Saturday before the last Sunday */
	check_span(z, "2026-06-01 00:00:00", "2026-03-29 01:00:00",
	    "2026-10-25 01:00:00", -3600, -7200);
	zone_free(z);
	z = ruled("IST-2IDT,M3.4.4/26,M10.5.0");
	check_span(z, "2026-06-01 00:00:00", "2026-03-27 00:00:00",
	    "2026-10-24 23:00:00", 10800, 7200);
	zone_free(z);
}

static void
test_zone_rule_of_half_an_hour(void **state)
{
	struct zone *z = ruled("<+1030>-10:30<+11>-11,M10.1.0,M4.1.0");

	(void)state;
	check_span(z, "2026-10-03 15:30:00", "2026-10-03 15:30:00",
	    "2027-04-03 15:00:00", 39600, 37800);
	zone_free(z);
}

/* Daylight saving from the first to the last second of each year. */
static void
test_zone_rule_of_all_year(void **state)
{
	struct zone *z = ruled("EST5EDT,0/0,J365/25");
	int64_t t = at("2026-06-01 00:00:00");

	(void)state;
	for (int i = 0; i < 10; i++) {
		struct zone_span s = zone_span(z, t);

		assert_int_equal(s.offset, -4 * 3600);
		t = s.until;
	}
	assert_true(t > at("2030-01-01 00:00:00"));
	zone_free(z);
}

static void
test_zone_rule_without_changes(void **state)
{
	struct zone *z = ruled("<+0545>-5:45");

	(void)state;
	assert_int_equal(zone_to_local(z, 0), 20700);
	assert_int_equal(zone_span(z, 0).until, INT64_MAX);
	zone_free(z);
}

/* The rule takes over at the table's last change. */
static void
test_zone_table_and_rule(void **state)
{
	const struct moment moments[] = {
		{ at("2020-07-01 00:00:00"), 1 }, { 0, -1 } };
	struct file f = file('2', moments,
	    (const int32_t[]){ 28800, 36000, INT32_MAX }, sydney);
	struct zone *z = opened(&f);

	(void)state;
	check_span(z, "2019-01-01 00:00:00", NULL, "2020-07-01 00:00:00", 28800,
	    28800);
	check_span(z, "2020-08-01 00:00:00", "2020-07-01 00:00:00",
	    "2020-10-03 16:00:00", 36000, 28800);
	check_span(z, "2020-11-01 00:00:00", "2020-10-03 16:00:00",
	    "2021-04-03 16:00:00", 39600, 36000);
	zone_free(z);
}

static void
test_zone_local_times(void **state)
{
	struct zone *z = ruled(sydney);

	(void)state;
	assert_int_equal(zone_to_local(z, at("2026-11-26 00:00:00")),
	    at("2026-11-26 11:00:00"));
	assert_int_equal(zone_to_utc(z, at("2026-11-26 11:00:00")),
	    at("2026-11-26 00:00:00"));
	/* skipped: the end of the gap */
	assert_int_equal(zone_to_utc(z, at("2026-10-04 01:59:59")),
	    at("2026-10-03 15:59:59"));
	assert_int_equal(zone_to_utc(z, at("2026-10-04 02:30:00")),
	    at("2026-10-03 16:00:00"));
	assert_int_equal(zone_to_utc(z, at("2026-10-04 03:00:00")),
	    at("2026-10-03 16:00:00"));
	/* twice: the first time */
	assert_int_equal(zone_to_utc(z, at("2027-04-04 02:30:00")),
	    at("2027-04-03 15:30:00"));
	assert_int_equal(zone_to_utc(z, at("2027-04-04 03:00:00")),
	    at("2027-04-03 17:00:00"));
	zone_free(z);
}

static void
refuse(const struct file *f, size_t len, const char *why)
{
	struct err e = { 0 };
	char *copy = exact(f->bytes, len, false);

	assert_null(zone_new(copy, len, &e));
	if (strstr(e.msg, why) == NULL)
		fail_msg("%s, not: %s", e.msg, why);
	free(copy);
}

static void
test_zone_refusals(void **state)
{
	static const char *const rules[] = {
		"AAA", "AA1", "<AAA1", "AAA25", "AAA1BBB", "AAA1BBB,1",
		"AAA1BBB,M0.1.0,M4.1.0", "AAA1BBB,M13.1.0,M4.1.0",
		"AAA1BBB,M3.6.0,M4.1.0", "AAA1BBB,M3.0.0,M4.1.0",
		"AAA1BBB,M3.1.7,M4.1.0", "AAA1BBB,J0,M4.1.0",
		"AAA1BBB,J366,M4.1.0", "AAA1BBB,366,M4.1.0",
		"AAA1BBB,M3.1.0/168,M4.1.0", "AAA1BBB,M3.1.0/1:60,M4.1.0",
		"AAA1BBB,M3.1.0,M4.1.0 ", "AAA1BBB,M3.1.0,M4.1.0,1", "1", " AAA1",
	};
	static const struct moment moments[] = {
		{ 1000, 1 }, { 2000, 0 }, { 0, -1 } };
	static const int32_t offsets[] = { 3600, 7200, INT32_MAX };
	const struct file good = file('2', moments, offsets, "AAA-1");
	const size_t second = 44 + 6 + 4;	/* where its second header is */
	struct file f = good;
	char *huge;
	struct err e;

	(void)state;
	zone_free(opened(&good));
	for (size_t len = 0; len < good.len; len++)
		refuse(&good, len, "not a usable time zone file");
	refuse(&good, 43, "begin");
	refuse(&good, good.len - 1, "rule at its end is missing");
	for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++) {
		f = file('2', moments, offsets, rules[i]);
		refuse(&f, f.len, "rule at its end cannot be read");
	}
	f = good;
	f.bytes[second + 31] = 1;		/* leap seconds */
	put(&f, "            ", 12);
	refuse(&f, f.len, "leap seconds");
	f = good;
	f.bytes[second + 39] = 0;		/* no types */
	refuse(&f, f.len, "counts");
	f = good;
	f.bytes[second + 35] = 200;		/* more changes than bytes */
	refuse(&f, f.len, "too early");
	memset(f.bytes + second + 20, 0xff, 24);
	refuse(&f, f.len, "too early");
	f = good;
	f.bytes[second + 44 + 16] = 2;		/* a type that is not there */
	refuse(&f, f.len, "type that is not there");
	f = good;
	f.bytes[second + 44 + 16 + 2] = 1;	/* an offset of 194 days */
	refuse(&f, f.len, "offset of more than a day");
	f = file('2', (const struct moment[]){ { 5, 0 }, { 5, 1 }, { 0, -1 } },
	    offsets, "");
	refuse(&f, f.len, "not in order");
	huge = calloc(1, ZONE_FILE_MAX + 1);
	assert_non_null(huge);
	memcpy(huge, good.bytes, good.len);
	assert_null(zone_new(huge, ZONE_FILE_MAX + 1, &e));
	assert_non_null(strstr(e.msg, "too large"));
	free(huge);
}

/* Whatever is accepted has spans that follow each other, and times come back. */
static void
check_sense(const struct zone *z, uint64_t *seed)
{
	struct cron c;
	int64_t t, local;

	assert_int_equal(cron_parse(&c, "30 2 * * *", NULL), 0);
	for (int i = 0; i < 8; i++) {
		struct zone_span s, next;

		t = (int64_t)(chance(seed) % 253402300800) - 30000000000;
		if (i == 0)
			t = (int64_t)chance(seed);
		s = zone_span(z, t);
		assert_true(s.from <= t && t < s.until);
		assert_in_range(s.offset + 90000, 1, 90000 + 93599);
		if (s.until < INT64_MAX) {
			next = zone_span(z, s.until);
			assert_int_equal(next.from, s.until);
			assert_true(next.until > s.until);
		}
		if (i == 0)
			continue;
		local = zone_to_local(z, t);
		assert_true(zone_to_utc(z, local) <= t);
		for (int rule = 0; rule < 3; rule++)
			assert_true(cron_next(&c, z, (enum cron_dst)rule, t) > t);
	}
}

static void
test_zone_mutations(void **state)
{
	static const char *const rules[] = { "AEST-10AEDT,M10.1.0,M4.1.0/3",
	    "<-02>2<-01>,M3.5.0/-1,M10.5.0/0", "EST5EDT,0/0,J365/25", "UTC0", "",
	    NULL };
	struct moment moments[40] = { 0 };
	uint64_t seed = 11;
	int accepted = 0;

	(void)state;
	for (int i = 0; i < 30000; i++) {
		const char *rule = rules[chance_below(&seed, 6)];
		int64_t t = (int64_t)(chance(&seed) % 2000000000);
		int count = chance_below(&seed, 39);
		struct zone *z;
		struct file f;
		struct err e = { 0 };
		char *copy;

		for (int n = 0; n < count; n++) {
			moments[n] = (struct moment){ t, chance_below(&seed, 3) };
			t += 1 + (int64_t)(chance(&seed) % 20000000);
		}
		moments[count].type = -1;
		f = file('2', moments, (const int32_t[]){ 3600, 7200, -34200,
		    INT32_MAX }, rule);
		f.len = mutate((char *)f.bytes, f.len, FILE_MAX,
		    "\x01\x02\x7f\x80\xff,M.-/:<>\n019AJ", &seed);
		copy = exact(f.bytes, f.len, false);
		z = zone_new(copy, f.len, &e);
		free(copy);
		if (z == NULL) {
			assert_string_not_equal(e.msg, "");
			continue;
		}
		accepted++;
		check_sense(z, &seed);
		zone_free(z);
	}
	assert_in_range(accepted, 1000, 29000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_zone_none_is_utc),
		cmocka_unit_test(test_zone_table),
		cmocka_unit_test(test_zone_rule_of_weekdays),
		cmocka_unit_test(test_zone_rules_by_day),
		cmocka_unit_test(test_zone_rules_off_their_days),
		cmocka_unit_test(test_zone_rule_of_half_an_hour),
		cmocka_unit_test(test_zone_rule_of_all_year),
		cmocka_unit_test(test_zone_rule_without_changes),
		cmocka_unit_test(test_zone_table_and_rule),
		cmocka_unit_test(test_zone_local_times),
		cmocka_unit_test(test_zone_refusals),
		cmocka_unit_test(test_zone_mutations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
