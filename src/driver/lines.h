/*
 * Lines out of a stream of bytes, in bounded memory. Pure.
 */
#ifndef DRIVER_LINES_H
#define DRIVER_LINES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

struct lines {
	size_t max;		/* bytes of a line, set by the owner */
	struct buf part;	/* of a line that is not complete yet */
	bool skipping;		/* the rest of one that is too long */
};

/* A line without its newline, followed by a NUL; NULL: it is too long, and its
 * bytes are gone. It may be written to, but not beyond len. */
typedef void line_fn(char *line, size_t len, void *arg);

/* fn may call lines_clear(): what is left of data is still handed on. */
void lines_add(struct lines *, const char *data, size_t len, line_fn *, void *arg);
void lines_clear(struct lines *);	/* for another stream */

#endif
