/*
 * The pid file: one master for each, held by a lock (not by what is written
 * in it) for as long as the process lives.
 */
#ifndef OS_PIDFILE_H
#define OS_PIDFILE_H

#include <sys/types.h>

#include "base/err.h"

struct pidfile;

/* Lock the file and write this process's id. ERR_BUSY: another one has it. */
struct pidfile *pidfile_take(const char *path, struct err *e);
/* Is the file still the one that is locked? -1 with e: replaced or gone. */
int pidfile_check(const struct pidfile *, struct err *e);
/* Give it to the user this process is going to be. */
void pidfile_chown(const struct pidfile *, uid_t, gid_t);
/* Remove it, or empty it where the directory does not allow that. */
void pidfile_free(struct pidfile *);

/* The process that holds it; -1 with e when none does. */
pid_t pidfile_owner(const char *path, struct err *e);

#endif
