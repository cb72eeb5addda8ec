/*
 * The wire: see wire.h. The watch is for what the user waits for, but while TLS
 * has to do the opposite first.
 */
#include "config.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/wire.h"

static void
on_ready(int fd, unsigned what, void *arg)
{
	struct wire *w = arg;

	(void)fd;
	w->fn(w, w->odd ? w->what : what, w->arg);
}

void
wire_init(struct wire *w, struct loop *loop, int fd, struct tls_server *tls,
    wire_fn *fn, void *arg)
{
	*w = (struct wire){ .fd = fd, .what = LOOP_READ, .fn = fn, .arg = arg };
	w->tls = tls != NULL ? tls_accept(tls, fd) : NULL;
	w->watch = watch_new(loop, fd, LOOP_READ, on_ready, w);
}

void
wire_clear(struct wire *w)
{
	watch_free(w->watch);
	tls_free(w->tls);
	close(w->fd);
}

/* What TLS has already taken from the descriptor, the watch cannot see. */
static void
wake(struct wire *w)
{
	if (w->tls != NULL && (w->what & LOOP_READ) && tls_has_more(w->tls))
		watch_wake(w->watch, LOOP_READ);
}

void
wire_wait(struct wire *w, unsigned what)
{
	w->what = what;
	w->odd = false;
	watch_set(w->watch, what);
	wake(w);
}

/* After a call that would naturally wait for that. */
static ssize_t
went(struct wire *w, ssize_t n, unsigned naturally)
{
	int saved = errno;

	if (n < 0 && errno == EAGAIN && tls_wants(w->tls) != naturally) {
		w->odd = true;
		watch_set(w->watch, tls_wants(w->tls));
	} else if (w->odd) {
		w->odd = false;
		watch_set(w->watch, w->what);
	}
	if (n > 0)
		wake(w);
	errno = saved;
	return n;
}

/* The first byte tells whether the client knows that this is for TLS. */
static bool
is_hello(struct wire *w, ssize_t *n)
{
	unsigned char first;

	*n = recv(w->fd, &first, 1, MSG_PEEK);
	if (*n <= 0)
		return false;
	w->begun = true;
	if (tls_is_hello(first))
		return true;
	tls_free(w->tls);
	w->tls = NULL;
	errno = EPROTONOSUPPORT;
	*n = -1;
	return false;
}

ssize_t
wire_recv(struct wire *w, void *data, size_t len)
{
	ssize_t n;

	if (w->tls != NULL && !w->begun && !is_hello(w, &n))
		return n;
	if (w->tls == NULL)
		return recv(w->fd, data, len, 0);
	return went(w, tls_recv(w->tls, data, len), LOOP_READ);
}

ssize_t
wire_send(struct wire *w, const void *data, size_t len)
{
	if (w->tls == NULL)
		return send(w->fd, data, len, MSG_NOSIGNAL);
	return went(w, tls_send(w->tls, data, len), LOOP_WRITE);
}

void
wire_end(struct wire *w)
{
	if (w->tls != NULL)
		tls_end(w->tls);
	shutdown(w->fd, SHUT_WR);
}

ssize_t
wire_discard(struct wire *w)
{
	char data[4096];

	return recv(w->fd, data, sizeof(data), 0);
}
