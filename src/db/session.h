/*
 * A session of a driver with a database, on its worker's loop: one statement
 * at a time, its rows handed on one by one as they arrive, so that a million
 * of them need no more memory than one. Connects when there is something to
 * do, stays connected between jobs, and can be told to stop.
 */
#ifndef DB_SESSION_H
#define DB_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/job.h"
#include "os/loop.h"

struct session;
struct session_row;

/* What a column's text is. */
enum value_kind { VALUE_TEXT, VALUE_NUMBER, VALUE_BOOLEAN, VALUE_JSON, VALUE_INSTANT };

/* Types of parameters. */
#define SESSION_JSONB 3802u
#define SESSION_BIGINT 20u
#define SESSION_TEXT 25u

/* Borrowed until its end. */
struct session_statement {
	const char *sql;
	int nparams;
	const unsigned *types;
	const char *const *params;	/* text; NULL is null */
};

/* How a statement ended. */
struct session_end {
	enum job_class class;		/* CLASS_NONE: done */
	char sqlstate[6];		/* "" : the connection was lost, or not made */
	int64_t affected;		/* rows that were changed, or returned */
	char message[1024];		/* one line */
};

/* Called from the loop. head: what columns there are, before the first row;
 * also when there is none. It and row may be NULL, and may call
 * session_cancel(). done may begin the next statement. */
struct session_ops {
	void (*head)(const struct session_row *, void *arg);
	void (*row)(const struct session_row *, void *arg);
	void (*done)(const struct session_end *, void *arg);
};

struct session *session_new(struct loop *, const char *url,
    const char *application_name);
void session_free(struct session *);	/* whatever it does; done is not called */

/* Only when the one before is done; ops->done is called once, later. */
void session_run(struct session *, const struct session_statement *,
    const struct session_ops *, void *arg);
/* Have the statement that runs end soon, if there is one; its other rows are
 * not handed on. May block for as long as another connection takes. */
void session_cancel(struct session *);
/* The server rolls back what was begun. */
void session_close(struct session *);

/* Of a row, or of the head; a column from 0. Borrowed until the callback ends. */
int session_columns(const struct session_row *);
const char *session_name(const struct session_row *, int column);
enum value_kind session_kind(const struct session_row *, int column);
const char *session_value(const struct session_row *, int column, size_t *len);	/* NULL: null */

#endif
