/*
 * The routes of dead letters: their SQL is in 94-api-dead.sql.
 */
#include "config.h"

#include "api/bulk.h"
#include "api/route.h"

#define CLASSES "error validation rate_limit auth network timeout resource crash lost"
#define FILTER(place) \
	{ "reviewed", place, PARAM_BOOLEAN, "whether somebody has reviewed it" }, \
	{ "queue", place, PARAM_TEXT, "of this queue" }, \
	{ "type", place, PARAM_TEXT, "of this type" }, \
	{ "tenant", place, PARAM_TEXT, "of this tenant" }, \
	{ "fingerprint", place, PARAM_TEXT, "that failed for this reason" }, \
	{ "class", place, PARAM_WORD, "whose error is of this class", .words = CLASSES }
#define ALL(place) \
	{ "all", place, PARAM_BOOLEAN, "all of them, where nothing else says which" }
#define JOB_ID { "id", IN_PATH, PARAM_ID, "the job" }

static answer_fn retry_many, review_many, delete_many;

static const struct param list_params[] = {
	FILTER(IN_QUERY),
	{ "limit", IN_QUERY, PARAM_INTEGER, "at most so many", .min = 1, .max = 1000, .def = "50" },
	{ "cursor", IN_QUERY, PARAM_TEXT, "where the last page ended", .min = 1, .max = 1024 },
	{ 0 }
};
static const struct param groups_params[] = {
	{ "reviewed", IN_QUERY, PARAM_BOOLEAN, "whether all of the group are reviewed" },
	{ "queue", IN_QUERY, PARAM_TEXT, "of this queue" },
	{ "type", IN_QUERY, PARAM_TEXT, "of this type" },
	{ "limit", IN_QUERY, PARAM_INTEGER, "at most so many", .min = 1, .max = 1000,
	    .def = "100" },
	{ 0 }
};
static const struct param one_letter[] = { JOB_ID, { 0 } };
static const struct param retry_params[] = {
	JOB_ID,
	{ "data", IN_BODY, PARAM_OBJECT, "what the job is to have as its data from now on" },
	{ 0 }
};
static const struct param review_params[] = {
	JOB_ID,
	{ "reviewed_by", IN_BODY, PARAM_TEXT, "who; else who calls" },
	{ "notes", IN_BODY, PARAM_TEXT, "what was found", .max = 10000 },
	{ 0 }
};
static const struct param retry_many_params[] = {
	{ "rate", IN_BODY, PARAM_INTEGER, "so many a second; else all at once", .min = 1,
	    .max = 100000 },
	ALL(IN_BODY), FILTER(IN_BODY), BULK_DRY_RUN(IN_BODY),
	{ 0 }
};
static const struct param review_many_params[] = {
	{ "reviewed_by", IN_BODY, PARAM_TEXT, "who; else who calls" },
	{ "notes", IN_BODY, PARAM_TEXT, "what was found", .max = 10000 },
	ALL(IN_BODY), FILTER(IN_BODY), BULK_DRY_RUN(IN_BODY),
	{ 0 }
};
static const struct param delete_many_params[] = {
	ALL(IN_QUERY), FILTER(IN_QUERY), BULK_DRY_RUN(IN_QUERY), BULK_CONFIRM,
	{ 0 }
};

const struct route dead_routes[] = {
	{ "GET", "/v1/dead-letters", "Jobs that were given up, the newest first", "dead letters",
	    ROLE_VIEWER, true,
	    "SELECT jobq.api_dead_letters($1, $2, $3, $4, $5, $6, $7, $8) AS body",
	    .params = list_params },
	{ "GET", "/v1/dead-letters/groups", "The same by the reason for which they failed",
	    "dead letters", ROLE_VIEWER, true,
	    "SELECT jobq.api_dead_groups($1, $2, $3, $4) AS body", .params = groups_params },
	{ "GET", "/v1/dead-letters/{id}", "One, with how its attempts ended", "dead letters",
	    ROLE_VIEWER, true, "SELECT jobq.api_dead_letter($1) AS body", .params = one_letter },
	{ "POST", "/v1/dead-letters/retry", "Run many again", "dead letters", ROLE_OPERATOR, true,
	    .answer = retry_many, .params = retry_many_params },
	{ "POST", "/v1/dead-letters/review", "Say that many are looked over", "dead letters",
	    ROLE_OPERATOR, true, .answer = review_many, .params = review_many_params },
	{ "DELETE", "/v1/dead-letters", "Delete many", "dead letters", ROLE_OPERATOR, true,
	    .answer = delete_many, .params = delete_many_params },
	{ "POST", "/v1/dead-letters/{id}/retry", "Run it again", "dead letters", ROLE_OPERATOR,
	    true, "SELECT jobq.api_dead_retry($1, $2) AS body", .params = retry_params,
	    .seals = true },
	{ "POST", "/v1/dead-letters/{id}/review", "Say that it is looked over", "dead letters",
	    ROLE_OPERATOR, true, "SELECT jobq.api_dead_review($1, $2, $3) AS body",
	    .params = review_params },
	{ "DELETE", "/v1/dead-letters/{id}", "Delete it", "dead letters", ROLE_OPERATOR, true,
	    "SELECT jobq.api_dead_delete($1)", .params = one_letter, .status = 204 },
	{ 0 }
};

#define PLAN "SELECT p, cardinality(p) FROM jobq.api_dead_plan($1, $2, $3, $4, $5, $6, $7) p"

static void
retry_many(struct exchange *x, void *arg)
{
	static const struct bulk bulk = {
		"retried", .plan = PLAN, .plan_from = 1,
		.work = "SELECT done, refused, reasons FROM jobq.api_dead_retry_some($1, $2, $3)",
		.keep = 1,
	};

	(void)arg;
	bulk_answer(x, &bulk);
}

static void
review_many(struct exchange *x, void *arg)
{
	static const struct bulk bulk = {
		"reviewed", .plan = PLAN, .plan_from = 2,
		.work = "SELECT jobq.review_dead($1, coalesce($3, ''), coalesce($4, '')), "
		    "0 * $2::bigint, NULL",
		.keep = 2,
	};

	(void)arg;
	bulk_answer(x, &bulk);
}

static void
delete_many(struct exchange *x, void *arg)
{
	static const struct bulk bulk = {
		"deleted", .plan = PLAN,
		.work = "SELECT jobq.delete_dead($1), 0 * $2::bigint, NULL",
	};

	(void)arg;
	bulk_answer(x, &bulk);
}
