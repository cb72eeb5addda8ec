/*
 * The parameters of the statements that end attempts.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "db/batch.h"

static struct ending
plain(int64_t job)
{
	return (struct ending){
		.job = job, .attempt = 1, .outcome = OUTCOME_COMPLETED,
		.delay_ms = -1, .run_us = 12, .ago_us = 3, .worker = 0,
		.exit_status = -1, .cpu_ms = -1, .max_rss_kb = -1,
	};
}

static void
test_batch_plain(void **state)
{
	struct ending e = plain(1);

	(void)state;
	assert_true(ending_is_plain(&e));
	e.result = "{}";
	assert_true(ending_is_plain(&e));
	e.exit_status = 0;
	assert_false(ending_is_plain(&e));
	e = plain(1);
	e.outcome = OUTCOME_FAILED;
	assert_false(ending_is_plain(&e));
	e = plain(1);
	e.cpu_ms = 0;
	assert_false(ending_is_plain(&e));
	e = plain(1);
	e.worker = -1;
	assert_false(ending_is_plain(&e));
}

static void
test_batch_finish_ok(void **state)
{
	struct batch b = { .count = 0 };
	const char *params[BATCH_PARAMS];
	struct ending e = plain(7);

	(void)state;
	batch_add(&b, &e);
	e = plain(8);
	e.attempt = 2;
	e.worker = 4;
	batch_add(&b, &e);
	assert_int_equal(batch_finish_ok(&b, 99, params), 8);
	assert_string_equal(params[0], "99");
	assert_string_equal(params[1], "{7,8}");
	assert_string_equal(params[2], "{1,2}");
	assert_null(params[3]);
	assert_string_equal(params[4], "{12,12}");
	assert_string_equal(params[5], "{3,3}");
	assert_string_equal(params[6], "{0,4}");
	assert_string_equal(params[7], "f");

	batch_reset(&b);
	e = plain(9);
	e.has_unique = true;
	e.result = "{\"a\":\"b\"}";
	batch_add(&b, &e);
	e = plain(10);
	batch_add(&b, &e);
	batch_finish_ok(&b, 99, params);
	assert_string_equal(params[7], "t");
	assert_string_equal(params[3], "{\"{\\\"a\\\":\\\"b\\\"}\",NULL}");
	batch_clear(&b);
}

static void
test_batch_finish(void **state)
{
	struct batch b = { .count = 0 };
	const char *params[BATCH_PARAMS];
	struct ending e = plain(7);

	(void)state;
	batch_add(&b, &e);
	e = (struct ending){
		.job = 8, .attempt = 3, .outcome = OUTCOME_LOST,
		.class = CLASS_LOST, .error = "gone", .delay_ms = 0,
		.run_us = 5, .ago_us = 6, .worker = -1, .exit_status = 2,
		.signal = 9, .cpu_ms = 10, .max_rss_kb = 11, .alone = true,
	};
	batch_add(&b, &e);
	assert_int_equal(batch_finish(&b, 1, params), BATCH_PARAMS);
	assert_string_equal(params[1], "{7,8}");
	assert_string_equal(params[2], "{1,3}");
	assert_string_equal(params[3], "{1,5}");
	assert_string_equal(params[4], "{0,9}");
	assert_string_equal(params[5], "{NULL,\"gone\"}");
	assert_string_equal(params[6], "{NULL,NULL}");
	assert_string_equal(params[7], "{NULL,0}");
	assert_string_equal(params[8], "{12,5}");
	assert_string_equal(params[9], "{3,6}");
	assert_string_equal(params[10], "{0,NULL}");
	assert_string_equal(params[11], "{NULL,2}");
	assert_string_equal(params[12], "{NULL,9}");
	assert_string_equal(params[13], "{NULL,10}");
	assert_string_equal(params[14], "{NULL,11}");
	assert_string_equal(params[15], "{f,t}");
	batch_clear(&b);
}

static void
test_batch_release(void **state)
{
	struct batch b = { .count = 0 };
	const char *params[BATCH_PARAMS];

	(void)state;
	batch_add_lease(&b, 5, 1);
	batch_add_lease(&b, 6, 2);
	assert_int_equal(b.count, 2);
	assert_int_equal(batch_release(&b, 3, params), 3);
	assert_string_equal(params[0], "3");
	assert_string_equal(params[1], "{5,6}");
	assert_string_equal(params[2], "{1,2}");
	batch_clear(&b);
}

static void
test_batch_defer(void **state)
{
	struct batch b = { .count = 0 };
	const char *params[BATCH_PARAMS];

	(void)state;
	batch_add_deferred(&b, 5, 1, "http://a:80");
	batch_add_deferred(&b, 6, 2, "http://\"b");
	assert_int_equal(b.count, 2);
	assert_int_equal(batch_defer(&b, 3, params), 4);
	assert_string_equal(params[0], "3");
	assert_string_equal(params[1], "{5,6}");
	assert_string_equal(params[2], "{1,2}");
	assert_string_equal(params[3], "{\"http://a:80\",\"http://\\\"b\"}");
	batch_clear(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_batch_plain),
		cmocka_unit_test(test_batch_finish_ok),
		cmocka_unit_test(test_batch_finish),
		cmocka_unit_test(test_batch_release),
		cmocka_unit_test(test_batch_defer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
