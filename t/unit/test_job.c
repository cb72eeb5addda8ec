#include "unit.h"

#include "base/xalloc.h"
#include "core/job.h"

static void
test_job_class_names(void **state)
{
	static const char *const words[] = {
		"", "error", "validation", "rate_limit", "auth", "network",
		"timeout", "resource", "crash", "lost",
	};
	enum job_class class;

	(void)state;
	assert_int_equal(CLASS_COUNT, 10);
	for (int i = 0; i < CLASS_COUNT; i++)
		assert_string_equal(job_class_name((enum job_class)i), words[i]);
	for (int i = 1; i < CLASS_COUNT; i++) {
		assert_int_equal(job_class_parse(words[i], &class), 0);
		assert_int_equal(class, i);
	}
	class = CLASS_AUTH;
	assert_int_equal(job_class_parse("", &class), -1);
	assert_int_equal(job_class_parse("Error", &class), -1);
	assert_int_equal(job_class_parse("errors", &class), -1);
	assert_int_equal(class, CLASS_AUTH);
	assert_string_equal(job_class_name((enum job_class)CLASS_COUNT), "");
	assert_string_equal(job_class_name((enum job_class)1000), "");
}

static void
test_job_priorities(void **state)
{
	static const struct { const char *text; int value; } good[] = {
		{ "critical", 1 }, { "high", 3 }, { "normal", 5 },
		{ "low", 8 }, { "very_low", 10 },
		{ "0", 0 }, { "7", 7 }, { "99", 99 }, { "007", 7 },
	};
	static const char *const bad[] = {
		"", " 5", "5 ", "+5", "-1", "100", "99999999999999999999",
		"5.0", "Normal", "urgent", "0x5",
	};
	int value;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		value = -7;
		assert_int_equal(priority_parse(good[i].text, &value), 0);
		assert_int_equal(value, good[i].value);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		value = -7;
		assert_int_equal(priority_parse(bad[i], &value), -1);
		assert_int_equal(value, -7);
	}
}

static void
test_job_token(void **state)
{
	char token[80], small[6];

	(void)state;
	job_token(token, sizeof(token), 3, 12345678901, 2);
	assert_string_equal(token, "3.12345678901.2");
	job_token(token, sizeof(token), INT64_MAX, INT64_MAX, INT32_MAX);
	assert_string_equal(token,
	    "9223372036854775807.9223372036854775807.2147483647");
	job_token(small, sizeof(small), 123, 456, 7);
	assert_string_equal(small, "123.4");
}

static void
test_job_clear(void **state)
{
	struct job job = {
		.type = xstrdup("t"), .data = xstrdup("{}"),
		.tenant = xstrdup("acme"), .attempt = 4,
	};

	(void)state;
	job_clear(&job);
	assert_null(job.type);
	assert_null(job.tenant);
	assert_int_equal(job.attempt, 0);
}

static void
test_run_result_bound_leaves_what_fits(void **state)
{
	struct run_result r;

	(void)state;
	run_result_init(&r);
	assert_int_equal(r.class, CLASS_NONE);
	assert_int_equal(r.retry_after_ms, -1);
	assert_int_equal(r.exit_status, -1);
	assert_int_equal(r.cpu_ms, -1);
	assert_int_equal(r.max_rss_kb, -1);
	run_result_bound(&r);
	assert_null(r.message);
	r.message = xstrdup("caf\xc3\xa9 closed");
	r.result = xstrdup("{\"a\":1}");
	run_result_bound(&r);
	assert_string_equal(r.message, "caf\xc3\xa9 closed");
	assert_string_equal(r.result, "{\"a\":1}");
	run_result_clear(&r);
	assert_null(r.message);
	assert_int_equal(r.retry_after_ms, -1);
}

/* A message is cut between characters, wherever the limit falls. */
static void
test_run_result_bound_cuts_messages(void **state)
{
	(void)state;
	for (size_t lead = 0; lead < 4; lead++) {
		struct run_result r;
		char *text = xcalloc(2 * RESULT_MESSAGE_MAX, 1);

		memset(text, 'a', lead);
		for (int i = 0; i < RESULT_MESSAGE_MAX / 4 + 4; i++)
			strcat(text, "\xf0\x9f\x98\x80");
		run_result_init(&r);
		r.class = CLASS_ERROR;
		r.message = text;
		run_result_bound(&r);
		assert_in_range(strlen(r.message), RESULT_MESSAGE_MAX - 3,
		    RESULT_MESSAGE_MAX);
		assert_int_equal((strlen(r.message) - lead) % 4, 0);
		run_result_clear(&r);
	}
}

static void
test_run_result_bound_cleans(void **state)
{
	struct run_result r;

	(void)state;
	run_result_init(&r);
	r.class = CLASS_ERROR;
	r.message = xstrdup("a\xff" "b\xc3");
	r.result = xstrdup("\"\xed\xa0\x80\"");
	run_result_bound(&r);
	assert_string_equal(r.message, "a?b?");
	assert_string_equal(r.result, "\"???\"");
	run_result_clear(&r);
}

static void
test_run_result_bound_refuses_large_results(void **state)
{
	struct run_result r;

	(void)state;
	run_result_init(&r);
	r.result = xmalloc(RESULT_MAX + 2);
	memset(r.result, '1', RESULT_MAX + 1);
	r.result[RESULT_MAX] = '\0';
	run_result_bound(&r);
	assert_non_null(r.result);
	assert_int_equal(r.class, CLASS_NONE);

	r.result[RESULT_MAX] = '1';
	r.result[RESULT_MAX + 1] = '\0';
	run_result_bound(&r);
	assert_null(r.result);
	assert_int_equal(r.class, CLASS_RESOURCE);
	assert_string_equal(r.message,
	    "the result has 1048577 bytes; at most 1048576 are kept");
	run_result_clear(&r);

	r.class = CLASS_NETWORK;	/* a failed run keeps its own reason */
	r.message = xstrdup("reset");
	r.result = xmalloc(RESULT_MAX + 2);
	memset(r.result, '1', RESULT_MAX + 1);
	r.result[RESULT_MAX + 1] = '\0';
	run_result_bound(&r);
	assert_null(r.result);
	assert_int_equal(r.class, CLASS_NETWORK);
	assert_string_equal(r.message, "reset");
	run_result_clear(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_job_class_names),
		cmocka_unit_test(test_job_priorities),
		cmocka_unit_test(test_job_token),
		cmocka_unit_test(test_job_clear),
		cmocka_unit_test(test_run_result_bound_leaves_what_fits),
		cmocka_unit_test(test_run_result_bound_cuts_messages),
		cmocka_unit_test(test_run_result_bound_cleans),
		cmocka_unit_test(test_run_result_bound_refuses_large_results),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
