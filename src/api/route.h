/*
 * The table of routes: what the API has, as data. A route names who may call
 * it, its parameters in the order of the statement's $1 …, and the statement;
 * what no single statement does names a function. Checks, /v1/openapi.json and
 * the statement's parameters all come from here. Pure: no sockets, no database.
 */
#ifndef API_ROUTE_H
#define API_ROUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/caller.h"
#include "api/http.h"
#include "api/server.h"
#include "base/buf.h"

#define ROUTE_PARAMS_MAX 32

enum param_in { IN_PATH, IN_QUERY, IN_BODY };

enum param_type {	/* what the statement gets as text */
	PARAM_TEXT,	/* min … max bytes (default 1 … 255) without NUL */
	PARAM_ID,	/* of a job …: 1 … 2^63 - 1 */
	PARAM_INTEGER,	/* min … max (default: of an int) */
	PARAM_BOOLEAN,	/* true or false */
	PARAM_WORD,	/* one of words */
	PARAM_INSTANT,	/* RFC 3339, with an offset */
	PARAM_DURATION,	/* "5m", an interval, or a number of seconds */
	PARAM_OBJECT,	/* JSON */
	PARAM_ARRAY,	/* JSON, min … max elements */
	PARAM_JSON,	/* any JSON, null too */
	PARAM_TEXTS,	/* an array of texts: text[]; in a query: one text */
	PARAM_IDS,	/* an array of ids: bigint[] */
	PARAM_FIELDS,	/* in a query: all of name.x=value, as an object {"x":"value"} */
};

struct param {
	const char *name;
	enum param_in in;
	enum param_type type;
	const char *about;	/* one line */
	bool required;		/* those of a path are */
	int64_t min, max;	/* both 0: the type's own */
	const char *words;	/* "ready running", with one blank between */
	const char *def;	/* when it is not given; NULL: SQL's null */
};

/* A line of the table says what is not nothing; the rest is zero. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

struct route {
	const char *method;	/* GET is HEAD, too */
	const char *path;	/* "/v1/jobs/{id}/retry"; a segment may be a parameter */
	const char *about;	/* one line */
	const char *tag;	/* "jobs": of openapi.json */
	enum role role;		/* the least; ROLE_NONE: open to all */
	bool tenants;		/* a tenant's token may: it sees and touches its share */
	/*
	 * Returns one row with the column body, which is JSON as text, and may
	 * have status (else `status`), and location. No row: 404.
	 */
	const char *sql;
	answer_fn *answer;	/* instead of sql */
	const struct param *params;	/* {0} ends them; NULL: none, and none are taken */
	int status;		/* when it is done; 0: 200 */
	bool enqueues;		/* data, or that of jobs, is to be what its queue takes */
	bool seals;		/* what it puts into a queue is encrypted if that wants it */
	bool creates;		/* Idempotency-Key is honoured; only with sql */
	bool raw;		/* the body is the function's business: any bytes */
	bool any_query;		/* and the query, too */
	const char *type;	/* of the answer; NULL: application/json */
};

/*
 * The routes, a table for each part, which {0} ends. A part that is made by its
 * own file has its line here and in routes.c.
 */
extern const struct route api_routes[];		/* api.c: probes, sessions, itself */
extern const struct route jobs_routes[];
extern const struct route queues_routes[];
extern const struct route dead_routes[];
extern const struct route schedules_routes[];
extern const struct route watch_routes[];
extern const struct route *const route_tables[];	/* NULL ends them */

/* The route of a request, else NULL, and in allow the methods that the path
 * has, "GET, HEAD, POST"; empty: there is no such path. */
const struct route *route_find(const char *method, const char *path, struct buf *allow);

struct route_problem {
	int status;
	char field[128];	/* "": of none */
	char text[512];
};

/*
 * Read the parameters into values, one for each of the route's, the caller's
 * to free; NULL: not given. -1 with the problem; then there are none.
 */
int route_read(const struct route *, const struct http_request *,
    const struct buf *content, char *values[ROUTE_PARAMS_MAX], struct route_problem *);

size_t route_params(const struct route *);	/* how many it has */
/* The value of a parameter of the route that is being answered; NULL: not given. */
const char *route_value(const struct exchange *, const char *name);

/* What one has that came in a query, "+" and "%xx" undone; NULL: malformed, or
 * with a NUL in it, or no UTF-8. Caller frees. */
char *route_decode(const char *text, size_t len);

/* OpenAPI 3.1 of all tables. */
void openapi_text(struct buf *, const char *version);

#endif
