#include "unit.h"

#include "core/units.h"

#define DAY (24LL * 3600 * 1000)

static void
test_units_duration(void **state)
{
	static const struct { const char *text; int64_t ms; } good[] = {
		{ "0", 0 }, { "0s", 0 }, { "500ms", 500 }, { "30s", 30000 },
		{ "5m", 300000 }, { "1h", 3600000 }, { "1d", DAY },
		{ "1w", 7 * DAY }, { "007s", 7000 },
		{ "36525d", UNITS_DURATION_MAX_MS },
		{ "3155760000000ms", UNITS_DURATION_MAX_MS },
	};
	static const char *const bad[] = {
		"", "5", "s", "5 m", " 5m", "5m ", "-5m", "+5m", "5M", "5min",
		"1h30m", "1.5s", "5sec", "ms", "1e3s", "0x5s", "00",
		"36526d", "3155760000001ms", "9223372036854775807s",
		"9223372036854775808ms", "99999999999999999999999w",
	};
	int64_t ms;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		ms = -7;
		assert_int_equal(units_duration_ms(good[i].text, &ms), 0);
		assert_int_equal(ms, good[i].ms);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ms = -7;
		assert_int_equal(units_duration_ms(bad[i], &ms), -1);
		assert_int_equal(ms, -7);
	}
}

static void
test_units_size(void **state)
{
	static const struct { const char *text; int64_t bytes; } good[] = {
		{ "0", 0 }, { "4096", 4096 }, { "100KiB", 102400 },
		{ "1MiB", 1 << 20 }, { "256MiB", 256 << 20 },
		{ "2GiB", 2LL << 30 }, { "1TiB", 1LL << 40 },
		{ "9223372036854775807", INT64_MAX },
		{ "8388607TiB", 8388607LL << 40 },
	};
	static const char *const bad[] = {
		"", "KiB", "1kb", "1KB", "1kib", "1 KiB", "1K", "1B", "-1",
		"1.5MiB", "9223372036854775808", "8388608TiB",
		"9223372036854775807KiB",
	};
	int64_t bytes;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		bytes = -7;
		assert_int_equal(units_size(good[i].text, &bytes), 0);
		assert_int_equal(bytes, good[i].bytes);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		bytes = -7;
		assert_int_equal(units_size(bad[i], &bytes), -1);
		assert_int_equal(bytes, -7);
	}
}

static void
test_units_rate(void **state)
{
	static const struct { const char *text; int64_t count, ms; } good[] = {
		{ "50/s", 50, 1000 }, { "10000/10m", 10000, 600000 },
		{ "1/ms", 1, 1 }, { "1/1s", 1, 1000 }, { "3/w", 3, 7 * DAY },
		{ "9223372036854775807/s", INT64_MAX, 1000 },
	};
	static const char *const bad[] = {
		"", "50", "50/", "/s", "0/s", "50/0s", "50/0", "50/10", "-1/s",
		"50 /s", "50/ s", "50/s/s", "5.5/s", "50/36526d",
		"9223372036854775808/s", "1/9223372036854775808ms",
	};
	int64_t count, ms;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		count = ms = -7;
		assert_int_equal(units_rate(good[i].text, &count, &ms), 0);
		assert_int_equal(count, good[i].count);
		assert_int_equal(ms, good[i].ms);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		count = ms = -7;
		assert_int_equal(units_rate(bad[i], &count, &ms), -1);
		assert_int_equal(count, -7);
		assert_int_equal(ms, -7);
	}
}

static void
test_units_percent(void **state)
{
	static const struct { const char *text; double fraction; } good[] = {
		{ "0", 0 }, { "0%", 0 }, { "20%", 0.2 }, { "100%", 1 },
		{ "12.5%", 0.125 }, { "0.000001%", 1e-8 }, { "100.000%", 1 },
		{ "1.05%", 0.0105 },
	};
	static const char *const bad[] = {
		"", "20", "%", "20 %", "101%", "100.1%", "-1%", "+1%", "1.%",
		".5%", "1.0000001%", "1,5%", "1e1%", "20%%", "nan%", "inf%",
		"99999999999999999999%", "1.5.5%", "0.2",
	};
	double fraction;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		fraction = -7;
		assert_int_equal(units_percent(good[i].text, &fraction), 0);
		assert_true(fraction == good[i].fraction);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		fraction = -7;
		assert_int_equal(units_percent(bad[i], &fraction), -1);
		assert_true(fraction == -7);
	}
}

static void
test_units_format(void **state)
{
	char text[UNITS_TEXT_MAX];

	(void)state;
#define SHOWN(call, expected) ((call), assert_string_equal(text, expected))
	SHOWN(units_format_duration(text, sizeof(text), 0), "0");
	SHOWN(units_format_duration(text, sizeof(text), -5), "0");
	SHOWN(units_format_duration(text, sizeof(text), 90000), "90s");
	SHOWN(units_format_duration(text, sizeof(text), 60000), "1m");
	SHOWN(units_format_duration(text, sizeof(text), 1500), "1500ms");
	SHOWN(units_format_duration(text, sizeof(text), 90 * DAY), "90d");
	SHOWN(units_format_duration(text, sizeof(text), 14 * DAY), "2w");
	SHOWN(units_format_size(text, sizeof(text), 0), "0");
	SHOWN(units_format_size(text, sizeof(text), 102400), "100KiB");
	SHOWN(units_format_size(text, sizeof(text), 1000), "1000");
	SHOWN(units_format_size(text, sizeof(text), INT64_MAX),
	    "9223372036854775807");
	SHOWN(units_format_rate(text, sizeof(text), 50, 1000), "50/s");
	SHOWN(units_format_rate(text, sizeof(text), 10000, 600000), "10000/10m");
	SHOWN(units_format_rate(text, sizeof(text), 1, 12000), "1/12s");
	SHOWN(units_format_rate(text, sizeof(text), 1, 1), "1/ms");
	SHOWN(units_format_percent(text, sizeof(text), 0), "0%");
	SHOWN(units_format_percent(text, sizeof(text), 0.2), "20%");
	SHOWN(units_format_percent(text, sizeof(text), 0.125), "12.5%");
	SHOWN(units_format_percent(text, sizeof(text), 0.0105), "1.05%");
	SHOWN(units_format_percent(text, sizeof(text), 7), "100%");
	SHOWN(units_format_percent(text, sizeof(text), -1), "0%");
	SHOWN(units_format_percent(text, sizeof(text), 0.0 / 0.0), "0%");
#undef SHOWN
}

/* What is written reads back as the same value. */
static void
test_units_round_trip(void **state)
{
	uint64_t seed = 3;

	(void)state;
	for (int i = 0; i < 50000; i++) {
		int shift = chance_below(&seed, 63);
		int64_t value = (int64_t)(chance(&seed) >> 1 >> shift);
		int64_t period = 1 + value % UNITS_DURATION_MAX_MS, a, b;
		double fraction = (double)(chance(&seed) % 100000001) / 1e8, f;
		char text[UNITS_TEXT_MAX];

		units_format_duration(text, sizeof(text), period);
		assert_int_equal(units_duration_ms(text, &a), 0);
		assert_int_equal(a, period);
		units_format_size(text, sizeof(text), value);
		assert_int_equal(units_size(text, &a), 0);
		assert_int_equal(a, value);
		units_format_rate(text, sizeof(text), period, period);
		assert_int_equal(units_rate(text, &a, &b), 0);
		assert_int_equal(a, period);
		assert_int_equal(b, period);
		units_format_percent(text, sizeof(text), fraction);
		assert_int_equal(units_percent(text, &f), 0);
		assert_true(f == fraction);
	}
}

/* Whatever is accepted is in range and survives being written and read. */
static void
test_units_mutations(void **state)
{
	static const char *const samples[] = {
		"500ms", "36525d", "100KiB", "8388607TiB", "10000/10m", "50/s",
		"12.5%", "100%", "0", "9223372036854775807",
	};
	uint64_t seed = 4;
	char text[64], back[UNITS_TEXT_MAX];

	(void)state;
	for (int i = 0; i < 200000; i++) {
		const char *sample = samples[chance_below(&seed, 10)];
		size_t len = strlen(sample);
		int64_t a, b, again;
		double f, same;
		char *typed;

		memcpy(text, sample, len);
		len = mutate(text, len, sizeof(text), "0123456789smhdwKMGTiB/%.", &seed);
		typed = exact(text, len, true);
		if (units_duration_ms(typed, &a) == 0) {
			assert_in_range(a, 0, UNITS_DURATION_MAX_MS);
			units_format_duration(back, sizeof(back), a);
			assert_int_equal(units_duration_ms(back, &again), 0);
			assert_int_equal(a, again);
		}
		if (units_size(typed, &a) == 0)
			assert_true(a >= 0);
		if (units_rate(typed, &a, &b) == 0) {
			assert_true(a >= 1);
			assert_in_range(b, 1, UNITS_DURATION_MAX_MS);
		}
		if (units_percent(typed, &f) == 0) {
			assert_true(f >= 0 && f <= 1);
			units_format_percent(back, sizeof(back), f);
			assert_int_equal(units_percent(back, &same), 0);
			assert_true(f == same);
		}
		free(typed);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_units_duration),
		cmocka_unit_test(test_units_size),
		cmocka_unit_test(test_units_rate),
		cmocka_unit_test(test_units_percent),
		cmocka_unit_test(test_units_format),
		cmocka_unit_test(test_units_round_trip),
		cmocka_unit_test(test_units_mutations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
