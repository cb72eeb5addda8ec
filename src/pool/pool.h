/*
 * The leader of one queue on this node: see pool.c.
 */
#ifndef POOL_POOL_H
#define POOL_POOL_H

#include "conf/conf.h"

/* Runs in a child of the master, channel on descriptor 3; returns the exit
 * status. */
int pool_main(const struct conf *, const struct queue_conf *);

#endif
