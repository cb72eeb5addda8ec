#include "unit.h"

#include "driver/lines.h"

struct seen {
	struct lines *lines;
	char text[4096];	/* lines with "|" behind each, "!" for one too long */
	size_t clear_at;	/* after so many; 0: never */
	size_t count;
};

static void
see(char *line, size_t len, void *arg)
{
	struct seen *s = arg;

	if (line != NULL) {
		assert_int_equal(strlen(line), len);
		strcat(s->text, line);
	}
	strcat(s->text, line != NULL ? "|" : "!");
	if (++s->count == s->clear_at)
		lines_clear(s->lines);
}

static void
test_lines_bounded(void **state)
{
	struct lines l = { .max = 4 };
	struct seen s = { .lines = &l };

	(void)state;
	lines_add(&l, "a\n\nbc", 5, see, &s);
	assert_string_equal(s.text, "a||");
	lines_add(&l, "de\nabcde", 8, see, &s);
	assert_string_equal(s.text, "a||bcde|!");
	lines_add(&l, "fghijklmnop", 11, see, &s);	/* said once */
	lines_add(&l, "q\nabcd\nabcde\nf\n", 15, see, &s);
	assert_string_equal(s.text, "a||bcde|!abcd|!f|");
	lines_clear(&l);
}

/* Whatever the pieces, the lines are the same. */
static void
test_lines_pieces(void **state)
{
	uint64_t chances = 5;

	(void)state;
	for (int run = 0; run < 2000; run++) {
		struct lines whole = { .max = 16 }, parts = { .max = 16 };
		struct seen a = { .lines = &whole }, b = { .lines = &parts };
		char text[600];
		size_t len = (size_t)chance_below(&chances, sizeof(text)), at = 0;

		for (size_t i = 0; i < len; i++)
			text[i] = "abc\n"[chance_below(&chances, run % 2 ? 4 : 30) & 3];
		lines_add(&whole, text, len, see, &a);
		while (at < len) {
			size_t n = 1 + (size_t)chance_below(&chances, 40);
			char *piece;

			if (n > len - at)
				n = len - at;
			piece = exact(text + at, n, false);
			lines_add(&parts, piece, n, see, &b);
			free(piece);
			at += n;
		}
		assert_string_equal(a.text, b.text);
		lines_clear(&whole);
		lines_clear(&parts);
	}
}

/* Who gets a line may forget the stream. */
static void
test_lines_cleared_inside(void **state)
{
	struct lines l = { .max = 4 };
	struct seen s = { .lines = &l, .clear_at = 1 };

	(void)state;
	lines_add(&l, "ab\ncd\nef", 8, see, &s);
	assert_string_equal(s.text, "ab|cd|");
	lines_clear(&l);
	s = (struct seen){ .lines = &l, .clear_at = 1 };
	lines_add(&l, "toolong", 7, see, &s);
	lines_add(&l, "ab\n", 3, see, &s);
	assert_string_equal(s.text, "!ab|");
	lines_clear(&l);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines_bounded),
		cmocka_unit_test(test_lines_pieces),
		cmocka_unit_test(test_lines_cleared_inside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
