/*
 * The newest endings of a worker, which a leader that dies may not have
 * saved. The leader never says that it has: a guarded statement that comes
 * twice does no harm, so the newest ones are simply given again. Bounded in
 * number, size and age. Pure.
 */
#ifndef WORKER_RECENT_H
#define WORKER_RECENT_H

#include <stddef.h>

#include "base/mono.h"
#include "worker/direct.h"

#define RECENT_MAX 512			/* endings */
#define RECENT_BYTES (4u << 20)		/* of their texts */
#define RECENT_AGE (600 * MONO_SECOND)

struct recent {
	struct finished ends[RECENT_MAX];	/* a ring */
	size_t next, count, bytes;
};

/* Takes the ending's result; the oldest make room. */
void recent_take(struct recent *, const struct finished *);
/* Those that are not too old, in the order of their ends, borrowed. Returns
 * how many. */
size_t recent_list(struct recent *, mono_t now, struct finished list[RECENT_MAX]);
void recent_clear(struct recent *);

#endif
