/*
 * What a program writes, in bounded memory: the end of it, and its last line
 * when that is short enough to be a result. Pure.
 */
#ifndef DRIVER_CAPTURE_H
#define DRIVER_CAPTURE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/mono.h"

/* Of the output of a program that runs: how soon it can be seen, and how much of
 * it. The end of what it wrote is kept in any case. */
#define LIVE_EVERY MONO_SECOND
#define LIVE_MAX (16u << 10)

struct capture {
	size_t max;		/* bytes kept, set by the owner */
	struct buf kept;	/* at most 2 × max + what came last */
	unsigned long long total;
	unsigned long long given;	/* of them, by capture_give() */
};

void capture_init(struct capture *, size_t max);
void capture_add(struct capture *, const char *data, size_t len);
void capture_reset(struct capture *);
void capture_clear(struct capture *);

/* The last `max` bytes, beginning at a character. Valid until the next call. */
const char *capture_tail(const struct capture *, size_t max, size_t *len);

/*
 * Append what came since the last call, at most the last `max` bytes of it,
 * with a word of what is left out, and behind a title unless that is "" or there
 * is nothing. What was no text becomes '?'.
 */
void capture_give(struct capture *, struct buf *out, size_t max, const char *title);

/* The last line that is not blank, without blanks around it; NULL: none, or
 * longer than what is kept (*too_long). */
const char *capture_last_line(const struct capture *, size_t *len, bool *too_long);

#endif
