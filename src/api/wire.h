/*
 * What is between a connection and its client: a descriptor, as it is or with
 * TLS on it, and the watch of it. To its user both are the same.
 */
#ifndef API_WIRE_H
#define API_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "os/loop.h"
#include "os/tls.h"

struct wire;
/* What happened: of what the user waits for, by wire_wait(). */
typedef void wire_fn(struct wire *, unsigned what, void *arg);

struct wire {
	int fd;
	struct tls *tls;	/* NULL: none */
	bool begun;		/* with TLS: the first byte was seen */
	struct watch *watch;
	unsigned what;		/* the user waits for */
	bool odd;		/* TLS waits for something else before that */
	wire_fn *fn;
	void *arg;
};

/* Takes fd. tls: NULL for none. It waits for LOOP_READ. */
void wire_init(struct wire *, struct loop *, int fd, struct tls_server *tls,
    wire_fn *, void *arg);
void wire_clear(struct wire *);

void wire_wait(struct wire *, unsigned what);
/*
 * As recv() and send(); EAGAIN: fn will be called. EPROTONOSUPPORT: who should
 * speak TLS does not, and is from now on answered without.
 */
ssize_t wire_recv(struct wire *, void *, size_t);
ssize_t wire_send(struct wire *, const void *, size_t);
/* Nothing more is sent. What still comes may be thrown away by wire_discard(),
 * which returns as recv(). */
void wire_end(struct wire *);
ssize_t wire_discard(struct wire *);

#endif
