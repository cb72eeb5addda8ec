/*
 * jobqctl enqueue: one job into a queue, and, if asked, its end.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mono.h"
#include "core/job.h"
#include "core/units.h"
#include "ctl/ctl.h"
#include "ctl/out.h"
#include "db/array.h"

#define LOOK_FIRST_MS 10	/* between two looks at a job, at first */
#define LOOK_MAX_MS 500

static int read_operands(const struct args *, const char **type,
    const char **data);
static int read_times(const struct args *, char *delay, size_t size);
static int read_priority(const struct args *, char *number, size_t size);
static int enqueue(struct ctl *, const char *const *params, char *id,
    size_t size);
static int print_new(struct ctl *, const char *id);
static int wait_end(struct ctl *, const char *id);
static int warn_idle(struct ctl *, const char *queue);
static int print_end(struct ctl *, const char *id);

int
enqueue_run(struct ctl *ctl, const struct args *a)
{
	char delay[32], priority[16], id[32];
	struct array tags = { 0 };
	const char *type = "", *data = "{}";
	struct buf input = { 0 };
	int status;

	if (read_operands(a, &type, &data) < 0 ||
	    read_times(a, delay, sizeof(delay)) < 0 ||
	    read_priority(a, priority, sizeof(priority)) < 0)
		return CTL_USAGE;
	status = ctl_read_data(data, &input) < 0 ? CTL_FAILED :
	    key_seal(ctl, a->operands[0], &input);
	if (status != CTL_DONE) {
		buf_clear(&input);
		return status;
	}
	for (int n = 0; args_nth(a, "tag", n) != NULL; n++)
		array_text(&tags, args_nth(a, "tag", n));
	const char *params[] = {
		a->operands[0], type, input.data,
		*priority == '\0' ? NULL : priority, args_get(a, "at"),
		*delay == '\0' ? NULL : delay, args_get(a, "unique"),
		args_get(a, "tenant"),
		tags.count == 0 ? NULL : array_close(&tags), args_get(a, "key"),
	};
	status = enqueue(ctl, params, id, sizeof(id));
	array_clear(&tags);
	buf_clear(&input);
	if (status != CTL_DONE)
		return status;
	if (!args_has(a, "wait"))
		return print_new(ctl, id);
	status = warn_idle(ctl, a->operands[0]);
	return status == CTL_DONE ? wait_end(ctl, id) : status;
}

/* [TYPE] [JSON|-]: what begins like JSON is the data. */
static int
read_operands(const struct args *a, const char **type, const char **data)
{
	for (int i = 1; i < a->count; i++) {
		const char *word = a->operands[i];
		bool is_data = strcmp(word, "-") == 0 || *word == '{' ||
		    *word == '[' || *word == '"';

		if (i == 2 && !is_data) {
			ctl_misuse("enqueue: \"%s\" is no JSON object", word);
			return -1;
		}
		if (i == 2 && *data != NULL && strcmp(*data, "{}") != 0) {
			ctl_misuse("enqueue: the data comes last, and once");
			return -1;
		}
		*(is_data ? data : type) = word;
	}
	return 0;
}

/* --in as a PostgreSQL interval; --at goes to the server as it is. */
static int
read_times(const struct args *a, char *delay, size_t size)
{
	const char *in = args_get(a, "in");
	int64_t ms;

	*delay = '\0';
	if (in == NULL)
		return 0;
	if (args_has(a, "at")) {
		ctl_misuse("enqueue: --in and --at say two times");
		return -1;
	}
	if (units_duration_ms(in, &ms) < 0) {
		ctl_misuse("enqueue: --in \"%s\" is no duration such as 30s, 5m "
		    "or 1d", in);
		return -1;
	}
	snprintf(delay, size, "%" PRId64 " ms", ms);
	return 0;
}

static int
read_priority(const struct args *a, char *number, size_t size)
{
	const char *text = args_get(a, "priority");
	int priority;

	*number = '\0';
	if (text == NULL)
		return 0;
	if (priority_parse(text, &priority) < 0) {
		ctl_misuse("enqueue: --priority \"%s\" is neither a number from "
		    "%d to %d nor critical, high, normal, low, very_low", text,
		    PRIORITY_MIN, PRIORITY_MAX);
		return -1;
	}
	snprintf(number, size, "%d", priority);
	return 0;
}

static int
enqueue(struct ctl *ctl, const char *const *params, char *id, size_t size)
{
	PGresult *res;
	struct err e;
	int status;

	if (ctl_connect(ctl) < 0)
		return CTL_FAILED;
	res = ctl_try(ctl, "SELECT jobq.enqueue(queue => $1, type => $2, "
	    "data => $3::jsonb, priority => $4::int, "
	    "run_at => $5::timestamptz, delay => $6::interval, "
	    "unique_key => $7, tenant => $8, tags => $9::text[], key => $10)",
	    10, params, &e);
	if (res == NULL) {
		if ((status = ctl_find_queue(ctl, params[0])) != CTL_DONE)
			return status;
		return ctl_fail("%s", e.msg);
	}
	strlcpy(id, PQgetvalue(res, 0, 0), size);
	PQclear(res);
	return CTL_DONE;
}

/* The id; as JSON with the state it got. */
static int
print_new(struct ctl *ctl, const char *id)
{
	const char *params[] = { id };
	PGresult *res;

	if (!ctl->json) {
		puts(id);
		return CTL_DONE;
	}
	res = ctl_query(ctl, "SELECT row_to_json(j) FROM (SELECT id, state "
	    "FROM jobq.jobs WHERE id = $1::bigint) j", 1, params);
	if (res == NULL)
		return CTL_FAILED;
	if (PQntuples(res) > 0) {
		out_json_value(PQgetvalue(res, 0, 0));
		putchar('\n');
	} else {
		printf("{\"id\":%s}\n", id);
	}
	PQclear(res);
	return CTL_DONE;
}

/* Say why the wait may be long. */
static int
warn_idle(struct ctl *ctl, const char *queue)
{
	const char *params[] = { queue };
	PGresult *res = ctl_query(ctl, "SELECT paused, served FROM jobq.queues "
	    "WHERE name = $1", 1, params);

	if (res == NULL)
		return CTL_FAILED;
	if (PQntuples(res) > 0 && *PQgetvalue(res, 0, 0) == 't')
		ctl_fail("queue %s is paused; waiting until it is resumed",
		    queue);
	else if (PQntuples(res) > 0 && *PQgetvalue(res, 0, 1) == 'f')
		ctl_fail("no running jobqd serves queue %s; waiting for one",
		    queue);
	PQclear(res);
	return CTL_DONE;
}

/* The looks get rarer: a short job is answered at once, a long one costs
 * the database two small statements a second. */
static int
wait_end(struct ctl *ctl, const char *id)
{
	const char *params[] = { id };
	int pause = LOOK_FIRST_MS;

	for (;;) {
		PGresult *res = ctl_query(ctl, "SELECT state IN ('completed', "
		    "'dead', 'cancelled') FROM jobq.jobs WHERE id = $1::bigint",
		    1, params);
		bool there, over;

		if (res == NULL)
			return CTL_FAILED;
		there = PQntuples(res) > 0;
		over = there && *PQgetvalue(res, 0, 0) == 't';
		PQclear(res);
		if (!there)
			return ctl_missing("job %s was deleted meanwhile", id);
		if (over)
			return print_end(ctl, id);
		mono_sleep(pause * MONO_MS);
		if ((pause += pause / 2) > LOOK_MAX_MS)
			pause = LOOK_MAX_MS;
	}
}

/* The result alone, so that a shell can use it; as JSON the whole job. */
static int
print_end(struct ctl *ctl, const char *id)
{
	const char *params[] = { id };
	PGresult *res = ctl_query(ctl, "SELECT row_to_json(j), state, result, "
	    "coalesce(error_class, ''), coalesce(error, '') "
	    "FROM jobq.jobs j WHERE id = $1::bigint", 1, params);
	const char *state;
	bool fine;

	if (res == NULL)
		return CTL_FAILED;
	if (PQntuples(res) == 0) {
		PQclear(res);
		return ctl_missing("job %s was deleted meanwhile", id);
	}
	state = PQgetvalue(res, 0, 1);
	fine = strcmp(state, "completed") == 0;
	if (ctl->json) {
		out_json_value(PQgetvalue(res, 0, 0));
		putchar('\n');
	} else if (fine && !PQgetisnull(res, 0, 2)) {
		out_text(stdout, PQgetvalue(res, 0, 2));
	}
	if (!fine)
		ctl_fail("job %s is %s%s%s%s%s", id, state,
		    *PQgetvalue(res, 0, 3) == '\0' ? "" : ", ",
		    PQgetvalue(res, 0, 3),
		    *PQgetvalue(res, 0, 4) == '\0' ? "" : ": ",
		    PQgetvalue(res, 0, 4));
	PQclear(res);
	return fine ? CTL_DONE : CTL_FAILED;
}
