#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/when.h"

static void
test_when_text(void **state)
{
	char buf[WHEN_TEXT_MAX];

	(void)state;
	assert_string_equal(when_text(buf, 0), "1970-01-01T00:00:00Z");
	assert_string_equal(when_text(buf, INT64_C(1795255200123456)),
	    "2026-11-21T10:00:00.123456Z");
	assert_string_equal(when_text(buf, INT64_C(1795255200500000)),
	    "2026-11-21T10:00:00.5Z");
	assert_string_equal(when_text(buf, -1), "1969-12-31T23:59:59.999999Z");
}

static void
test_when_text_is_bounded(void **state)
{
	char buf[WHEN_TEXT_MAX];

	(void)state;
	assert_string_equal(when_text(buf, INT64_MAX - 775807),
	    "9999-12-31T23:59:59Z");
	assert_string_equal(when_text(buf, -INT64_C(62167219200000001)),
	    "0000-01-01T00:00:00.999999Z");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_when_text),
		cmocka_unit_test(test_when_text_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
