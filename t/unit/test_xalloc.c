#include "unit.h"

#include "base/xalloc.h"

static void
test_xalloc_sizes(void **state)
{
	char *p = xmalloc(0);

	(void)state;
	assert_non_null(p);
	free(p);
	p = xcalloc(3, 5);
	for (int i = 0; i < 15; i++)
		assert_int_equal(p[i], 0);
	p = xreallocarray(p, 100, 10);
	memset(p, 1, 1000);
	p = xreallocarray(p, 0, 10);
	assert_non_null(p);
	free(p);
	free(xcalloc(0, 0));
}

static void
test_xalloc_strings(void **state)
{
	char *s = xstrdup("text");

	(void)state;
	assert_string_equal(s, "text");
	free(s);
	assert_null(xstrdup(NULL));
	s = xstrndup("text", 2);
	assert_string_equal(s, "te");
	free(s);
	s = exact("ab", 2, false);	/* no NUL within max: not read past it */
	char *copy = xstrndup(s, 2);
	assert_string_equal(copy, "ab");
	free(copy);
	free(s);
	s = xstrndup("text", 99);
	assert_string_equal(s, "text");
	free(s);
	s = xasprintf("%d/%s", 7, "x");
	assert_string_equal(s, "7/x");
	free(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_xalloc_sizes),
		cmocka_unit_test(test_xalloc_strings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
