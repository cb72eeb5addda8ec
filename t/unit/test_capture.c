#include "unit.h"

#include "driver/capture.h"

static const char *
last_line(struct capture *c, bool *too_long)
{
	static char text[256];
	size_t len;
	const char *line = capture_last_line(c, &len, too_long);

	if (line == NULL)
		return NULL;
	assert_true(len < sizeof(text));
	memcpy(text, line, len);
	text[len] = '\0';
	return text;
}

static void
test_capture_last_line(void **state)
{
	struct capture c;
	bool too_long;

	(void)state;
	capture_init(&c, 100);
	assert_null(last_line(&c, &too_long));
	capture_add(&c, "\n \r\n", 4);
	assert_null(last_line(&c, &too_long));
	capture_add(&c, "one\n two", 8);
	assert_string_equal(last_line(&c, &too_long), "two");
	capture_add(&c, " more \r\n\n\t\n", 11);
	assert_string_equal(last_line(&c, &too_long), "two more");
	assert_false(too_long);
	capture_clear(&c);
}

/* Against all of the text, whatever the pieces it came in. */
static void
test_capture_random(void **state)
{
	uint64_t chances = 3;

	(void)state;
	for (int run = 0; run < 3000; run++) {
		struct capture c;
		char all[2000];
		size_t len = 0, got;
		const char *tail;

		capture_init(&c, 64);
		while (len < 1500) {
			size_t n = (size_t)chance_below(&chances, 200);

			for (size_t i = 0; i < n; i++)
				all[len + i] = (char)('a' + chance_below(&chances, 26));
			if (n > 0 && chance_below(&chances, 2) == 0)
				all[len + (size_t)chance_below(&chances, (int)n)] = '\n';
			capture_add(&c, all + len, n);
			len += n;
			assert_true(c.kept.len <= 128);
		}
		tail = capture_tail(&c, 64, &got);
		assert_int_equal(got, 64);
		assert_memory_equal(tail, all + len - 64, 64);
		assert_int_equal(c.total, len);
		capture_clear(&c);
	}
}

static void
test_capture_too_long(void **state)
{
	struct capture c;
	bool too_long;

	(void)state;
	capture_init(&c, 10);
	capture_add(&c, "0123456789abcdef", 16);
	assert_null(last_line(&c, &too_long));
	assert_true(too_long);
	capture_add(&c, "\n{}\n", 4);
	assert_string_equal(last_line(&c, &too_long), "{}");
	assert_false(too_long);
	capture_clear(&c);
}

/* A tail does not begin within a character. */
static void
test_capture_utf8(void **state)
{
	struct capture c;
	size_t len;
	const char *tail;

	(void)state;
	capture_init(&c, 10);
	capture_add(&c, "\xc3\xa4\xc3\xb6\xc3\xbc", 6);
	tail = capture_tail(&c, 3, &len);
	assert_int_equal(len, 2);
	assert_memory_equal(tail, "\xc3\xbc", 2);
	capture_clear(&c);
}

/* What came since the last time, once. */
static void
test_capture_give(void **state)
{
	struct buf b = { .len = 0 };
	struct capture c;

	(void)state;
	capture_init(&c, 8);
	capture_give(&c, &b, 8, "title");
	assert_int_equal(b.len, 0);
	capture_add(&c, "one\n", 4);
	capture_give(&c, &b, 8, "");
	capture_add(&c, "t\0o\xff", 4);
	capture_give(&c, &b, 8, "title");
	capture_give(&c, &b, 8, "title");
	assert_string_equal(b.data, "one\ntitle\nt?o?");
	buf_reset(&b);
	capture_add(&c, "0123456789abcdef", 16);
	capture_give(&c, &b, 8, "");
	assert_string_equal(b.data, "[8 bytes before this are not kept]\n89abcdef");
	buf_reset(&b);
	buf_str(&b, "x");
	capture_add(&c, "0123456789abcdef", 16);
	capture_give(&c, &b, 4, "title");
	assert_string_equal(b.data,
	    "x\ntitle\n[12 bytes before this are not kept]\ncdef");
	buf_clear(&b);
	capture_clear(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_capture_give),
		cmocka_unit_test(test_capture_last_line),
		cmocka_unit_test(test_capture_random),
		cmocka_unit_test(test_capture_too_long),
		cmocka_unit_test(test_capture_utf8),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
