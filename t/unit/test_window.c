/*
 * Read-ahead: only behind short runs, never for long.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "pool/window.h"

static void
note(struct window *w, int times, int64_t run_us)
{
	for (int i = 0; i < times; i++)
		window_note(w, run_us);
}

static void
test_window_believes_nothing_at_first(void **state)
{
	struct window w = { .seen = 0 };

	(void)state;
	assert_int_equal(window_ahead(&w, 1), 0);
	note(&w, 3, 10);
	assert_int_equal(window_ahead(&w, 1), 0);
	note(&w, 1, 10);
	assert_int_equal(window_ahead(&w, 1), WINDOW_AHEAD_MAX);
}

static void
test_window_holds_fifty_milliseconds_of_work(void **state)
{
	struct window w = { .seen = 0 };

	(void)state;
	note(&w, 10, 5000);
	assert_int_equal(window_ahead(&w, 1), 10);
	assert_int_equal(window_ahead(&w, 4), 40);
	assert_int_equal(window_ahead(&w, 100), WINDOW_AHEAD_MAX);
}

static void
test_window_holds_eight_megabytes_of_data(void **state)
{
	struct window w = { .bytes = 100 << 10 };

	(void)state;
	note(&w, 10, 10);
	assert_int_equal(window_fit(&w, 1000), 81);
	assert_int_equal(window_fit(&w, 50), 50);
	assert_int_equal(window_ahead(&w, 1), 81);
	for (int i = 0; i < 100; i++)
		window_note_bytes(&w, 200);
	assert_int_equal(window_fit(&w, 1000), 1000);
	window_note_bytes(&w, 1 << 20);
	assert_int_equal(window_fit(&w, 1000), 8);
	assert_int_equal(window_ahead(&w, 50), 8);
	window_note_bytes(&w, INT64_C(1) << 30);
	assert_int_equal(window_fit(&w, 1000), 1);
	assert_int_equal(window_fit(&w, 0), 0);
}

static void
test_window_is_closed_for_long_runs(void **state)
{
	struct window w = { .seen = 0 };

	(void)state;
	note(&w, 10, WINDOW_SHORT_US);
	assert_int_equal(window_ahead(&w, 1), 0);
	assert_int_equal(window_ahead(&w, 100), 0);
}

static void
test_window_closes_at_the_first_long_run(void **state)
{
	struct window w = { .seen = 0 };

	(void)state;
	note(&w, 1000, 10);
	note(&w, 1, 3600 * INT64_C(1000000));
	assert_int_equal(window_ahead(&w, 1), 0);
	note(&w, 20, 10);
	assert_int_equal(window_ahead(&w, 1), 0);
}

static void
test_window_opens_again(void **state)
{
	struct window w = { .seen = 0 };

	(void)state;
	note(&w, 1, 60 * INT64_C(1000000));
	note(&w, 300, 0);
	assert_int_equal(w.estimate_us, 0);
	assert_int_equal(window_ahead(&w, 1), WINDOW_AHEAD_MAX);
}

static void
test_window_takes_any_number(void **state)
{
	struct window w = { .seen = 0 };

	(void)state;
	note(&w, 4, -5);
	assert_int_equal(w.estimate_us, 0);
	note(&w, 1, INT64_MAX / 2);
	note(&w, 1, 0);
	assert_true(w.estimate_us > 0);
	assert_int_equal(window_ahead(&w, 10000), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_window_believes_nothing_at_first),
		cmocka_unit_test(test_window_holds_fifty_milliseconds_of_work),
		cmocka_unit_test(test_window_holds_eight_megabytes_of_data),
		cmocka_unit_test(test_window_is_closed_for_long_runs),
		cmocka_unit_test(test_window_closes_at_the_first_long_run),
		cmocka_unit_test(test_window_opens_again),
		cmocka_unit_test(test_window_takes_any_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
