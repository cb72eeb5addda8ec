/*
 * A channel: framed messages, each with at most one descriptor, over a unix
 * stream socket. One end on a loop (struct chan). Messages arrive whole and
 * in order. A frame that is malformed or larger than CHAN_FRAME_MAX closes the
 * channel, like an end of file. Never blocks: what the socket does not take
 * waits in memory; chan_backlog() tells how much, for the caller's high-water
 * mark.
 */
#ifndef OS_CHAN_H
#define OS_CHAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "os/loop.h"

#define CHAN_FRAME_MAX (64u << 20)	/* bytes of one message's body */

struct chan;

struct chan_ops {
	/* body is borrowed until the call returns; fd is -1 or the callee's. */
	void (*message)(struct chan *, uint32_t type, const void *body,
	    size_t len, int fd, void *arg);
	/* The other end is gone (reason for the log); called once, the callee
	 * frees the channel (here or later). Never called for a chan_free() of
	 * this side. */
	void (*closed)(struct chan *, const char *reason, void *arg);
};

/* Takes fd, sets it non-blocking. ops are borrowed for the channel's life. */
struct chan *chan_new(struct loop *, int fd, const struct chan_ops *, void *arg);
/* Closes; unsent messages are lost; fine inside a callback. */
void chan_free(struct chan *);

/* Copies the body; takes fd (-1 for none) even when the channel is closed. */
void chan_send(struct chan *, uint32_t type, const void *body, size_t len, int fd);
size_t chan_backlog(const struct chan *);	/* bytes not yet taken by the socket */

/* While corked, chan_send() only collects; taking the cork out sends it all in one. */
void chan_cork(struct chan *, bool corked);

/* Block until everything is sent or the other side is gone (for a process about to end). */
void chan_flush(struct chan *);

#endif
