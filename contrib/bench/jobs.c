#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jobs.h"
#include "tool.h"

PGconn *
connect_database(const char *conninfo)
{
	PGconn *c = PQconnectdb(conninfo);

	if (PQstatus(c) != CONNECTION_OK)
		fail("connecting", PQerrorMessage(c));
	PQclear(PQexec(c, "set client_min_messages = warning"));
	return c;
}

static PGresult *
check(PGconn *c, PGresult *res)
{
	ExecStatusType s = PQresultStatus(res);

	if (s != PGRES_TUPLES_OK && s != PGRES_COMMAND_OK)
		fail("statement", PQerrorMessage(c));
	return res;
}

PGresult *
query(PGconn *c, const char *sql)
{
	return check(c, PQexec(c, sql));
}

void
prepare(PGconn *c, const char *name, const char *sql)
{
	PQclear(check(c, PQprepare(c, name, sql, 0, NULL)));
}

PGresult *
execute(PGconn *c, const char *name, int n, const char *const *params)
{
	return check(c, PQexecPrepared(c, name, n, params, NULL, NULL, 0));
}

void
put(struct text *t, const char *s)
{
	size_t n = strlen(s);

	if (t->len + n + 1 > t->cap) {
		t->cap = (t->len + n + 1) * 2;
		t->data = realloc(t->data, t->cap);
		if (t->data == NULL)
			fail("memory", "none left");
	}
	memcpy(t->data + t->len, s, n + 1);
	t->len += n;
}

void
put_data(struct text *t, long n, const struct shape *shape)
{
	char part[64];
	uint32_t x = (uint32_t)n * 2654435761u + 1;

	put(t, "{");
	if (shape->sleep_ms > 0) {
		snprintf(part, sizeof(part), "\"sleep_ms\": %ld, ", shape->sleep_ms);
		put(t, part);
	}
	snprintf(part, sizeof(part), "\"user\": %ld, \"kind\": \"mail\", \"blob\": \"", n);
	put(t, part);
	for (long i = 48; i < shape->bytes; i += 8) {
		x ^= x << 13, x ^= x >> 17, x ^= x << 5;
		snprintf(part, sizeof(part), "%08" PRIx32, x);
		put(t, part);
	}
	put(t, "\"}");
}

void
put_jobs(struct text *t, long first, long count, const struct shape *shape)
{
	t->len = 0;
	put(t, "[");
	for (long i = 0; i < count; i++) {
		put(t, i > 0 ? ",{\"type\":\"mail\",\"data\":" : "{\"type\":\"mail\",\"data\":");
		put_data(t, first + i, shape);
		put(t, "}");
	}
	put(t, "]");
}

void
put_array(struct text *t, long first, long count, const struct shape *shape)
{
	struct text one = { 0 };
	char c[2] = { 0 };

	t->len = 0;
	put(t, "{");
	for (long i = 0; i < count; i++) {
		one.len = 0;
		put_data(&one, first + i, shape);
		put(t, i > 0 ? ",\"" : "\"");
		for (size_t k = 0; k < one.len; k++) {
			if (one.data[k] == '"')
				put(t, "\\");
			c[0] = one.data[k];
			put(t, c);
		}
		put(t, "\"");
	}
	put(t, "}");
	free(one.data);
}

void
report_windows(PGconn *c, const struct windows *w)
{
	double t0 = now(), from = t0, t = t0;
	long n0 = w->done(c), n;

	while (t - t0 < (double)w->seconds) {
		sleep_ms(10);
		*w->ahead = w->waiting(c);
		t = now();
		if (t - from < (double)w->window && t - t0 < (double)w->seconds)
			continue;
		n = w->done(c);
		t = now();
		printf("{\"at\": %.2f, \"rate\": %.1f, \"ahead\": %ld}\n", t - t0,
		    (double)(n - n0) / (t - from), (long)*w->ahead);
		fflush(stdout);
		from = t;
		n0 = n;
	}
}
