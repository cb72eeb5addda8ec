/*
 * jobqctl dead: the dead letters, jobs that were given up.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/ctl.h"
#include "ctl/out.h"
#include "db/array.h"

#define RETRY_BATCH 500		/* jobs of one statement */

static int retry_one(struct ctl *, const char *text);
static int retry_all(struct ctl *, const struct args *);
static int retry_batch(struct ctl *, PGresult *ids, long *retried,
    long *refused);
static PGresult *next_batch(struct ctl *, const struct args *,
    const char *after);

int
dead_list(struct ctl *ctl, const struct args *a)
{
	const char *params[] = {
		args_get(a, "queue"), args_get(a, "type"), NULL
	};
	char limit_text[16];
	long limit = 50;
	PGresult *res;
	struct err e;
	int status;

	if (args_number(a, "limit", 1, 10000, &limit, &e) < 0)
		return ctl_misuse("dead list: %s", e.msg);
	snprintf(limit_text, sizeof(limit_text), "%ld", limit);
	params[2] = limit_text;
	res = ctl_query(ctl, ctl->json ?
	    "SELECT row_to_json(d) FROM (SELECT * FROM jobq.dead_letters "
	    "WHERE ($1::text IS NULL OR queue = $1) "
	    "AND ($2::text IS NULL OR type = $2) "
	    "ORDER BY job_id DESC LIMIT $3::int) d" :
	    "SELECT job_id, queue, type, " SQL_TIME("died_at") " AS died_at, "
	    "attempts, error_class AS class, error FROM jobq.dead_letters "
	    "WHERE ($1::text IS NULL OR queue = $1) "
	    "AND ($2::text IS NULL OR type = $2) "
	    "ORDER BY job_id DESC LIMIT $3::int", 3, params);
	if (res == NULL)
		return CTL_FAILED;
	if (PQntuples(res) == 0 && params[0] != NULL &&
	    (status = ctl_find_queue(ctl, params[0])) != CTL_DONE) {
		PQclear(res);
		return status;
	}
	return ctl_list(ctl, res, "no dead letters");
}

int
dead_show(struct ctl *ctl, const struct args *a)
{
	const char *params[] = { a->operands[0] };
	PGresult *res;
	int64_t id;

	if (ctl_parse_id(params[0], &id) < 0)
		return CTL_USAGE;
	res = ctl_query(ctl, ctl->json ?
	    "SELECT row_to_json(d) FROM jobq.dead_letters d "
	    "WHERE job_id = $1::bigint" :
	    "SELECT job_id, queue, type, " SQL_TIME("died_at") " AS died_at, "
	    "attempts, error_class AS class, error, fingerprint, reviewed_by, "
	    SQL_TIME("reviewed_at") " AS reviewed_at, notes "
	    "FROM jobq.dead_letters WHERE job_id = $1::bigint", 1, params);
	if (res == NULL)
		return CTL_FAILED;
	if (PQntuples(res) == 0) {
		PQclear(res);
		return ctl_missing("job %s is no dead letter; \"jobqctl job show "
		    "%s\" tells what it is", params[0], params[0]);
	}
	return ctl_one(ctl, res);
}

int
dead_retry(struct ctl *ctl, const struct args *a)
{
	bool all = args_has(a, "all") || args_has(a, "queue") ||
	    args_has(a, "type");

	if (a->count == 1 && all)
		return ctl_misuse("dead retry: an ID, or --all, --queue or "
		    "--type, not both");
	if (a->count == 0 && !all)
		return ctl_misuse("dead retry: an ID, or --all");
	return all ? retry_all(ctl, a) : retry_one(ctl, a->operands[0]);
}

static int
retry_one(struct ctl *ctl, const char *text)
{
	const char *params[] = { text };
	PGresult *res;
	int64_t id;
	bool done;

	if (ctl_parse_id(text, &id) < 0)
		return CTL_USAGE;
	res = ctl_query(ctl, "SELECT jobq.retry($1::bigint)", 1, params);
	if (res == NULL)
		return CTL_FAILED;
	done = *PQgetvalue(res, 0, 0) == 't';
	PQclear(res);
	if (!done)
		return ctl_missing("job %s is no dead letter; \"jobqctl job show "
		    "%s\" tells what it is", text, text);
	if (ctl->json)
		printf("{\"retried\":1,\"refused\":0}\n");
	else
		printf("job %s runs again\n", text);
	return CTL_DONE;
}

/*
 * In batches by id, upwards, so that a job that dies again meanwhile is not
 * met twice and no transaction gets large.
 */
static int
retry_all(struct ctl *ctl, const struct args *a)
{
	const char *queue = args_get(a, "queue");
	long retried = 0, refused = 0;
	char after[32] = "0";
	int status;

	for (;;) {
		PGresult *ids = next_batch(ctl, a, after);
		int count;

		if (ids == NULL)
			return CTL_FAILED;
		if ((count = PQntuples(ids)) == 0) {
			PQclear(ids);
			break;
		}
		strlcpy(after, PQgetvalue(ids, count - 1, 0), sizeof(after));
		status = retry_batch(ctl, ids, &retried, &refused);
		PQclear(ids);
		if (status != CTL_DONE)
			return status;
	}
	if (retried + refused == 0 && queue != NULL &&
	    (status = ctl_find_queue(ctl, queue)) != CTL_DONE)
		return status;
	if (ctl->json)
		printf("{\"retried\":%ld,\"refused\":%ld}\n", retried, refused);
	else
		printf("%ld job%s run%s again\n", retried,
		    retried == 1 ? "" : "s", retried == 1 ? "s" : "");
	return refused == 0 ? CTL_DONE : CTL_FAILED;
}

/* All at once; if one is refused, each alone, and the refused are named. */
static int
retry_batch(struct ctl *ctl, PGresult *ids, long *retried, long *refused)
{
	struct array array = { 0 };
	const char *params[1];
	PGresult *res;
	struct err e;

	for (int i = 0; i < PQntuples(ids); i++)
		array_text(&array, PQgetvalue(ids, i, 0));
	params[0] = array_close(&array);
	res = ctl_try(ctl, "SELECT count(*) FILTER (WHERE jobq.retry(id)) "
	    "FROM unnest($1::bigint[]) id", 1, params, &e);
	array_clear(&array);
	if (res != NULL) {
		*retried += strtol(PQgetvalue(res, 0, 0), NULL, 10);
		PQclear(res);
		return CTL_DONE;
	}
	for (int i = 0; i < PQntuples(ids); i++) {
		params[0] = PQgetvalue(ids, i, 0);
		res = ctl_try(ctl, "SELECT jobq.retry($1::bigint)", 1, params,
		    &e);
		if (res == NULL) {
			ctl_fail("job %s: %s", params[0], e.msg);
			if (PQstatus(ctl->db) != CONNECTION_OK)
				return CTL_FAILED;
			++*refused;
			continue;
		}
		*retried += *PQgetvalue(res, 0, 0) == 't';
		PQclear(res);
	}
	return CTL_DONE;
}

static PGresult *
next_batch(struct ctl *ctl, const struct args *a, const char *after)
{
	const char *params[] = {
		args_get(a, "queue"), args_get(a, "type"), after
	};

	_Static_assert(RETRY_BATCH == 500, "the LIMIT below");
	return ctl_query(ctl, "SELECT job_id FROM jobq.dead_letters "
	    "WHERE ($1::text IS NULL OR queue = $1) "
	    "AND ($2::text IS NULL OR type = $2) AND job_id > $3::bigint "
	    "ORDER BY job_id LIMIT 500", 3, params);
}
