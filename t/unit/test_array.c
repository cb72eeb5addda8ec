/*
 * Array literals: what PostgreSQL must read back unchanged.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "db/array.h"

static void
test_array_empty(void **state)
{
	struct array a = { .count = 0 };

	(void)state;
	assert_string_equal(array_close(&a), "{}");
	array_clear(&a);
}

static void
test_array_integers(void **state)
{
	struct array a = { .count = 0 };

	(void)state;
	array_int(&a, 0);
	array_int(&a, -1);
	array_int(&a, INT64_MAX);
	array_int(&a, INT64_MIN);
	array_null(&a);
	assert_string_equal(array_close(&a), "{0,-1,9223372036854775807,"
	    "-9223372036854775808,NULL}");
	array_clear(&a);
}

static void
test_array_booleans(void **state)
{
	struct array a = { .count = 0 };

	(void)state;
	array_bool(&a, true);
	array_bool(&a, false);
	assert_string_equal(array_close(&a), "{t,f}");
	array_clear(&a);
}

static void
test_array_text_is_quoted(void **state)
{
	struct array a = { .count = 0 };

	(void)state;
	array_text(&a, "");
	array_text(&a, NULL);
	array_text(&a, "NULL");
	array_text(&a, "a,b {c} 'd'");
	array_text(&a, "say \"hi\"\\");
	array_text(&a, "\"");
	array_text(&a, "two\nlines\tgrün");
	assert_string_equal(array_close(&a), "{\"\",NULL,\"NULL\","
	    "\"a,b {c} 'd'\",\"say \\\"hi\\\"\\\\\",\"\\\"\","
	    "\"two\nlines\tgrün\"}");
	array_clear(&a);
}

static void
test_array_reset_starts_again(void **state)
{
	struct array a = { .count = 0 };

	(void)state;
	array_int(&a, 1);
	array_close(&a);
	array_reset(&a);
	assert_int_equal(a.count, 0);
	array_int(&a, 2);
	array_int(&a, 3);
	assert_string_equal(array_close(&a), "{2,3}");
	array_clear(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_array_empty),
		cmocka_unit_test(test_array_integers),
		cmocka_unit_test(test_array_booleans),
		cmocka_unit_test(test_array_text_is_quoted),
		cmocka_unit_test(test_array_reset_starts_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
