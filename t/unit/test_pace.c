/*
 * driver/pace: how many may be on their way to a destination.
 */
#include "unit.h"

#include "driver/http/pace.h"

#define MAX 500
#define MANY 2000

static struct pace_ticket tickets[MANY];

/* So many ask to go to it; how many may at once. */
static int
enter(struct pace *p, const char *name, int from, int count)
{
	int went = 0;

	for (int i = from; i < from + count; i++)
		went += pace_enter(p, &tickets[i], name, 0, 100);
	return went;
}

static int
next_all(struct pace *p, mono_t now)
{
	int n = 0;

	while (pace_next(p, now) != NULL)
		n++;
	return n;
}

static bool
is_going(const struct pace_ticket *t)
{
	return t->host != NULL && !t->waiting;
}

/* What is on its way, all of it, ends so; how many go next. */
static int
end_round(struct pace *p, int count, enum pace_end end)
{
	bool going[MANY];

	for (int i = 0; i < count; i++)
		going[i] = is_going(&tickets[i]);
	for (int i = 0; i < count; i++)
		if (going[i]) {
			pace_connected(p, &tickets[i]);
			pace_leave(p, &tickets[i], end);
		}
	return next_all(p, 0);
}

static void
leave_all(struct pace *p, int count)
{
	for (int i = 0; i < count; i++)
		pace_leave(p, &tickets[i], PACE_NONE);
}

/* Connections double, whatever the answers: 1, 2, 4 … are in the making. */
static void
test_pace_new(void **state)
{
	struct pace p;
	int connecting = 1, rounds = 0;

	(void)state;
	pace_init(&p, MAX);
	assert_int_equal(enter(&p, "http://a:80", 0, MAX), 1);
	for (; connecting > 0; rounds++) {
		bool going[MANY];

		assert_int_equal(connecting, rounds < 8 ? 1 << rounds : MAX - 255);
		for (int i = 0; i < MAX; i++)
			going[i] = is_going(&tickets[i]) && !tickets[i].connected;
		for (int i = 0; i < MAX; i++)
			if (going[i])
				pace_connected(&p, &tickets[i]);
		connecting = next_all(&p, 0);
	}
	assert_int_equal(rounds, 9);
	leave_all(&p, MAX);
	pace_clear(&p);
}

static void
test_pace_failed(void **state)
{
	static const int rounds[] = { 1, 2, 4, 8, 16, 32, 64, 128, 256 };
	struct pace p;

	(void)state;
	pace_init(&p, MAX);
	/* It is well known … */
	for (int i = 0; i < MAX; i++) {
		assert_true(pace_enter(&p, &tickets[i], "http://a:80", 0, 100));
		pace_connected(&p, &tickets[i]);
	}
	/* … and fails: all that is on its way. */
	assert_int_equal(end_round(&p, MAX, PACE_BAD), 0);
	assert_int_equal(enter(&p, "http://a:80", 0, 511), rounds[0]);
	for (size_t i = 1; i < sizeof(rounds) / sizeof(rounds[0]); i++)
		assert_int_equal(end_round(&p, 511, PACE_GOOD), rounds[i]);
	assert_int_equal(end_round(&p, 511, PACE_GOOD), 0);
	/* There is no limit any more. */
	assert_int_equal(enter(&p, "http://a:80", 0, MANY), MANY);
	leave_all(&p, MANY);
	pace_clear(&p);
}

/* One of many that fails halves it; what says nothing of the host does not. */
static void
test_pace_halves(void **state)
{
	struct pace p;

	(void)state;
	pace_init(&p, 8);
	for (int i = 0; i < 8; i++) {
		assert_true(pace_enter(&p, &tickets[i], "a", 0, 100));
		pace_connected(&p, &tickets[i]);
	}
	pace_leave(&p, &tickets[0], PACE_NONE);
	assert_true(pace_enter(&p, &tickets[0], "a", 0, 100));
	pace_leave(&p, &tickets[0], PACE_BAD);
	assert_false(pace_enter(&p, &tickets[0], "a", 0, 100));
	for (int i = 1; i <= 3; i++) {
		pace_leave(&p, &tickets[i], PACE_NONE);
		assert_null(pace_next(&p, 0));
	}
	pace_leave(&p, &tickets[4], PACE_NONE);
	assert_ptr_equal(pace_next(&p, 0), &tickets[0]);
	/* Another destination has nothing to do with it. */
	assert_true(pace_enter(&p, &tickets[9], "b", 0, 100));
	leave_all(&p, 10);
	pace_clear(&p);
}

/* Nobody waits for ever, and nobody is overtaken. */
static void
test_pace_patience(void **state)
{
	struct pace p;

	(void)state;
	pace_init(&p, 4);
	assert_int_equal(pace_due(&p), PACE_NEVER);
	assert_true(pace_enter(&p, &tickets[0], "a", 0, 100));
	assert_false(pace_enter(&p, &tickets[1], "a", 10, 100));
	assert_false(pace_enter(&p, &tickets[2], "a", 20, 50));
	assert_int_equal(pace_due(&p), 70);
	assert_null(pace_next(&p, 69));
	assert_ptr_equal(pace_next(&p, 70), &tickets[2]);
	assert_null(pace_next(&p, 70));
	pace_leave(&p, &tickets[2], PACE_NONE);
	pace_leave(&p, &tickets[0], PACE_NONE);
	assert_false(pace_enter(&p, &tickets[3], "a", 70, 100));
	assert_ptr_equal(pace_next(&p, 71), &tickets[1]);
	assert_null(pace_next(&p, 71));
	pace_leave(&p, &tickets[3], PACE_NONE);		/* cancelled while it waits */
	pace_leave(&p, &tickets[1], PACE_NONE);
	assert_int_equal(pace_due(&p), PACE_NEVER);
	pace_clear(&p);
}

/* However many names there are, few are remembered; those that failed longest ago go. */
static void
test_pace_forgets(void **state)
{
	struct pace p;
	char name[32];

	(void)state;
	pace_init(&p, 4);
	for (int i = 0; i < 100000; i++) {
		snprintf(name, sizeof(name), "http://%d:80", i);
		assert_true(pace_enter(&p, &tickets[0], name, 0, 100));
		pace_leave(&p, &tickets[0], PACE_BAD);
		assert_true(p.nidle <= PACE_HOSTS_MAX);
	}
	assert_int_equal(p.nidle, PACE_HOSTS_MAX);
	pace_clear(&p);
	assert_int_equal(p.nidle, 0);
}

/* Whatever happens, in whatever order: everybody goes in the end. */
static void
test_pace_chance(void **state)
{
	static const char *const names[] = { "a", "b", "c" };
	uint64_t chances = 5;
	struct pace p;

	(void)state;
	pace_init(&p, 16);
	memset(tickets, 0, sizeof(tickets));
	for (mono_t now = 0; now < 200000; now++) {
		struct pace_ticket *t = &tickets[chance_below(&chances, 64)], *n;

		if (t->host == NULL)
			pace_enter(&p, t, names[chance_below(&chances, 3)], now, 50);
		else if (chance_below(&chances, 2) == 0 && !t->waiting)
			pace_connected(&p, t);
		else
			pace_leave(&p, t, (enum pace_end)chance_below(&chances, 3));
		while ((n = pace_next(&p, now)) != NULL)
			assert_true(is_going(n));
		assert_true(pace_due(&p) > now);
	}
	leave_all(&p, 64);
	assert_int_equal(p.nidle, 3);
	pace_clear(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pace_new),
		cmocka_unit_test(test_pace_failed),
		cmocka_unit_test(test_pace_halves),
		cmocka_unit_test(test_pace_patience),
		cmocka_unit_test(test_pace_forgets),
		cmocka_unit_test(test_pace_chance),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
