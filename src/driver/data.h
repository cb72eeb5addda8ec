/*
 * A job's data for drivers: read with jansson, or cut out of its text where
 * the very bytes matter. Pure.
 */
#ifndef DRIVER_DATA_H
#define DRIVER_DATA_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "core/job.h"

/*
 * The data as a value; NULL with e. Integers beyond 64 bits become reals, in
 * all of what is read then.
 */
json_t *data_read(const struct job *, struct err *e);

/*
 * The same of those members alone that wanted() says yes to, and of those
 * whose key has an escape: to read a large payload for nothing takes longer
 * than all the rest of a job.
 */
typedef bool data_wanted_fn(const char *key, size_t len, void *arg);
json_t *data_read_some(const struct job *, data_wanted_fn *wanted, void *arg,
    struct err *e);

/*
 * The members of the object in `text`, which is valid JSON (what PostgreSQL
 * prints of a jsonb), one after another: *at is the text at first. Keys are
 * as they are written between the quotes, values without blanks around.
 */
struct data_entry {
	const char *key, *value;
	size_t key_len, len;
};
bool data_next(const char **at, struct data_entry *);

/*
 * The value of one of them: its start and *len, NULL: no such member. Of a
 * key that is there twice the last one counts.
 */
const char *data_member(const char *text, const char *key, size_t *len);

/* Whether the text is JSON that PostgreSQL stores as jsonb. */
int data_is_storable(const char *text, size_t len);

#endif
