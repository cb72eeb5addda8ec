#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "conf/zones.h"
#include "sched/instants.h"

#define S INT64_C(1000000)
#define T0 (INT64_C(1795255200) * S)	/* 2026-11-21T10:00:00Z, a Saturday */

static struct schedule_conf
every(int64_t ms, enum catch_up policy, int64_t window_ms)
{
	return (struct schedule_conf){ .name = (char *)"s", .kind = SPEC_EVERY,
	    .every_ms = ms, .catch_up = policy, .catch_up_window_ms = window_ms };
}

static struct schedule_conf
cron(const char *text, enum catch_up policy, int64_t window_ms)
{
	struct schedule_conf s = { .name = (char *)"s", .kind = SPEC_CRON,
	    .catch_up = policy, .catch_up_window_ms = window_ms };

	assert_int_equal(cron_parse(&s.cron, text, NULL), 0);
	return s;
}

/* The instants to be fired after a gap until now: their number and the first. */
static int
fires(const struct schedule_conf *s, struct catch_up_plan plan, dbtime_us now,
    dbtime_us *first)
{
	int count = 0;
	dbtime_us next = instants_next(s, plan.from);

	*first = next;
	while (next != INSTANT_NEVER && next <= now) {
		count++;
		next = instants_next(s, next);
	}
	return count;
}

static void
test_instants_next_every_is_aligned_to_the_epoch(void **state)
{
	struct schedule_conf s = every(30000, CATCH_UP_LAST, 3600000);

	(void)state;
	assert_int_equal(instants_next(&s, T0), T0 + 30 * S);
	assert_int_equal(instants_next(&s, T0 - 1), T0);
	assert_int_equal(instants_next(&s, T0 + 1), T0 + 30 * S);
	assert_int_equal(instants_next(&s, T0 + 29 * S + 999999), T0 + 30 * S);
	s.every_ms = 7;
	assert_int_equal(instants_next(&s, 0), 7000);
	assert_int_equal(instants_next(&s, 6999), 7000);
	assert_int_equal(instants_next(&s, 7000), 14000);
}

static void
test_instants_next_cron(void **state)
{
	struct schedule_conf s = cron("*/30 * * * * *", CATCH_UP_LAST, 3600000);

	(void)state;
	assert_int_equal(instants_next(&s, T0 + 1), T0 + 30 * S);
	assert_int_equal(instants_next(&s, T0 - 1), T0);
	s = cron("0 0 31 2 *", CATCH_UP_LAST, 3600000);
	assert_int_equal(instants_next(&s, T0), INSTANT_NEVER);
}

/* In a zone, and by its rule for changes of the clocks. */
static void
test_instants_next_cron_in_a_zone(void **state)
{
	struct schedule_conf s = cron("0 2 * * *", CATCH_UP_LAST, 3600000);
	dbtime_us change = INT64_C(1791043200) * S;	/* 2026-10-03T16:00:00Z */

	(void)state;
	if (zones_find("Australia/Sydney", &s.zone, NULL) != 0)
		skip();
	assert_int_equal(instants_next(&s, T0), T0 + 5 * 3600 * S);
	assert_int_equal(instants_next(&s, change - 3600 * S), change);
	assert_int_equal(instants_next(&s, change), change + 23 * 3600 * S);
	s.dst = CRON_DST_SKIP;
	assert_int_equal(instants_next(&s, change - 3600 * S),
	    change + 23 * 3600 * S);
}

static void
test_instants_next_at_comes_once(void **state)
{
	struct schedule_conf s = { .kind = SPEC_AT, .at_ms = T0 / 1000 };

	(void)state;
	assert_int_equal(instants_next(&s, T0 - 1), T0);
	assert_int_equal(instants_next(&s, T0), INSTANT_NEVER);
}

static void
test_instants_next_between_starts_and_ends(void **state)
{
	struct schedule_conf s = every(10000, CATCH_UP_ALL, 3600000);

	(void)state;
	s.starts_ms = T0 / 1000;
	s.ends_ms = T0 / 1000 + 15000;
	assert_int_equal(instants_next(&s, 0), T0);
	assert_int_equal(instants_next(&s, T0), T0 + 10 * S);
	assert_int_equal(instants_next(&s, T0 + 10 * S), INSTANT_NEVER);
}

static void
test_instants_jitter_spreads_and_repeats(void **state)
{
	struct schedule_conf s = every(60000, CATCH_UP_LAST, 3600000);
	int64_t sum = 0;

	(void)state;
	assert_int_equal(instants_jitter(&s, T0), 0);
	s.jitter_ms = 10000;
	for (int i = 0; i < 1000; i++) {
		dbtime_us j = instants_jitter(&s, T0 + i * 60 * S);

		assert_in_range(j, 0, 10 * S - 1);
		assert_int_equal(j, instants_jitter(&s, T0 + i * 60 * S));
		sum += j;
	}
	assert_in_range(sum / 1000, 45 * S / 10, 55 * S / 10);
}

static void
test_instants_catch_up_none_passes_over_all(void **state)
{
	struct schedule_conf s = every(1000, CATCH_UP_NONE, 3600000);
	struct catch_up_plan plan = instants_catch_up(&s, T0, T0 + 10 * S);
	dbtime_us first;

	(void)state;
	assert_int_equal(fires(&s, plan, T0 + 10 * S, &first), 0);
	assert_int_equal(plan.missed, 10);
	assert_int_equal(first, T0 + 11 * S);
}

static void
test_instants_catch_up_last_fires_the_newest(void **state)
{
	struct schedule_conf s = every(1000, CATCH_UP_LAST, 3600000);
	struct catch_up_plan plan =
	    instants_catch_up(&s, T0, T0 + 10 * S + 500000);
	dbtime_us first;

	(void)state;
	assert_int_equal(fires(&s, plan, T0 + 10 * S + 500000, &first), 1);
	assert_int_equal(first, T0 + 10 * S);
	assert_int_equal(plan.missed, 9);
}

static void
test_instants_catch_up_last_outside_its_window(void **state)
{
	struct schedule_conf s = cron("0 9 * * *", CATCH_UP_LAST, 3600000);
	dbtime_us last = T0 - 25 * 3600 * S, first;	/* yesterday's 9:00 */
	struct catch_up_plan plan = instants_catch_up(&s, last, T0);

	(void)state;
	/* Today's 9:00 is exactly as old as the window: it is made up for. */
	assert_int_equal(fires(&s, plan, T0, &first), 1);
	assert_int_equal(plan.missed, 0);
	plan = instants_catch_up(&s, last, T0 + 1);
	assert_int_equal(fires(&s, plan, T0 + 1, &first), 0);
	assert_int_equal(plan.missed, 1);
	assert_int_equal(first, T0 + 23 * 3600 * S);
}

static void
test_instants_catch_up_all_within_its_window(void **state)
{
	struct schedule_conf s = every(60000, CATCH_UP_ALL, 3600000);
	struct catch_up_plan plan;
	dbtime_us first;

	(void)state;
	plan = instants_catch_up(&s, T0 - 600 * S, T0);
	assert_int_equal(fires(&s, plan, T0, &first), 10);
	assert_int_equal(first, T0 - 540 * S);
	assert_int_equal(plan.missed, 0);
	plan = instants_catch_up(&s, T0 - 7200 * S, T0);
	assert_int_equal(fires(&s, plan, T0, &first), 61);
	assert_int_equal(first, T0 - 3600 * S);
	assert_int_equal(plan.missed, 59);
}

static void
test_instants_catch_up_of_nothing(void **state)
{
	static const enum catch_up policies[] =
	    { CATCH_UP_NONE, CATCH_UP_LAST, CATCH_UP_ALL };

	(void)state;
	for (int i = 0; i < 3; i++) {
		struct schedule_conf s = cron("0 12 * * *", policies[i], 3600000);
		struct catch_up_plan plan;
		dbtime_us first;

		/* new: what was before it does not concern it */
		plan = instants_catch_up(&s, 0, T0);
		assert_int_equal(plan.from, T0);
		assert_int_equal(plan.missed, 0);
		/* nothing was due */
		plan = instants_catch_up(&s, T0 - 60 * S, T0);
		assert_int_equal(fires(&s, plan, T0, &first), 0);
		assert_int_equal(first, T0 + 2 * 3600 * S);
		assert_int_equal(plan.missed, 0);
		/* another node's clock of an instant is ahead: never back */
		plan = instants_catch_up(&s, T0 + 5 * S, T0);
		assert_int_equal(plan.from, T0 + 5 * S);
	}
}

static void
test_instants_catch_up_of_a_year_of_seconds(void **state)
{
	struct schedule_conf s = cron("* * * * * *", CATCH_UP_LAST, 60000);
	dbtime_us year = INT64_C(365) * 86400 * S, first;
	struct catch_up_plan plan = instants_catch_up(&s, T0 - year, T0);

	(void)state;
	assert_int_equal(fires(&s, plan, T0, &first), 1);
	assert_int_equal(first, T0);
	assert_int_equal(plan.missed, INSTANTS_COUNT_MAX);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_instants_next_every_is_aligned_to_the_epoch),
		cmocka_unit_test(test_instants_next_cron),
		cmocka_unit_test(test_instants_next_cron_in_a_zone),
		cmocka_unit_test(test_instants_next_at_comes_once),
		cmocka_unit_test(test_instants_next_between_starts_and_ends),
		cmocka_unit_test(test_instants_jitter_spreads_and_repeats),
		cmocka_unit_test(test_instants_catch_up_none_passes_over_all),
		cmocka_unit_test(test_instants_catch_up_last_fires_the_newest),
		cmocka_unit_test(test_instants_catch_up_last_outside_its_window),
		cmocka_unit_test(test_instants_catch_up_all_within_its_window),
		cmocka_unit_test(test_instants_catch_up_of_nothing),
		cmocka_unit_test(test_instants_catch_up_of_a_year_of_seconds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
