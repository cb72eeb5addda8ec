#include "unit.h"

#include "core/outcome.h"

#define HOUR (3600LL * 1000)

/* As the defaults are: three attempts, 2 s doubling, three crashes. */
static struct retry_policy
sample_policy(void)
{
	struct retry_policy policy = {
		.attempts = 3, .max_crashes = 3,
		.backoff = {
			.shape = BACKOFF_EXPONENTIAL, .base_ms = 2000,
			.factor = 2, .max_ms = 60000,
		},
	};

	for (int i = 0; i < CLASS_COUNT; i++)
		policy.on[i].respect_retry_after = -1;
	return policy;
}

static struct decision
decide(const struct retry_policy *policy, struct job job, enum job_class class,
    int64_t retry_after_ms)
{
	struct run_result result;

	run_result_init(&result);
	result.class = class;
	result.retry_after_ms = retry_after_ms;
	return outcome_decide(policy, &job, &result, 0.5);
}

static void
check(struct decision d, enum outcome outcome, int64_t delay_ms)
{
	assert_int_equal(d.outcome, outcome);
	assert_int_equal(d.delay_ms, delay_ms);
}

/* How many runs a job gets that fails with the same class for ever. */
static int
runs(const struct retry_policy *policy, int max_attempts, enum job_class class)
{
	struct job job = { .attempt = 1, .max_attempts = max_attempts };

	while (decide(policy, job, class, -1).outcome == OUTCOME_FAILED) {
		job.attempt++;
		job.charged++;
		job.crashes += class == CLASS_CRASH;
		assert_true(job.attempt < 1000);
	}
	return job.attempt;
}

static void
test_outcome_completed(void **state)
{
	struct retry_policy policy = sample_policy();
	struct job job = { .attempt = 900, .charged = 899 };

	(void)state;
	check(decide(&policy, job, CLASS_NONE, -1), OUTCOME_COMPLETED, 0);
}

static void
test_outcome_retries_then_dead(void **state)
{
	struct retry_policy policy = sample_policy();
	struct job job = { .attempt = 1 };

	(void)state;
	check(decide(&policy, job, CLASS_ERROR, -1), OUTCOME_FAILED, 2000);
	job.charged = 1;
	check(decide(&policy, job, CLASS_ERROR, -1), OUTCOME_FAILED, 4000);
	job.charged = 2;
	check(decide(&policy, job, CLASS_ERROR, -1), OUTCOME_DEAD, 0);
	job.charged = 200;
	check(decide(&policy, job, CLASS_ERROR, -1), OUTCOME_DEAD, 0);
}

/* Only charged attempts count: the number of the attempt says nothing. */
static void
test_outcome_lost_charges_nothing(void **state)
{
	struct retry_policy policy = sample_policy();
	struct job job = { .attempt = 50, .charged = 2 };

	(void)state;
	check(decide(&policy, job, CLASS_LOST, -1), OUTCOME_LOST, 0);
	job.charged = 0;
	check(decide(&policy, job, CLASS_ERROR, -1), OUTCOME_FAILED, 2000);
}

/* S2-19: no retry of what is invalid, unless a rule says otherwise. */
static void
test_outcome_validation(void **state)
{
	struct retry_policy policy = sample_policy();

	(void)state;
	assert_int_equal(runs(&policy, 0, CLASS_VALIDATION), 1);
	assert_int_equal(runs(&policy, 9, CLASS_VALIDATION), 1);
	policy.on[CLASS_VALIDATION].attempts = 2;
	assert_int_equal(runs(&policy, 0, CLASS_VALIDATION), 2);
	assert_int_equal(runs(&policy, 9, CLASS_VALIDATION), 2);
}

/* S2-16 … S2-19 as one policy. */
static void
test_outcome_by_class(void **state)
{
	struct retry_policy policy = sample_policy();

	(void)state;
	policy.attempts = 6;
	policy.backoff = (struct backoff){
		.shape = BACKOFF_LIST, .ndelays = 5,
		.delays_ms = { 1000, 2000, 4000, 8000, 16000 },
	};
	policy.on[CLASS_RATE_LIMIT].attempts = 6;
	policy.on[CLASS_AUTH].attempts = 2;
	policy.on[CLASS_VALIDATION].attempts = 1;
	assert_int_equal(runs(&policy, 0, CLASS_RATE_LIMIT), 6);
	assert_int_equal(runs(&policy, 0, CLASS_NETWORK), 6);
	assert_int_equal(runs(&policy, 0, CLASS_AUTH), 2);
	assert_int_equal(runs(&policy, 0, CLASS_VALIDATION), 1);
	check(decide(&policy, (struct job){ .charged = 4 }, CLASS_NETWORK, -1),
	    OUTCOME_FAILED, 16000);
}

static void
test_outcome_attempts_of_the_job(void **state)
{
	struct retry_policy policy = sample_policy();

	(void)state;
	assert_int_equal(runs(&policy, 0, CLASS_ERROR), 3);
	assert_int_equal(runs(&policy, 1, CLASS_ERROR), 1);
	assert_int_equal(runs(&policy, 7, CLASS_ERROR), 7);
	policy.on[CLASS_ERROR].attempts = 5;
	assert_int_equal(runs(&policy, 0, CLASS_ERROR), 5);
	assert_int_equal(runs(&policy, 2, CLASS_ERROR), 2);
	assert_int_equal(runs(&policy, 7, CLASS_ERROR), 5);
}

static void
test_outcome_crashes(void **state)
{
	struct retry_policy policy = sample_policy();

	(void)state;
	policy.attempts = 10;
	assert_int_equal(runs(&policy, 0, CLASS_CRASH), 3);
	policy.max_crashes = 1;
	assert_int_equal(runs(&policy, 0, CLASS_CRASH), 1);
	policy.max_crashes = 0;		/* not counted apart */
	assert_int_equal(runs(&policy, 0, CLASS_CRASH), 10);
	policy.max_crashes = 5;
	policy.attempts = 2;		/* whichever comes first */
	assert_int_equal(runs(&policy, 0, CLASS_CRASH), 2);

	policy.attempts = 10;		/* crashes of others do not end an error */
	check(decide(&policy, (struct job){ .charged = 7, .crashes = 7 },
	    CLASS_ERROR, -1), OUTCOME_FAILED, 60000);
}

static void
test_outcome_backoff_of_a_class(void **state)
{
	struct retry_policy policy = sample_policy();
	struct class_rule *rule = &policy.on[CLASS_NETWORK];

	(void)state;
	rule->has_backoff = true;
	rule->backoff = (struct backoff){ .shape = BACKOFF_FIXED, .base_ms = 77 };
	check(decide(&policy, (struct job){ .charged = 1 }, CLASS_NETWORK, -1),
	    OUTCOME_FAILED, 77);
	check(decide(&policy, (struct job){ .charged = 1 }, CLASS_TIMEOUT, -1),
	    OUTCOME_FAILED, 4000);
}

static void
test_outcome_retry_after(void **state)
{
	struct retry_policy policy = sample_policy();
	const struct job job = { .attempt = 1 };

	(void)state;
	check(decide(&policy, job, CLASS_RATE_LIMIT, 30000), OUTCOME_FAILED, 30000);
	check(decide(&policy, job, CLASS_RATE_LIMIT, 500), OUTCOME_FAILED, 2000);
	check(decide(&policy, job, CLASS_RATE_LIMIT, 0), OUTCOME_FAILED, 2000);
	check(decide(&policy, job, CLASS_RATE_LIMIT, -1), OUTCOME_FAILED, 2000);
	check(decide(&policy, job, CLASS_RATE_LIMIT, 25 * HOUR), OUTCOME_FAILED,
	    24 * HOUR);
	check(decide(&policy, job, CLASS_RATE_LIMIT, INT64_MAX), OUTCOME_FAILED,
	    RETRY_AFTER_MAX_MS);
	check(decide(&policy, job, CLASS_NETWORK, 30000), OUTCOME_FAILED, 2000);

	policy.on[CLASS_NETWORK].respect_retry_after = 1;
	policy.on[CLASS_RATE_LIMIT].respect_retry_after = 0;
	check(decide(&policy, job, CLASS_NETWORK, 30000), OUTCOME_FAILED, 30000);
	check(decide(&policy, job, CLASS_RATE_LIMIT, 30000), OUTCOME_FAILED, 2000);
	check(decide(&policy, (struct job){ .charged = 2 }, CLASS_NETWORK, 30000),
	    OUTCOME_DEAD, 0);

	/* The bound is for what a peer asks, not for what is configured. */
	policy.on[CLASS_NETWORK].has_backoff = true;
	policy.on[CLASS_NETWORK].backoff.base_ms = 48 * HOUR;
	check(decide(&policy, job, CLASS_NETWORK, 30 * HOUR), OUTCOME_FAILED,
	    48 * HOUR);
}

/* What a driver may rely on: no delay that is decided is shorter. */
static void
test_outcome_least_delay(void **state)
{
	struct retry_policy p = sample_policy();

	(void)state;
	p.on[CLASS_AUTH] = (struct class_rule){ .attempts = 5, .has_backoff = true,
	    .backoff = { .shape = BACKOFF_FIXED, .base_ms = 1000, .jitter = 0.2 },
	    .respect_retry_after = -1 };
	assert_int_equal(outcome_least_delay_ms(&p, CLASS_AUTH, 0), 0);
	assert_int_equal(outcome_least_delay_ms(&p, CLASS_AUTH, 3), 800);
	for (int i = 0; i < 100; i++) {
		struct job job = { .charged = 1, .attempt = 2 };
		struct run_result r;

		run_result_init(&r);
		r.class = CLASS_AUTH;
		assert_in_range(outcome_decide(&p, &job, &r, i / 100.0).delay_ms,
		    outcome_least_delay_ms(&p, CLASS_AUTH, 2), 1200);
	}
}

/* What the log says: S1-47. */
static void
test_outcome_reason(void **state)
{
	struct retry_policy policy = sample_policy();
	struct job job = { .attempt = 3, .charged = 1, .crashes = 2 };
	struct decision d = decide(&policy, job, CLASS_RATE_LIMIT, 1000);

	(void)state;
	assert_string_equal(d.reason, "backoff");
	assert_int_equal(d.failures, 2);
	assert_int_equal(d.allowed, 3);
	d = decide(&policy, job, CLASS_RATE_LIMIT, 5000);
	assert_string_equal(d.reason, "Retry-After");
	assert_int_equal(d.delay_ms, 5000);
	assert_string_equal(decide(&policy, job, CLASS_ERROR, 5000).reason,
	    "backoff");
	assert_string_equal(decide(&policy, job, CLASS_CRASH, -1).reason,
	    "max_crashes");
	assert_string_equal(decide(&policy, job, CLASS_LOST, -1).reason,
	    "not charged");
	job.charged = 2;
	assert_string_equal(decide(&policy, job, CLASS_ERROR, -1).reason,
	    "attempts used up");
	assert_null(decide(&policy, job, CLASS_NONE, -1).reason);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_outcome_completed),
		cmocka_unit_test(test_outcome_reason),
		cmocka_unit_test(test_outcome_retries_then_dead),
		cmocka_unit_test(test_outcome_lost_charges_nothing),
		cmocka_unit_test(test_outcome_validation),
		cmocka_unit_test(test_outcome_by_class),
		cmocka_unit_test(test_outcome_attempts_of_the_job),
		cmocka_unit_test(test_outcome_crashes),
		cmocka_unit_test(test_outcome_backoff_of_a_class),
		cmocka_unit_test(test_outcome_retry_after),
		cmocka_unit_test(test_outcome_least_delay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
