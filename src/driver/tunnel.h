/*
 * TLS around a connection for a library that speaks none of its own: a helper
 * process that carries bytes between a plain socket and the TLS connection.
 */
#ifndef DRIVER_TUNNEL_H
#define DRIVER_TUNNEL_H

#include <sys/types.h>

#include "base/err.h"

struct ssl_ctx_st;

struct tunnel {
	pid_t pid;		/* of the helper; -1: none */
};

/*
 * Shake hands on fd within the time (ctx says what is verified) and start the
 * helper. Takes fd. Returns the plain end, or -1 with e.
 */
int tunnel_open(struct tunnel *, struct ssl_ctx_st *ctx, const char *host,
    int fd, int wait_ms, struct err *e);

/* After the plain end was closed: the helper leaves, or is killed soon. */
void tunnel_close(struct tunnel *);

#endif
