/*
 * A schedule by itself, from JSON: as one of the file, but taken literally.
 */
#include "confs.h"

static void
test_conf_schedule_is_read_as_one_of_the_file(void **state)
{
	struct err e;
	struct schedule_conf *s = conf_schedule_new("s", "{\"cron\": "
	    "\"*/30 * * * * *\", \"queue\": \"work\", \"type\": \"a\\n\\\"b\\\"\","
	    " \"priority\": 3, \"enabled\": false, \"overlap\": \"skip\","
	    " \"catch_up\": \"all\", \"catch_up_window\": \"2h\","
	    " \"jitter\": \"5s\", \"timezone\": \"UTC\", \"starts\":"
	    " \"2026-12-01T10:00:00.500Z\", \"only_if\": \"select true\","
	    " \"requires_env\": [\"A\", \"B\"]}", &e);

	(void)state;
	if (s == NULL)
		fail_msg("%s", e.msg);
	assert_string_equal(s->name, "s");
	assert_int_equal(s->kind, SPEC_CRON);
	assert_int_equal(s->cron.seconds, 1 | UINT64_C(1) << 30);
	assert_string_equal(s->spec, "*/30 * * * * *");
	assert_string_equal(s->type, "a\n\"b\"");
	assert_string_equal(s->priority_text, "3");
	assert_false(s->enabled);
	assert_int_equal(s->overlap, OVERLAP_SKIP);
	assert_int_equal(s->catch_up, CATCH_UP_ALL);
	assert_int_equal(s->catch_up_window_ms, 7200000);
	assert_int_equal(s->jitter_ms, 5000);
	assert_int_equal(s->starts_ms % 1000, 500);
	assert_string_equal(s->only_if, "select true");
	assert_int_equal(s->nrequires_env, 2);
	assert_string_equal(s->requires_env[1], "B");
	assert_string_equal(s->data, "{}");
	conf_schedule_free(s);
}

static void
test_conf_schedule_takes_texts_as_they_are(void **state)
{
	struct err e;
	struct schedule_conf *s;

	(void)state;
	setenv("JOBQD_TEST_SECRET", "secret", 1);
	s = conf_schedule_new("s", "{\"every\": \"1h\", \"queue\": \"q\", "
	    "\"type\": \"${JOBQD_TEST_SECRET}\", \"tenant\": \"${NONE}\"}", &e);
	if (s == NULL)
		fail_msg("%s", e.msg);
	assert_string_equal(s->type, "${JOBQD_TEST_SECRET}");
	assert_string_equal(s->tenant, "${NONE}");
	assert_string_equal(s->timezone, "UTC");
	conf_schedule_free(s);
}

static void
test_conf_schedule_says_what_is_wrong(void **state)
{
	static const struct {
		const char *json, *error;
	} cases[] = {
		{ "{", "" },
		{ "[]", "no map" },
		{ "5", "no map" },
		{ "{}", "none of cron:, every: and at:" },
		{ "{\"every\": \"1h\"}", "has no queue:" },
		{ "{\"every\": \"1h\", \"queue\": \"q\", \"overlp\": \"skip\"}",
		    "\"overlp\" (did you mean \"overlap\"?)" },
		{ "{\"every\": \"1h\", \"every\": \"2h\", \"queue\": \"q\"}",
		    "already" },
		{ "{\"every\": \"1h\", \"cron\": \"* * * * *\", \"queue\": "
		    "\"q\"}", "one of cron, every and at is enough" },
		{ "{\"cron\": \"* * * *\", \"queue\": \"q\"}", "too few" },
		{ "{\"every\": \"1h\", \"queue\": \"q\", \"only_if\": [1]}",
		    "only_if" },
		{ "{\"every\": &a \"1h\", \"queue\": \"q\"}", "anchors" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct err e = { .msg = "" };

		assert_null(conf_schedule_new("s", cases[i].json, &e));
		if (*e.msg == '\0' || strstr(e.msg, cases[i].error) == NULL)
			fail_msg("%s: \"%s\"", cases[i].json, e.msg);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_conf_schedule_is_read_as_one_of_the_file),
		cmocka_unit_test(test_conf_schedule_takes_texts_as_they_are),
		cmocka_unit_test(test_conf_schedule_says_what_is_wrong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
