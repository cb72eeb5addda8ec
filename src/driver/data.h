/*
 * A job's data for drivers, read with jansson. Pure.
 */
#ifndef DRIVER_DATA_H
#define DRIVER_DATA_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "core/job.h"

/*
 * The data as a value; NULL with e. Integers beyond 64 bits become reals, in
 * all of what is read then.
 */
json_t *data_read(const struct job *, struct err *e);

/*
 * The same, member by member, of those alone that wanted() says yes to and of
 * those whose key has an escape: to read a large payload for nothing takes
 * longer than all the rest of a job.
 */
typedef bool data_wanted_fn(const char *key, size_t len, void *arg);
json_t *data_read_some(const struct job *, data_wanted_fn *wanted, void *arg,
    struct err *e);

/* Whether the text is JSON that PostgreSQL stores as jsonb. */
int data_is_storable(const char *text, size_t len);

/* Append what base64 stands for, blanks and line ends in it allowed, nothing
 * else; -1: it is none. */
int data_base64(const char *text, struct buf *out);

#endif
