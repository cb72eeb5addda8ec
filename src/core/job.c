/*
 * The words of the domain.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "base/xalloc.h"
#include "core/job.h"

static const char *const class_names[CLASS_COUNT] = {
	[CLASS_NONE] = "",
	[CLASS_ERROR] = "error",
	[CLASS_VALIDATION] = "validation",
	[CLASS_RATE_LIMIT] = "rate_limit",
	[CLASS_AUTH] = "auth",
	[CLASS_NETWORK] = "network",
	[CLASS_TIMEOUT] = "timeout",
	[CLASS_RESOURCE] = "resource",
	[CLASS_CRASH] = "crash",
	[CLASS_LOST] = "lost",
};

static const struct {
	const char *name;
	int priority;
} named_priorities[] = {
	{ "critical", 1 },
	{ "high", 3 },
	{ "normal", 5 },
	{ "low", 8 },
	{ "very_low", 10 },
};

const char *
job_class_name(enum job_class class)
{
	if ((unsigned)class >= CLASS_COUNT)
		return "";
	return class_names[class];
}

int
job_class_parse(const char *name, enum job_class *class)
{
	for (int i = CLASS_NONE + 1; i < CLASS_COUNT; i++)
		if (strcmp(name, class_names[i]) == 0) {
			*class = (enum job_class)i;
			return 0;
		}
	return -1;
}

int
priority_parse(const char *text, int *priority)
{
	size_t count = sizeof(named_priorities) / sizeof(named_priorities[0]);
	int value = 0;

	for (size_t i = 0; i < count; i++)
		if (strcmp(text, named_priorities[i].name) == 0) {
			*priority = named_priorities[i].priority;
			return 0;
		}
	if (*text == '\0')
		return -1;
	for (const char *p = text; *p != '\0'; p++) {
		if (*p < '0' || *p > '9')
			return -1;
		value = value * 10 + (*p - '0');
		if (value > PRIORITY_MAX)
			return -1;
	}
	if (value < PRIORITY_MIN)
		return -1;
	*priority = value;
	return 0;
}

void
job_clear(struct job *job)
{
	free(job->type);
	free(job->data);
	free(job->tenant);
	free(job->key);
	memset(job, 0, sizeof(*job));
}

void
job_token(char *buf, size_t size, int64_t pool, int64_t batch, int attempt)
{
	snprintf(buf, size, "%" PRId64 ".%" PRId64 ".%d", pool, batch, attempt);
}

void
run_result_init(struct run_result *r)
{
	memset(r, 0, sizeof(*r));
	r->class = CLASS_NONE;
	r->retry_after_ms = -1;
	r->exit_status = -1;
	r->cpu_ms = -1;
	r->max_rss_kb = -1;
}

void
run_result_clear(struct run_result *r)
{
	free(r->message);
	free(r->result);
	run_result_init(r);
}

void
run_result_bound(struct run_result *r)
{
	if (r->result != NULL && strlen(r->result) > RESULT_MAX) {
		size_t len = strlen(r->result);

		free(r->result);
		r->result = NULL;
		if (r->class == CLASS_NONE) {
			r->class = CLASS_RESOURCE;
			free(r->message);
			r->message = xasprintf("the result has %zu bytes; "
			    "at most %u are kept", len, RESULT_MAX);
		}
	}
	if (r->result != NULL)
		utf8_clean(r->result, strlen(r->result));
	if (r->message != NULL)
		utf8_cut(r->message, RESULT_MESSAGE_MAX);
}
