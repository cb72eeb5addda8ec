/*
 * The scheduler process: see sched.c.
 */
#ifndef SCHED_SCHED_H
#define SCHED_SCHED_H

#include "conf/conf.h"

/* Runs in a child of the master, channel on descriptor 3; returns the exit status. */
int sched_main(const struct conf *);

#endif
