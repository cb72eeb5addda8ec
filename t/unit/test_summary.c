/*
 * The report as people read it: what is hostile in it stays text, numbers are
 * right, what is missing does no harm.
 */
#include "unit.h"

#include "monitor/summary.h"

static const struct summary_clock utc = { 0, "UTC" };

static const char full[] =
    "{\"since\":\"2026-11-25T00:00:00+00:00\",\"until\":\"2026-11-26T01:30:00.5+01:30\",\"step\":3600,"
    "\"queues\":[{\"name\":\"email\",\"completed\":1234567,\"failed\":10,\"dead\":2,\"cancelled\":0,\"lost\":0,"
    "\"failure_rate\":0.0123,\"wait_p50_ms\":20,\"wait_p95_ms\":1234,\"run_p50_ms\":90000,\"run_p95_ms\":null,"
    "\"ready\":5,\"dead_letters\":2,\"before\":{\"completed\":1000000,\"failed\":0,\"dead\":0}},"
    "{\"name\":\"quiet\",\"completed\":0,\"failed\":0,\"dead\":0,\"before\":{}}],"
    "\"types\":[{\"queue\":\"email\",\"type\":\"<script>alert(1)</script>\",\"completed\":5}],"
    "\"errors\":[{\"queue\":\"email\",\"type\":\"\",\"class\":\"network\",\"error\":\"<b onload=\\\"x\\\"> & \\n bye\",\"count\":3}],"
    "\"schedules\":[{\"name\":\"nightly\",\"queue\":\"email\",\"last_run\":null,\"next_run\":\"2026-11-26T03:00:00+00:00\",\"missed\":2}],"
    "\"dead_letters\":2,\"series\":[{\"at\":\"2026-11-25T00:00:00+00:00\",\"completed\":100,\"failed\":0},"
    "{\"at\":\"2026-11-25T01:00:00+00:00\",\"completed\":50,\"failed\":1}]}";

static void
has(const struct buf *b, const char *text)
{
	if (strstr(b->data, text) == NULL)
		fail_msg("\"%s\" is not in: %s", text, b->data);
}

static void
lacks(const struct buf *b, const char *text)
{
	if (strstr(b->data, text) != NULL)
		fail_msg("\"%s\" is in: %s", text, b->data);
}

static void
test_summary_full(void **state)
{
	struct summary s;
	struct err e;

	(void)state;
	assert_int_equal(summary_make(&s, full, "n<1>", &utc, &e), 0);
	assert_true(s.bad);
	assert_string_equal(s.subject.data,
	    "[jobqd] Report of 26 Nov: 1,234,567 completed, 10 failed, 2 dead");
	has(&s.text, "25 Nov 2026 00:00 to 26 Nov 2026 00:00 UTC\n");
	has(&s.text, "1,234,567 completed (+23 %), 10 failed and tried again, 2 dead; 0.01 % of attempts failed\n");
	has(&s.text, "5 ready now, 2 dead letters to review (jobqctl dead list)\n");
	has(&s.text, "email: 1,234,567 completed (+23 %), 10 failed, 2 dead, 1.2 % of attempts failed; "
	    "waited 20 ms (p95 1.2 s), ran 1.5 min (p95 -); ready now 5\n1 other: nothing happened\n");
	has(&s.text, "3 times, email  (network): <b onload=\"x\"> &   bye\n");
	has(&s.text, "nightly: missed 2, last run -, next 26 Nov 03:00:00\n");
	lacks(&s.html, "<script");
	lacks(&s.html, "<b onload");
	lacks(&s.html, "http:");
	lacks(&s.html, "n<1>");
	has(&s.html, "&lt;script&gt;alert(1)&lt;/script&gt;");
	has(&s.html, "&lt;b onload=&quot;x&quot;&gt; &amp;   bye");
	has(&s.html, "n&lt;1&gt;");
	has(&s.html, "height:90px");	/* the largest hour */
	has(&s.html, "height:1px");	/* one failure of 151 is seen */
	has(&s.html, "Nothing happened in: quiet");
	summary_clear(&s);
}

static void
test_summary_clock(void **state)
{
	const struct summary_clock berlin = { 3600, "Europe/Berlin" };
	struct summary s;
	struct err e;

	(void)state;
	assert_int_equal(summary_make(&s, full, "n", &berlin, &e), 0);
	has(&s.text, "25 Nov 2026 01:00 to 26 Nov 2026 01:00 Europe/Berlin\n");
	summary_clear(&s);
}

static void
test_summary_little(void **state)
{
	static const char *const none[] = { "", "{", "[]", "{}", "{\"queues\":{}}", "null" };
	static const char *const some[] = { "{\"queues\":[]}", "{\"queues\":[1,null,\"x\",{}]}",
	    "{\"queues\":[{\"name\":5,\"completed\":\"x\"}],\"series\":[1,2,{\"at\":7,\"completed\":-5}],"
	    "\"since\":\"now\",\"until\":12,\"errors\":[[]],\"types\":[{}],\"schedules\":[{\"last_run\":\"\"}]}",
	    "{\"queues\":[{\"name\":\"q\",\"completed\":1e300,\"failed\":-1,\"wait_p50_ms\":1e308}]}" };
	struct summary s;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++) {
		assert_int_equal(summary_make(&s, none[i], "n", &utc, &e), -1);
		summary_clear(&s);
	}
	for (size_t i = 0; i < sizeof(some) / sizeof(*some); i++) {
		assert_int_equal(summary_make(&s, some[i], "n", &utc, &e), 0);
		has(&s.html, "</html>");
		summary_clear(&s);
	}
}

/* What a mail program shows of a large page: its size is bounded. */
static void
test_summary_large(void **state)
{
	struct buf b = { 0 };
	struct summary s;
	struct err e;

	(void)state;
	buf_str(&b, "{\"queues\":[");
	for (int i = 0; i < 2000; i++)
		buf_printf(&b, "%s{\"name\":\"queue-%d\",\"completed\":%d}",
		    i > 0 ? "," : "", i, i);
	buf_str(&b, "]}");
	assert_int_equal(summary_make(&s, b.data, "n", &utc, &e), 0);
	has(&s.html, "<b>queue-1999</b>");	/* the busiest */
	lacks(&s.html, "<b>queue-1</b>");
	has(&s.html, "And 1959 less busy ones.");
	assert_true(s.html.len < 100 << 10);
	summary_clear(&s);
	buf_clear(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_summary_full),
		cmocka_unit_test(test_summary_clock),
		cmocka_unit_test(test_summary_little),
		cmocka_unit_test(test_summary_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
