/*
 * What jobqd and the programs of its workers say to each other, a JSON object
 * a line: jobqd-worker(7). Pure.
 */
#ifndef DRIVER_PROTOCOL_H
#define DRIVER_PROTOCOL_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mono.h"
#include "core/job.h"

#define PROTOCOL_VERSION 1
#define SAID_LINE_MAX (2u << 20)	/* bytes of a line */
#define SAID_REF_MAX 256		/* of an enqueue's ref */

enum said_kind {
	SAID_TEXT,		/* no message: something was printed */
	SAID_UNKNOWN,		/* a message of another version */
	SAID_READY,
	SAID_PROGRESS,
	SAID_LOG,
	SAID_ENQUEUE,
	SAID_DONE,
	SAID_FAIL,
};

/* A line of a program. Texts are owned: said_clear(). */
struct said {
	enum said_kind kind;
	int64_t id;		/* of the job it is about; 0: none is named */
	int pct;		/* of progress; -1: none */
	enum job_class class;	/* of a failure */
	int64_t retry_after_ms;	/* of a failure; -1: none */
	char *text;		/* note, line, message or ref; NULL: none */
	char *queue;		/* of an enqueue */
	char *json;		/* the result, or all of the enqueue; NULL: none */
};

/*
 * Understand a line, which is followed by a NUL; what is no UTF-8 in it becomes
 * '?'. -1 with e when it begins as a message and is none, or lacks what it must
 * have. A done, fail or log has its id.
 */
int said_read(char *line, size_t len, struct said *, struct err *e);
void said_clear(struct said *);

/* Append a line to what a program is to be told. */
void tell_hello(struct buf *, const char *queue, size_t in_flight);
void tell_job(struct buf *, const struct job *, const char *token,
    int max_attempts, dbtime_us deadline);
void tell_cancel(struct buf *, int64_t id);
void tell_quit(struct buf *);
/* The answer to an enqueue with a ref: the id, or why there is none. */
void tell_enqueued(struct buf *, const char *ref, int64_t id, const char *error);

#endif
