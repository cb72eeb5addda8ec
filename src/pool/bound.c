/*
 * What limits and concurrency keys ask of a leader. The database decides what
 * may run (25-limits.sql, 35-special.sql); it is told with each claim what we
 * have, and tells when a job may start, and when to ask again.
 */
#include "config.h"

#include <string.h>

#include "pool/leader.h"

/* Jobs that a rate has let through are to be started within a fiftieth of its
 * period, of which a quarter may pass while they wait for a worker. */
#define AHEAD_PART 200

static void on_pace(void *);

void
bound_init(struct pool *pool)
{
	const struct queue_conf *q = pool->queue;

	lease_list_init(&pool->paced);
	pool->pace = timer_new(pool->loop, on_pace, pool);
	pool->frees = *q->concurrency_key != '\0';
	pool->window.short_us = WINDOW_SHORT_US;
	pool->window.bytes = q->max_payload;
	for (size_t i = 0; i < q->nlimits; i++) {
		const struct limit_conf *l = conf_limit(pool->conf, q->limits[i]);
		int64_t most = l->rate_period_ms * 1000 / AHEAD_PART;

		pool->frees |= l->concurrency > 0;
		if (l->min_gap_ms * MONO_MS > pool->gap)
			pool->gap = l->min_gap_ms * MONO_MS;
		if (l->rate_count > 0 && most < pool->window.short_us)
			pool->window.short_us = most > 0 ? most : 1;
	}
}

void
bound_clear(struct pool *pool)
{
	timer_free(pool->pace);
	array_clear(&pool->held_keys);
}

/*
 * min_gap: what is leased starts one by one. The database spaces the leases
 * of all leaders; what comes late here does not come together for that.
 */

/* How long the first of them has to wait. */
static mono_t
pace_wait(const struct pool *pool)
{
	mono_t at = TAILQ_FIRST(&pool->paced.head)->not_before;
	mono_t now = mono_now();

	if (pool->paced_at != 0 && at < pool->paced_at + pool->gap)
		at = pool->paced_at + pool->gap;
	return at > now ? at - now : 0;
}

/* The one that the timer was for may be gone, cancelled or handed back. */
static void
on_pace(void *arg)
{
	struct pool *pool = arg;
	struct lease *l = TAILQ_FIRST(&pool->paced.head);

	if (l != NULL && pace_wait(pool) == 0) {
		lease_move(l, l->job.alone ? &pool->alone : &pool->ready);
		pool->paced_at = mono_now();
		pool_wants_turn(pool);
	}
	if (pool->paced.count > 0)
		timer_set(pool->pace, pace_wait(pool));
}

void
bound_pace(struct pool *pool, struct lease *l, int64_t start_ms)
{
	l->not_before = mono_now() + start_ms * MONO_MS;
	lease_move(l, &pool->paced);
	if (!timer_pending(pool->pace))
		timer_set(pool->pace, pace_wait(pool));
}

/*
 * What we have, for the database
 */

size_t
bound_held(const struct pool *pool)
{
	size_t held = pool->ready.count + pool->alone.count + pool->paced.count;

	for (int i = 0; i < pool->nslots; i++)
		held += slot_load(&pool->slots[i]);
	return held;
}

/* Not of what has ended and is, or will be, written by a statement before ours;
 * a job that failed keeps its key until then, since it may be tried again. */
const char *
bound_keys(struct pool *pool)
{
	struct lease *l;

	array_reset(&pool->held_keys);
	RB_FOREACH(l, lease_keys, &pool->keys)
		if (l->job.key != NULL && !flush_frees_key(pool, l))
			array_text(&pool->held_keys, l->job.key);
	return pool->held_keys.count > 0 ? array_close(&pool->held_keys) : NULL;
}

/* Jobs may bring a key to any queue. */
void
bound_key_seen(struct pool *pool)
{
	pool->frees = true;
}

void
bound_ended(struct pool *pool)
{
	if (pool->frees)
		pool->hungry = true;
}
