/*
 * Directories as a whole.
 */
#ifndef OS_TREE_H
#define OS_TREE_H

#include <sys/types.h>

#include "base/err.h"

/* The directory with its parents, where they are missing. */
int tree_make(const char *path, mode_t mode, struct err *e);
/* The directory with everything in it; never follows a link. A path that is
 * not there is fine. */
int tree_remove(const char *path, struct err *e);

#endif
