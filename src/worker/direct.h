/*
 * A worker's own way to the database, for the few moments when its leader
 * cannot help: the leader died, or a driver wants to know what an earlier
 * attempt of the job achieved. Blocking.
 */
#ifndef WORKER_DIRECT_H
#define WORKER_DIRECT_H

#include <stddef.h>

#include "base/err.h"
#include "base/mono.h"
#include "conf/conf.h"
#include "core/job.h"

/* The end of one attempt. */
struct finished {
	int64_t pool;
	struct job job;			/* without its strings */
	struct run_result result;	/* owned */
	int64_t run_us;
	mono_t at;			/* when it ended */
	bool cancelled;			/* somebody asked it to stop, and it did */
};

/*
 * Do what the leader would have done with these endings: decide each and
 * complete it by the guarded statement, which ignores what the leader had
 * completed before; and hand the unstarted jobs back. Goes on trying while the
 * database is away, at most DIRECT_PATIENCE. Returns -1 with e when it gave up.
 */
#define DIRECT_PATIENCE (300 * MONO_SECOND)
struct direct {
	const struct conf *conf;
	const struct queue_conf *queue;
	int worker;			/* slot */
};
int direct_finish(const struct direct *, const struct finished *, size_t n, struct err *e);
/* Hand unstarted jobs back; all of the same pool. */
int direct_release(const struct direct *, int64_t pool, const int64_t *jobs,
    const int *attempts, size_t n, struct err *e);

/* The newest result that an earlier attempt left, new; *result NULL: none. */
int direct_previous(const struct direct *, const struct job *, char **result,
    struct err *e);

#endif
