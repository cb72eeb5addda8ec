/*
 * What PostgreSQL allows on this machine: the rows alone that a job consists of,
 * written by the plainest statements there are, without jobqd, in a database that
 * has its schema, on tables that nothing else uses.
 *
 *	limit many    CONNINFO [jobs=N batch=N bytes=N]
 *	limit drain   CONNINFO [jobs=N batch=N bytes=N]
 *	limit steady  CONNINFO [seconds=N window=N batch=N backlog=N bytes=N]
 *	limit latency CONNINFO [rate=N seconds=N bytes=N]
 *
 * many: INSERTs of batches. drain: of what is there, claims that read on from
 * where they stood, and the ends. steady: both at once, one line a window.
 * latency: from before an INSERT that also notifies, to when another process has
 * the job's data; between them is one that listens, claims and hands over.
 */
#include "config.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "jobs.h"
#include "tool.h"

#define CLAIM_MAX 500
#define DATA "\"user\": "	/* before a job's number, in its data */

static const char *conninfo;
static long jobs = 100000, batch = 1000, seconds = 30, window = 10, backlog = 10000, rate = 50;
static struct shape shape = { .bytes = 200 };

static atomic_long produced, consumed;
static atomic_long ahead;	/* jobs that wait to be taken; the producer looks */
static atomic_bool stop;

#define INSERT_JOB "with j as (insert into jobq.job (id, queue, lane, created_at, " \
	"type, data) select nextval('jobq.job_id'), 1, 5, clock_timestamp(), 'mail', d " \
	"from unnest($1::jsonb[]) d returning id)"
#define INSERT_TURN "insert into jobq.turn (job, slot, queue, lane, attempt) " \
	"select id, 0, 1, 5, 1 from j"
#define ROWS INSERT_JOB " " INSERT_TURN
#define TOLD INSERT_JOB ", t as (" INSERT_TURN ") select pg_notify('rows', '')"
#define CLAIM "with z as materialized (select set_config('synchronous_commit', 'off', true)), " \
	"t as materialized (select xid, job from jobq.turn where queue = 1 and lane = 5 and " \
	"(xid, job) > ($1::xid8, $2::bigint) order by xid, job limit %ld), " \
	"c as (insert into jobq.claim (slot, queue, batch, pool, jobs, attempts, " \
	"lanes, cursor_xid, cursor_job, waiting, late_lane, late_xid, late_job) " \
	"select 0, 1, $3, 1, array_agg(job), array_agg(1), '{5}', '{0}', '{0}', '{}', '{}', " \
	"'{}', '{}' from t, z having count(*) > 0) select t.job, t.xid, j.type, j.data::text " \
	"from t, lateral (select type, data from jobq.job j where j.id = t.job limit 1) j " \
	"order by t.xid, t.job"
#define ENDS "insert into jobq.attempt (job, attempt, queue, outcome, worker, node, " \
	"started_at, finished_at, pool) select u, 1, 1, 1, 0, 1, now(), now(), 1 " \
	"from unnest($1::bigint[]) u on conflict do nothing"

/*
 * Producing and consuming. jobs > 0: until so many are done; else until they are
 * stopped.
 */

static void *
write_rows(void *arg)
{
	PGconn *c = connect_database(conninfo);
	struct text t = { 0 };
	const char *params[1];

	(void)arg;
	prepare(c, "rows", ROWS);
	put_array(&t, 0, batch, &shape);
	params[0] = t.data;
	while (!stop && (jobs == 0 || produced < jobs)) {
		if (ahead > backlog) {
			sleep_ms(0.5);
			continue;
		}
		PQclear(execute(c, "rows", 1, params));
		produced += batch;
	}
	free(t.data);
	PQfinish(c);
	return NULL;
}

/* Knows by itself where its claims stand: there is one. */
struct claimer {
	PGconn *c;
	char xid[24], job[24];
	long number;
};

static void
open_claimer(struct claimer *k)
{
	char claim[sizeof(CLAIM) + 24];

	*k = (struct claimer){ .c = connect_database(conninfo), .xid = "0", .job = "0" };
	snprintf(claim, sizeof(claim), CLAIM, batch < CLAIM_MAX ? batch : (long)CLAIM_MAX);
	PQclear(query(k->c, "set plan_cache_mode = force_generic_plan; "
	    "set enable_seqscan = off; set enable_bitmapscan = off"));
	prepare(k->c, "claim", claim);
	prepare(k->c, "ends", ENDS);
}

/* The next rows: job, xid, type, data. */
static PGresult *
claim_rows(struct claimer *k)
{
	char n[24];
	const char *params[3] = { k->xid, k->job, n };
	PGresult *res;
	int count;

	snprintf(n, sizeof(n), "%ld", ++k->number);
	res = execute(k->c, "claim", 3, params);
	count = PQntuples(res);
	if (count > 0) {
		snprintf(k->job, sizeof(k->job), "%s", PQgetvalue(res, count - 1, 0));
		snprintf(k->xid, sizeof(k->xid), "%s", PQgetvalue(res, count - 1, 1));
	}
	return res;
}

static void
end_rows(struct claimer *k, const PGresult *claimed)
{
	struct text ids = { 0 };
	const char *params[1];

	put(&ids, "{");
	for (int i = 0; i < PQntuples(claimed); i++) {
		if (i > 0)
			put(&ids, ",");
		put(&ids, PQgetvalue(claimed, i, 0));
	}
	put(&ids, "}");
	params[0] = ids.data;
	PQclear(execute(k->c, "ends", 1, params));
	free(ids.data);
}

static void *
consume_rows(void *arg)
{
	struct claimer k;

	(void)arg;
	open_claimer(&k);
	while (!stop && (jobs == 0 || consumed < jobs)) {
		PGresult *res = claim_rows(&k);
		int n = PQntuples(res);

		if (n > 0)
			end_rows(&k, res);
		else
			sleep_ms(0.5);
		consumed += n;
		PQclear(res);
	}
	PQfinish(k.c);
	return NULL;
}

static void
tell_rows(long n, double since)
{
	printf("{\"jobs\": %ld, \"seconds\": %.4f}\n", n, now() - since);
}

static void
many(void)
{
	double t0 = now();

	write_rows(NULL);
	tell_rows(produced, t0);
}

static void
drain(void)
{
	PGconn *c;
	double t0;

	write_rows(NULL);
	c = connect_database(conninfo);
	PQclear(query(c, "vacuum analyze"));
	PQclear(query(c, "checkpoint"));
	PQfinish(c);
	t0 = now();
	consume_rows(NULL);
	tell_rows(consumed, t0);
}

static void
start(pthread_t *thread, void *(*run)(void *), void *arg)
{
	if (pthread_create(thread, NULL, run, arg) != 0)
		fail("threads", "no more");
}

static long
rows_ahead(PGconn *c)
{
	(void)c;
	return produced - consumed;
}

static long
rows_consumed(PGconn *c)
{
	(void)c;
	return consumed;
}

static void
steady(void)
{
	const struct windows w = { seconds, window, rows_ahead, rows_consumed, &ahead };
	pthread_t producer, consumer;

	jobs = 0;
	start(&producer, write_rows, NULL);
	start(&consumer, consume_rows, NULL);
	report_windows(NULL, &w);
	stop = true;
	pthread_join(producer, NULL);
	pthread_join(consumer, NULL);
}

/*
 * latency: three processes as a job's way has them, the worker by a pipe. Times
 * are in memory that they share, by the numbers of the jobs.
 */

struct times {
	double sent, inserted, started;
};

static long
probes(void)
{
	return rate * seconds;
}

static void *
send_probes(void *arg)
{
	struct times *times = arg;
	PGconn *c = connect_database(conninfo);
	struct text t = { 0 };
	double t0;

	prepare(c, "told", TOLD);
	t0 = now();
	for (long i = 0; i < probes(); i++) {
		const char *params[1];

		put_array(&t, i, 1, &shape);
		params[0] = t.data;
		sleep_until(t0 + (double)i / (double)rate);
		times[i].sent = now();
		PQclear(execute(c, "told", 1, params));
		times[i].inserted = now();
	}
	free(t.data);
	PQfinish(c);
	return NULL;
}

static void
work(int fd, struct times *times)
{
	FILE *f = fdopen(fd, "r");
	char *data = NULL;
	size_t size = 0;

	while (getline(&data, &size, f) > 0) {
		const char *number = strstr(data, DATA);
		long i = number != NULL ? atol(number + strlen(DATA)) : -1;

		if (i < 0 || i >= probes())
			fail("a job's data", data);
		times[i].started = now();
	}
	free(data);
	fclose(f);
}

static pid_t
start_worker(int *fd, struct times *times)
{
	int ends[2];
	pid_t pid;

	if (pipe(ends) != 0 || (pid = fork()) < 0)
		fail("the worker", "cannot be started");
	if (pid == 0) {
		close(ends[1]);
		work(ends[0], times);
		_exit(0);
	}
	close(ends[0]);
	*fd = ends[1];
	return pid;
}

/* Until there was a notification since the last call. */
static void
await_notification(PGconn *c)
{
	struct pollfd p = { .fd = PQsocket(c), .events = POLLIN };
	PGnotify *told = PQnotifies(c);

	while (told == NULL) {
		poll(&p, 1, -1);
		if (PQconsumeInput(c) == 0)
			fail("waiting", PQerrorMessage(c));
		told = PQnotifies(c);
	}
	for (; told != NULL; told = PQnotifies(c))
		PQfreemem(told);
}

static void
hand_over(int fd, const PGresult *claimed)
{
	for (int i = 0; i < PQntuples(claimed); i++)
		if (dprintf(fd, "%s\n", PQgetvalue(claimed, i, 3)) < 0)
			fail("the worker", "is gone");
}

static void
pass_on(struct claimer *k, int fd)
{
	long left = probes();

	while (left > 0) {
		PGresult *res = claim_rows(k);
		int n = PQntuples(res);

		if (n > 0) {
			hand_over(fd, res);
			end_rows(k, res);
		} else {
			await_notification(k->c);
		}
		left -= n;
		PQclear(res);
	}
}

static void
latency(void)
{
	size_t n = (size_t)probes();
	struct times *times = mmap(NULL, n * sizeof(*times), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	double *took = allocate(n, sizeof(*took)), *inserts = allocate(n, sizeof(*inserts));
	struct claimer k;
	pthread_t producer;
	pid_t worker;
	int fd, status;

	if (times == MAP_FAILED)
		fail("memory", "none left");
	worker = start_worker(&fd, times);
	open_claimer(&k);
	PQclear(query(k.c, "listen rows"));
	start(&producer, send_probes, times);
	pass_on(&k, fd);
	pthread_join(producer, NULL);
	close(fd);
	if (waitpid(worker, &status, 0) != worker || status != 0)
		fail("the worker", "has not had every job");
	for (size_t i = 0; i < n; i++) {
		took[i] = (times[i].started - times[i].sent) * 1e3;
		inserts[i] = (times[i].inserted - times[i].sent) * 1e3;
	}
	sort_numbers(took, n);
	sort_numbers(inserts, n);
	printf("{\"jobs\": %zu, \"p50_ms\": %.3f, \"p95_ms\": %.3f, \"p99_ms\": %.3f, "
	    "\"max_ms\": %.3f, \"insert_p50_ms\": %.3f}\n", n, quantile(took, n, 0.5),
	    quantile(took, n, 0.95), quantile(took, n, 0.99), quantile(took, n, 1),
	    quantile(inserts, n, 0.5));
	PQfinish(k.c);
	free(took);
	free(inserts);
	munmap(times, n * sizeof(*times));
}

int
main(int argc, char **argv)
{
	static const struct number_option options[] = {
		{ "jobs", &jobs }, { "batch", &batch }, { "bytes", &shape.bytes },
		{ "seconds", &seconds }, { "window", &window }, { "backlog", &backlog },
		{ "rate", &rate },
	};
	static const struct command commands[] = {
		{ "many", many }, { "drain", drain }, { "steady", steady }, { "latency", latency },
	};

	if (argc < 3) {
		fputs("usage: limit many|drain|steady|latency CONNINFO …\n", stderr);
		return 2;
	}
	conninfo = argv[2];
	set_options(argv + 3, options, sizeof(options) / sizeof(options[0]));
	if (jobs < 1 || batch < 1 || rate < 1 || seconds < 1)
		fail("options", "jobs, batch, rate and seconds are at least 1");
	run_command(argv[1], commands, sizeof(commands) / sizeof(commands[0]));
	return 0;
}
