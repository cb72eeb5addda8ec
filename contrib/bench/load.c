/*
 * The hot loops of the benchmarks that load jobqd: producers and probes.
 *
 *	load many    CONNINFO QUEUE [jobs=N batch=N producers=N bytes=N]
 *	load one     CONNINFO QUEUE [jobs=N]
 *	load steady  CONNINFO QUEUE [seconds=N window=N batch=N backlog=N producers=N bytes=N]
 *	load latency CONNINFO QUEUE [rate=N seconds=N]
 *	load offer   CONNINFO QUEUE [rate=N seconds=N window_ms=N sleep_ms=N bytes=N]
 *	load hold    CONNINFO CONNECTIONS
 *
 * many: enqueue_many(); its seconds are those of the calls. one: enqueue(),
 * each in its own transaction, in turns with bare INSERTs of the same rows.
 * steady: producers that hold the backlog near a number, one line a window.
 * latency: from before the call of enqueue() to the start of the handler.
 * offer: a fixed rate, whatever happens to the database, and what became of
 * it, one line a window. hold: connections that do nothing, as many as there may be.
 */
#include "config.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "jobs.h"
#include "tool.h"

#define PRODUCERS_MAX 64

static const char *conninfo, *queue;
static long jobs = 100000, batch = 1000, producers = 1;
static long seconds = 30, window = 10, backlog = 10000, rate = 50;
static long window_ms = 500;
static struct shape shape = { .bytes = 200 };

static atomic_long produced;
static atomic_llong waited_us;	/* for enqueue_many(), all producers together */
static atomic_long last_id;	/* the largest that enqueue_many() gave */
static atomic_long ahead;	/* jobs that wait to be taken; producers look */
static atomic_bool stop;

/* How many have completed: what the daemon itself counts. */
#define COMPLETED "select coalesce(sum(n), 0) from (select sum(completed) n from " \
	"jobq.tally union all select sum(completed) from jobq.total) t"

static long
completed(PGconn *c)
{
	PGresult *res = query(c, COMPLETED);
	long n = atol(PQgetvalue(res, 0, 0));

	PQclear(res);
	return n;
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
	PGconn *c = connect_database(conninfo);
	struct text t = { 0 };
	long first = (long)arg * 1000000007;

	prepare(c, "many", MANY);
	for (long left = per_producer(jobs); left > 0; left -= batch) {
		long n = left < batch ? left : batch;
		const char *params[2] = { queue, NULL };
		double t0;

		put_jobs(&t, first, n, &shape);
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
	pthread_t threads[PRODUCERS_MAX];

	run_producers(threads, produce_many);
	join_producers(threads);
	printf("{\"jobs\": %ld, \"seconds\": %.4f}\n", (long)produced,
	    (double)waited_us / 1e6 / (double)producers);
}

/* The text of a batch is made once: what is measured is the database. */
static void *
produce_steadily(void *arg)
{
	PGconn *c = connect_database(conninfo);
	struct text t = { 0 };
	const char *params[2] = { queue, NULL };

	prepare(c, "many", MANY);
	put_jobs(&t, (long)arg * 1000000007, batch, &shape);
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

static void
steady(void)
{
	const struct windows w = { seconds, window, ahead_of_claims, completed, &ahead };
	pthread_t threads[PRODUCERS_MAX];
	PGconn *c = connect_database(conninfo);

	prepare(c, "claimed", "select coalesce((select max(j) from unnest(("
	    "select k.cursor_job from jobq.claim k where k.queue = q.id order by k.batch desc limit 1)) j), 0) "
	    "from jobq.queue q where q.name = $1");
	run_producers(threads, produce_steadily);
	report_windows(c, &w);
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
	PGconn *c = connect_database(conninfo);
	long rounds = (jobs + BLOCK - 1) / BLOCK;
	size_t n = (size_t)rounds * BLOCK;
	double *took[3];
	struct text t = { 0 };

	for (size_t w = 0; w < 3; w++) {
		took[w] = allocate(n, sizeof(**took));
		prepare(c, ways[w].name, ways[w].sql);
	}
	for (long round = -1; round < rounds; round++)
		for (size_t turn = 0; turn < 3; turn++) {
			size_t w = (turn + (size_t)(round + 1)) % 3;

			for (long i = 0; i < BLOCK; i++) {
				const char *params[3] = { queue, "mail", NULL };
				double elapsed;

				t.len = 0;
				put_data(&t, round * BLOCK + i, &shape);
				params[2] = t.data;
				elapsed = timed(c, ways[w].name, params);
				if (round >= 0)
					took[w][round * BLOCK + i] = elapsed;
			}
		}
	for (size_t w = 0; w < 3; w++) {
		sort_numbers(took[w], n);
		printf("%s\"%s_us\": %.1f", w == 0 ? "{" : ", ", ways[w].name,
		    quantile(took[w], n, 0.5) * 1e6);
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

static void
send_probes(PGconn *c, struct text *ids, struct text *ats)
{
	const char *params[1] = { queue };
	double t0 = now();

	for (long i = 0; i < rate * seconds; i++) {
		struct timespec ts;
		PGresult *res;

		sleep_until(t0 + (double)i / (double)rate);
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
	PGconn *c = connect_database(conninfo);
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

	put_jobs(t, first, n, &shape);
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
		long n;

		sleep_until(t0 + (double)(i * window_ms) / 1000);
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
hold(void)
{
	PGconn *first = connect_database(conninfo), *k = first;
	struct pollfd gone = { .fd = PQsocket(first), .events = POLLIN };
	long n = atol(queue), held = 1;

	while (held < n && PQstatus(k = PQconnectdb(conninfo)) == CONNECTION_OK)
		held++;
	printf("{\"held\": %ld}\n", held);
	fflush(stdout);
	poll(&gone, 1, -1);
}

int
main(int argc, char **argv)
{
	static const struct number_option options[] = {
		{ "jobs", &jobs }, { "batch", &batch }, { "producers", &producers },
		{ "bytes", &shape.bytes }, { "seconds", &seconds }, { "window", &window },
		{ "backlog", &backlog }, { "rate", &rate }, { "window_ms", &window_ms },
		{ "sleep_ms", &shape.sleep_ms },
	};
	static const struct command commands[] = {
		{ "many", many }, { "one", one }, { "steady", steady }, { "latency", latency },
		{ "offer", offer }, { "hold", hold },
	};

	if (argc < 4) {
		fputs("usage: load many|one|steady|latency|offer CONNINFO QUEUE …, "
		    "load hold CONNINFO N\n", stderr);
		return 2;
	}
	conninfo = argv[2];
	queue = argv[3];
	set_options(argv + 4, options, sizeof(options) / sizeof(options[0]));
	if (producers < 1 || producers > PRODUCERS_MAX || batch < 1 || window_ms < 1)
		fail("options", "producers is 1 to 64, batch and window_ms at least 1");
	run_command(argv[1], commands, sizeof(commands) / sizeof(commands[0]));
	return 0;
}
