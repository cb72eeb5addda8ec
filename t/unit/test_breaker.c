/*
 * Circuit breakers: every transition, with a clock of the test's. S4-45
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "core/breaker.h"

#define OPEN_MS 1000

static mono_t now = 1000 * MONO_SECOND;

static enum breaker_change
ended(struct breaker *b, enum breaker_sign sign)
{
	return breaker_ended(b, sign, false, now, OPEN_MS);
}

/* "+-~.": good, bad, answered, silent. How many changes they made, and the last. */
static int
run(struct breaker *b, const char *ends, enum breaker_change *last)
{
	int changes = 0;

	for (; *ends != '\0'; ends++) {
		enum breaker_change c = ended(b, *ends == '+' ? BREAKER_GOOD :
		    *ends == '-' ? BREAKER_BAD : *ends == '~' ?
		    BREAKER_ANSWERED : BREAKER_SILENT);

		if (c != BREAKER_SAME) {
			changes++;
			*last = c;
		}
	}
	return changes;
}

/* Opened by all of its `of`; then half-open, with or without the probe. */
static void
make(struct breaker *b, enum breaker_state state, bool ours)
{
	enum breaker_change change = BREAKER_SAME;

	breaker_init(b, 1.0, 2);
	assert_int_equal(run(b, "--", &change), 1);
	assert_int_equal(change, BREAKER_OPENS);
	if (state == BREAKER_HALF_OPEN) {
		assert_true(breaker_told(b, BREAKER_HALF_OPEN, 0, ours));
		if (ours)
			breaker_probe(b);
	}
}

static void
test_breaker_opens_at_its_share_of_the_last(void **state)
{
	static const struct {
		double share;
		int of;
		const char *ends;
		int opens;
	} cases[] = {
		{ 0.5, 4, "----", 1 },
		{ 0.5, 4, "---", 0 },		/* not so many yet */
		{ 0.5, 4, "+++-", 0 },
		{ 0.5, 4, "++--", 1 },
		{ 0.5, 4, "--++", 1 },
		{ 0.5, 4, "-+++-+++-+++-+++", 0 },
		{ 0.5, 4, "-++++++-+++-", 0 },
		{ 0.5, 4, "-++++++-+-", 1 },	/* the last four count */
		{ 1.0, 3, "--+--+--+", 0 },
		{ 1.0, 3, "+---", 1 },
		{ 1.0, 1, "-", 1 },
		{ 0.0, 5, "+++++", 0 },		/* at least one */
		{ 0.0, 5, "++++-", 1 },
		{ 0.1, 30, "++++++++++++++++++++++++++++--", 0 },
		{ 0.1, 30, "+++++++++++++++++++++++++++---", 1 },
		{ 0.5, 4, "-~~-..~--", 1 },	/* what says nothing is not counted */
		{ 0.5, 4, "--~~..~~", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct breaker b;
		enum breaker_change change = BREAKER_OPENS;

		breaker_init(&b, cases[i].share, cases[i].of);
		if (run(&b, cases[i].ends, &change) != cases[i].opens)
			fail_msg("%s", cases[i].ends);
		assert_int_equal(change, BREAKER_OPENS);
		assert_int_equal(b.state, cases[i].opens ? BREAKER_OPEN :
		    BREAKER_CLOSED);
		breaker_clear(&b);
	}
}

/* The ring, against a count of the same by hand. */
static void
test_breaker_counts_the_last(void **state)
{
	enum { OF = 37, ROUNDS = 2000 };
	char ends[ROUNDS];
	struct breaker b;
	unsigned seed = 7;

	(void)state;
	breaker_init(&b, 1.0, OF);
	for (int i = 0; i < ROUNDS; i++) {
		size_t bad = 0;

		seed = seed * 1103515245u + 12345u;
		ends[i] = (char)(i % OF == 0 ? 0 : seed >> 16 & 1);
		ended(&b, ends[i] ? BREAKER_BAD : BREAKER_GOOD);
		for (int k = i; k >= 0 && k > i - OF; k--)
			bad += ends[k] != 0;
		assert_int_equal(b.failed, bad);
		assert_int_equal(b.last_failed, ends[i]);
	}
	breaker_clear(&b);
}

static void
test_breaker_open_waits_then_asks(void **state)
{
	struct breaker b;

	(void)state;
	make(&b, BREAKER_OPEN, false);
	assert_int_equal(breaker_leave(&b, now), BREAKER_WAIT);
	assert_int_equal(breaker_leave(&b, now + OPEN_MS * MONO_MS - 1), BREAKER_WAIT);
	assert_int_equal(breaker_leave(&b, now + OPEN_MS * MONO_MS), BREAKER_ASK);
	breaker_asked(&b, now + OPEN_MS * MONO_MS);
	assert_int_equal(breaker_leave(&b, now + OPEN_MS * MONO_MS), BREAKER_WAIT);
	assert_int_equal(breaker_leave(&b, now + (OPEN_MS + 1000) * MONO_MS), BREAKER_ASK);
	/* what had begun before says nothing of the time after */
	assert_int_equal(ended(&b, BREAKER_GOOD), BREAKER_SAME);
	assert_int_equal(ended(&b, BREAKER_BAD), BREAKER_SAME);
	assert_int_equal(b.state, BREAKER_OPEN);
	breaker_clear(&b);
}

static void
test_breaker_half_open_lets_one_through(void **state)
{
	struct breaker b;

	(void)state;
	make(&b, BREAKER_OPEN, false);
	breaker_told(&b, BREAKER_HALF_OPEN, 0, true);
	assert_int_equal(breaker_leave(&b, now), BREAKER_PROBE);
	breaker_probe(&b);
	assert_int_equal(breaker_leave(&b, now), BREAKER_WAIT);
	/* another one that ends meanwhile is not the probe */
	assert_int_equal(ended(&b, BREAKER_GOOD), BREAKER_SAME);
	assert_int_equal(b.state, BREAKER_HALF_OPEN);
	breaker_clear(&b);

	make(&b, BREAKER_HALF_OPEN, false);
	assert_int_equal(breaker_leave(&b, now), BREAKER_ASK);
	breaker_clear(&b);
}

static void
test_breaker_probe_decides(void **state)
{
	static const struct {
		enum breaker_sign sign;
		enum breaker_change change;
		enum breaker_state state;
	} cases[] = {
		{ BREAKER_GOOD, BREAKER_CLOSES, BREAKER_CLOSED },
		{ BREAKER_ANSWERED, BREAKER_CLOSES, BREAKER_CLOSED },
		{ BREAKER_BAD, BREAKER_REOPENS, BREAKER_OPEN },
		{ BREAKER_SILENT, BREAKER_PASSES, BREAKER_HALF_OPEN },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct breaker b;

		make(&b, BREAKER_HALF_OPEN, true);
		assert_int_equal(breaker_ended(&b, cases[i].sign, true, now,
		    OPEN_MS), cases[i].change);
		assert_int_equal(b.state, cases[i].state);
		assert_false(b.ours);
		assert_false(b.probing);
		breaker_clear(&b);
	}
}

static void
test_breaker_closed_counts_anew(void **state)
{
	enum breaker_change change = BREAKER_SAME;
	struct breaker b;

	(void)state;
	make(&b, BREAKER_HALF_OPEN, true);
	breaker_ended(&b, BREAKER_GOOD, true, now, OPEN_MS);
	assert_int_equal(breaker_leave(&b, now), BREAKER_RUN);
	assert_int_equal(run(&b, "-", &change), 0);
	assert_int_equal(run(&b, "-", &change), 1);
	assert_int_equal(change, BREAKER_OPENS);
	breaker_clear(&b);
}

static void
test_breaker_hears_of_others(void **state)
{
	enum breaker_change change = BREAKER_SAME;
	struct breaker b;

	(void)state;
	breaker_init(&b, 1.0, 3);
	assert_false(breaker_told(&b, BREAKER_CLOSED, 0, false));
	run(&b, "--", &change);
	assert_false(breaker_told(&b, BREAKER_CLOSED, 0, false));
	assert_int_equal(b.seen, 2);	/* nothing new: what was counted counts */
	assert_true(breaker_told(&b, BREAKER_OPEN, now + 5, false));
	assert_false(breaker_told(&b, BREAKER_OPEN, now + 5, false));
	assert_int_equal(breaker_leave(&b, now), BREAKER_WAIT);
	assert_true(breaker_told(&b, BREAKER_HALF_OPEN, 0, false));
	breaker_asked(&b, now);
	assert_false(breaker_told(&b, BREAKER_HALF_OPEN, 0, false));
	assert_int_equal(breaker_leave(&b, now), BREAKER_WAIT);
	assert_true(breaker_told(&b, BREAKER_HALF_OPEN, 0, true));
	breaker_probe(&b);
	assert_false(breaker_told(&b, BREAKER_HALF_OPEN, 0, true));
	assert_int_equal(breaker_leave(&b, now), BREAKER_WAIT);
	/* taken from us: its end is nobody's business */
	assert_true(breaker_told(&b, BREAKER_HALF_OPEN, 0, false));
	assert_int_equal(breaker_ended(&b, BREAKER_GOOD, true, now, OPEN_MS), BREAKER_SAME);
	assert_true(breaker_told(&b, BREAKER_CLOSED, 0, false));
	assert_int_equal(breaker_leave(&b, now), BREAKER_RUN);
	assert_int_equal(b.seen, 0);
	breaker_clear(&b);
}

static void
test_breaker_signs(void **state)
{
	static const enum breaker_sign signs[CLASS_COUNT][2] = {
		[CLASS_NONE] = { BREAKER_GOOD, BREAKER_GOOD },
		[CLASS_ERROR] = { BREAKER_BAD, BREAKER_BAD },
		[CLASS_VALIDATION] = { BREAKER_SILENT, BREAKER_ANSWERED },
		[CLASS_RATE_LIMIT] = { BREAKER_BAD, BREAKER_BAD },
		[CLASS_AUTH] = { BREAKER_SILENT, BREAKER_ANSWERED },
		[CLASS_NETWORK] = { BREAKER_BAD, BREAKER_BAD },
		[CLASS_TIMEOUT] = { BREAKER_BAD, BREAKER_BAD },
		[CLASS_RESOURCE] = { BREAKER_BAD, BREAKER_BAD },
		[CLASS_CRASH] = { BREAKER_SILENT, BREAKER_SILENT },
		[CLASS_LOST] = { BREAKER_SILENT, BREAKER_SILENT },
	};

	(void)state;
	for (int c = 0; c < CLASS_COUNT; c++)
		for (int named = 0; named < 2; named++)
			assert_int_equal(breaker_sign((enum job_class)c, named),
			    signs[c][named]);
}

static void
test_breaker_numbers_are_bounded(void **state)
{
	struct breaker b;

	(void)state;
	breaker_init(&b, 2.0, 10);
	assert_int_equal(b.need, 10);
	breaker_init(&b, -1.0, 0);
	assert_int_equal(b.of, 1);
	assert_int_equal(b.need, 1);
	breaker_init(&b, 0.29, 100);	/* 29.000000000000004 in binary */
	assert_int_equal(b.need, 29);
	breaker_clear(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_breaker_opens_at_its_share_of_the_last),
		cmocka_unit_test(test_breaker_counts_the_last),
		cmocka_unit_test(test_breaker_open_waits_then_asks),
		cmocka_unit_test(test_breaker_half_open_lets_one_through),
		cmocka_unit_test(test_breaker_probe_decides),
		cmocka_unit_test(test_breaker_closed_counts_anew),
		cmocka_unit_test(test_breaker_hears_of_others),
		cmocka_unit_test(test_breaker_signs),
		cmocka_unit_test(test_breaker_numbers_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
