/*
 * The words behind jobqctl.
 */
#include "config.h"

#include "unit.h"

#include <string.h>

#include "ctl/args.h"

static struct args args;
static struct err e;

static int
parse(const char *allowed, const char *const *words)
{
	int n = 0;

	while (words[n] != NULL)
		n++;
	return args_parse(&args, n, (char **)(uintptr_t)words, allowed, &e);
}
#define PARSE(allowed, ...) \
    parse(allowed, (const char *const[]){ __VA_ARGS__, NULL })

static void
test_args_sorts_options_from_operands(void **state)
{
	(void)state;
	assert_int_equal(PARSE("queue limit all", "jobs", "--queue", "a", "-n5",
	    "one", "--limit=7", "--all", "-", "two"), 0);
	assert_int_equal(args.count, 4);
	assert_string_equal(args.operands[1], "one");
	assert_string_equal(args.operands[2], "-");
	assert_string_equal(args_get(&args, "queue"), "a");
	assert_string_equal(args_get(&args, "limit"), "7");
	assert_string_equal(args_nth(&args, "limit", 0), "5");
	assert_null(args_nth(&args, "limit", 2));
	assert_true(args_has(&args, "all"));
	assert_false(args_has(&args, "json"));
	assert_null(args_get(&args, "type"));
}

/* A letter that two options have is the command's own. */
static void
test_args_letter_of_the_command(void **state)
{
	(void)state;
	assert_int_equal(PARSE("lines", "-n", "5"), 0);
	assert_string_equal(args_get(&args, "lines"), "5");
	assert_null(args_get(&args, "limit"));
	assert_int_equal(PARSE("limit", "-n", "5"), 0);
	assert_string_equal(args_get(&args, "limit"), "5");
}

static void
test_args_end_with_two_dashes(void **state)
{
	(void)state;
	assert_int_equal(PARSE("", "a", "--", "--queue", "-x", "--"), 0);
	assert_int_equal(args.count, 4);
	assert_string_equal(args.operands[1], "--queue");
	assert_string_equal(args.operands[3], "--");
}

static void
test_args_takes_values_as_they_are(void **state)
{
	(void)state;
	assert_int_equal(PARSE("reason", "--reason", "--queue", "--reason="), 0);
	assert_string_equal(args_nth(&args, "reason", 0), "--queue");
	assert_string_equal(args_nth(&args, "reason", 1), "");
}

static void
test_args_refuses_mistakes(void **state)
{
	(void)state;
	assert_int_equal(PARSE("queue", "--quee", "a"), -1);
	assert_string_equal(e.msg, "no option --quee here; did you mean --queue?");
	assert_int_equal(PARSE("queue", "--all"), -1);
	assert_int_equal(PARSE("queue", "-n", "5"), -1);
	assert_string_equal(e.msg, "no option -n here");
	assert_int_equal(PARSE("queue", "--queue"), -1);
	assert_string_equal(e.msg, "--queue needs a value: QUEUE");
	assert_int_equal(PARSE("queue", "--json=yes"), -1);
	assert_string_equal(e.msg, "--json takes no value");
	assert_int_equal(PARSE(NULL, "--=x"), -1);
}

static void
test_args_bounds_the_words(void **state)
{
	static const char *const word[ARGS_MAX + 2] = { [0] = "a" };
	const char *words[ARGS_MAX + 2];

	(void)state;
	for (int i = 0; i <= ARGS_MAX; i++)
		words[i] = word[0];
	words[ARGS_MAX + 1] = NULL;
	assert_int_equal(parse("", words), -1);
	words[ARGS_MAX] = NULL;
	assert_int_equal(parse("", words), 0);
	assert_int_equal(args.count, ARGS_MAX);
}

static void
test_args_reads_numbers(void **state)
{
	long n = 20;

	(void)state;
	assert_int_equal(PARSE("limit", "a"), 0);
	assert_int_equal(args_number(&args, "limit", 1, 100, &n, &e), 0);
	assert_int_equal(n, 20);
	assert_int_equal(PARSE("limit", "-n", "100"), 0);
	assert_int_equal(args_number(&args, "limit", 1, 100, &n, &e), 0);
	assert_int_equal(n, 100);
	for (int i = 0; i < 4; i++) {
		const char *const bad[] = { "0", "101", "5x", "" };

		assert_int_equal(PARSE("limit", "--limit", bad[i]), 0);
		assert_int_equal(args_number(&args, "limit", 1, 100, &n, &e), -1);
		assert_int_equal(n, 100);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_args_sorts_options_from_operands),
		cmocka_unit_test(test_args_letter_of_the_command),
		cmocka_unit_test(test_args_end_with_two_dashes),
		cmocka_unit_test(test_args_takes_values_as_they_are),
		cmocka_unit_test(test_args_refuses_mistakes),
		cmocka_unit_test(test_args_bounds_the_words),
		cmocka_unit_test(test_args_reads_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
