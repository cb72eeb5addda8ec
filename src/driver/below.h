/*
 * Files below a directory of the configuration, by paths that a job's data
 * gives: wherever a path would lead, by "..", by a link, it stays below.
 */
#ifndef DRIVER_BELOW_H
#define DRIVER_BELOW_H

#include "base/err.h"

#define BELOW_PATH_MAX 1024		/* bytes of such a path */

/* A descriptor to read the file by; -1 with e, which begins with the path. */
int below_open(const char *dir, const char *path, struct err *e);

/* Whether there can be a file of that path: no part of it is empty, longer than
 * 255 bytes, or begins with a dot. -1 with e. */
int below_check(const char *path, struct err *e);

/*
 * The directory of a file to be written, opened; it and those above it are made
 * where they are not there. *name is set to the file's name, within path. -1
 * with e.
 */
int below_make(const char *dir, const char *path, const char **name,
    struct err *e);

#endif
