/*
 * worker/recent: which endings a worker still has when its leader has died.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/xalloc.h"
#include "worker/recent.h"

static struct recent recent;
static struct finished list[RECENT_MAX];

static void
put(int64_t id, mono_t at, char *text)
{
	struct finished end = { .job = { .id = id }, .at = at };

	run_result_init(&end.result);
	end.result.result = text;
	recent_take(&recent, &end);
}

static char *
text_of(size_t len)
{
	char *text = xmalloc(len + 1);

	memset(text, 'x', len);
	text[len] = '\0';
	return text;
}

static void
test_recent_keeps_the_newest_in_order(void **state)
{
	(void)state;
	assert_int_equal(recent_list(&recent, 0, list), 0);
	for (int i = 0; i < RECENT_MAX + 7; i++)
		put(i, i, NULL);
	assert_int_equal(recent_list(&recent, 1000, list), RECENT_MAX);
	for (int i = 0; i < RECENT_MAX; i++)
		assert_int_equal(list[i].job.id, i + 7);
	recent_clear(&recent);
	assert_int_equal(recent_list(&recent, 1000, list), 0);
}

static void
test_recent_is_bounded_in_size(void **state)
{
	(void)state;
	for (int i = 0; i < 5; i++)
		put(i, 0, text_of(RECENT_BYTES / 4));
	assert_int_equal(recent_list(&recent, 0, list), 4);
	assert_int_equal(list[0].job.id, 1);
	/* One alone is kept, however large it is. */
	put(5, 0, text_of(RECENT_BYTES + 1));
	assert_int_equal(recent_list(&recent, 0, list), 1);
	assert_int_equal(list[0].job.id, 5);
	recent_clear(&recent);
}

static void
test_recent_forgets_what_is_old(void **state)
{
	(void)state;
	put(1, 0, text_of(3));
	put(2, MONO_SECOND, text_of(3));
	assert_int_equal(recent_list(&recent, RECENT_AGE, list), 2);
	assert_int_equal(recent_list(&recent, RECENT_AGE + 1, list), 1);
	assert_int_equal(list[0].job.id, 2);
	recent_clear(&recent);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_recent_keeps_the_newest_in_order),
		cmocka_unit_test(test_recent_is_bounded_in_size),
		cmocka_unit_test(test_recent_forgets_what_is_old),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
