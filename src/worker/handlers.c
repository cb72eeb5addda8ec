/*
 * The handlers of a queue: see handlers.h.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "core/breaker.h"
#include "worker/handlers.h"

struct opened {
	struct driver_ctx ctx;
	bool open;
};

struct handlers {
	const struct conf *conf;
	const struct queue_conf *queue;
	struct loop *loop;
	const struct run_ops *ops;
	void *host;
	struct opened opened[];		/* one for each entry of types */
};

struct handlers *
handlers_new(const struct conf *conf, const struct queue_conf *queue,
    struct loop *loop, const struct run_ops *ops, void *host)
{
	struct handlers *h = xcalloc(1, sizeof(*h) +
	    queue->ntypes * sizeof(h->opened[0]));

	h->conf = conf;
	h->queue = queue;
	h->loop = loop;
	h->ops = ops;
	h->host = host;
	return h;
}

void
handlers_free(struct handlers *h)
{
	for (size_t i = 0; i < h->queue->ntypes; i++) {
		struct driver_ctx *ctx = &h->opened[i].ctx;

		if (h->opened[i].open && ctx->driver->close != NULL)
			ctx->driver->close(ctx);
	}
	free(h);
}

int
handlers_find(const struct queue_conf *q, const char *type)
{
	int any = -1;

	for (size_t i = 0; i < q->ntypes; i++) {
		if (strcmp(q->types[i].type, type) == 0)
			return (int)i;
		if (q->types[i].type[0] == '\0')
			any = (int)i;
	}
	return any;
}

struct driver_ctx *
handlers_open(struct handlers *handlers, size_t type, struct err *e)
{
	const struct queue_conf *q = handlers->queue;
	const struct handler_conf *h = q->types[type].handler;
	struct opened *o = &handlers->opened[type];

	for (size_t i = 0; i < q->ntypes; i++)
		if (q->types[i].handler == h) {
			o = &handlers->opened[i];
			break;
		}
	if (o->open)
		return &o->ctx;
	o->ctx.driver = driver_find(h->driver);
	o->ctx.handler = h;
	o->ctx.queue = q;
	o->ctx.conf = handlers->conf;
	o->ctx.database = handlers->conf->database.url;
	o->ctx.schema = handlers->conf->database.schema;
	o->ctx.loop = handlers->loop;
	o->ctx.ops = handlers->ops;
	o->ctx.host = handlers->host;
	if (o->ctx.driver == NULL) {
		err_set(e, "handler %s: this build has no driver %s", h->name,
		    h->driver);
		return NULL;
	}
	if (o->ctx.driver->open != NULL && o->ctx.driver->open(&o->ctx, e) < 0) {
		err_prepend(e, "handler %s", h->name);
		return NULL;
	}
	o->open = true;
	return &o->ctx;
}

unsigned
handlers_flags(const struct queue_conf *q)
{
	unsigned all = DRIVER_MULTIPLEX | DRIVER_ASYNC, any = 0;

	for (size_t i = 0; i < q->ntypes; i++) {
		const struct driver *d = driver_find(q->types[i].handler->driver);

		all &= d == NULL ? 0 : d->flags;
		any |= d == NULL ? 0 : d->flags;
	}
	return all | (any & DRIVER_KEEPS);
}

size_t
handlers_at_once(const struct queue_conf *q)
{
	int64_t n = handlers_flags(q) & DRIVER_MULTIPLEX ? q->concurrency : 1;

	for (size_t i = 0; i < q->ntypes; i++) {
		const struct handler_conf *h = q->types[i].handler;
		const struct driver *d = driver_find(h->driver);
		int64_t most = d != NULL && d->at_once != NULL ?
		    d->at_once(h->options) : n;

		n = most < n ? most : n;
	}
	return (size_t)n;
}

bool
handlers_destination(const struct queue_conf *q, char *name, size_t size)
{
	char other[BREAKER_NAME_MAX + 1];

	for (size_t i = 0; i < q->ntypes; i++) {
		const struct handler_conf *h = q->types[i].handler;
		const struct driver *d = driver_find(h->driver);

		if (d == NULL || d->destination == NULL || !d->destination(
		    h->options, i == 0 ? name : other, i == 0 ? size :
		    sizeof(other)))
			return false;
		if (i > 0 && strcmp(name, other) != 0)
			return false;
	}
	return q->ntypes > 0;
}
