/*
 * The hot loops of the benchmarks: producers, probes, an HTTP server that
 * takes its time, and the rows alone that a job consists of, written by the
 * plainest statements there are: what PostgreSQL allows on this machine.
 * Started by ./bench, which reads the JSON on its standard output.
 *
 *	load many    CONNINFO QUEUE [jobs=N batch=N producers=N bytes=N]
 *	load one     CONNINFO QUEUE [jobs=N]
 *	load steady  CONNINFO QUEUE [seconds=N window=N batch=N backlog=N producers=N bytes=N]
 *	load latency CONNINFO QUEUE [rate=N seconds=N]
 *	load paced   CONNINFO QUEUE [rate=N seconds=N]
 *	load offer   CONNINFO QUEUE [rate=N seconds=N window_ms=N sleep_ms=N bytes=N]
 *	load rows    CONNINFO drain|steady|many [jobs=N batch=N seconds=N bytes=N]
 *	load hold    CONNINFO CONNECTIONS
 *	load serve   PORT [delay_ms=N]
 *
 * many: enqueue_many(); its seconds are those of the calls. one: enqueue(),
 * each in its own transaction, in turns with bare INSERTs of the same rows.
 * steady: producers that hold the backlog near a number, one line a window.
 * latency: from before the call of enqueue() to the start of the handler; paced:
 * only a bare INSERT of the same rows, as often.
 * offer: a fixed rate, whatever happens to the database, and what became of
 * it, one line a window. rows: without jobqd, in a database that has its
 * schema, on tables that nothing else uses.
 * hold: connections that do nothing, as many as there may be.
 */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <libpq-fe.h>

static const char *conninfo, *queue;
static long jobs = 100000, batch = 1000, producers = 1, bytes = 200;
static long seconds = 30, window = 10, backlog = 10000, rate = 50, delay_ms = 100;
static long window_ms = 500, sleep_ms_each;

static atomic_long produced, consumed;
static atomic_llong waited_us;	/* for enqueue_many(), all producers together */
static atomic_long last_id;	/* the largest that enqueue_many() gave */
static atomic_long ahead;	/* jobs that wait to be taken; producers look */
static atomic_bool stop;

static void
fail(const char *what, const char *why)
{
	fprintf(stderr, "load: %s: %s\n", what, why);
	exit(1);
}

static double
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void
sleep_ms(double ms)
{
	struct timespec ts = { (time_t)(ms / 1000), 0 };

	ts.tv_nsec = (long)((ms - (double)ts.tv_sec * 1000) * 1e6);
	nanosleep(&ts, NULL);
}

/*
 * PostgreSQL
 */

static PGconn *
connect_database(void)
{
	PGconn *c = PQconnectdb(conninfo);

	if (PQstatus(c) != CONNECTION_OK)
		fail("connecting", PQerrorMessage(c));
	PQclear(PQexec(c, "set client_min_messages = warning"));
	return c;
}

static PGresult *
check(PGconn *c, PGresult *res)
{
	ExecStatusType s = PQresultStatus(res);

	if (s != PGRES_TUPLES_OK && s != PGRES_COMMAND_OK)
		fail("statement", PQerrorMessage(c));
	return res;
}

static void
prepare(PGconn *c, const char *name, const char *sql)
{
	PQclear(check(c, PQprepare(c, name, sql, 0, NULL)));
}

static PGresult *
execute(PGconn *c, const char *name, int n, const char *const *params)
{
	return check(c, PQexecPrepared(c, name, n, params, NULL, NULL, 0));
}

/* How many have completed: what the daemon itself counts. */
#define COMPLETED "select coalesce(sum(n), 0) from (select sum(completed) n from " \
	"jobq.tally union all select sum(completed) from jobq.total) t"

static long
completed(PGconn *c)
{
	PGresult *res = check(c, PQexec(c, COMPLETED));
	long n = atol(PQgetvalue(res, 0, 0));

	PQclear(res);
	return n;
}

/*
 * Jobs
 */

struct text {
	char *data;
	size_t len, cap;
};

static void
put(struct text *t, const char *s)
{
	size_t n = strlen(s);

	if (t->len + n + 1 > t->cap) {
		t->cap = (t->len + n + 1) * 2;
		t->data = realloc(t->data, t->cap);
		if (t->data == NULL)
			fail("memory", "none left");
	}
	memcpy(t->data + t->len, s, n + 1);
	t->len += n;
}

/* An object of about `bytes` bytes that does not compress to nothing. */
static void
put_data(struct text *t, long n)
{
	char part[64];
	uint32_t x = (uint32_t)n * 2654435761u + 1;

	put(t, "{");
	if (sleep_ms_each > 0) {
		snprintf(part, sizeof(part), "\"sleep_ms\": %ld, ", sleep_ms_each);
		put(t, part);
	}
	snprintf(part, sizeof(part), "\"user\": %ld, \"kind\": \"mail\", \"blob\": \"", n);
	put(t, part);
	for (long i = 48; i < bytes; i += 8) {
		x ^= x << 13, x ^= x >> 17, x ^= x << 5;
		snprintf(part, sizeof(part), "%08" PRIx32, x);
		put(t, part);
	}
	put(t, "\"}");
}

/* The second argument of enqueue_many(). */
static void
put_jobs(struct text *t, long first, long count)
{
	t->len = 0;
	put(t, "[");
	for (long i = 0; i < count; i++) {
		put(t, i > 0 ? ",{\"type\":\"mail\",\"data\":" : "{\"type\":\"mail\",\"data\":");
		put_data(t, first + i);
		put(t, "}");
	}
	put(t, "]");
}

/* An array literal of jsonb. */
static void
put_array(struct text *t, long first, long count)
{
	struct text one = { 0 };
	char c[2] = { 0 };

	t->len = 0;
	put(t, "{");
	for (long i = 0; i < count; i++) {
		one.len = 0;
		put_data(&one, first + i);
		put(t, i > 0 ? ",\"" : "\"");
		for (size_t k = 0; k < one.len; k++) {
			if (one.data[k] == '"')
				put(t, "\\");
			c[0] = one.data[k];
			put(t, c);
		}
		put(t, "\"");
	}
	put(t, "}");
	free(one.data);
}

static long
per_producer(long n)
{
	return n / producers > 0 ? n / producers : 1;
}

/*
 * many, steady
 */

#define MANY "select max(m) from jobq.enqueue_many($1, $2) m"

static void *
produce_many(void *arg)
{
	PGconn *c = connect_database();
	struct text t = { 0 };
	long first = (long)arg * 1000000007;

	prepare(c, "many", MANY);
	for (long left = per_producer(jobs); left > 0; left -= batch) {
		long n = left < batch ? left : batch;
		const char *params[2] = { queue, NULL };
		double t0;

		put_jobs(&t, first, n);
		params[1] = t.data;
		t0 = now();
		PQclear(execute(c, "many", 2, params));
		waited_us += (long long)((now() - t0) * 1e6);
		first += n;
		produced += n;
	}
	free(t.data);
	PQfinish(c);
	return NULL;
}

static void
run_producers(pthread_t *threads, void *(*producer)(void *))
{
	for (long i = 0; i < producers; i++)
		if (pthread_create(&threads[i], NULL, producer, (void *)i) != 0)
			fail("thread", strerror(errno));
}

static void
join_producers(pthread_t *threads)
{
	for (long i = 0; i < producers; i++)
		pthread_join(threads[i], NULL);
}

static void
many(void)
{
	pthread_t threads[64];

	run_producers(threads, produce_many);
	join_producers(threads);
	printf("{\"jobs\": %ld, \"seconds\": %.4f}\n", (long)produced,
	    (double)waited_us / 1e6 / (double)producers);
}

/* The text of a batch is made once: what is measured is the database. */
static void *
produce_steadily(void *arg)
{
	PGconn *c = connect_database();
	struct text t = { 0 };
	const char *params[2] = { queue, NULL };

	prepare(c, "many", MANY);
	put_jobs(&t, (long)arg * 1000000007, batch);
	params[1] = t.data;
	while (!stop) {
		PGresult *res;

		if (ahead > backlog) {
			sleep_ms(0.5);
			continue;
		}
		res = execute(c, "many", 2, params);
		last_id = atol(PQgetvalue(res, 0, 0));
		PQclear(res);
		produced += batch;
	}
	free(t.data);
	PQfinish(c);
	return NULL;
}

/* How many are ahead of the last claim's cursors; cheap, and right as long as
 * nobody else enqueues. */
static long
ahead_of_claims(PGconn *c)
{
	const char *params[1] = { queue };
	PGresult *res = execute(c, "claimed", 1, params);
	long n = last_id - atol(PQgetvalue(res, 0, 0));

	PQclear(res);
	return n;
}

/* One line a window, from the first second on. */
static void
report_windows(PGconn *c, long (*waiting)(PGconn *), long (*done)(PGconn *))
{
	double t0 = now(), from = t0, t = t0;
	long n0 = done(c), n;

	while (t - t0 < (double)seconds) {
		sleep_ms(10);
		ahead = waiting(c);
		t = now();
		if (t - from < (double)window && t - t0 < (double)seconds)
			continue;
		n = done(c);
		t = now();
		printf("{\"at\": %.2f, \"rate\": %.1f, \"ahead\": %ld}\n", t - t0,
		    (double)(n - n0) / (t - from), (long)ahead);
		fflush(stdout);
		from = t;
		n0 = n;
	}
}

static void
steady(void)
{
	pthread_t threads[64];
	PGconn *c = connect_database();

	prepare(c, "claimed", "select coalesce((select max(j) from unnest(("
	    "select k.cursor_job from jobq.claim k where k.queue = q.id order by k.batch desc limit 1)) j), 0) "
	    "from jobq.queue q where q.name = $1");
	run_producers(threads, produce_steadily);
	report_windows(c, ahead_of_claims, completed);
	stop = true;
	join_producers(threads);
	PQfinish(c);
}

/*
 * one: enqueue() beside a bare INSERT of the rows that it makes, one that
 * tells the job's id, as enqueue() does, and one that tells nothing
 */

#define BARE "with j as (insert into jobq.job (id, queue, lane, created_at, " \
	"type, data) select nextval('jobq.job_id'), q.id, q.lane, " \
	"clock_timestamp(), $2::text, $3::jsonb from jobq.queue q where q.name = $1 " \
	"returning id, queue, lane) insert into jobq.turn (job, slot, queue, " \
	"lane, attempt) select id, 0, queue, lane, 1 from j"

static double
timed(PGconn *c, const char *name, const char *const *params)
{
	double t0 = now();

	PQclear(execute(c, name, 3, params));
	return now() - t0;
}

static int
by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

#define BLOCK 20		/* calls of one kind in a row, as an application makes them */

/* In turns, so that what else the disk does meets all; the median, since a
 * commit takes ten times as long now and then. */
static void
one(void)
{
	static const struct { const char *name, *sql; } ways[] = {
		{ "enqueue", "select jobq.enqueue($1, $2, $3)" },
		{ "insert", BARE " returning job" },
		{ "insert_telling_nothing", BARE },
	};
	PGconn *c = connect_database();
	long rounds = (jobs + BLOCK - 1) / BLOCK;
	size_t n = (size_t)rounds * BLOCK;
	double *took[3];
	struct text t = { 0 };

	for (size_t w = 0; w < 3; w++) {
		if ((took[w] = calloc(n, sizeof(**took))) == NULL)
			fail("memory", "none left");
		prepare(c, ways[w].name, ways[w].sql);
	}
	for (long round = -1; round < rounds; round++)
		for (size_t turn = 0; turn < 3; turn++) {
			size_t w = (turn + (size_t)(round + 1)) % 3;

			for (long i = 0; i < BLOCK; i++) {
				const char *params[3] = { queue, "mail", NULL };
				double elapsed;

				t.len = 0;
				put_data(&t, round * BLOCK + i);
				params[2] = t.data;
				elapsed = timed(c, ways[w].name, params);
				if (round >= 0)
					took[w][round * BLOCK + i] = elapsed;
			}
		}
	for (size_t w = 0; w < 3; w++) {
		qsort(took[w], n, sizeof(**took), by_value);
		printf("%s\"%s_us\": %.1f", w == 0 ? "{" : ", ", ways[w].name,
		    took[w][n / 2] * 1e6);
		free(took[w]);
	}
	puts("}");
	free(t.data);
	PQfinish(c);
}

/*
 * latency
 */

/* Where a probe was sent, and by the clock that the server has too: when. */
static void
put_number(struct text *t, long long n)
{
	char number[24];

	snprintf(number, sizeof(number), "%s%lld", t->len > 0 ? "," : "{", n);
	put(t, number);
}

/* Until the i-th of so many a second is due. */
static void
await_turn(double t0, long i)
{
	double due = t0 + (double)i / (double)rate - now();

	if (due > 0)
		sleep_ms(due * 1000);
}

static void
send_probes(PGconn *c, struct text *ids, struct text *ats)
{
	const char *params[1] = { queue };
	double t0 = now();

	for (long i = 0; i < rate * seconds; i++) {
		struct timespec ts;
		PGresult *res;

		await_turn(t0, i);
		clock_gettime(CLOCK_REALTIME, &ts);
		res = execute(c, "enqueue", 1, params);
		put_number(ids, atoll(PQgetvalue(res, 0, 0)));
		put_number(ats, (long long)ts.tv_sec * 1000000 + ts.tv_nsec / 1000);
		PQclear(res);
	}
	put(ids, "}");
	put(ats, "}");
}

/* The start is the one that is stored with the attempt. */
#define LATENCY "select json_build_object('jobs', count(*), " \
	"'p50_ms', round((percentile_cont(0.5) within group (order by ms))::numeric, 3), " \
	"'p95_ms', round((percentile_cont(0.95) within group (order by ms))::numeric, 3), " \
	"'p99_ms', round((percentile_cont(0.99) within group (order by ms))::numeric, 3), " \
	"'max_ms', round(max(ms)::numeric, 3)) from (" \
	"select extract(epoch from a.started_at - to_timestamp(0)) * 1000 - p.at / 1000.0 as ms " \
	"from unnest($1::bigint[], $2::bigint[]) p(job, at) join jobq.attempt a using (job)) t"

static void
latency(void)
{
	PGconn *c = connect_database();
	struct text ids = { 0 }, ats = { 0 };
	const char *params[2];
	PGresult *res;

	prepare(c, "enqueue", "select jobq.enqueue($1, 'probe', '{}')");
	prepare(c, "latency", LATENCY);
	send_probes(c, &ids, &ats);
	sleep_ms(1000);		/* until the last has run */
	params[0] = ids.data;
	params[1] = ats.data;
	res = execute(c, "latency", 2, params);
	printf("%s\n", PQgetvalue(res, 0, 0));
	PQclear(res);
	free(ids.data);
	free(ats.data);
	PQfinish(c);
}

static void
paced(void)
{
	PGconn *c = connect_database();
	const char *params[3] = { queue, "probe", "{}" };
	double *took = calloc((size_t)(rate * seconds), sizeof(*took));
	double t0 = now();

	if (took == NULL)
		fail("memory", "none left");
	prepare(c, "bare", BARE);
	for (long i = 0; i < rate * seconds; i++) {
		await_turn(t0, i);
		took[i] = timed(c, "bare", params);
	}
	qsort(took, (size_t)(rate * seconds), sizeof(*took), by_value);
	printf("{\"p50_ms\": %.3f}\n", took[rate * seconds / 2] * 1e3);
	free(took);
	PQfinish(c);
}

/*
 * offer: what is due by the clock is offered once; a call that fails is not
 * repeated, as by an application that told its user so. A call that the
 * connection was lost in may have been committed: unsure.
 */

static atomic_long refused, unsure;

static void
say_nothing(void *arg, const char *message)
{
	(void)arg;
	(void)message;
}

static PGconn *
connect_again(PGconn *old)
{
	PGconn *c;

	PQfinish(old);
	while (!stop) {
		c = PQconnectdb(conninfo);
		PQsetNoticeProcessor(c, say_nothing, NULL);
		if (PQstatus(c) == CONNECTION_OK)
			return c;
		PQfinish(c);
		sleep_ms(20);
	}
	return NULL;
}

static void
offer_batch(PGconn *c, struct text *t, long first, long n)
{
	const char *params[2] = { queue, NULL };
	PGresult *res;

	put_jobs(t, first, n);
	params[1] = t->data;
	res = PQexecParams(c, MANY, 2, NULL, params, NULL, NULL, 0);
	if (PQresultStatus(res) == PGRES_TUPLES_OK)
		produced += n;
	else if (PQstatus(c) != CONNECTION_OK)
		unsure += n;
	else
		refused += n;
	PQclear(res);
}

static void *
produce_offers(void *arg)
{
	PGconn *c = connect_again(NULL);
	struct text t = { 0 };
	double at = now(), due = 0;
	long first = 0;

	(void)arg;
	while (!stop && c != NULL) {
		double t0 = now();
		long n;

		due += (double)rate * (t0 - at);
		at = t0;
		n = (long)due < batch ? (long)due : batch;
		due -= (double)n;
		if (n > 0)
			offer_batch(c, &t, first, n);
		first += n;
		if (PQstatus(c) != CONNECTION_OK) {
			c = connect_again(c);
			refused += (long)((double)rate * (now() - at) + due);
			at = now();
			due = 0;
		}
		if (due < (double)batch)
			sleep_ms(25);
	}
	free(t.data);
	PQfinish(c);
	return NULL;
}

/* -1: the database does not say. */
static long
try_completed(PGconn **c)
{
	PGresult *res;
	long n = -1;

	if (PQstatus(*c) != CONNECTION_OK)
		PQreset(*c);
	if (PQstatus(*c) != CONNECTION_OK)
		return -1;
	res = PQexec(*c, COMPLETED);
	if (PQresultStatus(res) == PGRES_TUPLES_OK)
		n = atol(PQgetvalue(res, 0, 0));
	PQclear(res);
	return n;
}

static void
offer(void)
{
	pthread_t thread;
	PGconn *c = PQconnectdb(conninfo);
	double t0 = now();

	PQsetNoticeProcessor(c, say_nothing, NULL);
	producers = 1;
	run_producers(&thread, produce_offers);
	for (long i = 1; i * window_ms <= seconds * 1000; i++) {
		double wait = t0 + (double)(i * window_ms) / 1000 - now();
		long n;

		if (wait > 0)
			sleep_ms(wait * 1000);
		n = try_completed(&c);
		printf("{\"at\": %.3f, \"enqueued\": %ld, \"unsure\": %ld, \"refused\": %ld, "
		    "\"completed\": %ld}\n", now() - t0, produced, unsure, refused, n);
		fflush(stdout);
	}
	stop = true;
	join_producers(&thread);
	printf("{\"enqueued\": %ld, \"unsure\": %ld, \"refused\": %ld}\n", produced, unsure, refused);
	PQfinish(c);
}

/*
 * hold
 */

static void
hold(long n)
{
	PGconn *first = connect_database(), *k = first;
	struct pollfd gone = { .fd = PQsocket(first), .events = POLLIN };
	long held = 1;

	while (held < n && PQstatus(k = PQconnectdb(conninfo)) == CONNECTION_OK)
		held++;
	printf("{\"held\": %ld}\n", held);
	fflush(stdout);
	poll(&gone, 1, -1);
}

/*
 * rows
 */

#define ROWS "with j as (insert into jobq.job (id, queue, lane, created_at, " \
	"type, data) select nextval('jobq.job_id'), 1, 5, clock_timestamp(), 'mail', d " \
	"from unnest($1::jsonb[]) d returning id) insert into jobq.turn (job, slot, " \
	"queue, lane, attempt) select id, 0, 1, 5, 1 from j"
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

static void *
write_rows(void *arg)
{
	PGconn *c = connect_database();
	struct text t = { 0 };
	const char *params[1];

	(void)arg;
	prepare(c, "rows", ROWS);
	put_array(&t, 0, batch);
	params[0] = t.data;
	while (!stop && (backlog > 0 || produced < jobs)) {
		if (backlog > 0 && ahead > backlog) {
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

/* Returns how many there were. */
static long
take_rows(PGconn *c, char xid[24], char job[24], long number)
{
	char n[24];
	const char *params[3] = { xid, job, n };
	struct text ids = { 0 };
	PGresult *res;
	int count;

	snprintf(n, sizeof(n), "%ld", number);
	res = execute(c, "claim", 3, params);
	count = PQntuples(res);
	put(&ids, "{");
	for (int i = 0; i < count; i++) {
		if (i > 0)
			put(&ids, ",");
		put(&ids, PQgetvalue(res, i, 0));
	}
	put(&ids, "}");
	if (count > 0) {
		const char *end[1] = { ids.data };

		snprintf(job, 24, "%s", PQgetvalue(res, count - 1, 0));
		snprintf(xid, 24, "%s", PQgetvalue(res, count - 1, 1));
		PQclear(execute(c, "ends", 1, end));
	}
	PQclear(res);
	free(ids.data);
	return count;
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

/* jobs > 0: until so many are done; else until it is stopped. */
static void *
consume_rows(void *arg)
{
	PGconn *c = connect_database();
	char xid[24] = "0", job[24] = "0", claim[sizeof(CLAIM) + 24];

	(void)arg;
	snprintf(claim, sizeof(claim), CLAIM, batch < 500 ? batch : 500L);
	PQclear(check(c, PQexec(c, "set plan_cache_mode = force_generic_plan; "
	    "set enable_seqscan = off; set enable_bitmapscan = off")));
	prepare(c, "claim", claim);
	prepare(c, "ends", ENDS);
	for (long number = 1; !stop && (jobs == 0 || consumed < jobs); number++) {
		long n = take_rows(c, xid, job, number);

		consumed += n;
		if (n == 0)
			sleep_ms(0.5);
	}
	PQfinish(c);
	return NULL;
}

static void
rows(const char *what)
{
	pthread_t producer, consumer;
	double t0;

	backlog = strcmp(what, "steady") == 0 ? backlog : 0;
	t0 = now();
	if (strcmp(what, "many") == 0) {
		write_rows(NULL);
		consumed = produced;
	} else if (strcmp(what, "drain") == 0) {
		write_rows(NULL);
		PGconn *c = connect_database();
		PQclear(check(c, PQexec(c, "vacuum analyze")));
		PQclear(check(c, PQexec(c, "checkpoint")));
		PQfinish(c);
		t0 = now();
		consume_rows(NULL);
	} else if (strcmp(what, "steady") == 0) {
		jobs = 0;
		pthread_create(&producer, NULL, write_rows, NULL);
		pthread_create(&consumer, NULL, consume_rows, NULL);
		report_windows(NULL, rows_ahead, rows_consumed);
		stop = true;
		pthread_join(producer, NULL);
		pthread_join(consumer, NULL);
		return;
	} else {
		fail("rows", "drain, steady or many");
	}
	printf("{\"jobs\": %ld, \"seconds\": %.4f}\n", (long)consumed, now() - t0);
}

/*
 * serve: HTTP/1.1 with keep-alive, 200 to everything, after delay_ms
 */

#define SERVE_MAX 4096

struct client {
	int fd;
	double due;		/* 0: no request waits */
	size_t have;
	char buf[8192];
};

/* The length of the whole request when it is here, else 0. */
static size_t
whole_request(const struct client *k)
{
	const char *end = memmem(k->buf, k->have, "\r\n\r\n", 4), *length;
	size_t head;

	if (end == NULL)
		return 0;
	head = (size_t)(end - k->buf) + 4;
	length = strcasestr(k->buf, "content-length:");
	if (length != NULL && length < end)
		head += (size_t)atol(length + 15);
	return k->have >= head ? head : 0;
}

static void
drop_client(struct client *k)
{
	close(k->fd);
	k->fd = -1;
	k->have = 0;
	k->due = 0;
}

static void
read_client(struct client *k)
{
	ssize_t n = read(k->fd, k->buf + k->have, sizeof(k->buf) - 1 - k->have);
	size_t used;

	if (n <= 0) {
		if (n == 0 || errno != EAGAIN)
			drop_client(k);
		return;
	}
	k->have += (size_t)n;
	k->buf[k->have] = '\0';
	used = whole_request(k);
	if (used == 0)
		return;
	memmove(k->buf, k->buf + used, k->have - used);
	k->have -= used;
	k->due = now() + (double)delay_ms / 1000;
}

static void
answer_due(struct client *clients, size_t n)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	    "Content-Length: 11\r\n\r\n{\"ok\":true}";
	double t = now();

	for (size_t i = 0; i < n; i++) {
		struct client *k = &clients[i];

		if (k->fd < 0 || k->due == 0 || k->due > t)
			continue;
		k->due = 0;
		if (write(k->fd, answer, sizeof(answer) - 1) < 0)
			drop_client(k);
	}
}

static int
listen_on(int port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&sin, sizeof(sin)) < 0 || listen(fd, 1024) < 0)
		fail("port", strerror(errno));
	return fd;
}

static void
accept_clients(int server, int ep, struct client *clients, size_t *n)
{
	int fd, on = 1;

	while ((fd = accept4(server, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
		struct epoll_event ev = { .events = EPOLLIN };
		size_t i = 0;

		while (i < *n && clients[i].fd >= 0)
			i++;
		if (i == SERVE_MAX) {
			close(fd);
			continue;
		}
		if (i == *n)
			(*n)++;
		clients[i] = (struct client){ .fd = fd };
		ev.data.u64 = i + 1;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
	}
}

static void
serve(int port)
{
	static struct client clients[SERVE_MAX];
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = 0 }, events[256];
	int server = listen_on(port), ep = epoll_create1(0);
	size_t n = 0;

	epoll_ctl(ep, EPOLL_CTL_ADD, server, &ev);
	for (;;) {
		int got = epoll_wait(ep, events, 256, 1);

		for (int i = 0; i < got; i++) {
			if (events[i].data.u64 == 0)
				accept_clients(server, ep, clients, &n);
			else if (clients[events[i].data.u64 - 1].fd >= 0)
				read_client(&clients[events[i].data.u64 - 1]);
		}
		answer_due(clients, n);
	}
}

/*
 * The command line
 */

static void
set_option(char *text)
{
	static const struct {
		const char *name;
		long *value;
	} options[] = {
		{ "jobs", &jobs }, { "batch", &batch }, { "producers", &producers },
		{ "bytes", &bytes }, { "seconds", &seconds }, { "window", &window },
		{ "backlog", &backlog }, { "rate", &rate }, { "delay_ms", &delay_ms },
		{ "window_ms", &window_ms }, { "sleep_ms", &sleep_ms_each },
	};
	char *value = strchr(text, '=');

	if (value == NULL)
		fail(text, "not NAME=NUMBER");
	*value++ = '\0';
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if (strcmp(options[i].name, text) == 0) {
			*options[i].value = strtol(value, NULL, 10);
			return;
		}
	fail(text, "no such option");
}

int
main(int argc, char **argv)
{
	const char *command = argc > 2 ? argv[1] : "";
	bool third = strcmp(command, "serve") != 0;

	if (argc < (third ? 4 : 3)) {
		fprintf(stderr, "usage: load many|one|steady|latency|paced|offer CONNINFO QUEUE …, "
		    "load rows CONNINFO WHAT …, load hold CONNINFO N, load serve PORT …\n");
		return 2;
	}
	conninfo = argv[2];
	queue = third ? argv[3] : "";
	for (int i = third ? 4 : 3; i < argc; i++)
		set_option(argv[i]);
	if (producers < 1 || producers > 64 || batch < 1 || window_ms < 1)
		fail("options", "producers is 1 to 64, batch and window_ms at least 1");
	if (strcmp(command, "many") == 0)
		many();
	else if (strcmp(command, "one") == 0)
		one();
	else if (strcmp(command, "steady") == 0)
		steady();
	else if (strcmp(command, "latency") == 0)
		latency();
	else if (strcmp(command, "paced") == 0)
		paced();
	else if (strcmp(command, "offer") == 0)
		offer();
	else if (strcmp(command, "rows") == 0)
		rows(queue);
	else if (strcmp(command, "hold") == 0)
		hold(atol(queue));
	else if (strcmp(command, "serve") == 0)
		serve(atoi(argv[2]));
	else
		fail(command, "no such command");
	return 0;
}
