/*
 * GET /v1/events: what happens, as it happens, as server-sent events. While
 * anybody listens, this process looks once a second what is new (92-events),
 * on a connection of its own; all clients read from one ring in memory. When
 * nobody has listened for a while, the connection and the ring are gone.
 */
#ifndef API_EVENTS_H
#define API_EVENTS_H

#include <stddef.h>

#include "api/server.h"
#include "conf/conf.h"
#include "os/loop.h"

struct events;

/* conf is borrowed. streams_max: clients at a time. */
struct events *events_new(struct loop *, const struct conf *, size_t streams_max);
/* After the server: nobody listens any more. */
void events_free(struct events *);

/* Answer the exchange, whose route has the parameters of a filter. */
void events_stream(struct events *, struct exchange *);

#endif
