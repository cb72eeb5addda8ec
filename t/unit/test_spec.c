#include "unit.h"

#include "core/spec.h"

static void
test_spec_duration(void **state)
{
	struct spec spec = { 0 };
	struct err e;

	(void)state;
	assert_int_equal(spec_parse(&spec, "90s", &e), 0);
	assert_int_equal(spec_next_ms(&spec, 0), 90000);
	assert_int_equal(spec_next_ms(&spec, 90000), 180000);
	assert_int_equal(spec_parse(&spec, "every   1h", &e), 0);
	assert_int_equal(spec_next_ms(&spec, 3599999), 3600000);
	assert_int_equal(spec_parse(&spec, "999ms", &e), -1);
	assert_non_null(strstr(e.msg, "duration of 1s or more"));
	assert_int_equal(spec_parse(&spec, "soon", &e), -1);
}

static void
test_spec_cron(void **state)
{
	struct spec spec = { .every_ms = 5 };	/* of a use before */
	struct err e;

	(void)state;
	assert_int_equal(spec_parse(&spec, "0 0 1 1 *", &e), 0);
	assert_int_equal(spec.every_ms, 0);
	assert_int_equal(spec_next_ms(&spec, 1), 31536000000);
	/* After whole seconds: the instant itself is not after itself. */
	assert_int_equal(spec_next_ms(&spec, 31536000000), 63072000000);
	assert_int_equal(spec_next_ms(&spec, -5), 0);
	assert_int_equal(spec_parse(&spec, "0 0 30 2 *", &e), 0);
	assert_int_equal(spec_next_ms(&spec, 0), -1);
	assert_int_equal(spec_parse(&spec, "5", &e), -1);
	assert_non_null(strstr(e.msg, "cron"));
}

static void
test_spec_time(void **state)
{
	char text[SPEC_TIME_MAX];

	(void)state;
	assert_string_equal(spec_time(text, NULL, 0), "1970-01-01T00:00:00+00:00");
	assert_string_equal(spec_time(text, NULL, 1767225600123),
	    "2026-01-01T00:00:00.123+00:00");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_spec_duration),
		cmocka_unit_test(test_spec_cron),
		cmocka_unit_test(test_spec_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
