/*
 * A queue whose jobs are encrypted, for a worker: data is opened before a
 * handler begins, and what a run leaves is put into envelopes (core/seal.h),
 * since it may say what its data said.
 */
#ifndef WORKER_SEALING_H
#define WORKER_SEALING_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "conf/conf.h"
#include "core/seal.h"
#include "driver/driver.h"

/* Of what is to be encrypted so much fits into so many bytes. */
#define SEALED_OF(max) (((max) - SEAL_FRAME_MAX) / 4 * 3)

/* Is what runs of this queue leave to be encrypted? The next two are for one
 * of which it is. */
bool sealing_is_on(const struct queue_conf *);
/* A new envelope; NULL, and the log knows, when that cannot be: then the text
 * is left out, since it must not be seen. */
char *sealing_text(const struct queue_conf *, const char *field,
    const char *text, size_t len);
/*
 * A result, cut so that it fits, and its message. The first line of an error is
 * for everybody, and tells failures apart by their class; the second is the
 * envelope.
 */
void sealing_result(const struct run *, struct run_result *);

/* What an earlier attempt left, which may be encrypted, whatever is said of it
 * now. -1 with e, and then *result is NULL. */
int sealing_open_result(const struct queue_conf *, char **result, struct err *e);
/*
 * Put what the envelope has in the place of the data, which is thus nowhere
 * but here. What comes out is anybody's text, and not what PostgreSQL prints.
 * CLASS_NONE, also for a queue without keys; else how the job ends, with e.
 */
enum job_class sealing_open_data(const struct queue_conf *, char **data,
    struct err *e);

#endif
