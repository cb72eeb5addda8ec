/*
 * A queue's sandbox: {user, memory, cpu_time, processes, files, network}, as
 * limits of the programs that are started for its jobs.
 */
#ifndef DRIVER_SANDBOX_H
#define DRIVER_SANDBOX_H

#include "base/err.h"
#include "conf/node.h"
#include "os/spawn.h"

/* -1 with e: no such user, or not allowed to become it. */
int sandbox_limits(const struct node *, struct spawn_limits *, struct err *e);

#endif
