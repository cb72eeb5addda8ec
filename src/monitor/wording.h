/*
 * What is said of an alert: one line for a list, a subject and a text for
 * people, JSON for programs. Pure.
 */
#ifndef MONITOR_WORDING_H
#define MONITOR_WORDING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/mono.h"
#include "core/metric.h"
#include "core/rule.h"

/* Strings are borrowed. */
struct occasion {
	const char *alert, *queue;	/* queue "" : of no queue */
	const char *node;		/* that has found it */
	const char *severity;
	const struct metric *metric;
	enum rule_event event;
	bool over;
	double limit;
	bool known;			/* there is a value */
	double value;
	const char *detail;		/* which ones, and so on; "" : nothing */
	dbtime_us since, now;
};

struct wording {
	struct buf line;	/* "backlog of email is 1,240 (above 1,000)" */
	struct buf subject;	/* … with [jobqd] before it */
	struct buf text;
	struct buf json;	/* one object */
};

/* Fill it in; what was there is gone. The event is one that somebody may hear
 * of. Nothing steers a terminal or a header. */
void wording_make(struct wording *, const struct occasion *);
void wording_clear(struct wording *);

#endif
