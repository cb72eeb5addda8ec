/*
 * The file that a report or a download becomes, whole or not there: of a report
 * in a directory of its own under a name that nobody can guess. What is written
 * goes to it as it is, or into the entries of a zip archive.
 */
#ifndef DRIVER_OUTPUT_H
#define DRIVER_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct archive;

struct output {
	int dir;			/* the directory, borrowed */
	int fd;				/* -1: closed */
	char *name, *temporary;		/* within the directory */
	int64_t max;			/* bytes that it may get */
	int64_t bytes;			/* it has got */
	struct buf buf;			/* not yet written */
	struct archive *archive;	/* NULL: no zip */
	bool in_entry;
};

/*
 * The directory, made if it is not there. -1 with e: it cannot be written to.
 */
int output_directory(const char *path, struct err *e);

/*
 * A new file in it, to become STEM-JOB-RANDOM.EXTENSION; stem has nothing but
 * letters, digits, "_" and "-". Clear it, also after -1 with e.
 */
int output_open(struct output *, int dir, const char *stem, int64_t job,
    const char *extension, int64_t max, struct err *e);
/*
 * The same of a file that is called name, in place of one that may be there; to
 * be written by that attempt of the job. What an earlier one has left is removed.
 */
int output_replace(struct output *, int dir, const char *name, int64_t job,
    int attempt, int64_t max, struct err *e);
/* All goes into a zip: before anything else; -1 with e, also when this build
 * has none. */
int output_zip(struct output *, struct err *e);
/* The next entry begins. In a file without a zip nothing. */
int output_entry(struct output *, const char *name, struct err *e);
int output_put(struct output *, const void *data, size_t len, struct err *e);
/* All is written, safe on disk and has its name. */
int output_finish(struct output *, struct err *e);
/* Take back what output_finish() has done. */
void output_remove(struct output *);
/* What was not finished is removed. */
void output_clear(struct output *);

bool output_has_zip(void);
const char *output_library(void);	/* NULL: none */

/*
 * Remove the finished files that are older than keep_ms (0: none), and what
 * writers left that died. Returns how many.
 */
size_t output_expire(int dir, int64_t keep_ms);

#endif
