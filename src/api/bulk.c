/*
 * Things done to many jobs: see bulk.h.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/ask.h"
#include "api/bulk.h"
#include "api/route.h"
#include "base/xalloc.h"

#define KEEP_MAX 4		/* parameters of work, beside the ids and $2 */

/* One of them under way. */
struct run {
	const struct bulk *bulk;
	char **pieces;		/* arrays of ids */
	int count, next;
	int64_t jobs;		/* in all of them */
	int64_t done, refused;
	char *reasons;		/* of the first piece that has any */
	bool unwanted;		/* the client is gone, or this process stops */
};

static void on_plan(struct exchange *, const PGresult *, void *);
static void go_on(struct exchange *, struct run *);

static void
run_free(void *state)
{
	struct run *r = state;

	for (int i = 0; i < r->count; i++)
		free(r->pieces[i]);
	free(r->pieces);
	free(r->reasons);
	free(r);
}

static void
on_gone(struct exchange *x, void *arg)
{
	struct run *r = arg;

	(void)x;
	r->unwanted = true;
}

static bool
is_dry(const struct exchange *x)
{
	const char *dry = route_value(x, "dry_run");

	return dry != NULL && strchr("ty1", *dry) != NULL;
}

static bool
needs_confirmation(const struct route *r)
{
	for (size_t i = 0; i < route_params(r); i++)
		if (strcmp(r->params[i].name, "confirm") == 0)
			return true;
	return false;
}

void
bulk_answer(struct exchange *x, const struct bulk *bulk)
{
	struct run *r;
	int n = 0;

	if (needs_confirmation(x->route) && !is_dry(x) &&
	    route_value(x, "confirm") == NULL) {
		exchange_problem_of(x, 422, "confirm", "this is for many jobs at once: "
		    "say confirm=yes, or dry_run=true to see how many");
		exchange_done(x);
		return;
	}
	r = xcalloc(1, sizeof(*r));
	r->bulk = bulk;
	x->state = r;
	x->state_free = run_free;
	exchange_watch(x, on_gone, r);
	while (strcmp(x->route->params[n].name, "dry_run") != 0)
		n++;
	ask(x, bulk->plan, n - bulk->plan_from,
	    (const char *const *)x->values + bulk->plan_from, on_plan, r);
}

static void
on_plan(struct exchange *x, const PGresult *res, void *arg)
{
	struct run *r = arg;

	r->pieces = xcalloc((size_t)PQntuples(res) + 1, sizeof(*r->pieces));
	for (; r->count < PQntuples(res); r->count++) {
		r->pieces[r->count] = xstrdup(pg_text(res, r->count, 0));
		r->jobs += pg_int(res, r->count, 1);
	}
	if (!is_dry(x)) {
		go_on(x, r);
		return;
	}
	x->status = 200;
	buf_printf(&x->body, "{\"dry_run\":true,\"%s\":%lld}\n", r->bulk->did,
	    (long long)r->jobs);
	exchange_done(x);
}

static void
on_piece(struct exchange *x, const PGresult *res, void *arg)
{
	struct run *r = arg;

	r->done += pg_int(res, 0, 0);
	r->refused += pg_int(res, 0, 1);
	if (r->reasons == NULL && pg_text(res, 0, 2) != NULL)
		r->reasons = xstrdup(pg_text(res, 0, 2));
	go_on(x, r);
}

/* The next piece, unless the client is gone, and with it who said that it is
 * meant; who stops does not begin another one either. */
static void
go_on(struct exchange *x, struct run *r)
{
	const char *params[KEEP_MAX + 2];
	char before[24];

	if (r->next < r->count && r->unwanted) {
		exchange_problem(x, 503, "this jobqd is stopping; %lld were %s before "
		    "that: ask again for the rest", (long long)r->done, r->bulk->did);
		buf_str(&x->headers, "Retry-After: 1\r\n");
		exchange_done(x);
		return;
	}
	if (r->next < r->count) {
		snprintf(before, sizeof(before), "%lld", (long long)r->done);
		params[0] = r->pieces[r->next++];
		params[1] = before;
		for (int i = 0; i < r->bulk->keep; i++)
			params[i + 2] = x->values[i];
		ask(x, r->bulk->work, r->bulk->keep + 2, params, on_piece, r);
		return;
	}
	x->status = 200;
	buf_printf(&x->body, "{\"%s\":%lld", r->bulk->did, (long long)r->done);
	if (r->refused > 0)
		buf_printf(&x->body, ",\"refused\":%lld,\"reasons\":%s",
		    (long long)r->refused, r->reasons ? r->reasons : "[]");
	buf_str(&x->body, "}\n");
	exchange_done(x);
}
