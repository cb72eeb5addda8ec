#include "unit.h"

#include "base/utf8.h"

static size_t
length(const char *bytes, size_t len)
{
	char *copy = exact(bytes, len, false);
	size_t n = utf8_length(copy, len);

	free(copy);
	return n;
}

/* Every code point from 0 to past the end, encoded by the book. */
static void
test_utf8_every_code_point(void **state)
{
	(void)state;
	for (uint32_t c = 0; c < 0x120000; c++) {
		char s[4];
		size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
		bool valid = c < 0x110000 && (c < 0xd800 || c > 0xdfff);

		if (n == 1)
			s[0] = (char)c;
		else
			for (size_t i = n; i-- > 0;)
				s[i] = (char)(i > 0 ?
				    0x80 | (c >> (6 * (n - 1 - i)) & 0x3f) :
				    (0xf00 >> n & 0xff) | c >> (6 * (n - 1)));
		assert_int_equal(utf8_length(s, n), valid ? n : 0);
		for (size_t cut = 0; cut < n; cut++)
			assert_int_equal(utf8_length(s, cut), 0);
	}
}

static void
test_utf8_overlong_and_stray(void **state)
{
	(void)state;
	assert_int_equal(length("\xc0\x80", 2), 0);
	assert_int_equal(length("\xc1\xbf", 2), 0);
	assert_int_equal(length("\xe0\x9f\xbf", 3), 0);
	assert_int_equal(length("\xf0\x8f\xbf\xbf", 4), 0);
	assert_int_equal(length("\xf4\x90\x80\x80", 4), 0);
	assert_int_equal(length("\xf5\x80\x80\x80", 4), 0);
	assert_int_equal(length("\xf8\x88\x80\x80\x80", 5), 0);
	assert_int_equal(length("\x80", 1), 0);
	assert_int_equal(length("\xbf", 1), 0);
	assert_int_equal(length("\xfe", 1), 0);
	assert_int_equal(length("\xff", 1), 0);
	assert_int_equal(length("\xc3\x28", 2), 0);
	assert_int_equal(length("\xe2\x82\x28", 3), 0);
	assert_int_equal(length("\xf0\x9f\x98\x28", 4), 0);
	assert_int_equal(length("", 0), 0);
}

static void
check_clean(const char *bytes, size_t len, const char *expected)
{
	char *copy = exact(bytes, len, false);

	utf8_clean(copy, len);
	assert_memory_equal(copy, expected, len);
	free(copy);
}

static void
test_utf8_clean(void **state)
{
	(void)state;
	utf8_clean(NULL, 0);
	check_clean("plain", 5, "plain");
	check_clean("caf\xc3\xa9", 5, "caf\xc3\xa9");
	check_clean("a\0b", 3, "a?b");
	check_clean("a\xff" "b", 3, "a?b");
	check_clean("\xed\xa0\x80", 3, "???");
	check_clean("\xe2\x82", 2, "??");
	check_clean("\xe2\x82" "a", 3, "??a");
	check_clean("\xf0\x9f\x98\xf0\x9f\x98\x80", 7, "???\xf0\x9f\x98\x80");
}

/* After cleaning all is valid, and what was valid is untouched. */
static void
test_utf8_clean_anything(void **state)
{
	uint64_t seed = 10;

	(void)state;
	for (int i = 0; i < 50000; i++) {
		size_t len = (size_t)chance_below(&seed, 24), at = 0;
		char raw[24], *bytes, *again;

		for (size_t n = 0; n < len; n++)
			raw[n] = (char)(chance_below(&seed, 3) ?
			    0x80 + chance_below(&seed, 0x80) :
			    chance_below(&seed, 0x100));
		bytes = exact(raw, len, false);
		utf8_clean(bytes, len);
		again = exact(bytes, len, false);
		utf8_clean(again, len);
		assert_memory_equal(bytes, again, len);
		while (at < len) {
			size_t n = utf8_length(bytes + at, len - at);

			assert_true(n > 0 && bytes[at] != '\0');
			at += n;
		}
		free(again);
		free(bytes);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_utf8_every_code_point),
		cmocka_unit_test(test_utf8_overlong_and_stray),
		cmocka_unit_test(test_utf8_clean),
		cmocka_unit_test(test_utf8_clean_anything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
