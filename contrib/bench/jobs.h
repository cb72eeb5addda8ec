/*
 * Connections to the database, jobs as text, and rates over time: what
 * load.c and limit.c share. Every failure is fail()'s.
 */
#ifndef BENCH_JOBS_H
#define BENCH_JOBS_H

#include <stdatomic.h>
#include <stddef.h>

#include <libpq-fe.h>

PGconn *connect_database(const char *conninfo);
PGresult *query(PGconn *, const char *sql);
void prepare(PGconn *, const char *name, const char *sql);
PGresult *execute(PGconn *, const char *name, int n, const char *const *params);

/* Grows; data is the caller's to free. */
struct text {
	char *data;
	size_t len, cap;
};

void put(struct text *, const char *);

/* An object of about so many bytes that does not compress to nothing; its
 * "user" is n. sleep_ms > 0: the no-op driver sleeps as long. */
struct shape {
	long bytes, sleep_ms;
};

void put_data(struct text *, long n, const struct shape *);

/* In place of what is there, count of them: the second argument of
 * enqueue_many(); an array literal of jsonb. */
void put_jobs(struct text *, long first, long count, const struct shape *);
void put_array(struct text *, long first, long count, const struct shape *);

/* For so many seconds, a line of JSON a window, from the first second on; what
 * waits is also stored every 10 ms. */
struct windows {
	long seconds, window;
	long (*waiting)(PGconn *);
	long (*done)(PGconn *);
	atomic_long *ahead;
};

void report_windows(PGconn *, const struct windows *);

#endif
