/*
 * What a report says (jobq.report_json()), added up, and how its values are
 * written: what its text and its page have in common. Pure.
 */
#ifndef MONITOR_DIGEST_H
#define MONITOR_DIGEST_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "monitor/summary.h"

struct digest {
	json_t *report;
	const struct summary_clock *clock;	/* lent */
	const char *node;			/* lent */
	const json_t **queues;		/* the busiest first, the quiet ones last */
	size_t nqueues, nquiet;
	/* of all queues */
	int64_t completed, failed, dead, ready;
	int64_t before_completed, before_failed, before_dead;
	bool bad;			/* there is something to look at */
};

/* Clear in either case. -1 with e: that is no report. */
int digest_make(struct digest *, const char *json, const char *node,
    const struct summary_clock *, struct err *e);
void digest_clear(struct digest *);

/* Values; what is not there counts as none. */
int64_t digest_number(const json_t *, const char *key);
double digest_rate(const json_t *, const char *key);
const char *digest_text(const json_t *, const char *key);
size_t digest_count(const struct digest *, const char *key);	/* of an array of the report */
double digest_share(int64_t part, int64_t rest);	/* part of both; 0 of nothing */

/* 1,234,567 */
void digest_put_number(struct buf *, int64_t);
void digest_put_percent(struct buf *, double part);
/* 850 ms, 1.2 s, 3.5 min, 2.1 h, 4.0 d; - when it is not known. */
void digest_put_duration(struct buf *, const json_t *, const char *key);
/* As the reader's clock and calendar show it. */
enum digest_detail { DIGEST_DAY, DIGEST_CLOCK, DIGEST_MINUTE, DIGEST_SECOND };
void digest_put_instant(struct buf *, const struct digest *, const char *text, enum digest_detail);
/* "25 Nov 2026 00:00 to 26 Nov 2026 00:00 UTC" */
void digest_put_period(struct buf *, const struct digest *);
/* "+12 %" against the time before, between two texts; nothing when there is
 * nothing to compare. */
void digest_put_change(struct buf *, const char *open, int64_t now, int64_t before,
    const char *close);
/* One line, cut where it is too long, never within a character. */
void digest_put_cut(struct buf *, const char *text);

#endif
