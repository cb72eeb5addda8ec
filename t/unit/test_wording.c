/*
 * What is said of an alert.
 */
#include "unit.h"

#include <jansson.h>
#include <math.h>

#include "monitor/wording.h"

static struct occasion
backlog(enum rule_event event)
{
	return (struct occasion){ .alert = "backlog", .queue = "email",
	    .node = "alpha", .severity = "warning",
	    .metric = metric_find("backlog"), .event = event, .over = true,
	    .limit = 1000, .known = true, .value = 1240, .detail = "",
	    .since = INT64_C(1764165600000000), .now = INT64_C(1764165900000000) };
}

static const char *
member(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	assert_non_null(text);
	return text;
}

static void
test_wording_start(void **state)
{
	struct occasion o = backlog(RULE_FIRES);
	struct wording w = { 0 };
	json_t *json;

	(void)state;
	wording_make(&w, &o);
	assert_string_equal(w.line.data,
	    "backlog of email is 1,240 (above 1,000)");
	assert_string_equal(w.subject.data,
	    "[jobqd] backlog of email is 1,240 (above 1,000)");
	assert_non_null(strstr(w.text.data, "jobqctl queue show email"));
	assert_non_null(strstr(w.text.data,
	    "jobqctl alert ack backlog --queue email"));
	assert_non_null(strstr(w.text.data, "node     alpha\n"));
	assert_non_null(strstr(w.text.data,
	    "since    2025-11-26T14:00:00Z, for 5 min\n"));
	assert_null(strstr(w.text.data, "details"));
	json = json_loads(w.json.data, 0, NULL);
	assert_non_null(json);
	assert_string_equal(member(json, "event"), "started");
	assert_string_equal(member(json, "alert"), "backlog");
	assert_string_equal(member(json, "queue"), "email");
	assert_string_equal(member(json, "state"), "firing");
	assert_string_equal(member(json, "severity"), "warning");
	assert_string_equal(member(json, "metric"), "backlog");
	assert_string_equal(member(json, "threshold"), "above 1,000");
	assert_string_equal(member(json, "message"), w.line.data);
	assert_string_equal(member(json, "since"), "2025-11-26T14:00:00Z");
	assert_string_equal(member(json, "node"), "alpha");
	assert_true(fabs(json_number_value(json_object_get(json, "value")) -
	    1240) < 1e-9);
	json_decref(json);
	wording_clear(&w);
}

static void
test_wording_end(void **state)
{
	struct occasion o = backlog(RULE_ENDS);
	struct wording w = { 0 };

	(void)state;
	o.value = 12;
	wording_make(&w, &o);
	assert_string_equal(w.subject.data,
	    "[jobqd] ended: backlog of email is 12");
	assert_null(strstr(w.text.data, "jobqctl"));
	assert_non_null(strstr(w.json.data, "\"state\":\"ended\""));
	o.known = false;
	wording_make(&w, &o);
	assert_string_equal(w.subject.data,
	    "[jobqd] ended: backlog of email is unknown");
	assert_non_null(strstr(w.json.data, "\"value\":null"));
	o.metric = metric_find("paused");
	wording_make(&w, &o);
	assert_string_equal(w.subject.data,
	    "[jobqd] ended: email is no longer paused");
	o.event = RULE_FIRES;
	wording_make(&w, &o);
	assert_string_equal(w.subject.data, "[jobqd] email is paused");
	wording_clear(&w);
}

static void
test_wording_again(void **state)
{
	struct occasion o = backlog(RULE_REMINDS);
	struct wording w = { 0 };

	(void)state;
	wording_make(&w, &o);
	assert_string_equal(w.subject.data,
	    "[jobqd] still: backlog of email is 1,240 (above 1,000)");
	o.event = RULE_ESCALATES;
	wording_make(&w, &o);
	assert_string_equal(w.subject.data,
	    "[jobqd] not acknowledged: backlog of email is 1,240 (above 1,000)");
	wording_clear(&w);
}

/* What a session calls itself is anything. */
static void
test_wording_of_the_hostile(void **state)
{
	struct occasion o = backlog(RULE_FIRES);
	struct wording w = { 0 };
	char detail[2000];
	uint64_t seed = 7;

	(void)state;
	o.metric = metric_find("oldest_snapshot_age");
	o.queue = "";
	o.detail = detail;
	for (int run = 0; run < 2000; run++) {
		size_t len = (size_t)chance_below(&seed, sizeof(detail));
		json_t *json;

		for (size_t i = 0; i < len; i++)
			detail[i] = (char)(1 + chance_below(&seed, 255));
		detail[len] = '\0';
		wording_make(&w, &o);
		assert_null(strpbrk(w.subject.data, "\r\n\x1b"));
		assert_null(strpbrk(w.text.data, "\r\x1b\x07"));
		assert_true(w.text.len < 2000);
		json = json_loadb(w.json.data, w.json.len, 0, NULL);
		assert_non_null(json);
		assert_true(json_is_null(json_object_get(json, "queue")));
		json_decref(json);
	}
	wording_clear(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wording_start),
		cmocka_unit_test(test_wording_end),
		cmocka_unit_test(test_wording_again),
		cmocka_unit_test(test_wording_of_the_hostile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
