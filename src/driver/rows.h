/*
 * Rows of a database as JSON text, and what statements of the configuration
 * are given of a job. Pure.
 */
#ifndef DRIVER_ROWS_H
#define DRIVER_ROWS_H

#include "base/buf.h"
#include "db/session.h"
#include "driver/driver.h"

/*
 * Append a value, NULL being null. A number that JSON has not (NaN, Infinity)
 * is a string; what is no UTF-8 becomes U+FFFD.
 */
void rows_value(struct buf *, enum value_kind, const char *text, size_t len);
/* Append a row as an object; of columns of one name the last counts. */
void rows_object(struct buf *, const struct session_row *);

/* {"id", "queue", "type", "attempt", "tenant"} */
void rows_job(struct buf *, const struct run *);

#endif
