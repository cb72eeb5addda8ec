/*
 * What alerts watch: the metrics, their amounts as people write and read them,
 * and what to do when one is bad. Pure.
 */
#ifndef CORE_METRIC_H
#define CORE_METRIC_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

enum metric_kind {
	METRIC_COUNT,		/* 1000 */
	METRIC_SHARE,		/* 12.5%, as a fraction 0 … 1 */
	METRIC_TIME,		/* 10m, as seconds */
	METRIC_SIZE,		/* 10GiB, as bytes */
};

struct metric {
	const char *name;
	enum metric_kind kind;
	bool per_queue;
	/* In words: %q is the queue, %v the value. ended, when it is over; NULL: bad
	 * with the value of then. */
	const char *bad, *ended;
	const char *advice;	/* one line; %q is the queue */
};

#define METRIC_TEXT_MAX 48

extern const char *const metric_names[];	/* NULL at the end */
const struct metric *metric_at(int index);	/* of metric_names */
const struct metric *metric_find(const char *name);	/* NULL: none */

const char *metric_kind_name(enum metric_kind);		/* "share" */
/* An amount as it is written; -1: it is none of that kind, *out is as it was.
 * The database reads them by jobq.amount(), which agrees. */
int metric_parse(enum metric_kind, const char *text, double *out);
const char *metric_kind_form(enum metric_kind);	/* "a percentage, as 10%" */
/* As people read it: 1,240 · 12.5 % · 12 min · 1.5 GiB. Returns buf. */
char *metric_format(char buf[METRIC_TEXT_MAX], enum metric_kind, double);
/* Add one of the phrases of a metric. */
void metric_phrase(struct buf *, const char *phrase, const char *queue,
    const char *value);

#endif
