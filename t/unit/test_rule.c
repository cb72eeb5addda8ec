/*
 * When an alert starts, is told, and ends. S1-66
 */
#include "unit.h"

#include <math.h>

#include "core/rule.h"

#define S INT64_C(1000000)

static const struct rule_look calm = { 0 };	/* nobody has said anything */
static const struct rule simple = { .over = true, .limit = 10, .clear = 10 };

static enum rule_event
step(const struct rule *r, struct rule_state *s, double value, int64_t now,
    bool *tell)
{
	struct rule_look look = { .known = !isnan(value), .value = value,
	    .sample = INT64_MAX };

	return rule_step(r, s, &look, now, tell);
}

#define STEP(value, at, event, told)					\
	do {								\
		bool tell_;						\
		assert_int_equal(step(&r, &s, value, at, &tell_), event);	\
		assert_int_equal(tell_, told);				\
	} while (0)

static void
test_rule_fires_and_ends_once(void **state)
{
	struct rule r = simple;
	struct rule_state s = { 0 };

	(void)state;
	STEP(10, 1 * S, RULE_SAME, false);
	STEP(11, 2 * S, RULE_FIRES, true);
	STEP(99, 3 * S, RULE_SAME, false);
	STEP(11, 4 * S, RULE_SAME, false);
	STEP(10, 5 * S, RULE_ENDS, true);
	STEP(9, 6 * S, RULE_SAME, false);
	STEP(11, 7 * S, RULE_FIRES, true);
}

static void
test_rule_waits_for_its_time(void **state)
{
	struct rule r = simple;
	struct rule_state s = { 0 };

	(void)state;
	r.for_us = 30 * S;
	assert_int_equal(rule_wait(&r, &s, &calm, 0), -1);
	STEP(11, 10 * S, RULE_BREAKS, false);
	assert_int_equal(rule_wait(&r, &s, &calm, 15 * S), 25 * S);
	STEP(11, 39 * S, RULE_SAME, false);
	STEP(9, 39 * S, RULE_MENDS, false);
	STEP(11, 50 * S, RULE_BREAKS, false);
	STEP(11, 80 * S, RULE_FIRES, true);
	assert_int_equal(rule_wait(&r, &s, &calm, 80 * S), -1);
	/* what is bad for a moment's rest is bad for as long again */
	STEP(10, 81 * S, RULE_ENDS, true);
	STEP(11, 82 * S, RULE_BREAKS, false);
}

static void
test_rule_has_hysteresis(void **state)
{
	struct rule r = simple;
	struct rule_state s = { 0 };

	(void)state;
	r.clear = 8;
	STEP(9, 1, RULE_SAME, false);
	STEP(11, 2, RULE_FIRES, true);
	STEP(9, 3, RULE_SAME, false);
	STEP(8.5, 4, RULE_SAME, false);
	STEP(8, 5, RULE_ENDS, true);
	STEP(9, 6, RULE_SAME, false);
}

static void
test_rule_below(void **state)
{
	struct rule r = { .limit = 1, .clear = 2 };
	struct rule_state s = { 0 };

	(void)state;
	STEP(1, 1, RULE_SAME, false);
	STEP(0, 2, RULE_FIRES, true);
	STEP(1, 3, RULE_SAME, false);
	STEP(2, 4, RULE_ENDS, true);
}

/* Of too few jobs, or no value, nothing is known. */
static void
test_rule_needs_a_sample(void **state)
{
	struct rule r = simple;
	struct rule_state s = { 0 };
	struct rule_look look = { .known = true, .value = 99, .sample = 19 };
	bool tell;

	(void)state;
	r.min_sample = 20;
	assert_int_equal(rule_step(&r, &s, &look, 1, &tell), RULE_SAME);
	look.sample = 20;
	assert_int_equal(rule_step(&r, &s, &look, 2, &tell), RULE_FIRES);
	look.sample = 3;
	assert_int_equal(rule_step(&r, &s, &look, 3, &tell), RULE_ENDS);
	STEP(11, 4, RULE_FIRES, true);
	STEP((double)NAN, 5, RULE_ENDS, true);
}

static void
test_rule_silence(void **state)
{
	struct rule r = simple;
	struct rule_state s = { 0 };
	struct rule_look look = { .known = true, .value = 11,
	    .sample = INT64_MAX, .silenced = true };
	bool tell;

	(void)state;
	r.repeat_us = 10 * S;
	assert_int_equal(rule_step(&r, &s, &look, 1 * S, &tell), RULE_FIRES);
	assert_false(tell);
	assert_int_equal(rule_step(&r, &s, &look, 90 * S, &tell), RULE_SAME);
	look.silenced = false;
	assert_int_equal(rule_step(&r, &s, &look, 91 * S, &tell), RULE_TELLS);
	assert_true(tell);
	assert_int_equal(rule_step(&r, &s, &look, 92 * S, &tell), RULE_SAME);
	/* the end of what was told under a silence is not told */
	look.silenced = true;
	look.value = 1;
	assert_int_equal(rule_step(&r, &s, &look, 93 * S, &tell), RULE_ENDS);
	assert_false(tell);
	/* nor that of what never was */
	look.value = 11;
	assert_int_equal(rule_step(&r, &s, &look, 94 * S, &tell), RULE_FIRES);
	look.silenced = false;
	look.value = 1;
	assert_int_equal(rule_step(&r, &s, &look, 95 * S, &tell), RULE_ENDS);
	assert_false(tell);
}

static void
test_rule_reminds_and_escalates(void **state)
{
	struct rule r = simple;
	struct rule_state s = { 0 };
	struct rule_look look = { .known = true, .value = 11,
	    .sample = INT64_MAX };
	bool tell;

	(void)state;
	r.repeat_us = 40 * S;
	r.escalate_us = 60 * S;
	assert_int_equal(rule_step(&r, &s, &look, 100 * S, &tell), RULE_FIRES);
	assert_int_equal(rule_wait(&r, &s, &calm, 100 * S), 40 * S);
	assert_int_equal(rule_step(&r, &s, &look, 139 * S, &tell), RULE_SAME);
	assert_int_equal(rule_step(&r, &s, &look, 140 * S, &tell), RULE_REMINDS);
	assert_true(tell);
	assert_int_equal(rule_wait(&r, &s, &calm, 140 * S), 20 * S);
	assert_int_equal(rule_step(&r, &s, &look, 160 * S, &tell),
	    RULE_ESCALATES);
	assert_true(tell);
	assert_int_equal(rule_step(&r, &s, &look, 161 * S, &tell), RULE_SAME);
	assert_int_equal(rule_step(&r, &s, &look, 200 * S, &tell), RULE_REMINDS);
	look.acknowledged = true;
	assert_int_equal(rule_step(&r, &s, &look, 900 * S, &tell), RULE_SAME);
	assert_int_equal(rule_wait(&r, &s, &look, 900 * S), -1);
	look.value = 0;
	assert_int_equal(rule_step(&r, &s, &look, 901 * S, &tell), RULE_ENDS);
	assert_true(tell);
}

/* What rule_wait() says is so: nothing before, something then. */
static void
check_wait(const struct rule *r, const struct rule_state *s,
    const struct rule_look *look, int64_t now)
{
	int64_t wait = rule_wait(r, s, look, now);
	struct rule_state later = *s;
	bool tell;

	assert_true(wait >= -1);
	if (wait != 0)
		assert_int_equal(rule_step(r, &later, look, wait > 0 ?
		    now + wait - 1 : now + 1000000, &tell), RULE_SAME);
	later = *s;
	if (wait >= 0)
		assert_int_not_equal(rule_step(r, &later, look, now + wait,
		    &tell), RULE_SAME);
}

/* Whatever comes: each start has one end, and each is told once at most. */
static void
test_rule_by_chance(void **state)
{
	uint64_t seed = 66;

	(void)state;
	for (int run = 0; run < 20000; run++) {
		struct rule r = { .over = chance_below(&seed, 2) != 0,
		    .limit = chance_below(&seed, 5),
		    .min_sample = chance_below(&seed, 3),
		    .for_us = chance_below(&seed, 3) * 5,
		    .repeat_us = chance_below(&seed, 3) * 7,
		    .escalate_us = chance_below(&seed, 3) * 11 };
		struct rule_state s = { 0 };
		bool firing = false, broken = false, told = false;
		int64_t now = 1, fired = 0, since = 0, last = 0;
		int escalated = 0;

		r.clear = r.limit + (r.over ? -1 : 1) *
		    chance_below(&seed, 3);
		for (int i = 0; i < 60; i++) {
			struct rule_look look = {
				.known = chance_below(&seed, 20) > 0,
				.value = chance_below(&seed, 7) - 1,
				.sample = chance_below(&seed, 6),
				.silenced = chance_below(&seed, 4) == 0,
				.acknowledged = chance_below(&seed, 4) == 0,
			};
			bool tell, bad = look.known &&
			    look.sample >= r.min_sample && (r.over ?
			    look.value > r.limit : look.value < r.limit);
			enum rule_event event;

			now += chance_below(&seed, 9);
			event = rule_step(&r, &s, &look, now, &tell);
			assert_false(tell && look.silenced);
			switch (event) {
			case RULE_SAME:
				assert_false(tell);
				break;
			case RULE_BREAKS:
				assert_true(bad && !broken && r.for_us > 0);
				broken = true;
				since = now;
				break;
			case RULE_MENDS:
				assert_true(!bad && broken && !firing);
				broken = false;
				break;
			case RULE_FIRES:
				assert_true(bad && !firing);
				assert_true(r.for_us == 0 ||
				    (broken && now - since >= r.for_us));
				assert_int_equal(tell, !look.silenced);
				broken = firing = true;
				told = tell;
				fired = last = now;
				escalated = 0;
				break;
			case RULE_TELLS:
				assert_true(firing && !told && tell);
				told = true;
				last = now;
				break;
			case RULE_REMINDS:
				assert_true(firing && told && tell &&
				    !look.acknowledged &&
				    now - last >= r.repeat_us);
				last = now;
				break;
			case RULE_ESCALATES:
				assert_true(firing && told && tell &&
				    !look.acknowledged && ++escalated == 1 &&
				    now - fired >= r.escalate_us);
				last = now;
				break;
			case RULE_ENDS:
				assert_true(firing && !bad);
				assert_int_equal(tell, told && !look.silenced);
				firing = broken = told = false;
				break;
			}
			assert_int_equal(s.firing, firing);
			assert_int_equal(s.broken, broken);
			check_wait(&r, &s, &look, now);
			/* what is bad for long enough fires */
			assert_false(bad && !firing &&
			    (!broken || now - since >= r.for_us));
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rule_fires_and_ends_once),
		cmocka_unit_test(test_rule_waits_for_its_time),
		cmocka_unit_test(test_rule_has_hysteresis),
		cmocka_unit_test(test_rule_below),
		cmocka_unit_test(test_rule_needs_a_sample),
		cmocka_unit_test(test_rule_silence),
		cmocka_unit_test(test_rule_reminds_and_escalates),
		cmocka_unit_test(test_rule_by_chance),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
