/*
 * The decision after a run.
 */
#include "config.h"

#include "core/outcome.h"

static int
smaller(int a, int b)
{
	return a < b ? a : b;
}

static int
attempts_allowed(const struct retry_policy *policy, const struct job *job,
    enum job_class class)
{
	int of_class = policy->on[class].attempts;

	if (of_class == 0 && class == CLASS_VALIDATION)
		of_class = 1;
	if (job->max_attempts == 0)
		return of_class > 0 ? of_class : policy->attempts;
	return of_class > 0 ? smaller(of_class, job->max_attempts) :
	    job->max_attempts;
}

static bool
respects_retry_after(const struct class_rule *rule, enum job_class class)
{
	if (rule->respect_retry_after < 0)
		return class == CLASS_RATE_LIMIT;
	return rule->respect_retry_after != 0;
}

static const struct backoff *
backoff_of(const struct retry_policy *policy, enum job_class class)
{
	const struct class_rule *rule = &policy->on[class];

	return rule->has_backoff ? &rule->backoff : &policy->backoff;
}

static void
set_delay(struct decision *d, const struct retry_policy *policy,
    const struct run_result *result, double unit)
{
	const struct class_rule *rule = &policy->on[result->class];
	int64_t asked = result->retry_after_ms;

	d->outcome = OUTCOME_FAILED;
	d->delay_ms = backoff_delay_ms(backoff_of(policy, result->class),
	    d->failures, unit);
	d->reason = "backoff";
	if (asked > RETRY_AFTER_MAX_MS)
		asked = RETRY_AFTER_MAX_MS;
	if (respects_retry_after(rule, result->class) && asked > d->delay_ms) {
		d->delay_ms = asked;
		d->reason = "Retry-After";
	}
}

struct decision
outcome_decide(const struct retry_policy *policy, const struct job *job,
    const struct run_result *result, double unit)
{
	struct decision d = { .outcome = OUTCOME_DEAD };

	if (result->class == CLASS_NONE)
		return (struct decision){ .outcome = OUTCOME_COMPLETED };
	if (result->class == CLASS_LOST)
		return (struct decision){ .outcome = OUTCOME_LOST,
		    .reason = "not charged" };
	d.failures = job->charged + 1;
	d.allowed = attempts_allowed(policy, job, result->class);
	if (d.failures >= d.allowed)
		d.reason = "attempts used up";
	else if (result->class == CLASS_CRASH && policy->max_crashes > 0 &&
	    job->crashes + 1 >= policy->max_crashes)
		d.reason = "max_crashes";
	else
		set_delay(&d, policy, result, unit);
	return d;
}

int64_t
outcome_least_delay_ms(const struct retry_policy *policy, enum job_class class,
    int charged)
{
	return charged < 1 ? 0 :
	    backoff_delay_ms(backoff_of(policy, class), charged, 0);
}
