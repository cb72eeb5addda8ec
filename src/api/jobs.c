/*
 * The routes of jobs: their SQL is in 94-api-jobs.sql.
 */
#include "config.h"

#include "api/route.h"

#define JOB_ID { "id", IN_PATH, PARAM_ID, "the job" }

static const struct param one_job[] = { JOB_ID, { 0 } };

static const struct param enqueue_params[] = {
	{ "queue", IN_BODY, PARAM_TEXT, "the queue's name", true },
	{ "type", IN_BODY, PARAM_TEXT, "what kind of job it is", .max = 255 },
	{ "data", IN_BODY, PARAM_OBJECT, "the job's data", .def = "{}" },
	{ "priority", IN_BODY, PARAM_INTEGER, "lower runs first; else the queue's", .max = 99 },
	{ "run_at", IN_BODY, PARAM_INSTANT, "not before" },
	{ "delay", IN_BODY, PARAM_DURATION, "not before so long from now; or run_at" },
	{ "unique_key", IN_BODY, PARAM_TEXT, "one job at a time has it", .min = 1, .max = 1024 },
	{ "tenant", IN_BODY, PARAM_TEXT, "whose job it is; else the token's" },
	{ "max_attempts", IN_BODY, PARAM_INTEGER, "else the policy's", .min = 1, .max = 30000 },
	{ "timeout", IN_BODY, PARAM_DURATION, "of one attempt; else the queue's" },
	{ "tags", IN_BODY, PARAM_TEXTS, "up to 100" },
	{ "after", IN_BODY, PARAM_IDS, "jobs that must have completed before" },
	{ "key", IN_BODY, PARAM_TEXT, "its concurrency key", .min = 1, .max = 1024 },
	{ 0 }
};

const struct route jobs_routes[] = {
	{ "POST", "/v1/jobs", "Enqueue a job", "jobs", ROLE_PRODUCER, true,
	    "SELECT status, body, location FROM jobq.api_enqueue($1, $2, $3, $4, $5, $6, $7, "
	    "$8, $9, $10, $11, $12, $13)",
	    .params = enqueue_params, .status = 201, .creates = true },
	{ "GET", "/v1/jobs/{id}", "A job, with its data, result, and why it does not run",
	    "jobs", ROLE_VIEWER, true, "SELECT jobq.api_job($1) AS body",
	    .params = one_job },
	{ 0 }
};
