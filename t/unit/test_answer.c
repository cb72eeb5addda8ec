#include "unit.h"

#include "driver/http/answer.h"

#define NOW 1700000000		/* Tue, 14 Nov 2023 22:13:20 GMT */

static int64_t
after(const char *value)
{
	return answer_retry_after_ms(value, strlen(value), NOW);
}

static void
test_answer_retry_after(void **state)
{
	(void)state;
	assert_int_equal(after("0"), 0);
	assert_int_equal(after("120"), 120000);
	assert_int_equal(after("120 "), 120000);
	assert_int_equal(after("99999999999999999999"), INT64_C(999999999000));
	assert_int_equal(after("Tue, 14 Nov 2023 22:13:50 GMT"), 30000);
	assert_int_equal(after("Tuesday, 14-Nov-23 22:13:50 GMT"), 30000);
	assert_int_equal(after("Tue Nov 14 22:13:50 2023"), 30000);
	assert_int_equal(after("Tue, 14 Nov 2023 22:00:00 GMT"), 0);
	assert_int_equal(after(""), -1);
	assert_int_equal(after("-1"), -1);
	assert_int_equal(after("1.5"), -1);
	assert_int_equal(after("soon"), -1);
	assert_int_equal(after("Tue, 14 Nov 2023 22:13:50 GMT; x"), -1);
}

static void
test_answer_class(void **state)
{
	(void)state;
	assert_int_equal(answer_class(200, false), CLASS_NONE);
	assert_int_equal(answer_class(299, true), CLASS_NONE);
	assert_int_equal(answer_class(302, false), CLASS_VALIDATION);
	assert_int_equal(answer_class(404, true), CLASS_VALIDATION);
	assert_int_equal(answer_class(401, false), CLASS_AUTH);
	assert_int_equal(answer_class(403, false), CLASS_AUTH);
	assert_int_equal(answer_class(408, false), CLASS_NETWORK);
	assert_int_equal(answer_class(425, false), CLASS_NETWORK);
	assert_int_equal(answer_class(429, false), CLASS_RATE_LIMIT);
	assert_int_equal(answer_class(503, false), CLASS_NETWORK);
	assert_int_equal(answer_class(503, true), CLASS_RATE_LIMIT);
	assert_int_equal(answer_class(599, true), CLASS_NETWORK);
}

static struct node_entry no_entries[1];
static const struct node no_options = { .kind = NODE_MAP, .entries = no_entries };

static void
header(struct answer *a, const char *line)
{
	struct err e;

	assert_int_equal(answer_header(a, line, strlen(line), NOW, &e), 0);
}

static void
expect_result(const struct answer *a, const char *want)
{
	char *got = answer_result(a, 200);

	assert_string_equal(got, want);
	free(got);
}

static void
test_answer_result(void **state)
{
	static const struct {
		const char *type, *body, *want;
	} cases[] = {
		{ "application/json", "{\"a\": [1]}", "{\"a\": [1]}" },
		{ "application/json; charset=utf-8", "7", "7" },
		{ "application/problem+json", "[]", "[]" },
		{ "Application/JSON", " null ", " null " },
		{ "text/json+x", "{}", "\"{}\"" },
		{ "text/plain", "{\"a\": 1}", "\"{\\\"a\\\": 1}\"" },
		{ "application/json", "{\"a\": ", "\"{\\\"a\\\": \"" },
		{ "application/json", "{} {}", "\"{} {}\"" },
		{ "application/json", "", "\"\"" },
		{ "application/json", "\"\\u0000\"", "\"\\\"\\\\u0000\\\"\"" },
	};
	struct answer_keep keep;
	char text[200];

	(void)state;
	answer_keep_init(&keep, &no_options);
	assert_int_equal(keep.body, ANSWER_BODY_KEPT);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct answer a;

		answer_init(&a, &keep);
		header(&a, "HTTP/1.1 200 OK\r\n");
		snprintf(text, sizeof(text), "content-type: \t%s \r\n", cases[i].type);
		header(&a, text);
		header(&a, "\r\n");
		answer_body(&a, cases[i].body, strlen(cases[i].body));
		snprintf(text, sizeof(text), "{\"status\": 200, \"body\": %s}",
		    cases[i].want);
		expect_result(&a, text);
		answer_clear(&a);
	}
	answer_keep_clear(&keep);
}

/* JSON that was cut is none. */
static void
test_answer_truncated(void **state)
{
	struct answer_keep keep = { .body = 4 };
	struct answer a;

	(void)state;
	answer_init(&a, &keep);
	header(&a, "Content-Type: application/json\r\n");
	answer_body(&a, "[1]", 3);
	answer_body(&a, "  ", 2);
	answer_body(&a, "  ", 2);
	assert_int_equal(a.body_seen, 7);
	expect_result(&a, "{\"status\": 200, \"body\": \"[1] \", \"truncated\": true}");
	answer_clear(&a);
}

static void
test_answer_headers(void **state)
{
	char etag[] = "etag", vary[] = "vary", none[] = "none";
	char *names[] = { etag, vary, none, NULL };
	struct answer_keep keep = { .body = 4, .headers = { names, 3 } };
	struct answer a;

	(void)state;
	answer_init(&a, &keep);
	header(&a, "HTTP/1.1 103 Early Hints\r\n");
	header(&a, "ETag: early\r\n");
	header(&a, "Retry-After: 7\r\n");
	header(&a, "HTTP/1.1 200 OK\r\n");
	assert_int_equal(a.retry_after_ms, -1);
	header(&a, "VARY:a\r\n");
	header(&a, "ETag:  \"x\" \r\n");
	header(&a, "ETagger: no\r\n");
	header(&a, "vary: b\r\n");
	header(&a, "no colon\r\n");
	header(&a, "Retry-After: 8\r\n");
	assert_int_equal(a.retry_after_ms, 8000);
	expect_result(&a, "{\"status\": 200, \"body\": \"\", \"headers\": "
	    "{\"etag\": \"\\\"x\\\"\", \"vary\": \"a, b\"}}");
	answer_clear(&a);
}

static void
test_answer_head_that_does_not_end(void **state)
{
	struct answer_keep keep = { .body = 4 };
	struct answer a;
	struct err e;
	size_t n = 0;

	(void)state;
	answer_init(&a, &keep);
	while (answer_header(&a, "HTTP/1.1 100 Continue\r\n", 23, NOW, &e) == 0)
		assert_true(++n < ANSWER_HEAD_MAX);
	assert_true(n * 23 > ANSWER_HEAD_MAX - 100);
	answer_clear(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answer_retry_after),
		cmocka_unit_test(test_answer_class),
		cmocka_unit_test(test_answer_result),
		cmocka_unit_test(test_answer_truncated),
		cmocka_unit_test(test_answer_headers),
		cmocka_unit_test(test_answer_head_that_does_not_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
