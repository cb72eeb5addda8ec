/*
 * libcurl's sockets on the loop. After each transfer it forgets the socket, and
 * asks for it again with the next that takes the connection; so that epoll need
 * not be told of either, a watch stays until its socket is closed.
 */
#ifndef DRIVER_HTTP_SOCKETS_H
#define DRIVER_HTTP_SOCKETS_H

#include <stdbool.h>
#include <stddef.h>

#include "os/loop.h"

struct socket_watch;

struct sockets {
	struct loop *loop;
	watch_fn *fn;
	void *arg;
	struct socket_watch *v;		/* by descriptor */
	size_t n;
};

void sockets_init(struct sockets *, struct loop *, watch_fn *, void *arg);
void sockets_clear(struct sockets *);

/* It is of those whose end will be told by sockets_close(). */
void sockets_made(struct sockets *, int fd);
/* Watch it for what, until sockets_forget(). */
void sockets_want(struct sockets *, int fd, unsigned what);
void sockets_forget(struct sockets *, int fd);
/* Closes it. */
int sockets_close(struct sockets *, int fd);

#endif
