/*
 * Blocking access to PostgreSQL, and how connections are described and
 * refused.
 */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mono.h"
#include "base/xalloc.h"
#include "db/pg.h"
#include "db/pgsync.h"

/* A server that vanished without a word is noticed by the kernel. */
static const struct {
	const char *key, *value;
} wanted[] = {
	{ "keepalives", "1" },
	{ "keepalives_idle", "5" },
	{ "keepalives_interval", "2" },
	{ "keepalives_count", "3" },
	{ "tcp_user_timeout", "8000" },
};

static void
put_option(struct buf *b, const char *key, const char *value)
{
	buf_printf(b, "%s%s='", b->len > 0 ? " " : "", key);
	for (; *value != '\0'; value++) {
		if (*value == '\'' || *value == '\\')
			buf_char(b, '\\');
		buf_char(b, *value);
	}
	buf_char(b, '\'');
}

static bool
says(const PQconninfoOption *options, const char *key)
{
	for (; options->keyword != NULL; options++)
		if (strcmp(options->keyword, key) == 0)
			return options->val != NULL;
	return false;
}

/*
 * What libpq says of an url that it cannot read, the first line: it repeats the
 * url, or what follows a mistake, which may be the password.
 */
static void
bad_url(const char *url, const char *why, struct err *e)
{
	size_t len = strcspn(why, "\n");
	struct buf b = { 0 };

	for (const char *p = why, *end; p < why + len; p = end) {
		char *piece;

		if (*p != '"' || (end = strchr(p + 1, '"')) == NULL) {
			end = p + 1;
			buf_put(&b, p, 1);
			continue;
		}
		end++;
		piece = xstrndup(p + 1, (size_t)(end - p) - 2);
		if (strlen(piece) > 1 && strstr(url, piece) != NULL)
			buf_str(&b, "***");
		else
			buf_put(&b, p, (size_t)(end - p));
		free(piece);
	}
	err_code(e, ERR_CONFIG, "bad database url: %s", b.data ? b.data : "");
	buf_clear(&b);
}

/*
 * The conninfo to connect with: url (a conninfo or URI) with what jobqd wants
 * where it says nothing of it: keepalives that notice a dead server within
 * some 12 s, the encoding, the application's name. Caller frees. NULL with e
 * (ERR_CONFIG) when the url cannot be parsed.
 */
static char *
conninfo_of(const char *url, const char *application_name, struct err *e)
{
	struct buf b = { .len = 0 };
	PQconninfoOption *options;
	char *reason = NULL;

	if ((options = PQconninfoParse(url, &reason)) == NULL) {
		bad_url(url, reason ? reason : "out of memory", e);
		PQfreemem(reason);
		return NULL;
	}
	for (PQconninfoOption *o = options; o->keyword != NULL; o++)
		if (o->val != NULL && strcmp(o->keyword, "client_encoding") != 0)
			put_option(&b, o->keyword, o->val);
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		if (!says(options, wanted[i].key))
			put_option(&b, wanted[i].key, wanted[i].value);
	if (!says(options, "application_name"))
		put_option(&b, "application_name", application_name);
	put_option(&b, "client_encoding", "UTF8");
	PQconninfoFree(options);
	return buf_detach(&b);
}

PGconn *
pg_connect_start(const char *url, const char *application_name, struct err *e)
{
	char *conninfo = conninfo_of(url, application_name, e);
	PGconn *conn;

	if (conninfo == NULL)
		return NULL;
	conn = PQconnectStart(conninfo);
	free(conninfo);
	if (conn == NULL) {
		err_code(e, ERR_DOWN, "out of memory");
		return NULL;
	}
	/* Only the verbose form of a refusal shows its SQLSTATE. */
	PQsetErrorVerbosity(conn, PQERRORS_VERBOSE);
	return conn;
}

static void
ignore_notice(void *arg, const PGresult *res)
{
	(void)arg;
	(void)res;
}

void
pg_connect_done(PGconn *conn)
{
	PQsetErrorVerbosity(conn, PQERRORS_DEFAULT);
	/* The default prints to standard error, past the log's form. */
	PQsetNoticeReceiver(conn, ignore_notice, NULL);
}

/* ":  28P01: password …" at p: the state's first character. */
static const char *
state_at(const char *p)
{
	if (strncmp(p, ":  ", 3) != 0)
		return NULL;
	p += 3;
	for (int i = 0; i < 5; i++)
		if (!isdigit((unsigned char)p[i]) && !isupper((unsigned char)p[i]))
			return NULL;
	return strncmp(p + 5, ": ", 2) == 0 ? p : NULL;
}

static bool
is_hopeless(const char *state)
{
	return strncmp(state, "28", 2) == 0 || strncmp(state, "3D000", 5) == 0 ||
	    strncmp(state, "42501", 5) == 0;
}

/*
 * The message as one line: lines joined by "; ", the LOCATION line of the
 * verbose form left out. With several hosts every one of them has its own
 * part; hopeless only when the last one is.
 */
static bool
shorten(const char *text, struct buf *line)
{
	bool hopeless = false;

	while (*text != '\0') {
		size_t len;

		text += strspn(text, "\t ");
		len = strcspn(text, "\n");
		if (strncmp(text, "LOCATION:", 9) != 0 && len > 0) {
			if (line->len > 0)
				buf_str(line, "; ");
			for (const char *p = text; p < text + len; p++) {
				const char *state = state_at(p);

				if (state == NULL) {
					buf_char(line, *p);
					continue;
				}
				hopeless = is_hopeless(state);
				buf_printf(line, " %.5s: ", state);
				p = state + 6;
			}
		}
		text += len + (text[len] == '\n');
	}
	return hopeless;
}

int
pg_connect_error(PGconn *conn, struct err *e)
{
	struct buf line = { .len = 0 };
	bool hopeless = shorten(PQerrorMessage(conn), &line);

	if (PQconnectionNeedsPassword(conn))
		hopeless = true;
	err_code(e, hopeless ? ERR_CONFIG : ERR_DOWN, "%s",
	    line.len > 0 ? line.data : "connection refused");
	buf_clear(&line);
	return -1;
}

/* Wait until libpq can go on. False when the time is up. */
static bool
wait_socket(PGconn *conn, short events, mono_t deadline)
{
	struct pollfd p = { .fd = PQsocket(conn), .events = events };

	for (;;) {
		mono_t left = deadline - mono_now();
		int n;

		if (left <= 0)
			return false;
		n = poll(&p, 1, (int)(left / MONO_MS) + 1);
		if (n > 0)
			return true;
		if (n < 0 && errno != EINTR)
			return false;
	}
}

static int
connect_poll(PGconn *conn, int timeout_ms, struct err *e)
{
	mono_t deadline = mono_now() + timeout_ms * MONO_MS;
	PostgresPollingStatusType status = PGRES_POLLING_WRITING;

	if (PQstatus(conn) == CONNECTION_BAD)
		return pg_connect_error(conn, e);
	for (;;) {
		if (!wait_socket(conn, status == PGRES_POLLING_READING ?
		    POLLIN : POLLOUT, deadline))
			return err_code(e, ERR_DOWN,
			    "no answer within %d ms", timeout_ms);
		status = PQconnectPoll(conn);
		if (status == PGRES_POLLING_OK)
			return 0;
		if (status == PGRES_POLLING_FAILED)
			return pg_connect_error(conn, e);
	}
}

PGconn *
pgsync_open(const char *url, const char *application_name, int timeout_ms,
    struct err *e)
{
	PGconn *conn = pg_connect_start(url, application_name, e);

	if (conn == NULL)
		return NULL;
	if (connect_poll(conn, timeout_ms, e) < 0) {
		PQfinish(conn);
		return NULL;
	}
	pg_connect_done(conn);
	return conn;
}

int
pgsync_settle(PGconn *conn, bool pooled, struct err *e)
{
	PGresult *res;

	if (pooled)
		return 0;
	if ((res = pgsync_query(conn, PG_SETTLE("false"), 0, NULL, e)) == NULL)
		return -1;
	PQclear(res);
	return 0;
}

PGresult *
pgsync_query(PGconn *conn, const char *sql, int nparams,
    const char *const *params, struct err *e)
{
	PGresult *res = PQexecParams(conn, sql, nparams, NULL, params, NULL,
	    NULL, 0);

	switch (PQresultStatus(res)) {
	case PGRES_TUPLES_OK:
	case PGRES_COMMAND_OK:
		return res;
	default:
		break;
	}
	if (res != NULL && PQresultErrorField(res, PG_DIAG_SQLSTATE) != NULL)
		pg_error(res, e);
	else
		err_set(e, "%.*s", (int)strcspn(PQerrorMessage(conn), "\n"),
		    PQerrorMessage(conn));
	if (PQstatus(conn) == CONNECTION_BAD && e != NULL)
		e->code = ERR_DOWN;
	PQclear(res);
	return NULL;
}
