/*
 * Classes of SQLSTATEs.
 */
#include "unit.h"

#include "core/sqlstate.h"

static void
test_sqlstate_classes(void **state)
{
	static const struct {
		const char *sqlstate;
		enum job_class class;
	} cases[] = {
		{ "", CLASS_NETWORK }, { "08006", CLASS_NETWORK },
		{ "57P01", CLASS_NETWORK }, { "57P03", CLASS_NETWORK },
		{ "25006", CLASS_NETWORK }, { "57014", CLASS_TIMEOUT },
		{ "22P02", CLASS_VALIDATION }, { "22012", CLASS_VALIDATION },
		{ "23505", CLASS_VALIDATION }, { "23503", CLASS_VALIDATION },
		{ "44000", CLASS_VALIDATION }, { "54000", CLASS_VALIDATION },
		{ "28P01", CLASS_AUTH }, { "42501", CLASS_AUTH },
		{ "53100", CLASS_RESOURCE }, { "53200", CLASS_RESOURCE },
		{ "42P01", CLASS_ERROR }, { "42601", CLASS_ERROR },
		{ "40001", CLASS_ERROR }, { "40P01", CLASS_ERROR },
		{ "P0001", CLASS_ERROR }, { "XX000", CLASS_ERROR },
		{ "25001", CLASS_ERROR }, { "55P03", CLASS_ERROR },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(job_class_name(sqlstate_class(
		    cases[i].sqlstate)), job_class_name(cases[i].class));
}

static void
test_sqlstate_passing(void **state)
{
	(void)state;
	assert_true(sqlstate_is_passing("40001"));
	assert_true(sqlstate_is_passing("40P01"));
	assert_true(sqlstate_is_passing("55P03"));
	assert_false(sqlstate_is_passing("55000"));
	assert_false(sqlstate_is_passing("23505"));
	assert_false(sqlstate_is_passing(""));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sqlstate_classes),
		cmocka_unit_test(test_sqlstate_passing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
