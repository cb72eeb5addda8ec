/*
 * The driver noop: does nothing, or what the data says, for tests and
 * benchmarks.
 *
 *	{"sleep_ms": 100, "fail": "network", "message": "…", "retry_after": 30, "crash": true}
 *
 * sleep_ms comes first; then crash kills the worker, fail ends the job as
 * that class, and with neither it is completed. Most benchmarks run `{}`,
 * which is not even parsed.
 */
#include "config.h"

#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "base/xalloc.h"
#include "driver/drivers.h"
#include "os/loop.h"

#define SLEEP_MAX_MS (INT64_C(24) * 3600 * 1000)
#define RETRY_AFTER_MAX 86400.0		/* seconds */

/* A run that sleeps. */
struct nap {
	struct run *run;
	struct timer *timer;
	bool crash;
	struct run_result result;
};

static void
check(const struct node *options, struct conf_sink *sink)
{
	static const char *const keys[] = { "driver", NULL };

	node_known_keys(options, keys, sink);
}

static int
parse_end(const json_t *data, struct nap *nap, struct run_result *bad)
{
	const char *message = "as the job asked";
	json_t *fail = json_object_get(data, "fail");
	json_t *after = json_object_get(data, "retry_after");
	json_t *text = json_object_get(data, "message");

	nap->crash = json_is_true(json_object_get(data, "crash"));
	if (json_is_string(text))
		message = json_string_value(text);
	if (json_is_number(after)) {
		double seconds = json_number_value(after);

		if (seconds >= 0 && seconds <= RETRY_AFTER_MAX)
			nap->result.retry_after_ms = (int64_t)(seconds * 1000);
	}
	if (fail == NULL)
		return 0;
	if (!json_is_string(fail) || job_class_parse(json_string_value(fail),
	    &nap->result.class) < 0) {
		bad->class = CLASS_VALIDATION;
		bad->message = xstrdup("fail: is not the name of a class");
		return -1;
	}
	nap->result.message = xstrndup(message, RESULT_MESSAGE_MAX);
	return 0;
}

static void
nap_over(void *arg)
{
	struct nap *nap = arg;
	struct run *run = nap->run;
	struct run_result result = nap->result;

	if (nap->crash)
		kill(getpid(), SIGKILL);
	timer_free(nap->timer);
	free(nap);
	run_end(run, &result);
}

static void
run_parsed(struct driver_ctx *ctx, struct run *run, const json_t *data)
{
	json_t *sleep = json_object_get(data, "sleep_ms");
	double ms = json_is_number(sleep) ? json_number_value(sleep) : 0;
	struct nap *nap = xcalloc(1, sizeof(*nap));
	struct run_result bad;

	run_result_init(&nap->result);
	run_result_init(&bad);
	nap->run = run;
	if (parse_end(data, nap, &bad) < 0) {
		free(nap);
		run_end(run, &bad);
		return;
	}
	if (ms <= 0 && !nap->crash) {
		struct run_result result = nap->result;

		free(nap);
		run_end(run, &result);
		return;
	}
	/* A crash waits for the loop too, so that its start is told before. */
	if (ms > (double)SLEEP_MAX_MS)
		ms = (double)SLEEP_MAX_MS;
	nap->timer = timer_new(ctx->loop, nap_over, nap);
	run->state = nap;
	timer_set(nap->timer, (mono_t)(ms > 0 ? ms * (double)MONO_MS : 0));
}

/* Whether it may have one of our keys: jsonb writes them as they are. */
static bool
asks_for_something(const char *data)
{
	static const char *const words[] = {
		"\"sleep_ms\"", "\"fail\"", "\"crash\"",
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strstr(data, words[i]) != NULL)
			return true;
	return false;
}

static void
run_noop(struct driver_ctx *ctx, struct run *run)
{
	json_error_t why;
	json_t *data;

	if (!asks_for_something(run->job->data)) {
		run_done(run, NULL);
		return;
	}
	data = json_loads(run->job->data, JSON_DECODE_INT_AS_REAL, &why);
	if (data == NULL) {
		run_fail(run, CLASS_VALIDATION, "data: %s", why.text);
		return;
	}
	run_parsed(ctx, run, data);
	json_decref(data);
}

static void
cancel(struct driver_ctx *ctx, struct run *run, enum job_class why)
{
	struct nap *nap = run->state;

	(void)ctx;
	timer_free(nap->timer);
	run_result_clear(&nap->result);
	free(nap);
	run_fail(run, why == CLASS_NONE ? CLASS_ERROR : why, "stopped");
}

const struct driver driver_noop = {
	.name = "noop",
	.flags = DRIVER_MULTIPLEX | DRIVER_ASYNC | DRIVER_QUICK,
	.check = check,
	.run = run_noop,
	.cancel = cancel,
};
