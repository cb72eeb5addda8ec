/*
 * Slow start: how many requests may be on their way to one destination. One
 * that is new to this worker is not met by hundreds of connections at once, and
 * neither by hundreds of requests is one that has failed and may be on its feet
 * again: 1, then 2, then 4 … of them at a time. Pure.
 *
 * Of a new destination those requests count that are not connected yet, and each
 * connection allows one more. One that failed has half of what it had, down to 1,
 * all its requests count, and each good answer allows one more.
 *
 * Nobody waits for longer than its patience: then it goes as if there were room,
 * since to be late is worse than to be one too many, and somebody who never
 * answers would hold up all others.
 */
#ifndef DRIVER_PACE_H
#define DRIVER_PACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/mono.h"

#define PACE_HOSTS_MAX 1000	/* remembered while nothing is on its way to them */

struct pace_host;

/* One request; part of who asks. Zeroed: not in. */
struct pace_ticket {
	struct pace_host *host;		/* NULL: not in */
	bool waiting, connected;
	mono_t until;			/* its patience ends */
	TAILQ_ENTRY(pace_ticket) link;
};
TAILQ_HEAD(pace_tickets, pace_ticket);
TAILQ_HEAD(pace_hosts, pace_host);

struct pace {
	int max;			/* there is no limit from here on */
	struct pace_tickets waiting;	/* in the order of their coming */
	struct pace_hosts idle;		/* the one that was used last at the end */
	size_t nidle;
	struct pace_hosts buckets[256];
};

void pace_init(struct pace *, int max);
/* All tickets have left. */
void pace_clear(struct pace *);

/* A request to that destination: true: it goes now; else pace_next() gives it
 * when it may. */
bool pace_enter(struct pace *, struct pace_ticket *, const char *name, mono_t now,
    mono_t patience);
/* It is connected, or has been by an earlier request. */
void pace_connected(struct pace *, struct pace_ticket *);

enum pace_end { PACE_GOOD, PACE_BAD, PACE_NONE };
/* It is over, with an answer or without; PACE_NONE: says nothing of the other
 * side. Also of one that waits, or is not in. */
void pace_leave(struct pace *, struct pace_ticket *, enum pace_end);

/* One that waited and goes now; NULL: none. */
struct pace_ticket *pace_next(struct pace *, mono_t now);
/* When to ask again though nothing happened; PACE_NEVER: not at all. */
#define PACE_NEVER INT64_MAX
mono_t pace_due(const struct pace *);

#endif
