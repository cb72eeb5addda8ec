/*
 * The monitor process: see monitor.c.
 */
#ifndef MONITOR_MONITOR_H
#define MONITOR_MONITOR_H

#include "conf/conf.h"

/* Runs in a child of the master, channel on descriptor 3; returns the exit status. */
int monitor_main(const struct conf *);

#endif
