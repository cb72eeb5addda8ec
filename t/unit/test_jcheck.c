/*
 * What is JSON: vectors, and a million mutations that must be judged as another
 * parser (jansson) does, but for what only one of them refuses.
 */
#include "unit.h"

#include <jansson.h>

#include "core/jcheck.h"

#ifndef FUZZ_ROUNDS
#define FUZZ_ROUNDS 1000000
#endif

static bool
fine(const char *text, size_t len)
{
	char *copy = exact(text, len, true);
	struct err e = { .msg = "" };
	bool good = jcheck(copy, len, &e) == 0;

	assert_true(good || *e.msg != '\0');
	free(copy);
	return good;
}

static void
test_jcheck_vectors(void **state)
{
	static const char *const good[] = {
		"{}", "[]", "null", "true", "false", "0", "-0", "1.5e+10", "\"\"", " [ ] ",
		"{\"a\":{\"b\":[1,2,{\"c\":null}]},\"b\":1}", "\"\\u00e9\\ud83d\\ude00\"",
		"[{\"a\":1},{\"a\":1}]", "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "1e400", "\"\xc3\xa9\"",
		"{\"\":1,\" \":2}", "123456789012345678901234567890",
	};
	static const char *const bad[] = {
		"", " ", "{", "}", "[1,]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "01", "1.",
		".5", "+1", "1e", "--1", "tru", "nulll", "\"", "\"\\", "\"\\x\"", "\"\\u12\"",
		"\"\\u0000\"", "\"\\ud800\"", "\"\\udc00\"", "\"\\ud800\\u0041\"", "\"\n\"", "\"\xff\"",
		"\"\xc0\xaf\"", "\"\xed\xa0\x80\"", "[1] 2", "{\"a\":1,\"a\":2}",
		"{\"a\":1,\"\\u0061\":2}", "{\"a\":{\"b\":1,\"c\":2,\"b\":3}}", "NaN", "\xef\xbb\xbf{}",
		"[1}", "{\"a\":1]", "'a'",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		if (!fine(good[i], strlen(good[i])))
			fail_msg("refused: %s", good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (fine(bad[i], strlen(bad[i])))
			fail_msg("taken: %s", bad[i]);
	assert_false(fine("\"a\0b\"", 5));
	assert_false(fine("[]\0", 3));
}

static void
test_jcheck_depth(void **state)
{
	char text[2 * JCHECK_DEPTH_MAX + 4];

	(void)state;
	for (int depth = JCHECK_DEPTH_MAX; depth <= JCHECK_DEPTH_MAX + 1; depth++) {
		memset(text, '[', (size_t)depth);
		memset(text + depth, ']', (size_t)depth);
		assert_int_equal(fine(text, 2 * (size_t)depth), depth == JCHECK_DEPTH_MAX);
	}
}

/* What jansson refuses alone are numbers that it cannot hold; what jcheck()
 * refuses alone is deeper than it takes. */
static void
test_jcheck_mutations(void **state)
{
	static const char *const seeds[] = {
		"{\"queue\":\"work\",\"data\":{\"a\":[1,2.5e3,{\"b\":null}]},\"tags\":[\"x\"]}",
		"[{\"a\":1,\"b\":{\"a\":\"\\u00e9\\n\"}},[],{},true,false,null,-0.1]",
		"{\"a\":\"\\ud83d\\ude00\xc3\xa9\",\"b\":\"\\\\\",\"c\":\"\"}",
	};
	static const char alphabet[] = "{}[]\":,\\u0123456789abcdefe+-. tnfrue\xc3\xa9";
	uint64_t random = 1;
	size_t taken = 0;

	(void)state;
	for (int i = 0; i < FUZZ_ROUNDS; i++) {
		char text[200];
		const char *seed = seeds[i % 3];
		size_t len = strlen(seed);
		json_error_t error;
		json_t *json;
		bool good;

		memcpy(text, seed, len);
		len = mutate(text, len, sizeof(text) - 1, alphabet, &random);
		good = fine(text, len);
		json = json_loadb(text, len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &error);
		if (good != (json != NULL) && !(good && (strstr(error.text, "too big") ||
		    strstr(error.text, "overflow"))))
			fail_msg("%s is taken by one of the two: %.*s (%s)",
			    good ? "" : "not", (int)len, text, error.text);
		taken += good;
		json_decref(json);
	}
	print_message("%zu of %d taken\n", taken, FUZZ_ROUNDS);
	assert_in_range(taken, FUZZ_ROUNDS / 100, FUZZ_ROUNDS);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_jcheck_vectors),
		cmocka_unit_test(test_jcheck_depth),
		cmocka_unit_test(test_jcheck_mutations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
