/*
 * A job's data for drivers: read with jansson, or cut out of its text where
 * the very bytes matter. Pure.
 */
#ifndef DRIVER_DATA_H
#define DRIVER_DATA_H

#include <jansson.h>
#include <stddef.h>

#include "base/err.h"
#include "core/job.h"

/*
 * The data as a value; NULL with e. Integers beyond 64 bits become reals, in
 * all of the data then.
 */
json_t *data_read(const struct job *, struct err *e);

/*
 * The bytes of a member of the object in `text`, which is valid JSON (what
 * PostgreSQL prints of a jsonb). Returns their start and *len, without blanks around;
 * NULL: no such member. Of a key that is there twice the last one counts.
 */
const char *data_member(const char *text, const char *key, size_t *len);

/* Whether the text is JSON that PostgreSQL stores as jsonb. */
int data_is_storable(const char *text, size_t len);

#endif
