/*
 * How many jobs may be with one worker: as many as it runs at once, and while
 * runs are short some more, so that the next is in its socket already; and how
 * many may come with one claim. Both fewer while jobs are large. Pure.
 */
#ifndef POOL_WINDOW_H
#define POOL_WINDOW_H

#include <stdint.h>

#define WINDOW_AHEAD_MAX 1000	/* a claim costs the same for one and for many */
#define WINDOW_SHORT_US 50000
#define WINDOW_BYTES (INT64_C(8) << 20)	/* of data, in a claim or ahead of a worker */

struct window {
	int64_t short_us;	/* runs from here on are not waited behind; 0: WINDOW_SHORT_US */
	int64_t estimate_us;	/* how long a run may take, by the recent ones */
	unsigned seen;		/* runs, up to a few */
	int64_t bytes;		/* how much data a job may have, by the recent ones; begins
				 * with what is allowed at most */
};

/* A run has ended. */
void window_note(struct window *, int64_t run_us);
/* A job has come. */
void window_note_bytes(struct window *, int64_t bytes);

/* Jobs to send ahead to a worker that runs `base` at once: at most short_us of
 * work and WINDOW_BYTES, 0 … WINDOW_AHEAD_MAX. */
int window_ahead(const struct window *, int base);
/* Of so many jobs those that are not more than WINDOW_BYTES; one of any size. */
int window_fit(const struct window *, int jobs);

#endif
