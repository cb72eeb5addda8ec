/*
 * What comes back from the server, as C values and as words; see pg.h. Apart
 * from the connections, since both kinds use it.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "db/pg.h"

int64_t
pg_int(const PGresult *res, int row, int column)
{
	return strtoll(PQgetvalue(res, row, column), NULL, 10);
}

const char *
pg_text(const PGresult *res, int row, int column)
{
	return PQgetisnull(res, row, column) ? NULL :
	    PQgetvalue(res, row, column);
}

bool
pg_true(const PGresult *res, int row, int column)
{
	return PQgetvalue(res, row, column)[0] == 't';
}

int
pg_error(const PGresult *res, struct err *e)
{
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	const char *message = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
	const char *detail = PQresultErrorField(res, PG_DIAG_MESSAGE_DETAIL);
	const char *hint = PQresultErrorField(res, PG_DIAG_MESSAGE_HINT);

	if (message == NULL)
		message = res == NULL ? "connection lost" :
		    PQresStatus(PQresultStatus(res));
	err_set(e, "%s%s%s%s%s (%s%s)", message, detail ? "; " : "",
	    detail ? detail : "", hint ? "; " : "", hint ? hint : "",
	    state ? "SQLSTATE " : "", state ? state : "no answer");
	if (e != NULL && state != NULL && strcmp(state, "42501") == 0)
		e->code = ERR_CONFIG;	/* a right that somebody has to grant */
	if (e != NULL && state != NULL && (strncmp(state, "40", 2) == 0 ||
	    strcmp(state, "55006") == 0 || pg_is_locked(res)))
		e->code = ERR_BUSY;	/* somebody else is at it */
	if (e != NULL)
		for (char *p = e->msg; *p != '\0'; p++)
			if (*p == '\n')
				*p = ' ';
	return -1;
}

bool
pg_ok(const PGresult *res, const char *what)
{
	struct err e;

	if (res == NULL)
		return false;
	if (PQresultStatus(res) == PGRES_TUPLES_OK ||
	    PQresultStatus(res) == PGRES_COMMAND_OK)
		return true;
	pg_error(res, &e);
	log_warn("statement failed", "what=%s reason=%s", what, e.msg);
	return false;
}

bool
pg_is_locked(const PGresult *res)
{
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);

	return state != NULL && strcmp(state, "55P03") == 0;
}

void
pg_claim_refused(const PGresult *res, const char *queue, unsigned *failures)
{
	struct err e;

	if ((*failures)++ % 60 != 0)
		return;
	pg_error(res, &e);
	log_warn("nothing is claimed, will be tried again",
	    "queue=%s reason=%s", queue, pg_is_locked(res) ?
	    "a transaction that cleared jobs of it is open" : e.msg);
}

bool
pg_is_passing(const PGresult *res)
{
	static const char *const classes[] = {
		"08", "25", "40", "53", "55", "57", "58", "XX",
	};
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);

	if (state == NULL)
		return true;
	for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
		if (strncmp(state, classes[i], 2) == 0)
			return true;
	return false;
}

const char *
pg_library(void)
{
	static char text[32];

	snprintf(text, sizeof(text), "libpq %d.%d", PQlibVersion() / 10000,
	    PQlibVersion() % 10000);
	return text;
}
