#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "db/stmt.h"

static void
check(const char *sql, const char *schema, const char *expected)
{
	char *text = stmt_in_schema(sql, schema);

	assert_string_equal(text, expected);
	free(text);
}

static void
test_stmt_in_schema_names_each_place(void **state)
{
	(void)state;
	check("select * from jobq.tick($1), jobq.queue", "jobq",
	    "select * from \"jobq\".tick($1), \"jobq\".queue");
	check("select jobq.f(jobq.g())", "Work \"1\"",
	    "select \"Work \"\"1\"\"\".f(\"Work \"\"1\"\"\".g())");
	check("select 1", "other", "select 1");
	check("", "other", "");
}

static void
test_stmt_in_schema_leaves_parts_of_words_alone(void **state)
{
	(void)state;
	check("select my_jobq.f(), xjobq.g(), jobqx.h()", "a",
	    "select my_jobq.f(), xjobq.g(), jobqx.h()");
}

static void
test_stmt_listen_quotes(void **state)
{
	char *text = stmt_listen("Work \"1\"");

	(void)state;
	assert_string_equal(text, "LISTEN \"Work \"\"1\"\"\"");
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stmt_in_schema_names_each_place),
		cmocka_unit_test(test_stmt_in_schema_leaves_parts_of_words_alone),
		cmocka_unit_test(test_stmt_listen_quotes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
