/*
 * A driver's session with a database: see session.h.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "core/sqlstate.h"
#include "db/pg.h"
#include "db/pgsync.h"
#include "db/session.h"

enum session_state { SESSION_CLOSED, SESSION_CONNECTING, SESSION_IDLE, SESSION_BUSY };

struct session_row {
	const PGresult *res;
};

struct session {
	struct loop *loop;
	char *url, *application_name;
	enum session_state state;
	PGconn *conn;			/* NULL: closed */
	struct watch *watch;
	unsigned watching;
	struct timer *timer;		/* connecting takes too long, or: tell the end */

	/* the statement that runs, or waits for the connection */
	const struct session_statement *statement;	/* NULL: none */
	const struct session_ops *ops;
	void *arg;
	bool headed;			/* the columns were told */
	bool cancelled;			/* no more rows are wanted */
	struct session_end end;
};

static void connect_step(int, unsigned, void *);
static void on_ready(int, unsigned, void *);
static void on_timer(void *);

struct session *
session_new(struct loop *loop, const char *url, const char *application_name)
{
	struct session *s = xcalloc(1, sizeof(*s));

	s->loop = loop;
	s->url = xstrdup(url);
	s->application_name = xstrdup(application_name);
	s->timer = timer_new(loop, on_timer, s);
	return s;
}

void
session_close(struct session *s)
{
	watch_free(s->watch);
	s->watch = NULL;
	PQfinish(s->conn);
	s->conn = NULL;
	s->state = SESSION_CLOSED;
}

void
session_free(struct session *s)
{
	if (s == NULL)
		return;
	session_close(s);
	timer_free(s->timer);
	free(s->url);
	free(s->application_name);
	free(s);
}

/*
 * Ends
 */

static void
finish(struct session *s)
{
	const struct session_ops *ops = s->ops;

	s->statement = NULL;
	ops->done(&s->end, s->arg);	/* may begin the next */
}

static void
set_end(struct session *s, enum job_class class, const char *sqlstate,
    const char *message)
{
	if (s->end.class != CLASS_NONE)
		return;			/* the first failure is the reason */
	s->end.class = class;
	strlcpy(s->end.sqlstate, sqlstate, sizeof(s->end.sqlstate));
	strlcpy(s->end.message, message, sizeof(s->end.message));
	s->end.message[strcspn(s->end.message, "\n")] = '\0';
}

static void
lost(struct session *s, enum job_class class, const char *message)
{
	set_end(s, class, "", *message != '\0' ? message : "connection lost");
	session_close(s);
	timer_stop(s->timer);
	if (s->statement != NULL)
		finish(s);
}

/* Not now, as the caller may be anywhere. */
static void
lost_soon(struct session *s, enum job_class class, const char *message)
{
	set_end(s, class, "", message);
	session_close(s);
	timer_set(s->timer, 0);
}

static void
on_timer(void *arg)
{
	struct session *s = arg;

	if (s->state == SESSION_CONNECTING)
		lost(s, CLASS_NETWORK, "the database gives no answer");
	else if (s->state == SESSION_CLOSED && s->statement != NULL)
		finish(s);
}

/*
 * Sending
 */

static void
watch_for(struct session *s, unsigned what)
{
	if (s->watching != what)
		watch_set(s->watch, s->watching = what);
}

/* -1: the connection is lost. */
static int
flush(struct session *s)
{
	int rest = PQflush(s->conn);

	if (rest >= 0)
		watch_for(s, rest > 0 ? LOOP_READ | LOOP_WRITE : LOOP_READ);
	return rest < 0 ? -1 : 0;
}

static void
send_statement(struct session *s)
{
	const struct session_statement *q = s->statement;
	int sent = q->nparams == 0 ? PQsendQuery(s->conn, q->sql) :
	    PQsendQueryParams(s->conn, q->sql, q->nparams, q->types, q->params,
	    NULL, NULL, 0);

	s->state = SESSION_BUSY;
	if (sent != 1 || PQsetSingleRowMode(s->conn) != 1 || flush(s) < 0)
		lost_soon(s, CLASS_NETWORK, PQerrorMessage(s->conn));
}

static void
connected(struct session *s)
{
	timer_stop(s->timer);
	pg_connect_done(s->conn);
	PQsetnonblocking(s->conn, 1);
	s->watching = LOOP_READ;
	s->watch = watch_new(s->loop, PQsocket(s->conn), LOOP_READ, on_ready, s);
	send_statement(s);
}

static void
connect_failed(struct session *s)
{
	struct err e;

	pg_connect_error(s->conn, &e);
	lost_soon(s, e.code == ERR_CONFIG ? CLASS_AUTH : CLASS_NETWORK, e.msg);
}

static void
connect_step(int fd, unsigned what, void *arg)
{
	struct session *s = arg;
	PostgresPollingStatusType status;

	(void)fd;
	(void)what;
	/* libpq may close this socket and open another under the same number. */
	watch_free(s->watch);
	s->watch = NULL;
	status = PQconnectPoll(s->conn);
	if (status == PGRES_POLLING_FAILED)
		connect_failed(s);
	else if (status == PGRES_POLLING_OK)
		connected(s);
	else
		s->watch = watch_new(s->loop, PQsocket(s->conn),
		    status == PGRES_POLLING_READING ? LOOP_READ : LOOP_WRITE,
		    connect_step, s);
}

static void
connect_start(struct session *s)
{
	struct err e;

	s->conn = pg_connect_start(s->url, s->application_name, &e);
	if (s->conn == NULL) {
		lost_soon(s, e.code == ERR_CONFIG ? CLASS_ERROR : CLASS_NETWORK,
		    e.msg);
	} else if (PQstatus(s->conn) == CONNECTION_BAD) {
		connect_failed(s);
	} else {
		s->state = SESSION_CONNECTING;
		timer_set(s->timer, PGSYNC_CONNECT_MS * MONO_MS);
		s->watch = watch_new(s->loop, PQsocket(s->conn), LOOP_WRITE,
		    connect_step, s);
	}
}

void
session_run(struct session *s, const struct session_statement *statement,
    const struct session_ops *ops, void *arg)
{
	s->statement = statement;
	s->ops = ops;
	s->arg = arg;
	s->headed = s->cancelled = false;
	memset(&s->end, 0, sizeof(s->end));
	if (s->state == SESSION_CLOSED)
		connect_start(s);
	else
		send_statement(s);
}

void
session_cancel(struct session *s)
{
	char reason[256];
	PGcancel *cancel;

	if (s->statement == NULL || s->cancelled)
		return;
	s->cancelled = true;
	if (s->state == SESSION_CONNECTING)
		lost_soon(s, CLASS_NETWORK, "stopped while connecting");
	if (s->state != SESSION_BUSY)
		return;
	cancel = PQgetCancel(s->conn);
	/* The connection that cannot be told is one that is worth nothing. */
	if (cancel == NULL || PQcancel(cancel, reason, sizeof(reason)) != 1)
		lost_soon(s, CLASS_NETWORK, "the database cannot be told to stop");
	PQfreeCancel(cancel);
}

/*
 * Answers
 */

static void
failed(struct session *s, const PGresult *res)
{
	const char *sqlstate = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	struct err e;

	if (sqlstate == NULL) {		/* libpq's own words */
		set_end(s, CLASS_NETWORK, "", PQresultErrorMessage(res));
		return;
	}
	pg_error(res, &e);
	set_end(s, sqlstate_class(sqlstate), sqlstate, e.msg);
}

static void
hand_on(struct session *s, const PGresult *res)
{
	struct session_row row = { res };

	if (!s->headed && s->ops->head != NULL && !s->cancelled)
		s->ops->head(&row, s->arg);
	s->headed = true;
	if (PQntuples(res) > 0 && s->ops->row != NULL && !s->cancelled)
		s->ops->row(&row, s->arg);
}

/* False: it cannot be dealt with. */
static bool
take(struct session *s, const PGresult *res)
{
	switch (PQresultStatus(res)) {
	case PGRES_SINGLE_TUPLE:
		hand_on(s, res);
		return true;
	case PGRES_TUPLES_OK:
		hand_on(s, res);
		/* FALLTHROUGH */
	case PGRES_COMMAND_OK:
		s->end.affected = strtoll(PQcmdTuples((PGresult *)res), NULL, 10);
		return true;
	case PGRES_EMPTY_QUERY:
		return true;
	case PGRES_FATAL_ERROR:
	case PGRES_BAD_RESPONSE:
		failed(s, res);
		return true;
	default:
		return false;
	}
}

/* All answers that are here. */
static void
take_answers(struct session *s)
{
	while (s->state == SESSION_BUSY && !PQisBusy(s->conn)) {
		PGresult *res = PQgetResult(s->conn);
		bool good;

		if (res == NULL) {
			if (PQstatus(s->conn) == CONNECTION_BAD) {
				lost(s, CLASS_NETWORK, PQerrorMessage(s->conn));
				return;
			}
			s->state = SESSION_IDLE;
			finish(s);
			return;
		}
		good = take(s, res);
		PQclear(res);
		if (!good)
			lost(s, CLASS_ERROR, "a COPY to or from the client cannot be run");
	}
}

static void
on_ready(int fd, unsigned what, void *arg)
{
	struct session *s = arg;
	bool alive = true;

	(void)fd;
	/* Read first: what blocks our writing may be answers nobody reads. */
	if (what & LOOP_READ)
		alive = PQconsumeInput(s->conn) == 1;
	if (s->state == SESSION_IDLE) {
		for (PGnotify *n; (n = PQnotifies(s->conn)) != NULL; )
			PQfreemem(n);
		if (!alive || PQstatus(s->conn) == CONNECTION_BAD)
			session_close(s);
		return;
	}
	/* What arrived before the end of the line still counts. */
	if ((what & LOOP_WRITE && flush(s) < 0) || !alive) {
		take_answers(s);
		if (s->state == SESSION_BUSY)
			lost(s, CLASS_NETWORK, PQerrorMessage(s->conn));
		return;
	}
	take_answers(s);
}

/*
 * Rows
 */

int
session_columns(const struct session_row *row)
{
	return PQnfields(row->res);
}

const char *
session_name(const struct session_row *row, int column)
{
	return PQfname(row->res, column);
}

/* The numbers of pg_type.h, which never change. */
enum value_kind
session_kind(const struct session_row *row, int column)
{
	switch (PQftype(row->res, column)) {
	case 20: case 21: case 23: case 26:		/* integers */
	case 700: case 701: case 1700:			/* floats, numeric */
		return VALUE_NUMBER;
	case 16:
		return VALUE_BOOLEAN;
	case 114: case 3802:
		return VALUE_JSON;
	case 1082: case 1114: case 1184:		/* date, timestamps */
		return VALUE_INSTANT;
	default:
		return VALUE_TEXT;
	}
}

const char *
session_value(const struct session_row *row, int column, size_t *len)
{
	if (PQgetisnull(row->res, 0, column))
		return NULL;
	*len = (size_t)PQgetlength(row->res, 0, column);
	return PQgetvalue(row->res, 0, column);
}
