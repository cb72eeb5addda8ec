#include "unit.h"

#include <jansson.h>

#include "base/buf.h"

static void
test_buf_grows_and_stays_terminated(void **state)
{
	struct buf b = { 0 };

	(void)state;
	buf_put(&b, NULL, 0);
	assert_string_equal(b.data, "");
	for (int i = 0; i < 5000; i++) {
		buf_char(&b, (char)('a' + i % 26));
		assert_int_equal(b.data[b.len], '\0');
	}
	assert_int_equal(b.len, 5000);
	assert_int_equal(strlen(b.data), 5000);
	buf_str(&b, "end");
	assert_string_equal(b.data + 5000, "end");
	buf_clear(&b);
	assert_null(b.data);
	assert_int_equal(b.len, 0);
	buf_clear(&b);
}

static void
test_buf_printf(void **state)
{
	struct buf b = { 0 };
	char wide[1000];

	(void)state;
	memset(wide, 'w', sizeof(wide) - 1);
	wide[sizeof(wide) - 1] = '\0';
	buf_printf(&b, "%s", "");
	assert_string_equal(b.data, "");
	buf_printf(&b, "%d-%s", 42, "x");
	assert_string_equal(b.data, "42-x");
	buf_printf(&b, "%s", wide);
	assert_int_equal(b.len, 4 + 999);
	assert_string_equal(b.data + 4, wide);
	buf_clear(&b);
}

static void
test_buf_drop_and_reset(void **state)
{
	struct buf b = { 0 };

	(void)state;
	buf_drop(&b, 0);
	buf_reset(&b);
	buf_str(&b, "hello world");
	buf_drop(&b, 6);
	assert_string_equal(b.data, "world");
	buf_drop(&b, 5);
	assert_string_equal(b.data, "");
	assert_int_equal(b.len, 0);
	buf_str(&b, "again");
	buf_reset(&b);
	assert_string_equal(b.data, "");
	buf_clear(&b);
}

static void
test_buf_detach(void **state)
{
	struct buf b = { 0 };
	char *s = buf_detach(&b);

	(void)state;
	assert_string_equal(s, "");
	free(s);
	buf_str(&b, "mine");
	s = buf_detach(&b);
	assert_string_equal(s, "mine");
	assert_null(b.data);
	assert_int_equal(b.len, 0);
	free(s);
}

static void
check_json(const char *bytes, size_t len, const char *expected)
{
	struct buf b = { 0 };

	buf_json(&b, bytes, len);
	assert_string_equal(b.data, expected);
	buf_clear(&b);
}

static void
test_buf_json(void **state)
{
	(void)state;
	check_json("", 0, "\"\"");
	check_json("a\"b\\c/", 6, "\"a\\\"b\\\\c/\"");
	check_json("\n\t\x01\x1f\x7f", 5, "\"\\n\\u0009\\u0001\\u001f\\u007f\"");
	check_json("caf\xc3\xa9", 5, "\"caf\xc3\xa9\"");
	check_json("\xf0\x9f\x98\x80", 4, "\"\xf0\x9f\x98\x80\"");
	check_json("a\0b", 3, "\"a\xef\xbf\xbd" "b\"");
	check_json("\xff", 1, "\"\xef\xbf\xbd\"");
	check_json("\xed\xa0\x80", 3,
	    "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
	check_json("\xc3\xa9", 1, "\"\xef\xbf\xbd\"");	/* cut in a character */
}

/* Whatever the bytes, the text is a JSON string. */
static void
test_buf_json_is_json(void **state)
{
	struct buf b = { 0 };
	uint64_t seed = 9;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		size_t len = (size_t)chance_below(&seed, 40);
		char raw[40], *bytes;
		json_t *value;

		for (size_t n = 0; n < len; n++)
			raw[n] = (char)chance(&seed);
		bytes = exact(raw, len, false);
		buf_reset(&b);
		buf_json(&b, bytes, len);
		value = json_loads(b.data, JSON_DECODE_ANY, NULL);
		assert_true(json_is_string(value));
		json_decref(value);
		free(bytes);
	}
	buf_clear(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_buf_grows_and_stays_terminated),
		cmocka_unit_test(test_buf_printf),
		cmocka_unit_test(test_buf_drop_and_reset),
		cmocka_unit_test(test_buf_detach),
		cmocka_unit_test(test_buf_json),
		cmocka_unit_test(test_buf_json_is_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
