/*
 * jobqctl dead: the dead letters, jobs that were given up. What is done to
 * many is done in batches, each a statement and a transaction of its own: it
 * holds nobody up, and what was done stays done when this program is stopped.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mono.h"
#include "core/units.h"
#include "ctl/ctl.h"
#include "ctl/out.h"
#include "db/array.h"

#define BATCH 1000		/* jobs of one statement */
#define TRIES 10		/* of one, while somebody else is at these jobs */
#define TRY_AGAIN (MONO_SECOND / 2)
#define PARAMS_MAX 5
#define TOLD_MAX 20		/* of the refused, by name */

/* Which dead letters: conditions for a WHERE, with parameters. */
struct selection {
	struct buf where;
	const char *params[PARAMS_MAX];
	int count;
};

/*
 * What is done to many. sql returns for the ids in $1 to how many it was done,
 * to how many not, and the reasons as lines; $2 is how many were done before.
 */
struct work {
	const char *did;		/* "retried"; the key of --json, too */
	const char *sql;
	const char *params[4];		/* from [2] on the work's own */
	int nparams;
	long done, refused;
};

static int select_letters(const struct args *, bool groups, struct selection *);
static void add(struct selection *, const char *condition, const char *value);
static int act(struct ctl *, const struct args *, struct work *);
static int act_on_one(struct ctl *, const char *id, struct work *);
static int act_on_many(struct ctl *, const struct args *, struct work *);
static int do_batch(struct ctl *, PGresult *ids, int from, struct work *);
static void tell_refused(const char *lines, long room);
static int report(struct ctl *, const struct work *);
static int retry_with(struct ctl *, const struct args *);
static int read_rate(struct ctl *, const char *text, char *rate, size_t rate_size,
    char *start, size_t start_size);

int
dead_list(struct ctl *ctl, const struct args *a)
{
	bool groups = args_has(a, "group");
	struct selection s = { 0 };
	struct buf sql = { 0 };
	long limit = 50;
	PGresult *res;
	struct err e;
	int status;

	if (args_number(a, "limit", 1, 10000, &limit, &e) < 0)
		return ctl_misuse("dead list: %s", e.msg);
	if (select_letters(a, groups, &s) < 0)
		return CTL_USAGE;
	buf_printf(&sql, "SELECT %s FROM (SELECT * FROM jobq.%s WHERE true%s "
	    "ORDER BY %s DESC LIMIT %ld) d",
	    ctl->json ? "row_to_json(d)" : groups ?
	    "fingerprint, queue, type, count, reviewed, "
	    SQL_TIME("first_died_at") " AS first, "
	    SQL_TIME("last_died_at") " AS last, error_class AS class, error" :
	    "job_id, queue, type, " SQL_TIME("died_at") " AS died_at, attempts, "
	    "fingerprint, reviewed_by, error_class AS class, error",
	    groups ? "dead_groups" : "dead_letters",
	    s.where.len > 0 ? s.where.data : "",
	    groups ? "last_died_at" : "job_id", limit);
	res = ctl_query(ctl, sql.data, s.count, s.params);
	buf_clear(&sql);
	buf_clear(&s.where);
	if (res != NULL && PQntuples(res) == 0 && args_has(a, "queue") &&
	    (status = ctl_find_queue(ctl, args_get(a, "queue"))) != CTL_DONE) {
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
	int status;

	if (ctl_parse_id(params[0], &id) < 0)
		return CTL_USAGE;
	if ((status = key_unlock(ctl, a, params[0])) != CTL_DONE)
		return status;
	res = ctl_query(ctl, ctl->json ?
	    "SELECT row_to_json(d) FROM jobq.dead_letters d "
	    "WHERE job_id = $1::bigint" :
	    "SELECT job_id, queue, type, tenant, " SQL_TIME("died_at")
	    " AS died_at, attempts, error_class AS class, error, fingerprint, "
	    "reviewed_by, " SQL_TIME("reviewed_at") " AS reviewed_at, notes, "
	    "data FROM jobq.dead_letters WHERE job_id = $1::bigint", 1, params);
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
	char rate[32], start[64];
	struct work w = {
		.did = "retried",
		/* Without a rate run_at is null: at once. */
		.sql = "SELECT count(*) FILTER (WHERE refused IS NULL), "
		    "count(refused), string_agg('job ' || job_id || ': ' || "
		    "refused, E'\\n' ORDER BY job_id) FROM jobq.retry_dead("
		    "$1::bigint[], $3::float8, $4::timestamptz + $2::float8 / "
		    "$3::float8 * interval '1 second')",
		.nparams = 4,
	};

	if (args_has(a, "data"))
		return retry_with(ctl, a);
	if (args_has(a, "rate")) {
		int status = read_rate(ctl, args_get(a, "rate"), rate,
		    sizeof(rate), start, sizeof(start));

		if (status != CTL_DONE)
			return status;
		w.params[2] = rate;
		w.params[3] = start;
	}
	return act(ctl, a, &w);
}

int
dead_review(struct ctl *ctl, const struct args *a)
{
	struct work w = {
		.did = "reviewed",
		.sql = "SELECT jobq.review_dead($1::bigint[], $3, $4), "
		    "0 * $2::bigint, NULL",
		.params = { [2] = args_get(a, "by"), args_get(a, "notes") },
		.nparams = 4,
	};

	if (w.params[3] == NULL)
		w.params[3] = "";
	return act(ctl, a, &w);
}

int
dead_delete(struct ctl *ctl, const struct args *a)
{
	struct work w = {
		.did = "deleted",
		.sql = "SELECT jobq.delete_dead($1::bigint[]), 0 * $2::bigint, "
		    "NULL",
		.nparams = 2,
	};

	return act(ctl, a, &w);
}

/* The options that narrow a list, as conditions. -1: said what is wrong. */
static int
select_letters(const struct args *a, bool groups, struct selection *s)
{
	const char *reviewed = args_get(a, "reviewed");

	if (groups && args_has(a, "tenant")) {
		ctl_misuse("dead list: a group is of all tenants; --group and "
		    "--tenant do not go together");
		return -1;
	}
	if (reviewed != NULL && strcmp(reviewed, "yes") != 0 &&
	    strcmp(reviewed, "no") != 0) {
		ctl_misuse("--reviewed is yes or no, not \"%s\"", reviewed);
		return -1;
	}
	add(s, "queue = ", args_get(a, "queue"));
	add(s, "type = ", args_get(a, "type"));
	add(s, "tenant = ", args_get(a, "tenant"));
	add(s, "fingerprint = ", args_get(a, "fingerprint"));
	add(s, groups ? "CASE WHEN reviewed = count THEN 'yes' ELSE 'no' END = " :
	    "CASE WHEN reviewed_at IS NULL THEN 'no' ELSE 'yes' END = ",
	    reviewed);
	return 0;
}

static void
add(struct selection *s, const char *condition, const char *value)
{
	if (value == NULL)
		return;
	s->params[s->count++] = value;
	buf_printf(&s->where, " AND %s$%d", condition, s->count);
}

/* To the one that is named, or to those the options select. */
static int
act(struct ctl *ctl, const struct args *a, struct work *w)
{
	bool many = args_has(a, "all") || args_has(a, "queue") ||
	    args_has(a, "type") || args_has(a, "tenant") ||
	    args_has(a, "fingerprint") || args_has(a, "reviewed");

	if ((a->count == 1) == many)
		return ctl_misuse("name one by its ID, or many by --all or by "
		    "--queue, --type, --tenant, --fingerprint or --reviewed%s",
		    many ? "; not both" : "");
	return many ? act_on_many(ctl, a, w) :
	    act_on_one(ctl, a->operands[0], w);
}

static int
act_on_one(struct ctl *ctl, const char *id, struct work *w)
{
	const char *params[] = { id };
	PGresult *ids;
	int64_t number;
	int status;

	if (ctl_parse_id(id, &number) < 0)
		return CTL_USAGE;
	if ((ids = ctl_query(ctl, "SELECT $1::bigint", 1, params)) == NULL)
		return CTL_FAILED;
	status = do_batch(ctl, ids, 0, w);
	PQclear(ids);
	if (status != CTL_DONE)
		return status;
	if (w->done + w->refused == 0)
		return ctl_missing("job %s is no dead letter; \"jobqctl job show "
		    "%s\" tells what it is", id, id);
	return report(ctl, w);
}

/*
 * Those that are dead letters now: one that dies again meanwhile is not met
 * twice, and those that come later are not meant.
 */
static int
act_on_many(struct ctl *ctl, const struct args *a, struct work *w)
{
	struct selection s = { 0 };
	struct buf sql = { 0 };
	PGresult *ids;
	int status = CTL_DONE;

	if (select_letters(a, false, &s) < 0)
		return CTL_USAGE;
	buf_printf(&sql, "SELECT job_id FROM jobq.dead_letters WHERE true%s "
	    "ORDER BY job_id", s.where.len > 0 ? s.where.data : "");
	ids = ctl_query(ctl, sql.data, s.count, s.params);
	buf_clear(&sql);
	buf_clear(&s.where);
	if (ids == NULL)
		return CTL_FAILED;
	if (PQntuples(ids) == 0 && args_has(a, "queue"))
		status = ctl_find_queue(ctl, args_get(a, "queue"));
	for (int i = 0; status == CTL_DONE && i < PQntuples(ids); i += BATCH)
		status = do_batch(ctl, ids, i, w);
	if (status == CTL_FAILED && w->done > 0)
		ctl_fail("%ld dead letters were %s before that; the same "
		    "command goes on with the others", w->done, w->did);
	PQclear(ids);
	return status == CTL_DONE ? report(ctl, w) : status;
}

/* One statement. While somebody else is at some of these jobs, again. */
static int
do_batch(struct ctl *ctl, PGresult *ids, int from, struct work *w)
{
	int to = from + BATCH < PQntuples(ids) ? from + BATCH : PQntuples(ids);
	struct array array = { 0 };
	char before[24];
	PGresult *res;
	struct err e = { 0 };

	for (int i = from; i < to; i++)
		array_text(&array, PQgetvalue(ids, i, 0));
	snprintf(before, sizeof(before), "%ld", w->done);
	w->params[0] = array_close(&array);
	w->params[1] = before;
	for (int tries = 1; (res = ctl_try(ctl, w->sql, w->nparams, w->params,
	    &e)) == NULL && e.code == ERR_BUSY && tries < TRIES; tries++)
		mono_sleep(TRY_AGAIN);
	array_clear(&array);
	if (res == NULL)
		return *e.msg == '\0' ? CTL_FAILED : ctl_fail("%s", e.msg);
	w->done += strtol(PQgetvalue(res, 0, 0), NULL, 10);
	tell_refused(PQgetvalue(res, 0, 2), TOLD_MAX - w->refused);
	w->refused += strtol(PQgetvalue(res, 0, 1), NULL, 10);
	PQclear(res);
	return CTL_DONE;
}

/* A line each, as many as there is room for; the last of these says so. */
static void
tell_refused(const char *lines, long room)
{
	for (; *lines != '\0' && room >= 0; room--) {
		int len = (int)strcspn(lines, "\n");

		if (room == 0)
			ctl_fail("… and others");
		else
			ctl_fail("%.*s", len, lines);
		lines += len + (lines[len] == '\n');
	}
}

static int
report(struct ctl *ctl, const struct work *w)
{
	if (ctl->json)
		printf("{\"%s\":%ld,\"refused\":%ld}\n", w->did, w->done,
		    w->refused);
	else
		printf("%ld dead letter%s %s\n", w->done,
		    w->done == 1 ? "" : "s", w->did);
	return w->refused == 0 ? CTL_DONE : CTL_FAILED;
}

/* One with other data. */
static int
retry_with(struct ctl *ctl, const struct args *a)
{
	if (a->count == 0)
		return ctl_misuse("dead retry: --data is for one job; name its "
		    "ID");
	if (args_has(a, "rate"))
		return ctl_misuse("dead retry: --rate is for many jobs, --data "
		    "for one");
	return job_retry(ctl, a);
}

/* A rate as jobs a second, and the instant to count from, by the database. */
static int
read_rate(struct ctl *ctl, const char *text, char *rate, size_t rate_size,
    char *start, size_t start_size)
{
	int64_t count, period_ms;
	PGresult *res;

	if (units_rate(text, &count, &period_ms) < 0)
		return ctl_misuse("dead retry: --rate \"%s\" is no rate such as "
		    "50/s or 1000/10m", text);
	snprintf(rate, rate_size, "%.9g", (double)count * 1000 /
	    (double)period_ms);
	if ((res = ctl_query(ctl, "SELECT clock_timestamp()", 0, NULL)) == NULL)
		return CTL_FAILED;
	strlcpy(start, PQgetvalue(res, 0, 0), start_size);
	PQclear(res);
	return CTL_DONE;
}
