/*
 * One asynchronous PostgreSQL connection on a loop, in pipeline mode.
 * Connects, reconnects with back-off (0.1 s doubling to 1 s, each by a half
 * more or less), keeps statements in order and gives each its own transaction (a Sync after each).
 */
#ifndef DB_PG_H
#define DB_PG_H

#include <libpq-fe.h>
#include <stdbool.h>

#include "base/err.h"
#include "os/loop.h"

struct pg;

struct pg_ops {
	void (*up)(struct pg *, void *arg);		/* connected, also again */
	/* Lost or refused; statements not answered have been called back with
	 * NULL before. fatal: a wrong database, role or password, not worth
	 * another try at start; it is tried again all the same. */
	void (*down)(struct pg *, const char *reason, bool fatal, void *arg);
	void (*notify)(struct pg *, const char *channel, const char *payload, void *arg);
};

/* res: the result, borrowed; NULL: the connection was lost before the answer
 * (it may or may not have been done). An SQL error is a result of status
 * PGRES_FATAL_ERROR. Called when the transaction has ended. */
typedef void pg_result_fn(struct pg *, PGresult *res, void *arg);

/* url: a conninfo or URI; setup: NULL or statements sent after each connect and
 * PG_SETTLE(), before up() (SET …; LISTEN …), one a string, NULL at the end; copied.
 * pooled: a transaction pooler hands the session to others between
 * transactions, so nothing is set up in it or prepared. Connecting starts with
 * the loop's next turn. A connection that gives no answer for 30 s is dropped. */
struct pg *pg_new(struct loop *, const char *url, const char *application_name,
    bool pooled, const char *const *setup, const struct pg_ops *, void *arg);
void pg_free(struct pg *);		/* unanswered statements are called back with NULL */

bool pg_is_up(const struct pg *);
/* The server's process as libpq was told it; a pooler tells another. 0: not up. */
int pg_client_pid(const struct pg *);

/* Queue a statement; text parameters, NULL allowed; cb may be NULL (an error
 * is logged). -1 with e (ERR_DOWN) when not connected. Parameters are copied
 * before it returns. */
int pg_query(struct pg *, const char *sql, int nparams, const char *const *params,
    pg_result_fn *cb, void *arg, struct err *e);
/* The same with settings of the session that last as long as its transaction. */
struct pg_setting { const char *name, *value; };
#define PG_SETTINGS_MAX 8
int pg_query_as(struct pg *, const struct pg_setting *, int nsettings,
    const char *sql, int nparams, const char *const *params,
    pg_result_fn *cb, void *arg, struct err *e);
/* The same, and the server is to give the statement up after so long: an error
 * of SQLSTATE 57014. Less than the time after which the connection is dropped. */
int pg_query_within(struct pg *, int limit_ms, const char *sql, int nparams,
    const char *const *params, pg_result_fn *cb, void *arg, struct err *e);
/* The same for a statement that is sent all the time: the server parses and
 * plans it once, which costs up to a millisecond. Few to a connection: each
 * different text is kept. */
int pg_query_often(struct pg *, const char *sql, int nparams, const char *const *params,
    pg_result_fn *cb, void *arg, struct err *e);

const char *pg_library(void);	/* libpq and its version */

/* Helpers for what comes back. */
int64_t pg_int(const PGresult *, int row, int column);		/* 0 for NULL */
const char *pg_text(const PGresult *, int row, int column);	/* NULL for NULL */
bool pg_true(const PGresult *, int row, int column);
/* The server did the statement; otherwise it is logged, as what, unless the
 * answer was lost (NULL). */
bool pg_ok(const PGresult *, const char *what);
/* Somebody else had locked what the statement needs, for longer than it waits. */
bool pg_is_locked(const PGresult *);
/* The server did not do a claim, which is made again each second: logged once a
 * minute. failures: in a row, counted here. */
void pg_claim_refused(const PGresult *, const char *queue, unsigned *failures);
/* An SQL error of the server's state (shutting down, no connection left, a
 * deadlock …) and not of the statement: the same may succeed later. */
bool pg_is_passing(const PGresult *);
/* "message; detail; hint (SQLSTATE x)" of a failed result, one line, into e;
 * ERR_CONFIG when a right is missing, ERR_BUSY when somebody else is at what
 * it is about. */
int pg_error(const PGresult *, struct err *e);

#endif
