/*
 * When something fires, as a text says it: a cron expression, or a duration
 * ("30s", "every 30s"). Pure.
 */
#ifndef CORE_SPEC_H
#define CORE_SPEC_H

#include <stdint.h>

#include "base/err.h"
#include "core/cron.h"
#include "core/zone.h"

#define SPEC_TIME_MAX 40

struct spec {
	int64_t every_ms;		/* 0: cron */
	struct cron cron;
	const struct zone *zone;	/* NULL: UTC; borrowed */
	enum cron_dst dst;
};

/* -1 with e; zone and dst are left alone. */
int spec_parse(struct spec *, const char *text, struct err *e);

/* The first instant after after_ms, in ms since the epoch; -1: never. */
int64_t spec_next_ms(const struct spec *, int64_t after_ms);

/* An instant as RFC 3339, with the offset that the zone (NULL: UTC) has then.
 * Returns buf. */
char *spec_time(char buf[SPEC_TIME_MAX], const struct zone *, int64_t ms);

#endif
