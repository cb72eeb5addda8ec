/*
 * What is done to many jobs by one request, some hundred a transaction: nobody
 * else waits for long, and what was done stays done.
 */
#ifndef API_BULK_H
#define API_BULK_H

#include "api/server.h"

struct bulk {
	const char *did;	/* "retried": the answer's member */
	/*
	 * Which jobs: a row for each piece, an array of ids and how many they
	 * are. Its $1 … are the route's parameters from plan_from on.
	 */
	const char *plan;
	int plan_from;
	/*
	 * Does it to the ids in $1, when it was done to $2 before; $3 … are the
	 * route's first `keep` parameters. A row: to how many, to how many not,
	 * and of some of these why not (a JSON array, or null).
	 */
	const char *work;
	int keep;
};

/*
 * The last parameters of such a route: with dry_run the answer says of how
 * many jobs it would be, without confirm it is refused.
 */
#define BULK_DRY_RUN(place) \
	{ "dry_run", place, PARAM_BOOLEAN, "only say how many it would be" }
#define BULK_CONFIRM \
	{ "confirm", IN_QUERY, PARAM_WORD, "that it is meant; or dry_run", .words = "yes" }

/* Answers: {"retried": n}, and "refused": n with "reasons" where there are any. */
void bulk_answer(struct exchange *, const struct bulk *);

#endif
