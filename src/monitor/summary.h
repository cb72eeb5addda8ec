/*
 * The report as people read it: what jobq.report_json() tells, as a subject, a
 * text and a page for mail, with charts of table cells, no scripts and nothing
 * from outside. Pure.
 */
#ifndef MONITOR_SUMMARY_H
#define MONITOR_SUMMARY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct summary {
	struct buf subject, text, html;
	bool bad;			/* there is something to look at */
};

/* How times are shown. */
struct summary_clock {
	int32_t offset;			/* seconds ahead of UTC */
	const char *zone;		/* its name */
};

/* Clear in either case. -1 with e: that is no report. */
int summary_make(struct summary *, const char *json, const char *node,
    const struct summary_clock *, struct err *e);
void summary_clear(struct summary *);

#endif
