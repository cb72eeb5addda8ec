/*
 * PostgreSQL array literals, '{1,2,NULL}', for statement parameters. An array
 * is filled, closed, used and reset; its memory is kept for the next time. A
 * zeroed struct is an empty array.
 */
#ifndef DB_ARRAY_H
#define DB_ARRAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct array {
	struct buf text;
	size_t count;
};

void array_int(struct array *, int64_t);
void array_bool(struct array *, bool);
/* Quoted, whatever it contains; NULL gives the array's NULL. */
void array_text(struct array *, const char *s);
void array_null(struct array *);
/* The literal; valid until the array is touched again. Add nothing after it. */
const char *array_close(struct array *);
void array_reset(struct array *);	/* empty, memory kept */
void array_clear(struct array *);	/* empty, memory freed */

#endif
