/*
 * What comes back of an HTTP request: what it means, when to come again, and
 * what of it is kept as the job's result. Pure; knows nothing of curl.
 */
#ifndef DRIVER_ANSWER_H
#define DRIVER_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "conf/node.h"
#include "core/job.h"
#include "driver/strings.h"

#define ANSWER_BODY_KEPT (4u << 10)	/* bytes, when the handler does not say */
#define ANSWER_BODY_MAX (128u << 10)	/* escaped, these are not RESULT_MAX yet */
#define ANSWER_HEAD_MAX (256u << 10)	/* bytes of all its heads and trailers */
#define ANSWER_HEADERS_MAX 20		/* that are kept */

/* What a handler keeps of answers. */
struct answer_keep {
	size_t body;			/* bytes */
	struct strings headers;		/* names, lower case */
};

/* Options keep_body and keep_headers. */
void answer_check(const struct node *options, struct conf_sink *);
void answer_keep_init(struct answer_keep *, const struct node *options);
void answer_keep_clear(struct answer_keep *);

struct answer {
	const struct answer_keep *keep;
	struct buf body;		/* what is kept of it */
	uint64_t body_seen;		/* bytes */
	struct buf headers;		/* that are kept: "name: value\n" */
	size_t head_seen;		/* bytes */
	int64_t retry_after_ms;		/* -1: none */
	bool is_json;
	char type[128];			/* of its content; empty: not said */
	/* Where the body went to, instead of body; NULL: nowhere. Borrowed. */
	const char *file;
	int64_t file_bytes;
};

void answer_init(struct answer *, const struct answer_keep *);
void answer_clear(struct answer *);

/*
 * A line of its head, as it came; now in seconds since the epoch. The line of a
 * status starts all over, since an interim answer may have come before. -1 with
 * e: no more of them.
 */
int answer_header(struct answer *, const char *line, size_t len, int64_t now,
    struct err *e);
void answer_body(struct answer *, const char *data, size_t len);

/*
 * As JSON text, which the caller frees: {"status", "body"}, and with headers
 * that are kept "headers". The body is JSON where it says so, and is, and is
 * there as a whole; else text. "truncated" says that there was more. In its place
 * are "file", "bytes" and "type" of a file.
 */
char *answer_result(const struct answer *, long status);

/*
 * What a status means.
 *   retry_after	whether a usable Retry-After came with it
 */
enum job_class answer_class(long status, bool retry_after);

/* The milliseconds of a Retry-After value, seconds or a date; -1: neither. */
int64_t answer_retry_after_ms(const char *value, size_t len, int64_t now);

#endif
