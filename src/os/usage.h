/*
 * What the processes of one jobqd use of the machine, from /proc: the master
 * and all its children together.
 */
#ifndef OS_USAGE_H
#define OS_USAGE_H

#include <sys/types.h>

#include <stdbool.h>
#include <stdint.h>

struct usage {
	int processes;
	uint64_t cpu_us;	/* with that of what they have waited for */
	uint64_t resident;	/* bytes; what they share counts in each */
	double started;		/* of the master, seconds since the epoch */
	int64_t most_fds;	/* that one of them has open; -1: not to be seen */
	int64_t max_fds;	/* that each may have */
};

/* false: there is no /proc to look at. */
bool usage_read(struct usage *, pid_t master);

#endif
