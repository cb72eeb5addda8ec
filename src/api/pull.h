/*
 * Workers elsewhere: they ask for jobs over HTTP, may wait for some, renew what
 * they have, and say how it ended (jobqd-api(7), PULL WORKERS). There is one of
 * this in the api process.
 */
#ifndef API_PULL_H
#define API_PULL_H

#include <stdbool.h>
#include <stdint.h>

#include "api/route.h"
#include "conf/conf.h"
#include "core/backoff.h"
#include "core/job.h"
#include "core/msg.h"
#include "os/chan.h"
#include "os/loop.h"

extern const struct route pull_routes[];	/* runs.c */

/* conf and master are borrowed. The database is left alone until somebody asks
 * for jobs. */
void pull_open(struct loop *, const struct conf *, struct chan *master);
/* A message of the master's: FOUND or LOOKING. False: it is neither, or nonsense. */
bool pull_message(uint32_t type, struct msg_reader *);
void pull_master_gone(void);
/* Whoever waits gets no jobs, now and from here on. */
void pull_stop(void);
void pull_close(void);

/* POST /v1/queues/{queue}/lease */
answer_fn pull_lease;
/*
 * A duration that came as a parameter, in milliseconds; left alone when it did
 * not. False: it is none in that range, and the exchange is ended with that.
 */
bool pull_duration(struct exchange *, const char *name, int64_t min, int64_t max,
    int64_t *ms);
/* The end of an attempt, which the database has accepted. */
struct pull_end {
	char *queue, *type;
	enum outcome outcome;
	enum job_class class;
	int64_t run_us;
	char *error;			/* NULL: none */
};
/* It counts, and may open the queue's circuit breaker. */
void pull_ended(const struct pull_end *);
/* The retry policy of a job, be its queue of this node or not. */
const struct retry_policy *pull_policy(const char *queue, int64_t job);

#endif
