/*
 * jobqctl jobs and jobqctl job: what became of a job, and what can be done
 * about it.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "ctl/ctl.h"
#include "ctl/out.h"

#define TAIL_LINES 20		/* of a job's output, where it is not asked for */

static const char *const states[] = {
	"scheduled", "blocked", "ready", "running", "retrying", "completed",
	"dead", "cancelled",
};

/*
 * The moments of a job's life ($1: id), by what they are told from: how it
 * came, when it became due or what it waited for was done, the begin and the
 * end of each attempt, the run that goes on now, and what people did to it. A
 * dead end that was retried is stored as failed, with granted set.
 */
#define MOMENTS \
    "SELECT created_at AS at, CASE WHEN after <> '{}' THEN 'blocked' " \
    "WHEN run_at > created_at THEN 'scheduled' ELSE 'ready' END AS state, " \
    "NULL::int AS attempt, CASE WHEN run_at > created_at THEN run_at END " \
    "AS run_at, 'enqueued' AS note, 0 AS step " \
    "FROM jobq.job WHERE id = $1::bigint " \
    "UNION ALL SELECT run_at, 'ready', NULL, NULL, 'due', 0 " \
    "FROM jobq.job j WHERE id = $1::bigint AND run_at > created_at " \
    "AND run_at <= clock_timestamp() AND coalesce(after, '{}') = '{}' " \
    "AND NOT EXISTS (SELECT FROM jobq.attempts a " \
    "WHERE a.job_id = $1::bigint AND a.finished_at < j.run_at) " \
    "UNION ALL SELECT greatest(max(a.finished_at), j.created_at), " \
    "CASE WHEN j.run_at > max(a.finished_at) THEN 'scheduled' " \
    "ELSE 'ready' END, NULL, NULL, 'what it waited for is done', 0 " \
    "FROM jobq.job j JOIN jobq.attempts a ON a.job_id = ANY (j.after) " \
    "WHERE j.id = $1::bigint AND a.outcome = 'completed' " \
    "GROUP BY j.created_at, j.run_at, j.after HAVING count(*) = " \
    "(SELECT count(DISTINCT p) FROM unnest(j.after) p) " \
    "UNION ALL SELECT started_at, 'running', attempt, NULL, NULL, 1 " \
    "FROM jobq.attempts WHERE job_id = $1::bigint AND started_at IS NOT NULL " \
    "UNION ALL SELECT a.finished_at, CASE WHEN a.outcome = 'lost' THEN 'ready' " \
    "WHEN a.outcome = 'failed' AND g.granted THEN 'dead' " \
    "WHEN a.outcome = 'failed' THEN 'retrying' ELSE a.outcome END, a.attempt, " \
    "CASE WHEN j.state = 'retrying' AND j.attempt = a.attempt THEN j.run_at " \
    "END, NULL, 2 FROM jobq.attempts a JOIN jobq.jobs j ON j.id = $1::bigint " \
    "LEFT JOIN jobq.attempt g ON g.job = a.job_id AND g.attempt = a.attempt " \
    "WHERE a.job_id = $1::bigint " \
    "UNION ALL SELECT started_at, state, attempt, NULL, NULL, 1 " \
    "FROM jobq.jobs WHERE id = $1::bigint AND state = 'running' " \
    "UNION ALL SELECT at, NULL, NULL, NULL, concat(action, ' by ', actor), 3 " \
    "FROM jobq.audit WHERE target = 'job ' || $1 " \
    "UNION ALL SELECT at, NULL, attempt, NULL, 'asked to stop by ' || by, 3 " \
    "FROM jobq.cancel_request WHERE job = $1::bigint AND pool IS NOT NULL"

/* The same with what is known of an attempt at its begin and at its end. */
#define CHANGES \
    "SELECT m.at, m.state, m.attempt, a.class, a.error, " \
    "coalesce(b.node, j.node) AS node, coalesce(b.worker, j.worker) AS worker, " \
    "a.exit_status, a.signal, round(extract(epoch FROM a.finished_at - " \
    "a.started_at) * 1000)::bigint AS took_ms, a.cpu_ms, a.max_rss_kb, " \
    "m.run_at, m.note FROM (" MOMENTS ") m " \
    "LEFT JOIN jobq.attempts a ON a.job_id = $1::bigint " \
    "AND a.attempt = m.attempt AND m.step = 2 " \
    "LEFT JOIN jobq.attempts b ON b.job_id = $1::bigint " \
    "AND b.attempt = m.attempt AND m.step IN (1, 2) " \
    "LEFT JOIN jobq.jobs j ON j.id = $1::bigint AND j.state = 'running' " \
    "AND j.attempt = m.attempt AND m.step = 1 " \
    "ORDER BY m.at, m.attempt NULLS FIRST, m.step"

/* What an attempt wrote, in one piece. */
#define OUTPUT \
    "SELECT attempt, string_agg(text, '' ORDER BY part) AS text " \
    "FROM jobq.output WHERE job = $1::bigint GROUP BY attempt ORDER BY attempt"

static int act(struct ctl *, const char *id, const char *data,
    const char *sql, const char *done, const char *refused);
static int no_job(struct ctl *, const char *id);
static int show_json(struct ctl *, const char *id);
static int show_fields(struct ctl *, const char *id);
static int show_attempts(struct ctl *, const char *id);
static int show_changes(struct ctl *, const char *id);
static int show_output(struct ctl *, const char *id, bool last);
static const char *last_lines(const char *text, int lines);
static bool is_state(const char *word);
static int add_filter(struct buf *, const char *what, const char *value,
    const char **params, int *count);

int
jobs_run(struct ctl *ctl, const struct args *a)
{
	const char *params[6], *queue = args_get(a, "queue");
	const char *state = args_get(a, "state");
	struct buf sql = { 0 };
	char limit_text[16];
	long limit = 50;
	int n = 0, status = CTL_DONE;
	PGresult *res;
	struct err e;

	if (args_number(a, "limit", 1, 10000, &limit, &e) < 0)
		return ctl_misuse("jobs: %s", e.msg);
	if (state != NULL && !is_state(state))
		return ctl_misuse("jobs: no state %s: scheduled, blocked, ready, "
		    "running, retrying, completed, dead or cancelled", state);
	/* Only the conditions that are asked for, so that each has its plan. */
	buf_str(&sql, ctl->json ? "SELECT row_to_json(j) FROM (SELECT * " :
	    "SELECT id, queue, type, state, attempt, " SQL_TIME("created_at")
	    " AS created_at, " SQL_TIME("coalesce(finished_at, started_at, "
	    "run_at)") " AS last, coalesce(error_class || ': ' || error, error) "
	    "AS error ");
	buf_str(&sql, "FROM jobq.jobs WHERE true");
	add_filter(&sql, "queue = $%d", queue, params, &n);
	add_filter(&sql, "state = $%d", state, params, &n);
	if (state != NULL && strcmp(state, "dead") == 0)	/* few of many */
		buf_str(&sql, " AND id = ANY (ARRAY(SELECT job_id "
		    "FROM jobq.dead_letters))");
	add_filter(&sql, "type = $%d", args_get(a, "type"), params, &n);
	add_filter(&sql, "tenant = $%d", args_get(a, "tenant"), params, &n);
	add_filter(&sql, "$%d = ANY(tags)", args_get(a, "tag"), params, &n);
	snprintf(limit_text, sizeof(limit_text), "%ld", limit);
	params[n++] = limit_text;
	buf_printf(&sql, " ORDER BY id DESC LIMIT $%d::int%s", n,
	    ctl->json ? ") j" : "");
	res = ctl_query(ctl, sql.data, n, params);
	buf_clear(&sql);
	if (res == NULL)
		return CTL_FAILED;
	if (PQntuples(res) == 0 && queue != NULL)
		status = ctl_find_queue(ctl, queue);
	if (status == CTL_DONE && ctl->json)
		out_json_list(res);
	else if (status == CTL_DONE)
		out_table(res, "no jobs");
	PQclear(res);
	return status;
}

int
job_show(struct ctl *ctl, const struct args *a)
{
	const char *id = a->operands[0];
	int64_t number;
	int status;

	if (ctl_parse_id(id, &number) < 0)
		return CTL_USAGE;
	if ((status = key_unlock(ctl, a, id)) != CTL_DONE)
		return status;
	if (ctl->json)
		return show_json(ctl, id);
	if ((status = show_fields(ctl, id)) != CTL_DONE ||
	    (status = show_attempts(ctl, id)) != CTL_DONE ||
	    (status = show_changes(ctl, id)) != CTL_DONE)
		return status;
	return show_output(ctl, id, true);
}

int
job_retry(struct ctl *ctl, const struct args *a)
{
	static const char refused[] = "only one that is dead or waits for its "
	    "next attempt can be retried";
	const char *data = args_get(a, "data");
	struct buf b = { 0 };
	int status;

	if (data == NULL)
		return act(ctl, a->operands[0], NULL, "SELECT jobq.retry("
		    "$1::bigint)", "retried", refused);
	if (ctl_read_data(data, &b) < 0)
		status = CTL_FAILED;
	else if ((status = key_seal_for(ctl, a->operands[0], &b)) == CTL_DONE)
		status = act(ctl, a->operands[0], b.data, "SELECT jobq.retry("
		    "$1::bigint, $2::jsonb)", "retried", refused);
	buf_clear(&b);
	return status;
}

int
job_cancel(struct ctl *ctl, const struct args *a)
{
	return act(ctl, a->operands[0], NULL, "SELECT jobq.cancel($1::bigint)",
	    "cancelled", "it has ended already");
}

int
job_delete(struct ctl *ctl, const struct args *a)
{
	return act(ctl, a->operands[0], NULL, "SELECT jobq.delete($1::bigint)",
	    "deleted", "only one that does not run can be deleted");
}

int
job_log(struct ctl *ctl, const struct args *a)
{
	const char *params[] = { a->operands[0] };
	PGresult *res;
	int64_t id;
	bool there;
	int status;

	if (ctl_parse_id(params[0], &id) < 0)
		return CTL_USAGE;
	if ((status = key_unlock(ctl, a, params[0])) != CTL_DONE)
		return status;
	res = ctl_query(ctl, "SELECT 1 FROM jobq.jobs WHERE id = $1::bigint",
	    1, params);
	if (res == NULL)
		return CTL_FAILED;
	there = PQntuples(res) > 0;
	PQclear(res);
	if (!there)
		return ctl_missing("no job %s", params[0]);
	if (!ctl->json)
		return show_output(ctl, params[0], false);
	res = ctl_query(ctl, "SELECT row_to_json(o) FROM (" OUTPUT ") o", 1,
	    params);
	if (res == NULL)
		return CTL_FAILED;
	out_json_list(res);
	PQclear(res);
	return CTL_DONE;
}

/*
 * One function call on one job, with data if it takes some. The state is
 * looked at only when the call was refused, to say why.
 */
static int
act(struct ctl *ctl, const char *id, const char *data, const char *sql,
    const char *done, const char *refused)
{
	const char *params[] = { id, data };
	int64_t number;
	PGresult *res;
	bool fine;
	int status;

	if (ctl_parse_id(id, &number) < 0)
		return CTL_USAGE;
	if ((res = ctl_query(ctl, sql, data == NULL ? 1 : 2, params)) == NULL)
		return CTL_FAILED;
	fine = *PQgetvalue(res, 0, 0) == 't';
	PQclear(res);
	res = ctl_query(ctl, "SELECT state FROM jobq.jobs WHERE id = $1::bigint",
	    1, params);
	if (res == NULL)
		return CTL_FAILED;
	if (!fine && PQntuples(res) == 0)
		status = ctl_missing("no job %s", id);
	else if (!fine)
		status = ctl_fail("job %s is %s; %s", id,
		    PQgetvalue(res, 0, 0), refused);
	else
		status = CTL_DONE;
	if (fine && ctl->json)
		printf("{\"id\":%s,\"%s\":true,\"state\":%s%s%s}\n", id, done,
		    PQntuples(res) == 0 ? "null" : "\"",
		    PQntuples(res) == 0 ? "" : PQgetvalue(res, 0, 0),
		    PQntuples(res) == 0 ? "" : "\"");
	else if (fine && strcmp(done, "cancelled") == 0 &&
	    PQntuples(res) > 0 && strcmp(PQgetvalue(res, 0, 0), "running") == 0)
		printf("job %s is running and was asked to stop\n", id);
	else if (fine)
		printf("job %s: %s\n", id, done);
	PQclear(res);
	return status;
}

/* The view's row, with its attempts, changes and output beside. */
static int
show_json(struct ctl *ctl, const char *id)
{
	const char *params[] = { id };
	PGresult *res = ctl_query(ctl,
	    "SELECT row_to_json(x) FROM (SELECT j.*, jobq.why(j.id) AS why, "
	    "(SELECT coalesce(json_agg(a ORDER BY a.attempt), '[]') "
	    "FROM jobq.attempts a WHERE a.job_id = j.id) AS attempts, "
	    "(SELECT coalesce(json_agg(c), '[]') FROM (" CHANGES ") c) "
	    "AS changes, (SELECT coalesce(json_agg(o), '[]') "
	    "FROM (" OUTPUT ") o) AS output "
	    "FROM jobq.jobs j WHERE j.id = $1::bigint) x", 1, params);
	int status = CTL_DONE;

	if (res == NULL)
		return CTL_FAILED;
	if (PQntuples(res) == 0) {
		status = no_job(ctl, id);
	} else {
		out_json_value(PQgetvalue(res, 0, 0));
		putchar('\n');
	}
	PQclear(res);
	return status;
}

static int
show_fields(struct ctl *ctl, const char *id)
{
	const char *params[] = { id };
	PGresult *res = ctl_query(ctl, "SELECT id, queue, type, state, "
	    "jobq.why(id) AS why, priority, "
	    "attempt, max_attempts, CASE WHEN progress IS NOT NULL THEN "
	    "progress || ' %' END AS progress, progress_note, tenant, "
	    "array_to_string(tags, ', ') AS tags, unique_key, key, "
	    SQL_TIME("created_at") " AS created_at, "
	    "CASE WHEN state IN ('scheduled', 'retrying') THEN "
	    SQL_TIME("run_at") " END AS next_run, "
	    SQL_TIME("started_at") " AS started_at, "
	    SQL_TIME("finished_at") " AS finished_at, "
	    "CASE WHEN state = 'running' THEN node || ' ' || worker END "
	    "AS runs_on, error_class, error, workflow, data, result "
	    "FROM jobq.jobs WHERE id = $1::bigint", 1, params);
	int status = CTL_DONE;

	if (res == NULL)
		return CTL_FAILED;
	if (PQntuples(res) == 0)
		status = no_job(ctl, id);
	else
		out_fields(res, 0);
	PQclear(res);
	return status;
}

/* The ended attempts, of what is known of them. */
static int
show_attempts(struct ctl *ctl, const char *id)
{
	const char *params[] = { id };

	return ctl_further(ctl_query(ctl, "SELECT attempt, outcome, class, "
	    SQL_TIME("started_at") " AS started_at, round(extract(epoch FROM "
	    "finished_at - started_at) * 1000)::bigint AS took_ms, "
	    "exit_status AS exit, signal, cpu_ms, max_rss_kb, node, worker, "
	    "error FROM jobq.attempts WHERE job_id = $1::bigint "
	    "ORDER BY attempt", 1, params));
}

static int
show_changes(struct ctl *ctl, const char *id)
{
	const char *params[] = { id };
	PGresult *res = ctl_query(ctl, "SELECT " SQL_TIME("at") " AS at, "
	    "state, attempt, concat_ws(', ', note, 'run at ' || "
	    SQL_TIME("run_at") ", nullif(concat_ws(': ', class, error), ''), "
	    "'on ' || node || ' ' || worker) AS detail FROM (" CHANGES ") c",
	    1, params);

	if (res == NULL)
		return CTL_FAILED;
	putchar('\n');
	out_table(res, "nothing happened to it yet");
	PQclear(res);
	return CTL_DONE;
}

/* What attempts wrote, each under its own heading; or only the end of the
 * last one's. */
static int
show_output(struct ctl *ctl, const char *id, bool last)
{
	const char *params[] = { id };
	PGresult *res = ctl_query(ctl, OUTPUT, 1, params);
	int rows;

	if (res == NULL)
		return CTL_FAILED;
	rows = PQntuples(res);
	for (int r = last && rows > 0 ? rows - 1 : 0; r < rows; r++) {
		const char *text = PQgetvalue(res, r, 1);
		const char *from = last ? last_lines(text, TAIL_LINES) : text;

		if (last || r > 0)
			putchar('\n');
		printf("output of attempt %s", PQgetvalue(res, r, 0));
		if (from > text)
			printf(", its end (\"jobqctl job log %s\" has all)", id);
		puts(":");
		out_text(stdout, from);
	}
	PQclear(res);
	return CTL_DONE;
}

static const char *
last_lines(const char *text, int lines)
{
	const char *p = text + strlen(text);

	if (p > text && p[-1] == '\n')
		p--;
	while (p > text && (p[-1] != '\n' || --lines > 0))
		p--;
	return p;
}

/* There is none in the view: what became of it. */
static int
no_job(struct ctl *ctl, const char *id)
{
	const char *params[] = { id };
	PGresult *res = ctl_query(ctl, "SELECT jobq.why($1::bigint)", 1, params);

	if (res == NULL)
		return CTL_FAILED;
	ctl_missing("no job %s: %s", id, PQgetvalue(res, 0, 0));
	PQclear(res);
	return CTL_NOT_FOUND;
}

static bool
is_state(const char *word)
{
	for (size_t i = 0; i < sizeof(states) / sizeof(*states); i++)
		if (strcmp(word, states[i]) == 0)
			return true;
	return false;
}

static int
add_filter(struct buf *sql, const char *what, const char *value,
    const char **params, int *count)
{
	const char *mark;

	if (value == NULL)
		return 0;
	params[(*count)++] = value;
	mark = strstr(what, "%d");
	buf_str(sql, " AND ");
	buf_put(sql, what, (size_t)(mark - what));
	buf_printf(sql, "%d", *count);
	buf_str(sql, mark + 2);
	return 0;
}
