#include "unit.h"

#include <jansson.h>

#include "core/jtext.h"
#include "driver/data.h"

static void
expect(const char *text, const char *key, const char *want)
{
	size_t len = 0;
	const char *got = jtext_member(text, key, &len);

	if (want == NULL) {
		assert_null(got);
		return;
	}
	assert_non_null(got);
	assert_int_equal(len, strlen(want));
	assert_memory_equal(got, want, len);
}

static void
test_data_member(void **state)
{
	(void)state;
	expect("{}", "a", NULL);
	expect("[1]", "a", NULL);
	expect("{\"a\":1}", "a", "1");
	expect("{\"a\": 1.50 , \"b\": -2e5}", "a", "1.50");
	expect("{\"a\": 1.50 , \"b\": -2e5}", "b", "-2e5");
	expect(" { \"x\" : { \"a\" : 1 } , \"a\" : [ 1, {\"b\":\"]\"} ] } ", "a",
	    "[ 1, {\"b\":\"]\"} ]");
	expect("{\"s\":\"}\\\"{\",\"a\":\"\\\\\"}", "a", "\"\\\\\"");
	expect("{\"a\":true,\"aa\":null}", "aa", "null");
	expect("{\"a\":1,\"a\":2}", "a", "2");
	expect("{\"b\":\"a\",\"c\":{\"a\":1}}", "a", NULL);
}

static json_t *
random_value(uint64_t *chances, int depth)
{
	static const char *const texts[] = {
		"", "a", "payload", "}\"{,:", "\\", "\xc3\xbc\n\t", "[1]",
	};
	json_t *value;

	switch (chance_below(chances, depth > 0 ? 6 : 4)) {
	case 0:
		return json_integer((json_int_t)chance(chances));
	case 1:
		return json_string(texts[chance_below(chances, 7)]);
	case 2:
		return json_boolean(chance_below(chances, 2));
	case 3:
		return json_null();
	case 4:
		value = json_array();
		for (int n = chance_below(chances, 4); n > 0; n--)
			json_array_append_new(value, random_value(chances, depth - 1));
		return value;
	default:
		value = json_object();
		for (int n = chance_below(chances, 5); n > 0; n--)
			json_object_set_new(value, texts[chance_below(chances, 7)],
			    random_value(chances, depth - 1));
		return value;
	}
}

/* What is cut out is what a parser finds, however the text is laid out. */
static void
test_data_member_random(void **state)
{
	static const size_t layouts[] = { 0, JSON_COMPACT, JSON_INDENT(2) };
	uint64_t chances = 5;

	(void)state;
	for (int i = 0; i < 30000; i++) {
		json_t *object = json_object(), *part;
		char *text, *copy;
		const char *got;
		size_t len = 0;

		for (int n = chance_below(&chances, 4); n > 0; n--)
			json_object_set_new(object, n == 1 ? "payload" : "other",
			    random_value(&chances, 3));
		text = json_dumps(object, layouts[i % 3] |
		    (i % 2 ? JSON_ENSURE_ASCII : 0));
		copy = exact(text, strlen(text), true);
		got = jtext_member(copy, "payload", &len);
		part = json_object_get(object, "payload");
		assert_int_equal(got != NULL, part != NULL);
		if (got != NULL) {
			json_t *back = json_loadb(got, len, JSON_DECODE_ANY, NULL);

			assert_non_null(back);
			assert_true(json_equal(back, part));
			json_decref(back);
		}
		json_decref(object);
		free(text);
		free(copy);
	}
}

/* It is given valid JSON; should it not be, nothing is read past the end. */
static void
test_data_member_garbage(void **state)
{
	static const char seed[] = "{\"a\": {\"b\": [1, \"\\\"x\"]}, \"payload\": 5}";
	uint64_t chances = 7;

	(void)state;
	for (int i = 0; i < 100000; i++) {
		char text[100];
		size_t len, got;
		char *copy;

		strcpy(text, seed);
		len = mutate(text, strlen(text), sizeof(text) - 1,
		    "{}[],:\"\\ a1", &chances);
		copy = exact(text, len, true);
		jtext_member(copy, "payload", &got);
		free(copy);
	}
}

static bool
is_wanted(const char *key, size_t len, void *arg)
{
	(void)arg;
	return len == 1 && (*key == 'a' || *key == 'b');
}

static void
expect_some(const char *data, const char *want)
{
	struct job job = { .data = exact(data, strlen(data), true) };
	struct err e = { .code = ERR_NONE };
	json_t *some = data_read_some(&job, is_wanted, NULL, &e);
	char *text = some ? json_dumps(some, JSON_COMPACT) : NULL;

	if (want == NULL) {
		assert_null(some);
		assert_true(e.msg[0] != '\0');
	} else {
		assert_string_equal(text, want);
	}
	free(text);
	json_decref(some);
	free(job.data);
}

static void
test_data_read_some(void **state)
{
	(void)state;
	expect_some("{}", "{}");
	expect_some("{\"c\": {\"a\": 1}}", "{}");
	expect_some("{\"a\": 1, \"c\": [1, {\"b\": 2}], \"b\": {\"c\": \"}\"}}",
	    "{\"a\":1,\"b\":{\"c\":\"}\"}}");
	expect_some("{\"c\": 1, \"\\u0061\": 2, \"x\\\"y\": 3, \"b\": 4}",
	    "{\"a\":2,\"x\\\"y\":3,\"b\":4}");
	/* What cannot be read matters only where it is wanted. */
	expect_some("{\"a\": 1, \"c\": 1e999}", "{\"a\":1}");
	expect_some("{\"a\": 1e999}", NULL);
	expect_some("[1]", "{}");
}

static void
test_data_storable(void **state)
{
	static const char *const good[] = {
		"1", "\"x\"", "null", "[]", "{\"a\":1}",
		"123456789012345678901234567890", " {} ",
	};
	static const char *const bad[] = {
		"", "{", "x", "\"\\u0000\"", "\"\\ud800\"", "1e999", "{} {}",
		"\"\xff\"", "'a'", "[1,]",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(data_is_storable(good[i], strlen(good[i])));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(data_is_storable(bad[i], strlen(bad[i])));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_data_member),
		cmocka_unit_test(test_data_member_random),
		cmocka_unit_test(test_data_member_garbage),
		cmocka_unit_test(test_data_read_some),
		cmocka_unit_test(test_data_storable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
