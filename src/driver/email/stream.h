/*
 * A connection to a server, plain or TLS, for a driver that blocks: lines in,
 * bytes out, and no wait without an end.
 */
#ifndef DRIVER_STREAM_H
#define DRIVER_STREAM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mono.h"

struct ssl_ctx_st;
struct ssl_st;

struct stream {
	int fd;			/* -1: no connection */
	struct ssl_st *ssl;	/* NULL: not encrypted */
	struct buf out;		/* put, not yet written */
	size_t from, to;	/* what has come and was not taken: in[from..to) */
	char in[4096];
};

void stream_init(struct stream *);	/* not connected */

/* Connect; a name's addresses share the time. -1 with e. */
int stream_connect(struct stream *, const char *host, const char *port,
    mono_t until, struct err *e);

/*
 * Shake hands; ctx says what is verified.
 *   name	for the server to know whom we want
 * -1 with e: good for nothing but stream_close().
 */
int stream_start_tls(struct stream *, struct ssl_ctx_st *ctx, const char *name,
    mono_t until, struct err *e);

/*
 * Put bytes, which are written when there are many, and by stream_flush().
 *   wait	the longest that the other side may take for some of them
 *   until	when all of them have to be written
 * -1 with e.
 */
int stream_put(struct stream *, const void *data, size_t len, mono_t wait,
    mono_t until, struct err *e);
int stream_flush(struct stream *, mono_t wait, mono_t until, struct err *e);

/* The next line, without its end, cut to size - 1 bytes. -1 with e. */
int stream_line(struct stream *, char *line, size_t size, mono_t until,
    struct err *e);

/* Whether something has come that was not taken, be it the connection's end. */
bool stream_has_news(struct stream *);

/* polite: tell TLS, where there is any. Does not wait. */
void stream_close(struct stream *, bool polite);

#endif
