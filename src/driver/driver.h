/*
 * A driver: what runs a job of one kind of handler. Lives in a worker
 * process. Nothing but this interface is known of a driver elsewhere; the list
 * of them is driver_find()'s.
 *
 * A blocking driver ends the run before run() returns. A multiplexing one
 * (DRIVER_MULTIPLEX) returns at once, works on the worker's loop and ends
 * each run later; it may hold as many as the queue's concurrency. Both end a
 * run by exactly one run_end() or run_defer().
 */
#ifndef DRIVER_DRIVER_H
#define DRIVER_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "conf/node.h"
#include "core/breaker.h"
#include "core/job.h"

struct loop;
struct driver;
struct run;
struct conf;
struct handler_conf;
struct queue_conf;

/* What a driver's host does for it: a worker, or a test. */
struct run_ops {
	void (*end)(struct run *, struct run_result *);
	void (*progress)(struct run *, int pct, const char *note);
	void (*output)(struct run *, const char *text, size_t len);
	/* The result of the job's last attempt that left one, as JSON text;
	 * NULL: none. The caller frees it. */
	int (*previous)(struct run *, char **result, struct err *e);
	/* See run_goes_to(), run_defer(). */
	bool (*goes_to)(struct run *, const char *destination);
	void (*defer)(struct run *);
};

/* One handler opened in one worker. */
struct driver_ctx {
	const struct driver *driver;
	const struct handler_conf *handler;	/* options, already checked */
	const struct queue_conf *queue;
	const struct conf *conf;		/* for conf_seal_job(); NULL in some tests */
	/* Where the jobs themselves are, for a driver that works in a database. */
	const char *database, *schema;
	struct loop *loop;
	const struct run_ops *ops;		/* behind run_*() */
	void *host;				/* whose ops these are; opaque to the driver */
	void *state;				/* the driver's own */
};

/* One job while it runs; owned by the worker, valid until run_end(). */
struct run {
	struct driver_ctx *ctx;
	const struct job *job;
	char token[80];
	int64_t timeout_ms;	/* then the leader cancels; bounds the peers' time-outs */
	void *state;		/* the driver's own */
};

#define DRIVER_MULTIPLEX 1u
/* Has a loop's callbacks end its runs, though one at a time: run() does not
 * block. */
#define DRIVER_ASYNC 2u
/* run() itself can neither crash nor block: the leader need not be told that
 * it begins. */
#define DRIVER_QUICK 4u
/* Has programs that live on between the runs: what they need of the machine
 * is the worker's. */
#define DRIVER_KEEPS 8u

struct driver {
	const char *name;
	unsigned flags;
	/*
	 * Check a handler's options (a map node) and report each mistake at its
	 * node by conf_complain(); run by -t as well, so it opens nothing.
	 */
	void (*check)(const struct node *options, struct conf_sink *);
	/* Once in a worker, before its first run of that handler. -1 with e:
	 * its jobs end as failed, class error. */
	int (*open)(struct driver_ctx *, struct err *e);
	void (*run)(struct driver_ctx *, struct run *);
	/* Please end soon; why is CLASS_TIMEOUT or CLASS_NONE (asked by
	 * somebody). The driver ends the run with any result; the leader knows
	 * why it asked. NULL in a blocking driver. */
	void (*cancel)(struct driver_ctx *, struct run *, enum job_class why);
	void (*close)(struct driver_ctx *);
	/* Where all runs of a handler go, if its options alone say so: a name as
	 * for run_goes_to(), else false. NULL: never. */
	bool (*destination)(const struct node *options, char *name, size_t size);
	/* How many runs a handler takes at once, if less than the queue's
	 * concurrency. NULL: any number. */
	int64_t (*at_once)(const struct node *options);
	/* The library it stands on and its version; NULL: none. */
	const char *(*library)(void);
};

const struct driver *driver_find(const char *name);	/* NULL: no such driver */
/* Names of all drivers of this build, NULL at the end. */
const char *const *driver_names(void);

/* What drivers call: see run_ops. */
/* Takes the result's members; the run is gone. */
void run_end(struct run *, struct run_result *);
void run_progress(struct run *, int pct, const char *note);	/* pct -1: the note alone */
/* What is to be kept of its output: the end of it, when there is more than
 * RUN_OUTPUT_MAX. */
void run_output(struct run *, const char *text, size_t len);
int run_previous(struct run *, char **result, struct err *e);
/*
 * Names the side that a run will talk to, before anything goes there; what has
 * its own circuit breaker. At most BREAKER_NAME_MAX bytes, the same for the same
 * side, and nothing that is secret. False: it is to be left alone, and the driver
 * ends the run by run_defer(), having done nothing.
 */
bool run_goes_to(struct run *, const char *destination);
void run_defer(struct run *);
#define RUN_OUTPUT_MAX (144u << 10)	/* bytes of run_output() in one attempt */

/*
 * For a driver that stores the completion itself: the result, JSON text or NULL,
 * in its place encrypted, if the queue wants that. What it puts into queues goes
 * through conf_seal_job() or conf_seal_data().
 */
void run_seal_result(const struct run *, char **result);

/* The two usual ends. */
void run_done(struct run *, char *result);		/* takes result: JSON text or NULL */
void run_fail(struct run *, enum job_class, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
