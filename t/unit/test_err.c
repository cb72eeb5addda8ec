#include "unit.h"

#include <errno.h>

#include "base/err.h"

static void
test_err_set_and_code(void **state)
{
	struct err e = { 0 };

	(void)state;
	assert_int_equal(err_set(&e, "no %s at %d", "key", 7), -1);
	assert_string_equal(e.msg, "no key at 7");
	assert_int_equal(e.code, ERR_GENERAL);
	assert_int_equal(err_code(&e, ERR_DOWN, "gone"), -1);
	assert_string_equal(e.msg, "gone");
	assert_int_equal(e.code, ERR_DOWN);
}

static void
test_err_errno(void **state)
{
	struct err e = { 0 };

	(void)state;
	errno = ENOENT;
	assert_int_equal(err_errno(&e, "cannot open %s", "/x"), -1);
	assert_string_equal(e.msg, "cannot open /x: No such file or directory");
}

static void
test_err_prepend_keeps_the_code(void **state)
{
	struct err e = { 0 };

	(void)state;
	err_code(&e, ERR_CONFIG, "bad");
	assert_int_equal(err_prepend(&e, "queue %s", "email"), -1);
	assert_string_equal(e.msg, "queue email: bad");
	assert_int_equal(e.code, ERR_CONFIG);
}

static void
test_err_may_be_nobodys(void **state)
{
	(void)state;
	assert_int_equal(err_set(NULL, "x"), -1);
	assert_int_equal(err_code(NULL, ERR_BUSY, "x"), -1);
	assert_int_equal(err_errno(NULL, "x"), -1);
	assert_int_equal(err_prepend(NULL, "x"), -1);
}

static void
test_err_is_bounded(void **state)
{
	char wide[4000];
	struct err e = { 0 };

	(void)state;
	memset(wide, 'w', sizeof(wide) - 1);
	wide[sizeof(wide) - 1] = '\0';
	err_set(&e, "%s", wide);
	assert_int_equal(strlen(e.msg), sizeof(e.msg) - 1);
	errno = EACCES;
	err_errno(&e, "%s", wide);
	assert_int_equal(strlen(e.msg), sizeof(e.msg) - 1);
	err_prepend(&e, "here");
	assert_int_equal(strlen(e.msg), sizeof(e.msg) - 1);
	assert_memory_equal(e.msg, "here: www", 9);
	err_prepend(&e, "%s", wide);
	assert_int_equal(strlen(e.msg), sizeof(e.msg) - 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_err_set_and_code),
		cmocka_unit_test(test_err_errno),
		cmocka_unit_test(test_err_prepend_keeps_the_code),
		cmocka_unit_test(test_err_may_be_nobodys),
		cmocka_unit_test(test_err_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
