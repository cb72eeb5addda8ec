/*
 * The board: what the processes of one jobqd tell each other in numbers, in
 * memory that all of them share. The master makes it before its first child;
 * it lasts as long as the master, so that counters go on over reloads and
 * over the death of any process. There are no locks: counters are added to
 * atomically, a leader has a seat of its own, and what the monitor publishes
 * it replaces as a whole. Where there is no board, as in tests and in
 * jobqctl, the writers' functions do nothing.
 *
 *	master		state and beat, queues, seats
 *	leaders		ends of attempts, workers, leases lost
 *	monitor		waits, gauges, the health file's text
 *	api		reads
 */
#ifndef OS_BOARD_H
#define OS_BOARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mono.h"

#define BOARD_TYPES 64		/* of one queue, that are counted by name */
#define BOARD_OTHER "other"	/* all the rest */
#define BOARD_TYPE_MAX 256	/* bytes with the NUL; the database allows 255 */
#define BOARD_NAME_MAX 64	/* of a queue, schedule, alert, with the NUL */
#define BOARD_BOUNDS 14
#define BOARD_PAGE_MAX (4u << 20)
#define BOARD_MORE_QUEUES 256	/* that reloads may bring beside the first ones */

enum board_state { BOARD_STARTING, BOARD_READY, BOARD_DRAINING, BOARD_STOPPING };

/* The order is that of enum outcome (core/job.h), which begins with 1. */
enum board_outcome {
	BOARD_COMPLETED, BOARD_FAILED, BOARD_DEAD, BOARD_CANCELLED, BOARD_LOST,
	BOARD_OUTCOMES
};
extern const char *const board_outcomes[BOARD_OUTCOMES];

enum board_worker {
	BOARD_WORKER_STARTING, BOARD_WORKER_IDLE, BOARD_WORKER_BUSY,
	BOARD_WORKER_LEAVING, BOARD_WORKER_STATES
};
extern const char *const board_workers[BOARD_WORKER_STATES];

/* Upper bounds of a histogram's buckets; one more is for all above. */
extern const int64_t board_bounds_us[BOARD_BOUNDS];

struct board_histogram {
	_Atomic uint64_t counts[BOARD_BOUNDS + 1];	/* of each bucket alone */
	_Atomic uint64_t sum_us;
};

struct board_type {
	_Atomic uint32_t hash;		/* 0: free; never that of a name */
	_Atomic bool named;		/* name is there to be read */
	char name[BOARD_TYPE_MAX];
	_Atomic uint64_t finished[BOARD_OUTCOMES];
};

struct board_queue {
	char name[BOARD_NAME_MAX];
	struct board_type types[BOARD_TYPES], other;
	struct board_histogram run, wait;
	_Atomic uint64_t lease_lost;
	_Atomic int64_t claims;		/* the monitor's mark: 1 + the last one in wait; 0: none */
};

/*
 * The master's. Nothing is counted for a queue that was not added; there is
 * room for so many, and BOARD_MORE_QUEUES that come with reloads.
 */
int board_make(size_t queues, struct err *e);
int board_add(const char *queue);	/* again is fine; -1: the board is full */
/* A type of it that will come: it has its place, and is told as 0 until then. */
void board_expect(const char *queue, const char *type);
void board_set_state(enum board_state);
void board_beat(void);			/* the master lives */
/* A place for the workers of one leader; 0: none is free. It is taken before
 * the fork and left when the leader was reaped. */
int board_seat_take(const char *queue);
void board_seat_leave(int seat);
/* In a child: the seat it got; -1: it has nothing to do with the board. */
void board_enter(int seat);

/*
 * A leader's. board_queue() never fails: what has no place is counted
 * nowhere.
 */
struct board_queue *board_queue(const char *name);
void board_finished(struct board_queue *, const char *type, enum board_outcome);
void board_ran(struct board_queue *, int64_t run_us);
void board_lease_lost(struct board_queue *, uint64_t jobs);
void board_seat_workers(const uint32_t n[BOARD_WORKER_STATES]);

/* The monitor's: so many jobs that have waited so long. */
void board_waited(struct board_queue *, int64_t wait_us, uint64_t jobs);

/*
 * Pages, of at most BOARD_PAGE_MAX bytes. One process at a time publishes
 * each; whoever reads sees one of its texts whole. -1 with e: it is too large,
 * and the page is empty now.
 */
enum board_page { BOARD_GAUGES, BOARD_HEALTH, BOARD_PAGES };
int board_publish(enum board_page, const void *data, size_t len, struct err *e);
/* Into the empty buffer. Returns how long ago it was published, -1: never. */
mono_t board_read(enum board_page, struct buf *);

/* BOARD_GAUGES is an array of these. */
enum board_gauge_kind {
	GAUGE_DATABASE_UP, GAUGE_JOBS, GAUGE_OLDEST_READY, GAUGE_DEAD_LETTERS,
	GAUGE_QUEUE_PAUSED, GAUGE_QUEUE_SERVED, GAUGE_SCHEDULE_LATE,
	GAUGE_SCHEDULE_MISSED, GAUGE_SCHEDULE_NEXT, GAUGE_ALERT_FIRING,
	GAUGE_OLDEST_SNAPSHOT,
	GAUGE_KINDS
};
struct board_gauge {
	enum board_gauge_kind kind;
	char a[BOARD_NAME_MAX], b[BOARD_NAME_MAX];	/* labels; "": none */
	double value;
};
/* Put one at the end of what is to be published; a, b may be NULL. */
void board_gauge(struct buf *, enum board_gauge_kind, const char *a,
    const char *b, double value);

/* The api's. */
enum board_state board_state(void);
#define BOARD_SECRET 32
/* Random bytes, the same as long as the master lives: over reloads. */
const unsigned char *board_secret(void);
mono_t board_since_beat(void);		/* since the master's last */
size_t board_count(void);		/* queues, 0 … */
struct board_queue *board_at(size_t);
/* The workers of a queue's leaders. */
void board_count_workers(size_t queue, uint64_t n[BOARD_WORKER_STATES]);
/* The larger of this and of what was ever given: for a sum over processes
 * that come and go meanwhile. */
uint64_t board_cpu_us(uint64_t);

#endif
