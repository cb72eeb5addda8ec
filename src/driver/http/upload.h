/*
 * What an HTTP request sends that is, or has in it, files: read as it is sent,
 * never as a whole. Knows nothing of curl.
 */
#ifndef DRIVER_UPLOAD_H
#define DRIVER_UPLOAD_H

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "driver/http/form.h"

struct upload {
	const struct pieces *pieces;	/* borrowed */
	int *fds;			/* of each piece; -1: it is bytes */
	int64_t *sizes;			/* of each, when it was opened */
	int64_t size;			/* of all */
	int64_t at;			/* bytes that were read */
};

/* The files are below dir. Close it, also after -1 with e. */
int upload_open(struct upload *, const struct pieces *, const char *dir,
    struct err *e);
void upload_close(struct upload *);

/* As read(); -1 with e, also when a file has become shorter. */
ssize_t upload_read(struct upload *, void *, size_t, struct err *e);
void upload_seek(struct upload *, int64_t at);

#endif
