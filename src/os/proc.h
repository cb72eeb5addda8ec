/*
 * Processes: the only place that forks one of jobqd's own (programs are
 * spawned in os/spawn). Also what a parent and a child need to leave nobody
 * behind.
 */
#ifndef OS_PROC_H
#define OS_PROC_H

#include <sys/types.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/*
 * Fork a child of the master. In the child: all signals default and
 * unblocked but SIGPIPE (ignored) and SIGUSR1 (reopens the log);
 * own process group, so that a terminal's interrupt reaches the master alone;
 * descriptors 0 (null device), 1 and 2 (the log, or stderr), 3 (chan_fd, or
 * the null device for -1), 4 (the log's file if there is one), extra_fd as 5
 * if not -1, the logs of their own, all others closed; SIGTERM when the master
 * dies (checked against the race of a master already dead). `inherited` is the
 * parent's loop, gone in the child. The caller closes its chan_fd and extra_fd.
 * Returns the pid, 0 in the child, -1 with e.
 */
struct loop;
pid_t proc_fork(struct loop *inherited, int chan_fd, int extra_fd, struct err *e);

/*
 * Go on as a daemon: in a child, in a session of its own, with the null device
 * as 0, 1 and 2 and nothing else open. The process that was started waits: it
 * prints what is written to the descriptor returned here, and exits 0 once
 * proc_detached() says that all is well, 1 when the daemon ends before. -1
 * with e.
 */
int proc_detach(struct err *e);
void proc_detached(int fd);

#define PROC_CHANNEL_FD 3	/* to the master; a worker's to its leader */
#define PROC_EXTRA_FD 5

/* A pair of connected, close-on-exec unix stream sockets. */
int proc_pair(int fds[2], struct err *e);

/* "jobqd: worker email/2"; proc_title_init() first, in main(). */
void proc_title_init(int argc, char **argv);
void proc_title(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Orphaned descendants of this process become its own children (Linux). */
void proc_adopt_orphans(void);

/*
 * Kill every child of this process, then the children those leave behind,
 * until none is left, and reap them: with proc_adopt_orphans() the whole tree,
 * daemonised or not, and however fast it forks. Safe in a signal handler.
 * spare (n pids) are left alone.
 */
void proc_kill_children(const pid_t *spare, size_t n);

/*
 * The same without waiting for any: all descendants, but spare and theirs, are
 * stopped and then killed. Whoever reaps calls it again.
 */
void proc_kill_strays(const pid_t *spare, size_t n);

/*
 * This process's children: at most max pids; returns how many. Safe in a
 * signal handler. One that ends meanwhile may hide another: ask again.
 */
size_t proc_children(pid_t *pids, size_t max);

/* Resident size of a process in KiB, 0 if it cannot be told. */
int64_t proc_rss_kb(pid_t);
/* … of it and its descendants. */
int64_t proc_tree_rss_kb(pid_t);
/* The most that it was so far, and the processor time that its threads have
 * used; -1 if it cannot be told. */
int64_t proc_peak_kb(pid_t);
int64_t proc_cpu_us(pid_t);

#endif
