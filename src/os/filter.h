/*
 * A filter of system calls (seccomp) for programs: refuses, with EPERM, those
 * that no job needs and that attack the kernel or its neighbours: tracing and
 * reading other processes, mounts and namespaces, kernel modules, bpf, keys,
 * io_uring, clocks, swap, reboot. It is for the machine's own architecture and
 * the 32-bit one beside it; calls of any other end the program.
 */
#ifndef OS_FILTER_H
#define OS_FILTER_H

#include <linux/filter.h>
#include <stdbool.h>

#include "base/err.h"

/* Both this build and this kernel can. */
bool filter_possible(void);

/*
 * Make one; without `network` it refuses every socket as well, those of Unix
 * included (socket pairs remain), with EACCES. -1 with e. The caller calls
 * filter_clear().
 */
int filter_make(struct sock_fprog *, bool network, struct err *e);
void filter_clear(struct sock_fprog *);

/* Put this process, which can get no more privileges, under it. Safe between
 * fork and exec. -1: errno. */
int filter_enter(const struct sock_fprog *);

#endif
