/*
 * The drivers of this build, and what they call: see driver.h.
 */
#include "config.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/xalloc.h"
#include "conf/conf.h"
#include "driver/driver.h"
#include "driver/drivers.h"

static const struct driver *const drivers[] = {
#ifdef HAVE_EMAIL
	&driver_email,
#endif
#ifdef HAVE_HTTP
	&driver_http,
#endif
	&driver_exec,
	&driver_noop,
	&driver_report,
	&driver_sql,
	&driver_worker,
};
#define NDRIVERS (sizeof(drivers) / sizeof(drivers[0]))

const struct driver *
driver_find(const char *name)
{
	for (size_t i = 0; i < NDRIVERS; i++)
		if (strcmp(drivers[i]->name, name) == 0)
			return drivers[i];
	return NULL;
}

const char *const *
driver_names(void)
{
	static const char *names[NDRIVERS + 1];

	for (size_t i = 0; i < NDRIVERS; i++)
		names[i] = drivers[i]->name;
	return names;
}

void
run_end(struct run *run, struct run_result *result)
{
	run->ctx->ops->end(run, result);
}

void
run_progress(struct run *run, int pct, const char *note)
{
	run->ctx->ops->progress(run, pct, note);
}

void
run_output(struct run *run, const char *text, size_t len)
{
	if (len > RUN_OUTPUT_MAX) {
		text += len - RUN_OUTPUT_MAX;
		len = RUN_OUTPUT_MAX;
	}
	if (len > 0)
		run->ctx->ops->output(run, text, len);
}

int
run_previous(struct run *run, char **result, struct err *e)
{
	*result = NULL;
	return run->ctx->ops->previous(run, result, e);
}

bool
run_goes_to(struct run *run, const char *destination)
{
	return run->ctx->ops->goes_to(run, destination);
}

void
run_seal_result(const struct run *run, char **result)
{
	const struct queue_conf *q = run->ctx->queue;
	struct buf b = { 0 };
	struct err e;

	if (*result == NULL || q == NULL || q->encrypt.keys == NULL ||
	    !q->encrypt.results)
		return;
	if (seal(q->encrypt.keys, q->name, "result", *result, strlen(*result), &b,
	    &e) < 0)
		log_error("not encrypted", "left_out=result reason=%s", e.msg);
	free(*result);
	*result = b.len > 0 ? buf_detach(&b) : NULL;
	buf_clear(&b);
}

void
run_defer(struct run *run)
{
	run->ctx->ops->defer(run);
}

void
run_done(struct run *run, char *result)
{
	struct run_result r;

	run_result_init(&r);
	r.result = result;
	run_end(run, &r);
}

void
run_fail(struct run *run, enum job_class class, const char *fmt, ...)
{
	char message[RESULT_MESSAGE_MAX + 1];
	struct run_result r;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	run_result_init(&r);
	r.class = class;
	r.message = xstrdup(message);
	run_end(run, &r);
}
