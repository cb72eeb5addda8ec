/*
 * The health file: one JSON object for load balancers, scripts and people,
 * replaced as a whole so that nobody reads half of one.
 */
#ifndef MONITOR_HEALTH_H
#define MONITOR_HEALTH_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mono.h"

/* Strings are borrowed. */
struct health {
	dbtime_us at;			/* this host's clock: the file is for this host */
	bool database_up;
	const char *database_error;	/* why it is not up; NULL: it is */
	const char *database_version;	/* NULL: not known */
	int64_t database_latency_us;	/* of one statement; -1: not known */
	int64_t clock_ahead_us;		/* at least so much of the database's; < 0: behind */
	int64_t disk_free;		/* bytes, of an embedded one; -1: not known */
	const char *no_workers;		/* queues without, "a, b"; NULL: none */
	/* That it knows of, "subject: text", a line each; NULL: none. */
	const char *problems;
	/* JSON texts from the database; NULL: not known, and left empty */
	const char *queues, *schedules, *alerts;
	int64_t dead_letters;		/* nobody has reviewed; -1: not known */
};

/* The database answers and every queue of this node has workers. */
bool health_good(const struct health *);

/* Append all that is not as it should be, as in problems. */
void health_problems(struct buf *, const struct health *);

/* The next line of *problems: returns its start, and how long it and its
 * subject are; NULL after the last one. */
const char *health_problem(const char **problems, size_t *len, size_t *subject);

/* Append it, with a newline. */
void health_json(struct buf *, const struct health *);

/* What may still be written to the file system of that directory; -1: not known. */
int64_t health_disk_free(const char *directory);

/* Replace the file at path, mode 0644. */
int health_write(const char *path, const struct buf *, struct err *e);

#endif
