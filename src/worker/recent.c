/*
 * The newest endings of a worker: see recent.h.
 */
#include "config.h"

#include <string.h>

#include "worker/recent.h"

static size_t
text_bytes(const struct finished *end)
{
	return (end->result.message ? strlen(end->result.message) : 0) +
	    (end->result.result ? strlen(end->result.result) : 0);
}

static struct finished *
oldest(struct recent *r)
{
	return &r->ends[(r->next + RECENT_MAX - r->count) % RECENT_MAX];
}

static void
forget_oldest(struct recent *r)
{
	struct finished *end = oldest(r);

	r->bytes -= text_bytes(end);
	run_result_clear(&end->result);
	r->count--;
}

void
recent_take(struct recent *r, const struct finished *end)
{
	if (r->count == RECENT_MAX)
		forget_oldest(r);
	r->ends[r->next] = *end;
	r->next = (r->next + 1) % RECENT_MAX;
	r->bytes += text_bytes(end);
	r->count++;
	/* The newest stays, whatever its size. */
	while (r->bytes > RECENT_BYTES && r->count > 1)
		forget_oldest(r);
}

size_t
recent_list(struct recent *r, mono_t now, struct finished list[RECENT_MAX])
{
	size_t first;

	while (r->count > 0 && now - oldest(r)->at > RECENT_AGE)
		forget_oldest(r);
	first = r->next + RECENT_MAX - r->count;
	for (size_t i = 0; i < r->count; i++)
		list[i] = r->ends[(first + i) % RECENT_MAX];
	return r->count;
}

void
recent_clear(struct recent *r)
{
	while (r->count > 0)
		forget_oldest(r);
}
