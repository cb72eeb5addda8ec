#include "unit.h"

#include <math.h>

#include "core/backoff.h"

static void
check_delays(const struct backoff *b, const int64_t *expected, int count)
{
	for (int n = 1; n <= count; n++)
		assert_int_equal(backoff_delay_ms(b, n, 0.5), expected[n - 1]);
}

/* S0-46: base 1000 ms, factor 2, max 60000 ms. */
static void
test_backoff_exponential_with_a_cap(void **state)
{
	const struct backoff b = {
		.shape = BACKOFF_EXPONENTIAL, .base_ms = 1000, .factor = 2,
		.max_ms = 60000,
	};
	const int64_t expected[] = {
		1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000, 60000,
	};

	(void)state;
	check_delays(&b, expected, 9);
	assert_int_equal(backoff_delay_ms(&b, 10000, 0), 60000);
}

/* S1-20: 1 s, 4 s, 9 s. */
static void
test_backoff_squares(void **state)
{
	const struct backoff b = {
		.shape = BACKOFF_POLYNOMIAL, .base_ms = 1000, .exponent = 2,
	};
	const int64_t expected[] = { 1000, 4000, 9000, 16000 };

	(void)state;
	check_delays(&b, expected, 4);
}

/* S2-17: 1, 2, 4, 8, 16 s, as a list and as a shape. */
static void
test_backoff_list(void **state)
{
	const struct backoff list = {
		.shape = BACKOFF_LIST, .ndelays = 5,
		.delays_ms = { 1000, 2000, 4000, 8000, 16000 },
	};
	const struct backoff doubling = {
		.shape = BACKOFF_EXPONENTIAL, .base_ms = 1000, .factor = 2,
	};
	const struct backoff empty = { .shape = BACKOFF_LIST };
	const int64_t expected[] = { 1000, 2000, 4000, 8000, 16000, 16000, 16000 };

	(void)state;
	check_delays(&list, expected, 7);
	check_delays(&doubling, expected, 5);
	assert_int_equal(backoff_delay_ms(&list, 10000, 0.5), 16000);
	assert_int_equal(backoff_delay_ms(&empty, 1, 0.5), 0);
}

/* S4-32: 5, 25, 125, 625 s. */
static void
test_backoff_fives(void **state)
{
	const struct backoff b = {
		.shape = BACKOFF_EXPONENTIAL, .base_ms = 5000, .factor = 5,
		.max_ms = 3600 * 1000,
	};
	const int64_t expected[] = { 5000, 25000, 125000, 625000, 3125000, 3600000 };

	(void)state;
	check_delays(&b, expected, 6);
}

static void
test_backoff_fixed_and_linear(void **state)
{
	struct backoff b = { .shape = BACKOFF_FIXED, .base_ms = 700, .factor = 9 };
	const int64_t fixed[] = { 700, 700, 700 };
	const int64_t linear[] = { 700, 1400, 2100 };

	(void)state;
	check_delays(&b, fixed, 3);
	b.shape = BACKOFF_LINEAR;
	check_delays(&b, linear, 3);
	assert_int_equal(backoff_delay_ms(&b, 0, 0.5), 700);
	assert_int_equal(backoff_delay_ms(&b, -5, 0.5), 700);
}

static void
test_backoff_jitter(void **state)
{
	struct backoff b = {
		.shape = BACKOFF_FIXED, .base_ms = 10000, .jitter = 0.2,
	};
	int64_t low = INT64_MAX, high = 0;

	(void)state;
	assert_int_equal(backoff_delay_ms(&b, 1, 0), 8000);
	assert_int_equal(backoff_delay_ms(&b, 1, 0.5), 10000);
	assert_int_equal(backoff_delay_ms(&b, 1, 0.75), 11000);
	for (int i = 0; i < 1000; i++) {
		int64_t delay = backoff_delay_ms(&b, 1, i / 1000.0);

		low = delay < low ? delay : low;
		high = delay > high ? delay : high;
	}
	assert_int_equal(low, 8000);
	assert_in_range(high, 11990, 12000);

	b.max_ms = 5000;	/* the cap comes before the jitter */
	assert_in_range(backoff_delay_ms(&b, 1, 0.999), 5900, 6000);
	b.jitter = 1;
	assert_int_equal(backoff_delay_ms(&b, 1, 0), 0);
	b.max_ms = 0;
	b.base_ms = INT64_MAX;	/* but nothing gets past the last bound */
	assert_int_equal(backoff_delay_ms(&b, 1, 0.999), BACKOFF_DELAY_MAX_MS);
}

/* For every n: in range, never shrinking as n grows, within the jitter. */
static void
check_growth(const struct backoff *b)
{
	struct backoff jittered = *b;
	int64_t last = 0;

	jittered.jitter = 0.2;
	for (int n = 1; n <= 10000; n++) {
		int64_t delay = backoff_delay_ms(b, n, 0.5);
		int64_t least = backoff_delay_ms(&jittered, n, 0);
		int64_t most = backoff_delay_ms(&jittered, n, 0.999999);

		assert_true(delay >= last && delay <= BACKOFF_DELAY_MAX_MS);
		assert_true(least >= 0 && least <= delay);
		assert_true(most >= delay && most <= BACKOFF_DELAY_MAX_MS);
		assert_true(fabs((double)least - 0.8 * (double)delay) <= 1);
		last = delay;
	}
}

static void
test_backoff_never_overflows(void **state)
{
	static const enum backoff_shape shapes[] = {
		BACKOFF_FIXED, BACKOFF_LINEAR, BACKOFF_EXPONENTIAL,
		BACKOFF_POLYNOMIAL, BACKOFF_LIST,
	};
	static const int64_t bases[] = { 0, 1, 1000, BACKOFF_DELAY_MAX_MS, INT64_MAX };
	static const double powers[] = { 1, 1.5, 2, 10, 1e6, 1e300, INFINITY };
	struct backoff b = { .ndelays = 3, .delays_ms = { 1, 1000, INT64_MAX } };

	(void)state;
	for (size_t s = 0; s < 5; s++)
		for (size_t i = 0; i < 5; i++)
			for (size_t p = 0; p < 7; p++) {
				b.shape = shapes[s];
				b.base_ms = bases[i];
				b.factor = b.exponent = powers[p];
				check_growth(&b);
			}
}

/* Nonsense in, something in range out. */
static void
test_backoff_survives_nonsense(void **state)
{
	static const double numbers[] = { -1, 0, 0.5, NAN, -INFINITY, INFINITY };
	struct backoff b = { .base_ms = 1000 };

	(void)state;
	for (int shape = 0; shape < 7; shape++)
		for (size_t i = 0; i < 6; i++)
			for (size_t j = 0; j < 6; j++) {
				int64_t delay;

				b.shape = (enum backoff_shape)shape;
				b.factor = b.exponent = numbers[i];
				b.jitter = numbers[j];
				b.max_ms = (int64_t)j - 3;
				delay = backoff_delay_ms(&b, 77, numbers[j]);
				assert_in_range(delay, 0, BACKOFF_DELAY_MAX_MS);
			}
	b.shape = BACKOFF_LINEAR;
	b.base_ms = INT64_MIN;
	assert_int_equal(backoff_delay_ms(&b, INT32_MAX, 0.5), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_backoff_exponential_with_a_cap),
		cmocka_unit_test(test_backoff_squares),
		cmocka_unit_test(test_backoff_list),
		cmocka_unit_test(test_backoff_fives),
		cmocka_unit_test(test_backoff_fixed_and_linear),
		cmocka_unit_test(test_backoff_jitter),
		cmocka_unit_test(test_backoff_never_overflows),
		cmocka_unit_test(test_backoff_survives_nonsense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
