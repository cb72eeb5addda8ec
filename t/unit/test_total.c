/*
 * Sums of decimal numbers.
 */
#include "unit.h"

#include "core/total.h"

static void
expect(const char *numbers, const char *want)
{
	struct total t = { .sum = 0 };
	struct buf b = { .len = 0 };
	char text[256], *at, *rest = text;

	strcpy(text, numbers);
	while ((at = strtok_r(rest, " ", &rest)) != NULL)
		total_add(&t, at, strlen(at));
	buf_str(&b, "");
	total_text(&t, &b);
	assert_string_equal(b.data, want);
	buf_clear(&b);
}

static void
test_total_sums(void **state)
{
	(void)state;
	expect("", "0");
	expect("1 2 3", "6");
	expect("0.10 0.20", "0.30");
	expect("100.10 -50.05 0.95", "51.00");
	expect("0.001 -0.01", "-0.009");
	expect("-1 0.5", "-0.5");
	expect("1 0.000000000000000001", "1.000000000000000001");
	expect("12345678901234567.89 0.11", "12345678901234568.00");
}

static void
test_total_unknown(void **state)
{
	(void)state;
	expect("1 NaN", "");
	expect("1 Infinity 2", "");
	expect("1e5", "");
	expect("1 -", "");
	expect("1.2.3", "");
	expect(".5", "");
	expect("0.0000000000000000001", "");
	expect("100000000000000000000000000000000000000000", "");
	expect("99999999999999999999999999 0.000000000000000001", "");
}

static void
test_total_chance(void **state)
{
	uint64_t chances = 5;

	(void)state;
	for (int round = 0; round < 200; round++) {
		struct total t = { .sum = 0 };
		struct buf b = { .len = 0 };
		long long cents = 0;
		char want[32];

		for (int i = 0; i < 100; i++) {
			int n = chance_below(&chances, 2000001) - 1000000;
			char text[32];

			snprintf(text, sizeof(text), "%s%d.%02d", n < 0 ? "-" : "",
			    abs(n) / 100, abs(n) % 100);
			total_add(&t, text, strlen(text));
			cents += n;
		}
		snprintf(want, sizeof(want), "%s%lld.%02lld", cents < 0 ? "-" : "",
		    llabs(cents) / 100, llabs(cents) % 100);
		total_text(&t, &b);
		assert_string_equal(b.data, want);
		buf_clear(&b);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_total_sums),
		cmocka_unit_test(test_total_unknown),
		cmocka_unit_test(test_total_chance),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
