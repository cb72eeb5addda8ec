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

/*
 * The directory of a group for the next program of this process, which starts
 * one after the other: made at the first call, and anew after cgroup_kill().
 * -1: there is none. Owned by this module.
 */
int cgroup_fd(void);

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

#endif
