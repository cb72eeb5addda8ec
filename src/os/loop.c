/*
 * The event loop on libevent: see loop.h. Time is never taken from libevent's
 * cache, so that a timer set at the end of a long callback runs from then.
 */
#include "config.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "os/loop.h"

struct catcher {
	struct event *event;
	signal_fn *fn;
	void *arg;
	struct catcher *next;
};

struct loop {
	struct event_base *base;
	struct catcher *catchers;
};

struct watch {
	struct event_base *base;
	struct event *event;
	int fd;
	unsigned what;
	watch_fn *fn;
	void *arg;
};

struct timer {
	struct event *event;
	timer_fn *fn;
	void *arg;
};

struct loop *
loop_new(void)
{
	struct event_config *config = event_config_new();
	struct loop *loop = xcalloc(1, sizeof(*loop));

	if (config == NULL)
		fatal("no memory", "for=%s", "the event loop");
	event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK |
	    EVENT_BASE_FLAG_IGNORE_ENV | EVENT_BASE_FLAG_NO_CACHE_TIME);
	loop->base = event_base_new_with_config(config);
	event_config_free(config);
	if (loop->base == NULL)
		fatal("cannot make an event loop", "");
	return loop;
}

void
loop_free(struct loop *loop)
{
	struct catcher *next;

	if (loop == NULL)
		return;
	for (struct catcher *c = loop->catchers; c != NULL; c = next) {
		next = c->next;
		event_free(c->event);
		free(c);
	}
	event_base_free(loop->base);
	free(loop);
}

/*
 * The epoll set and the signal pipe are kernel objects shared with the
 * parent: deleting an event from them here would delete it there. So they are
 * replaced first, and only then taken down.
 */
void
loop_forked(struct loop *loop)
{
	if (loop == NULL)
		return;
	if (event_reinit(loop->base) != 0)
		fatal("cannot leave the parent's event loop", "");
	loop_free(loop);
}

void
loop_run(struct loop *loop)
{
	if (event_base_loop(loop->base, EVLOOP_NO_EXIT_ON_EMPTY) < 0)
		fatal("the event loop failed", "");
}

void
loop_stop(struct loop *loop)
{
	event_base_loopbreak(loop->base);
}

static short
to_events(unsigned what)
{
	return (short)(EV_PERSIST | (what & LOOP_READ ? EV_READ : 0) |
	    (what & LOOP_WRITE ? EV_WRITE : 0));
}

static void
watch_fired(evutil_socket_t fd, short events, void *arg)
{
	struct watch *w = arg;
	unsigned what = (events & EV_READ ? LOOP_READ : 0) |
	    (events & EV_WRITE ? LOOP_WRITE : 0);

	w->fn((int)fd, what, w->arg);
}

struct watch *
watch_new(struct loop *loop, int fd, unsigned what, watch_fn *fn, void *arg)
{
	struct watch *w = xcalloc(1, sizeof(*w));

	w->base = loop->base;
	w->fd = fd;
	w->fn = fn;
	w->arg = arg;
	w->event = event_new(w->base, fd, to_events(0), watch_fired, w);
	if (w->event == NULL)
		fatal("no memory", "for=%s", "a watched descriptor");
	watch_set(w, what);
	return w;
}

void
watch_set(struct watch *w, unsigned what)
{
	if (w->what == what)
		return;
	event_del(w->event);
	w->what = what;
	if (what == 0)
		return;
	event_assign(w->event, w->base, w->fd, to_events(what), watch_fired, w);
	if (event_add(w->event, NULL) != 0)
		fatal("cannot watch a descriptor", "fd=%d", w->fd);
}

void
watch_wake(struct watch *w, unsigned what)
{
	event_active(w->event, to_events(what) & (EV_READ | EV_WRITE), 0);
}

void
watch_free(struct watch *w)
{
	if (w == NULL)
		return;
	event_free(w->event);
	free(w);
}

static void
timer_fired(evutil_socket_t fd, short events, void *arg)
{
	struct timer *t = arg;

	(void)fd;
	(void)events;
	t->fn(t->arg);
}

struct timer *
timer_new(struct loop *loop, timer_fn *fn, void *arg)
{
	struct timer *t = xcalloc(1, sizeof(*t));

	t->fn = fn;
	t->arg = arg;
	t->event = evtimer_new(loop->base, timer_fired, t);
	if (t->event == NULL)
		fatal("no memory", "for=%s", "a timer");
	return t;
}

void
timer_set(struct timer *t, mono_t after)
{
	struct timeval tv;

	if (after < 0)
		after = 0;
	tv.tv_sec = (time_t)(after / MONO_SECOND);
	tv.tv_usec = (suseconds_t)(after % MONO_SECOND);
	if (evtimer_add(t->event, &tv) != 0)
		fatal("cannot set a timer", "");
}

void
timer_stop(struct timer *t)
{
	evtimer_del(t->event);
}

bool
timer_pending(const struct timer *t)
{
	return evtimer_pending(t->event, NULL);
}

void
timer_free(struct timer *t)
{
	if (t == NULL)
		return;
	event_free(t->event);
	free(t);
}

static void
signal_fired(evutil_socket_t signo, short events, void *arg)
{
	struct catcher *c = arg;

	(void)events;
	c->fn((int)signo, c->arg);
}

void
loop_signal(struct loop *loop, int signo, signal_fn *fn, void *arg)
{
	struct catcher *c = xcalloc(1, sizeof(*c));

	c->fn = fn;
	c->arg = arg;
	c->event = evsignal_new(loop->base, signo, signal_fired, c);
	if (c->event == NULL || evsignal_add(c->event, NULL) != 0)
		fatal("cannot catch a signal", "signal=%d", signo);
	c->next = loop->catchers;
	loop->catchers = c;
}

const char *
loop_library(void)
{
	static char text[64];

	snprintf(text, sizeof(text), "libevent %s", event_get_version());
	return text;
}
