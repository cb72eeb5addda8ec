/*
 * The routes of jobs: their SQL is in 94-api-jobs.sql.
 */
#include "config.h"

#include "api/route.h"

#define STATES "scheduled blocked ready running retrying completed dead cancelled"

#define JOB_ID { "id", IN_PATH, PARAM_ID, "the job" }

/* Which jobs; IN is IN_QUERY or IN_BODY. */
#define FILTER(IN) \
	{ "queue", IN, PARAM_TEXT, "of this queue" }, \
	{ "state", IN, PARAM_WORD, "in this state", .words = STATES }, \
	{ "type", IN, PARAM_TEXT, "of this type" }, \
	{ "tenant", IN, PARAM_TEXT, "of this tenant" }, \
	{ "tag", IN, PARAM_TEXT, "with this tag" }, \
	{ "since", IN, PARAM_INSTANT, "enqueued then or later" }, \
	{ "until", IN, PARAM_INSTANT, "enqueued before then" }

static const struct param one_job[] = { JOB_ID, { 0 } };

static const struct param job_and_data[] = {
	JOB_ID,
	{ "data", IN_BODY, PARAM_OBJECT, "what its data is from now on" },
	{ 0 }
};

static const struct param new_data[] = {
	JOB_ID,
	{ "data", IN_BODY, PARAM_OBJECT, "what its data is from now on", true },
	{ 0 }
};

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

static const struct param batch_params[] = {
	{ "queue", IN_BODY, PARAM_TEXT, "the queue's name", true },
	{ "jobs", IN_BODY, PARAM_ARRAY, "objects with what POST /v1/jobs takes, but queue; all "
	    "or none of them are enqueued", true, 0, 10000 },
	{ 0 }
};

static const struct param workflow_params[] = {
	{ "workflow", IN_PATH, PARAM_TEXT, "the workflow, as the configuration names it" },
	{ "data", IN_BODY, PARAM_OBJECT, "what its steps get", .def = "{}" },
	{ "tenant", IN_BODY, PARAM_TEXT, "whose it is; else the token's" },
	{ 0 }
};

static const struct param list_params[] = {
	FILTER(IN_QUERY),
	{ "data", IN_QUERY, PARAM_FIELDS, "data.PATH=VALUE: whose data has that there" },
	{ "limit", IN_QUERY, PARAM_INTEGER, "how many at most", false, 1, 1000, .def = "50" },
	{ "cursor", IN_QUERY, PARAM_TEXT, "next_cursor of the page before", .min = 1, .max = 255 },
	{ "count", IN_QUERY, PARAM_BOOLEAN, "how many there are, up to 10,000", .def = "false" },
	{ 0 }
};

static const struct param many_params[] = {
	FILTER(IN_BODY),
	{ "data", IN_BODY, PARAM_OBJECT, "{\"PATH\":\"VALUE\"}: whose data has that there" },
	{ "ids", IN_BODY, PARAM_IDS, "of these" },
	{ "limit", IN_BODY, PARAM_INTEGER, "how many at most", false, 1, 5000, .def = "1000" },
	{ "confirm", IN_BODY, PARAM_BOOLEAN, "do it; else say how many there are", .def = "false" },
	{ 0 }
};

#define MANY(action) "SELECT jobq.api_jobs_do('" action "', $1, $2, $3, $4, $5, $6, $7, $8, " \
	"$9, $10, $11) AS body"

const struct route jobs_routes[] = {
	{ "GET", "/v1/jobs", "Jobs, the newest first", "jobs", ROLE_VIEWER, true,
	    "SELECT jobq.api_jobs($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) AS body",
	    .params = list_params },
	{ "POST", "/v1/jobs", "Enqueue a job", "jobs", ROLE_PRODUCER, true,
	    "SELECT status, body, location FROM jobq.api_enqueue($1, $2, $3, $4, $5, $6, $7, "
	    "$8, $9, $10, $11, $12, $13)",
	    .params = enqueue_params, .status = 201, .creates = true,
	    .enqueues = true, .seals = true },
	{ "POST", "/v1/jobs/batch", "Enqueue many jobs of a queue", "jobs", ROLE_PRODUCER, true,
	    "SELECT jobq.api_enqueue_many($1, $2) AS body",
	    .params = batch_params, .status = 201, .creates = true,
	    .enqueues = true, .seals = true },
	{ "POST", "/v1/jobs/retry", "Run jobs again that are dead or wait for their next attempt",
	    "jobs", ROLE_OPERATOR, true, MANY("retry"), .params = many_params },
	{ "POST", "/v1/jobs/cancel", "Cancel jobs that have not ended", "jobs",
	    ROLE_OPERATOR, true, MANY("cancel"), .params = many_params },
	{ "POST", "/v1/jobs/delete", "Delete jobs that do not run", "jobs",
	    ROLE_OPERATOR, true, MANY("delete"), .params = many_params },
	{ "GET", "/v1/jobs/{id}", "A job, with its data, result, and why it does not run",
	    "jobs", ROLE_VIEWER, true, "SELECT jobq.api_job($1) AS body",
	    .params = one_job },
	{ "PATCH", "/v1/jobs/{id}", "Give a job that has not begun, or is dead, other data",
	    "jobs", ROLE_OPERATOR, true, "SELECT jobq.api_job_edit($1, $2) AS body",
	    .params = new_data, .seals = true },
	{ "DELETE", "/v1/jobs/{id}", "Delete a job that does not run", "jobs",
	    ROLE_OPERATOR, true, "SELECT jobq.api_job_delete($1)::text AS body",
	    .params = one_job, .status = 204 },
	{ "GET", "/v1/jobs/{id}/attempts", "How its attempts ended", "jobs", ROLE_VIEWER, true,
	    "SELECT jobq.api_job_attempts($1) AS body", .params = one_job },
	{ "GET", "/v1/jobs/{id}/log", "What its attempts wrote", "jobs", ROLE_VIEWER, true,
	    "SELECT jobq.api_job_log($1) AS body", .params = one_job },
	{ "POST", "/v1/jobs/{id}/retry", "Run a job again that is dead or waits for its next "
	    "attempt", "jobs", ROLE_OPERATOR, true,
	    "SELECT jobq.api_job_retry($1, $2) AS body", .params = job_and_data, .seals = true },
	{ "POST", "/v1/jobs/{id}/cancel", "Cancel a job; one that runs is asked to stop",
	    "jobs", ROLE_OPERATOR, true, "SELECT jobq.api_job_cancel($1) AS body",
	    .params = one_job },
	{ "POST", "/v1/workflows/{workflow}", "Start a workflow", "workflows", ROLE_PRODUCER, true,
	    "SELECT body, location FROM jobq.api_workflow_start($1, $2, $3)",
	    .params = workflow_params, .status = 201, .creates = true },
	{ 0 }
};
