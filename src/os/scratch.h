/*
 * Scratch directories: a private place for the temporary files of one program,
 * gone with it. A process that starts programs has one directory in $TMPDIR or
 * /tmp, jobqd-scratch-XXXXXX, which belongs to it and is locked while it lives; a
 * program's is a directory in there that belongs to the program's user. Who
 * makes one removes those that are not locked: what the dead have left.
 */
#ifndef OS_SCRATCH_H
#define OS_SCRATCH_H

#include <sys/types.h>

#include "base/err.h"

/*
 * The directory of the next program of this process, mode 0700; made now. NULL
 * with e. New string.
 */
char *scratch_make(uid_t, gid_t, struct err *e);

/*
 * Remove what scratch_make() gave, when nobody uses it any more. However deep
 * it is and whatever lies in it: links are not followed, other file systems not
 * entered. -1 with e when something stays. NULL is fine.
 */
int scratch_remove(const char *path, struct err *e);

/* Before this process ends; for nothing while there is one that was not removed. */
void scratch_leave(void);

#endif
