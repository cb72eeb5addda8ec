#include "unit.h"

#include "driver/protocol.h"

/* Of a line that is a message of that kind. */
static struct said
said(const char *text, enum said_kind kind)
{
	char *line = exact(text, strlen(text), true);
	struct said s;
	struct err e = { .msg = "" };

	if (said_read(line, strlen(text), &s, &e) < 0)
		fail_msg("%s: %s", text, e.msg);
	assert_int_equal(s.kind, kind);
	free(line);
	return s;
}

static void
refused(const char *text, const char *why)
{
	char *line = exact(text, strlen(text), true);
	struct said s;
	struct err e = { .msg = "" };

	assert_int_equal(said_read(line, strlen(text), &s, &e), -1);
	if (strstr(e.msg, why) == NULL)
		fail_msg("%s: \"%s\" is not in \"%s\"", text, why, e.msg);
	assert_null(s.text);
	assert_null(s.json);
	free(line);
}

static void
test_protocol_done(void **state)
{
	struct said s = said("{\"done\":{\"id\":42,\"result\":{\"a\": 12345678901234567890}}}", SAID_DONE);

	(void)state;
	assert_int_equal(s.id, 42);
	assert_string_equal(s.json, "{\"a\": 12345678901234567890}");	/* to the byte */
	said_clear(&s);
	s = said(" {\"done\" : {\"result\":null, \"id\":1 } } \r", SAID_DONE);
	assert_int_equal(s.id, 1);
	assert_null(s.json);
	said_clear(&s);
	s = said("{\"done\":{\"id\":7,\"result\":\"x\",\"more\":[1]}}", SAID_DONE);
	assert_string_equal(s.json, "\"x\"");
	said_clear(&s);
	refused("{\"done\":{}}", "done: it has no id");
	refused("{\"done\":{\"id\":0}}", "no id");
	refused("{\"done\":{\"id\":\"42\"}}", "not the number of a job");
	refused("{\"done\":{\"id\":-1}}", "not the number");
	refused("{\"done\":{\"id\":1.5}}", "not the number");
	refused("{\"done\":{\"id\":1234567890123456789}}", "not the number");
	refused("{\"done\":42}", "done is no object");
	refused("{\"done\":{\"id\":1,\"id\":2}}", "twice");
	refused("{\"done\":{\"id\":1,\"result\":\"\\u0000\"}}", "at byte");
	refused("{\"done\":{\"id\":1}}x", "at byte");
	refused("{\"done\":{\"id\":1}", "at byte");
	refused("{}", "one member");
	refused("{\"done\":{\"id\":1},\"fail\":{\"id\":2}}", "one member");
}

static void
test_protocol_fail(void **state)
{
	struct said s = said("{\"fail\":{\"id\":42,\"class\":\"network\",\"message\":\"no\\nroute\",\"retry_after\":30}}", SAID_FAIL);

	(void)state;
	assert_int_equal(s.id, 42);
	assert_int_equal(s.class, CLASS_NETWORK);
	assert_string_equal(s.text, "no\nroute");
	assert_int_equal(s.retry_after_ms, 30000);
	said_clear(&s);
	s = said("{\"fail\":{\"id\":1,\"retry_after\":0.25,\"message\":{\"code\": 5}}}", SAID_FAIL);
	assert_int_equal(s.class, CLASS_ERROR);
	assert_int_equal(s.retry_after_ms, 250);
	assert_string_equal(s.text, "{\"code\": 5}");
	said_clear(&s);
	s = said("{\"fail\":{\"id\":1,\"retry_after\":1e300,\"class\":\"crash\"}}", SAID_FAIL);
	assert_int_equal(s.class, CLASS_ERROR);		/* what jobqd alone can say */
	assert_int_equal(s.retry_after_ms, 366LL * 86400 * 1000);
	assert_null(s.text);
	said_clear(&s);
	s = said("{\"fail\":{\"id\":1,\"retry_after\":-5,\"class\":\"lost\"}}", SAID_FAIL);
	assert_int_equal(s.class, CLASS_ERROR);
	assert_int_equal(s.retry_after_ms, -1);
	said_clear(&s);
	s = said("{\"fail\":{\"id\":1,\"retry_after\":\"soon\",\"class\":7}}", SAID_FAIL);
	assert_int_equal(s.retry_after_ms, -1);
	said_clear(&s);
	refused("{\"fail\":{\"class\":\"network\"}}", "fail: it has no id");
}

static void
test_protocol_progress(void **state)
{
	struct said s = said("{\"progress\":{\"id\":3,\"pct\":40.9,\"note\":\"half\"}}", SAID_PROGRESS);
	char *large = malloc(40000);

	(void)state;
	assert_int_equal(s.id, 3);
	assert_int_equal(s.pct, 40);
	assert_string_equal(s.text, "half");
	said_clear(&s);
	s = said("{\"progress\":{\"note\":[null,\"e\"]}}", SAID_PROGRESS);
	assert_int_equal(s.id, 0);
	assert_int_equal(s.pct, -1);
	assert_string_equal(s.text, "[null,\"e\"]");
	said_clear(&s);
	refused("{\"progress\":{\"id\":1}}", "neither pct nor note");
	refused("{\"progress\":{\"pct\":101}}", "from 0 to 100");
	refused("{\"progress\":{\"pct\":-1}}", "from 0 to 100");
	refused("{\"progress\":{\"pct\":\"4\"}}", "from 0 to 100");
	sprintf(large, "{\"progress\":{\"note\":[\"%017000d\"]}}", 0);
	refused(large, "16384 bytes");
	sprintf(large, "{\"progress\":{\"note\":\"%017000d\"}}", 0);
	s = said(large, SAID_PROGRESS);
	assert_int_equal(strlen(s.text), 17000);
	said_clear(&s);
	free(large);
}

static void
test_protocol_others(void **state)
{
	struct said s = said("{\"ready\":{}}", SAID_READY);

	(void)state;
	said_clear(&s);
	s = said("{\"log\":{\"id\":9,\"line\":\"\\u00e9 \\\"x\\\"\"}}", SAID_LOG);
	assert_string_equal(s.text, "\xc3\xa9 \"x\"");
	said_clear(&s);
	refused("{\"log\":{\"id\":9}}", "no line");
	refused("{\"log\":{\"line\":\"x\"}}", "log: it has no id");
	s = said("{\"enqueue\":{\"queue\":\"mail\",\"data\":{\"to\":\"a\"},\"ref\":7}}", SAID_ENQUEUE);
	assert_int_equal(s.id, 0);
	assert_string_equal(s.queue, "mail");
	assert_string_equal(s.text, "7");
	assert_string_equal(s.json, "{\"queue\":\"mail\",\"data\":{\"to\":\"a\"},\"ref\":7}");
	said_clear(&s);
	refused("{\"enqueue\":{\"data\":{}}}", "enqueue: it has no queue");
	refused("{\"enqueue\":{\"queue\":\"q\",\"id\":true}}", "not the number");
	s = said("{\"later\":{\"id\":1}}", SAID_UNKNOWN);
	assert_string_equal(s.text, "later");
	said_clear(&s);
	s = said("Listening on port 80", SAID_TEXT);
	assert_string_equal(s.text, "Listening on port 80");
	said_clear(&s);
	s = said("", SAID_TEXT);
	said_clear(&s);
	/* Bytes that are no text do not hide a message. */
	s = said("{\"fail\":{\"id\":1,\"message\":\"caf\xe9\"}}", SAID_FAIL);
	assert_string_equal(s.text, "caf?");
	said_clear(&s);
}

static void
test_protocol_told(void **state)
{
	struct job job = { .id = 42, .attempt = 2, .type = (char[]){ "a \"type\"" },
	    .data = (char[]){ "{\"x\": 1.50}" } };
	struct buf b = { .len = 0 };

	(void)state;
	tell_hello(&b, "sync", 10);
	tell_job(&b, &job, "1.2.3", 5, INT64_C(1764547200500000));
	job.tenant = (char[]){ "acme" };
	tell_job(&b, &job, "1.2.3", 5, 0);
	tell_cancel(&b, 42);
	tell_quit(&b);
	tell_enqueued(&b, "a", 7, NULL);
	tell_enqueued(&b, "b", 0, "no \"queue\"");
	assert_string_equal(b.data,
	    "{\"hello\":{\"protocol\":1,\"queue\":\"sync\",\"in_flight\":10}}\n"
	    "{\"job\":{\"id\":42,\"token\":\"1.2.3\",\"type\":\"a \\\"type\\\"\",\"data\":{\"x\": 1.50},"
	    "\"attempt\":2,\"max_attempts\":5,\"tenant\":null,\"deadline\":\"2025-12-01T00:00:00.5Z\"}}\n"
	    "{\"job\":{\"id\":42,\"token\":\"1.2.3\",\"type\":\"a \\\"type\\\"\",\"data\":{\"x\": 1.50},"
	    "\"attempt\":2,\"max_attempts\":5,\"tenant\":\"acme\",\"deadline\":\"1970-01-01T00:00:00Z\"}}\n"
	    "{\"cancel\":{\"id\":42}}\n{\"quit\":{}}\n"
	    "{\"enqueued\":{\"ref\":\"a\",\"id\":7}}\n"
	    "{\"enqueued\":{\"ref\":\"b\",\"error\":\"no \\\"queue\\\"\"}}\n");
	buf_clear(&b);
}

/* Whatever a program says, it is understood or refused. */
static void
test_protocol_mutated(void **state)
{
	static const char *const good[] = {
		"{\"done\":{\"id\":42,\"result\":{\"a\":[1,null,\"\\u00e9\"]}}}",
		"{\"fail\":{\"id\":42,\"class\":\"network\",\"message\":\"m\",\"retry_after\":30}}",
		"{\"progress\":{\"id\":42,\"pct\":40,\"note\":{\"rows\":5}}}",
		"{\"enqueue\":{\"queue\":\"q\",\"data\":{},\"ref\":\"r\",\"id\":3}}",
		"{\"log\":{\"id\":42,\"line\":\"\\\"x\\\"\"}}",
	};
	uint64_t chances = 11;
	int understood = 0, wrong = 0;

	(void)state;
	for (int run = 0; run < 60000; run++) {
		char text[200];
		size_t len = strlen(good[run % 5]);
		struct said s;
		struct err e;
		char *line;

		memcpy(text, good[run % 5], len);
		len = mutate(text, len, sizeof(text), "{}[]\",:0123456789.-e\\nul \r", &chances);
		line = exact(text, len, true);
		if (said_read(line, len, &s, &e) < 0) {
			assert_true(e.msg[0] != '\0');
			wrong++;
		} else {
			if (s.kind == SAID_DONE || s.kind == SAID_FAIL || s.kind == SAID_LOG)
				assert_true(s.id > 0);
			understood++;
			said_clear(&s);
		}
		free(line);
	}
	assert_true(understood > 1000 && wrong > 1000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_protocol_done),
		cmocka_unit_test(test_protocol_fail),
		cmocka_unit_test(test_protocol_progress),
		cmocka_unit_test(test_protocol_others),
		cmocka_unit_test(test_protocol_told),
		cmocka_unit_test(test_protocol_mutated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
