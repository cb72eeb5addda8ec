/*
 * What processes use of the machine, from /proc: the master of one jobqd and all
 * its children together, or the programs that a worker runs.
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

/* The processes and threads of the whole system; 0: that cannot be told. */
int64_t usage_threads(void);

/*
 * What a program and all its descendants use, and have used, those that were
 * reaped included; at most max processes are looked at. With this process as
 * root, its descendants, without itself: `cpu_us` counts from when it began
 * then, so compare with a reading of before. Resident memory that they share
 * counts in each; with `exactly` only once, and that of files not at all, where
 * the system tells (slow).
 */
void usage_descendants(struct usage *, pid_t root, int max, bool exactly);

#endif
