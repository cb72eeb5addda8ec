/*
 * Text of jobs on its way to a terminal.
 */
#include "config.h"

#include "unit.h"

#include <string.h>

#include "ctl/out.h"

static void
check(const char *text, bool lines, const char *want)
{
	struct buf b = { 0 };

	out_escape(&b, text, lines);
	assert_string_equal(b.data == NULL ? "" : b.data, want);
	buf_clear(&b);
}

static void
test_out_leaves_text_alone(void **state)
{
	(void)state;
	check("", false, "");
	check("plain text", false, "plain text");
	check("Grüße, 車両 \xf0\x9f\x9a\x97", false,
	    "Grüße, 車両 \xf0\x9f\x9a\x97");
	check("back\\slash", false, "back\\slash");
}

static void
test_out_escapes_what_steers(void **state)
{
	(void)state;
	check("\x1b[2J", false, "\\x1b[2J");
	check("a\x07\x7f", false, "a\\x07\\x7f");
	/* CSI as one character of C1 */
	check("\xc2\x9b" "31m", false, "\\x9b31m");
	/* turning the direction, a separator of lines, a mark */
	check("\xe2\x80\xae" "\xe2\x81\xa6" "\xe2\x80\xa8" "\xe2\x80\x8f", false,
	    "\\u202e\\u2066\\u2028\\u200f");
}

static void
test_out_keeps_lines_if_asked(void **state)
{
	(void)state;
	check("a\n\tb\r\n", false, "a\\n\\tb\\r\\n");
	check("a\n\tb\r\n", true, "a\n\tb\\r\n");
}

static void
test_out_shows_broken_utf8(void **state)
{
	(void)state;
	check("\xff\xc3(", false, "\\xff\\xc3(");
	check("cut \xe8\xbb", false, "cut \\xe8\\xbb");
	/* an overlong slash, a surrogate */
	check("\xc0\xaf\xed\xa0\x80", false, "\\xc0\\xaf\\xed\\xa0\\x80");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_out_leaves_text_alone),
		cmocka_unit_test(test_out_escapes_what_steers),
		cmocka_unit_test(test_out_keeps_lines_if_asked),
		cmocka_unit_test(test_out_shows_broken_utf8),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
