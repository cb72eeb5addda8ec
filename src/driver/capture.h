/*
 * What a program writes, in bounded memory: the end of it, and its last line
 * when that is short enough to be a result. Pure.
 */
#ifndef DRIVER_CAPTURE_H
#define DRIVER_CAPTURE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

struct capture {
	size_t max;		/* bytes kept, set by the owner */
	struct buf kept;	/* at most 2 × max + what came last */
	unsigned long long total;
};

void capture_init(struct capture *, size_t max);
void capture_add(struct capture *, const char *data, size_t len);
void capture_reset(struct capture *);
void capture_clear(struct capture *);

/* The last `max` bytes, beginning at a character. Valid until the next call. */
const char *capture_tail(const struct capture *, size_t max, size_t *len);

/* The last line that is not blank, without blanks around it; NULL: none, or
 * longer than what is kept (*too_long). */
const char *capture_last_line(const struct capture *, size_t *len, bool *too_long);

#endif
