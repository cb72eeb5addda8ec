/*
 * A control group (version 2) for the programs that a process starts, so that
 * they can be killed at once, however fast they fork. It lies in the group of
 * this process, where the system lets us make one: as root, or where it was
 * delegated to our user (Delegate= of systemd). It needs the kernel's
 * cgroup.kill, of Linux 5.14. Where there is none, nothing is said: processes
 * are found by their parents then (os/proc.h).
 *
 * A group is called jobqd-MASTER-PROCESS, by their pids.
 */
#ifndef OS_CGROUP_H
#define OS_CGROUP_H

#include <stdint.h>

/*
 * The directory of a group for the next program of this process, which starts
 * one after the other: made at the first call, and anew after cgroup_kill().
 * -1: there is none. Owned by this module.
 */
int cgroup_fd(void);

/*
 * Limits for the groups of this process made from now on; 0: none. Returns
 * which of them the system enforces, as a set of CGROUP_…: those whose
 * controllers were delegated to us, see cgroup_delegate().
 */
struct cgroup_limits {
	int64_t memory;		/* bytes, of all that is in it, swap included */
	int64_t processes;
};
#define CGROUP_MEMORY 1u
#define CGROUP_PROCESSES 2u
unsigned cgroup_limit(const struct cgroup_limits *);

/* The same without a change. */
unsigned cgroup_enforces(void);

/* How often limits were met in this process's group: killed for memory, refused
 * a process. It may have had programs before. */
struct cgroup_met {
	uint64_t memory, processes;
};
struct cgroup_met cgroup_met(void);
/* Processor time of all that was in it, in µs; 0: that cannot be told. */
uint64_t cgroup_cpu_us(void);

/*
 * Make the delegated controllers of memory and processes usable for the groups
 * of programs: this process, the master before it has children, moves into a
 * group "jobqd" below its own, since a group with processes in it has no
 * controllers for those below. Returns what cgroup_limit() can enforce then.
 */
unsigned cgroup_delegate(void);

/* Kill all that is in it. Safe in a signal handler. */
void cgroup_kill(void);

/*
 * Kill what dead children of this process have left in their groups, and
 * remove the groups of children and masters that are dead. What has not died
 * yet is left for the next time.
 */
void cgroup_sweep(void);

/*
 * Parts of this, for tests. The directory of a process's own group, from the
 * text of its files /proc/PID/cgroup and mountinfo; new string, NULL: none.
 */
char *cgroup_directory(const char *groups, const char *mounts);
/* As cgroup_sweep() in a directory. */
void cgroup_sweep_in(const char *directory);
/* As cgroup_delegate() with the own group at directory. */
unsigned cgroup_delegate_in(const char *directory);

#endif
