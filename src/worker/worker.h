/*
 * A worker process: runs jobs of one queue through its drivers. See worker.c.
 */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H

#include "conf/conf.h"

/* Runs in a child of the master, channel to its leader on descriptor 3; index
 * is its slot. Returns the exit status. */
int worker_main(const struct conf *, const struct queue_conf *, int index);

#endif
