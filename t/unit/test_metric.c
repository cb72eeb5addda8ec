/*
 * The metrics of alerts, and their amounts.
 */
#include "unit.h"

#include <math.h>

#include "core/metric.h"

static void
test_metric_names(void **state)
{
	int n = 0;

	(void)state;
	for (; metric_names[n] != NULL; n++) {
		const struct metric *m = metric_at(n);
		bool of_queue = strstr(m->bad, "%q") != NULL;

		assert_string_equal(metric_names[n], m->name);
		assert_ptr_equal(metric_find(m->name), m);
		assert_int_equal(of_queue, m->per_queue);
		/* what has no value to show says itself when it is over */
		assert_true(strstr(m->bad, "%v") != NULL || m->ended != NULL);
		assert_null(strchr(m->advice, '\n'));
	}
	assert_int_equal(n, 17);
	assert_null(metric_find("load"));
}

static void
test_metric_parse(void **state)
{
	static const struct {
		enum metric_kind kind;
		const char *text;
		double value;		/* NAN: refused */
	} cases[] = {
		{ METRIC_COUNT, "0", 0 }, { METRIC_COUNT, "1000", 1000 },
		{ METRIC_COUNT, "999999999999999", 999999999999999 },
		{ METRIC_COUNT, "1000000000000000", NAN },
		{ METRIC_COUNT, "", NAN }, { METRIC_COUNT, "-1", NAN },
		{ METRIC_COUNT, "1.5", NAN }, { METRIC_COUNT, "1e3", NAN },
		{ METRIC_COUNT, "10%", NAN }, { METRIC_COUNT, "10s", NAN },
		{ METRIC_COUNT, " 1", NAN }, { METRIC_COUNT, "0x10", NAN },
		{ METRIC_SHARE, "15%", 0.15 }, { METRIC_SHARE, "12.5%", 0.125 },
		{ METRIC_SHARE, "0", 0 }, { METRIC_SHARE, "100%", 1 },
		{ METRIC_SHARE, "101%", NAN }, { METRIC_SHARE, "0.1", NAN },
		{ METRIC_TIME, "90s", 90 }, { METRIC_TIME, "500ms", 0.5 },
		{ METRIC_TIME, "1w", 604800 }, { METRIC_TIME, "60000", NAN },
		{ METRIC_SIZE, "10GiB", 10737418240 }, { METRIC_SIZE, "7", 7 },
		{ METRIC_SIZE, "10GB", NAN },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		double value = -7;

		if (isnan(cases[i].value)) {
			assert_int_equal(metric_parse(cases[i].kind,
			    cases[i].text, &value), -1);
			assert_true(fabs(value + 7) < 1e-9);
			continue;
		}
		assert_int_equal(metric_parse(cases[i].kind, cases[i].text,
		    &value), 0);
		assert_true(fabs(value - cases[i].value) < 1e-9);
	}
}

static void
test_metric_format(void **state)
{
	static const struct {
		enum metric_kind kind;
		double value;
		const char *text;
	} cases[] = {
		{ METRIC_COUNT, 0, "0" }, { METRIC_COUNT, 999, "999" },
		{ METRIC_COUNT, 1240, "1,240" },
		{ METRIC_COUNT, 1234567, "1,234,567" },
		{ METRIC_COUNT, -3, "0" }, { METRIC_COUNT, NAN, "0" },
		{ METRIC_COUNT, 1e300, "1,000,000,000,000,000" },
		{ METRIC_SHARE, 0.152, "15.2 %" }, { METRIC_SHARE, 0.1, "10 %" },
		{ METRIC_TIME, 0.25, "250 ms" }, { METRIC_TIME, 75, "75 s" },
		{ METRIC_TIME, 720, "12 min" }, { METRIC_TIME, 36000, "10 h" },
		{ METRIC_TIME, 864000, "10 days" },
		{ METRIC_SIZE, 1536.0 * 1048576, "1.5 GiB" },
		{ METRIC_SIZE, 12, "12 bytes" },
	};
	char buf[METRIC_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		assert_string_equal(metric_format(buf, cases[i].kind,
		    cases[i].value), cases[i].text);
}

static void
test_metric_phrase(void **state)
{
	struct buf b = { 0 };

	(void)state;
	metric_phrase(&b, "%q has %v of %q, 100%%", "a", "7");
	assert_string_equal(b.data, "a has 7 of a, 100%%");
	buf_clear(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_metric_names),
		cmocka_unit_test(test_metric_parse),
		cmocka_unit_test(test_metric_format),
		cmocka_unit_test(test_metric_phrase),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
