/*
 * libcurl's sockets on the loop: see sockets.h.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/xalloc.h"
#include "driver/http/sockets.h"

struct socket_watch {
	struct watch *watch;		/* NULL: not asked for yet */
	bool made;			/* its end will be told */
	bool idle;			/* nobody asks for it now */
};

void
sockets_init(struct sockets *s, struct loop *loop, watch_fn *fn, void *arg)
{
	*s = (struct sockets){ .loop = loop, .fn = fn, .arg = arg };
}

void
sockets_clear(struct sockets *s)
{
	for (size_t i = 0; i < s->n; i++)
		watch_free(s->v[i].watch);
	free(s->v);
	s->v = NULL;
	s->n = 0;
}

static struct socket_watch *
at(struct sockets *s, int fd)
{
	size_t n = s->n > 0 ? s->n : 16;

	while (n <= (size_t)fd)
		n *= 2;
	if (n > s->n) {
		s->v = xreallocarray(s->v, n, sizeof(*s->v));
		memset(s->v + s->n, 0, (n - s->n) * sizeof(*s->v));
		s->n = n;
	}
	return &s->v[fd];
}

static void
on_event(int fd, unsigned what, void *arg)
{
	struct sockets *s = arg;
	struct socket_watch *w = at(s, fd);

	/* Closed by the other side: libcurl will see when it wants it again. */
	if (w->idle)
		watch_set(w->watch, 0);
	else
		s->fn(fd, what, s->arg);
}

void
sockets_made(struct sockets *s, int fd)
{
	at(s, fd)->made = true;
}

void
sockets_want(struct sockets *s, int fd, unsigned what)
{
	struct socket_watch *w = at(s, fd);

	w->idle = false;
	if (w->watch == NULL)
		w->watch = watch_new(s->loop, fd, what, on_event, s);
	else
		watch_set(w->watch, what);
}

static void
drop(struct socket_watch *w)
{
	watch_free(w->watch);
	*w = (struct socket_watch){ .watch = NULL };
}

void
sockets_forget(struct sockets *s, int fd)
{
	struct socket_watch *w = at(s, fd);

	/* The resolver's, for one, is closed without a word. */
	if (w->made)
		w->idle = true;
	else
		drop(w);
}

int
sockets_close(struct sockets *s, int fd)
{
	drop(at(s, fd));
	return close(fd);
}
