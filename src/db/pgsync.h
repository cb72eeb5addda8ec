/*
 * Blocking access to PostgreSQL: for jobqctl, migration, and a worker that
 * completes its last jobs itself. Also what both kinds of connection share:
 * how they begin and the words for a refused connection.
 */
#ifndef DB_PGSYNC_H
#define DB_PGSYNC_H

#include <libpq-fe.h>
#include <stdbool.h>

#include "base/err.h"

#define PGSYNC_CONNECT_MS 10000		/* what everybody waits */

/* A statement that sets what jobqd's statements rely on, whatever is set for the
 * database or the role; local ("true"): for the transaction alone, as behind a
 * pooler whose sessions others have next. */
#define PG_SETTLE(local) "select set_config(name, value, " local ") from (values " \
	"('default_transaction_isolation', 'read committed'), " \
	"('statement_timeout', '0'), ('lock_timeout', '0'), " \
	"('idle_session_timeout', '0'), ('standard_conforming_strings', 'on'), " \
	"('array_nulls', 'on'), ('plpgsql.extra_errors', 'none'), ('jit', 'off')" \
	") k(name, value)"

/* timeout_ms bounds the connect. ERR_CONFIG: wrong database, role or password;
 * ERR_DOWN: not there. */
PGconn *pgsync_open(const char *url, const char *application_name,
    int timeout_ms, struct err *e);

/* Set what jobqd's statements rely on; not behind a transaction pooler. */
int pgsync_settle(PGconn *, bool pooled, struct err *e);

/* A result of status TUPLES_OK or COMMAND_OK, or NULL with e (the server's
 * message, detail, hint and SQLSTATE; ERR_DOWN: the connection is lost). */
PGresult *pgsync_query(PGconn *, const char *sql, int nparams,
    const char *const *params, struct err *e);

/* Begin to connect; blocks for name lookup only. A connection whose status
 * may be CONNECTION_BAD already (see pg_connect_error()), NULL with e for a
 * bad url. Once connected give it to pg_connect_done(). */
PGconn *pg_connect_start(const char *url, const char *application_name,
    struct err *e);
void pg_connect_done(PGconn *);
/* Why a connection was refused, one line. ERR_CONFIG when trying again cannot
 * help (SQLSTATE class 28, 3D000, 42501; no password), else ERR_DOWN.
 * Returns -1. */
int pg_connect_error(PGconn *, struct err *e);

#endif
