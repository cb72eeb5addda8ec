#include "unit.h"

#include "core/near.h"

static const char *const names[] = {
	"workers", "worker", "priority", "retry", "on", "timeout", "schedules",
	"max_crashes", "concurrency",
};
#define COUNT (sizeof(names) / sizeof(names[0]))

static void
check(const char *typed, const char *expected)
{
	const char *found = near_name(typed, names, COUNT);

	if (expected == NULL)
		assert_null(found);
	else {
		assert_non_null(found);
		assert_string_equal(found, expected);
	}
}

static void
test_near_finds_one_edit(void **state)
{
	(void)state;
	check("workrs", "workers");		/* a letter less */
	check("workerss", "workers");		/* one more */
	check("workerz", "workers");		/* another, and worker is as near: the first wins */
	check("wrokers", "workers");		/* changed places count once */
	check("retyr", "retry");
	check("onn", "on");
	check("in", "on");
}

static void
test_near_finds_the_nearest(void **state)
{
	(void)state;
	check("worker", "worker");
	check("schedule", "schedules");
	check("concurency", "concurrency");
	check("maxcrashes", "max_crashes");
	check("max-crash", "max_crashes");
}

static void
test_near_takes_letters_of_either_case(void **state)
{
	(void)state;
	check("PRIORITY", "priority");
	check("Timeouts", "timeout");
}

static void
test_near_is_silent_about_strangers(void **state)
{
	char wide[400];

	(void)state;
	check("xyzzy", NULL);
	check("", NULL);
	check("off", NULL);
	check("time", NULL);			/* three edits of seven letters */
	memset(wide, 'w', sizeof(wide) - 1);
	wide[sizeof(wide) - 1] = '\0';
	check(wide, NULL);
	assert_null(near_name("a", NULL, 0));
}

static void
test_near_answers_one_of_the_names(void **state)
{
	uint64_t seed = 1;
	char text[80];

	(void)state;
	for (int i = 0; i < 20000; i++) {
		const char *name = names[chance_below(&seed, COUNT)], *found;
		size_t len = strlen(name);
		bool known = false;
		char *typed;

		memcpy(text, name, len);
		len = mutate(text, len, sizeof(text), "abcdefw_", &seed);
		typed = exact(text, len, true);
		found = near_name(typed, names, COUNT);
		for (size_t n = 0; n < COUNT; n++)
			known = known || found == names[n];
		assert_true(known || found == NULL);
		free(typed);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_near_finds_one_edit),
		cmocka_unit_test(test_near_finds_the_nearest),
		cmocka_unit_test(test_near_takes_letters_of_either_case),
		cmocka_unit_test(test_near_is_silent_about_strangers),
		cmocka_unit_test(test_near_answers_one_of_the_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
