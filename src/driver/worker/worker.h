/*
 * What the files of the driver worker share: a program that is kept for many
 * jobs, and jobs on their way through it.
 *
 *	worker.c	the driver; programs begin and end
 *	talk.c		what a program is told, and what it says
 *	flight.c	a job, its output and its end
 */
#ifndef DRIVER_WORKER_H
#define DRIVER_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/tree.h>

#include "driver/capture.h"
#include "driver/driver.h"
#include "driver/lines.h"
#include "driver/program.h"
#include "driver/progress.h"
#include "driver/strings.h"
#include "driver/worker/orders.h"
#include "os/loop.h"

/* WAITS for the program; RUNS in it; ENDS when its end is in the database. */
enum flight_state { FLIGHT_WAITS, FLIGHT_RUNS, FLIGHT_ENDS };

/* A job on its way. */
struct flight {
	struct kept *kept;
	struct run *run;
	int64_t id;
	enum flight_state state;
	RB_ENTRY(flight) by_id;
	TAILQ_ENTRY(flight) link;	/* of a list of those that end now */
	unsigned long long begun;	/* kept->said when the program got it */
	unsigned long long at;		/* of what the program is told, where it begins */

	struct capture output;
	struct timer *live;		/* what is there of it is to be seen meanwhile */
	struct progress progress;
	bool cancelled, overdue;
	struct timer *grace;		/* of the cancel */

	bool alone;			/* no other job beside it, all the time */
	mono_t started;
	int64_t cpu_us;			/* of the program, when it started */

	struct strings jobs;		/* that are to be put in with its end */
	size_t jobs_bytes;
	struct order *order;		/* while it ENDS */
	struct run_result result;	/* likewise */
	enum job_class spoiled;		/* it cannot complete, and why */
	char *spoiled_by;
};
RB_HEAD(flights, flight);
TAILQ_HEAD(flight_list, flight);

enum kept_state { KEPT_NONE, KEPT_STARTING, KEPT_READY, KEPT_KILLED };

/* Why we killed it. */
enum kill_why { KILL_NOT, KILL_BROKEN, KILL_FOR_JOB };

/* Opened once in a worker. */
struct kept {
	struct driver_ctx *ctx;
	struct sandbox *sandbox;
	bool limited;			/* its last program ended by that */
	int64_t in_flight, start_ms;

	enum kept_state state;
	struct program program;
	unsigned generation;		/* of the program */
	bool ready;			/* this one was */
	size_t hello;			/* bytes of it, before the first job */
	enum kill_why why;
	enum job_class broken;		/* KILL_BROKEN: class and reason */
	char *broken_by;
	struct timer *timer;		/* NONE: start it; STARTING: it takes too long;
					 * READY: it talks no more */
	unsigned failures;		/* in a row */
	mono_t not_before;		/* the next start */
	bool leaving;			/* told to quit */

	struct buf out;			/* to be told, from `told` on */
	size_t told, answers;
	unsigned long long told_before;	/* that is no longer in out */
	bool deaf;			/* it has closed its standard input */
	struct timer *flush;
	struct lines lines;
	unsigned long long said;	/* messages, of all programs */
	struct capture recent;		/* the end of stderr */
	bool complained;

	struct flights flights;
	size_t nflights, running;
	size_t jobs_bytes;		/* of all of them */
	struct orders *orders;		/* NULL: none so far */
};

/* flight.c */
RB_PROTOTYPE(flights, flight, by_id, flight_compare)
int flight_compare(const struct flight *, const struct flight *);
struct flight *flight_new(struct kept *, struct run *);
void flight_free(struct flight *);
/* The one of that id that RUNS; NULL: none. */
struct flight *flight_find(struct kept *, int64_t id);
/* All of a state, for loops in which they end; how many. */
size_t flight_gather(struct kept *, enum flight_state, struct flight_list *);
/* It, or somebody who may be it, wrote something. */
void flight_wrote(struct flight *, const char *text, size_t len);
void flight_give_output(struct flight *);	/* what there is and was not given yet */
/* Take what is the program's part in a result: what the job used. */
void flight_measure(const struct flight *, struct run_result *);
/* Takes the result; the next job may have begun when it returns. */
void flight_end(struct flight *, struct run_result *);
void flight_fail(struct flight *, enum job_class, const char *message);
/* All of the list. */
void flight_fail_all(struct flight_list *, enum job_class, const char *message);

/* talk.c */
extern const struct program_ops talk_ops;
void talk_job(struct flight *);		/* it is the program's from now on */
void talk_soon(struct kept *);		/* what was put into out leaves with this turn */
void talk_now(struct kept *);
void talk_kill(struct kept *, enum kill_why);
/* It breaks the protocol: nothing it says can be believed. */
void talk_broken(struct kept *, enum job_class, const char *why);

/* worker.c */
void worker_program_ended(void *, int status, const struct rusage *);
void worker_leave_when_done(struct kept *);

#endif
