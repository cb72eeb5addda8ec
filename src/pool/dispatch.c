/*
 * Which worker gets which job, and how many may be leased. Jobs are sent
 * ahead while runs are short, and asked back when one turns out long.
 */
#include "config.h"

#include "core/msg.h"
#include "pool/leader.h"

#define RECALL_AFTER (100 * MONO_MS)	/* without progress of the worker */
#define BACKLOG_MAX (8u << 20)	/* bytes a worker has not read */

static void on_recall(void *);

void
dispatch_init(struct pool *pool)
{
	pool->recall = timer_new(pool->loop, on_recall, pool);
}

void
dispatch_clear(struct pool *pool)
{
	timer_free(pool->recall);
}

/* A lone job has its worker for itself. */
static bool
has_lone_job(const struct slot *s)
{
	const struct lease *l = TAILQ_FIRST(&s->running.head);

	if (l == NULL)
		l = TAILQ_FIRST(&s->sent.head);
	return l != NULL && l->job.alone;
}

static size_t
ahead(const struct slot *s)
{
	return breakers_ahead(s->pool, (size_t)window_ahead(&s->pool->window,
	    s->at_once));
}

/* How many more it may be given. */
static size_t
room(const struct slot *s)
{
	const struct pool *pool = s->pool;
	const struct lease *first = TAILQ_FIRST(&s->running.head);
	size_t window = (size_t)s->at_once, has = slot_load(s);

	if (s->state != SLOT_READY || s == pool->reserved || has_lone_job(s) ||
	    s->chan == NULL || chan_backlog(s->chan) > BACKLOG_MAX)
		return 0;
	/* Nothing goes in behind a run that is longer than expected, nor where
	 * it could not be asked back. */
	if (s->hears && (first == NULL ||
	    mono_now() - first->started < WINDOW_SHORT_US))
		window += ahead(s);
	return has < window ? window - has : 0;
}

size_t
dispatch_credits(const struct pool *pool)
{
	size_t credits = 0, leased = pool->ready.count + pool->alone.count +
	    pool->paced.count;

	if (flush_unsaved(pool) >= UNSAVED_MAX)
		return 0;
	for (int i = 0; i < pool->nslots; i++) {
		size_t more = room(&pool->slots[i]);

		credits += more;
		/* While runs are short, have the next ones here in time. */
		if (more > 0)
			credits += ahead(&pool->slots[i]);
	}
	return credits > leased ? credits - leased : 0;
}

static void
send_job(struct slot *s, struct lease *l)
{
	struct pool *pool = s->pool;

	if (slot_load(s) == 0)
		s->waiting_since = mono_now();
	lease_move(l, &s->sent);
	l->slot = s;
	l->started = 0;
	l->recalled = false;
	msg_put_job(&pool->body, &l->job, l->pool);
	chan_cork(s->chan, true);
	chan_send(s->chan, MSG_JOB, pool->body.data, pool->body.len, -1);
	buf_reset(&pool->body);
	pool->dirty = true;
}

/* The worker with the least to do that may have more. */
static struct slot *
least_loaded(struct pool *pool)
{
	struct slot *best = NULL;

	for (int i = 0; i < pool->nslots; i++) {
		struct slot *s = &pool->slots[i];

		if (room(s) > 0 && (best == NULL || slot_load(s) < slot_load(best)))
			best = s;
		if (best != NULL && slot_load(best) == 0)
			break;
	}
	return best;
}

/* Has jobs that were sent ahead and nothing of it asked back yet. */
static bool
waits_behind(const struct slot *s)
{
	const struct lease *last = TAILQ_LAST(&s->sent.head, lease_queue);

	return last != NULL && !last->recalled && s->running.count > 0;
}

/*
 * A job that is to run alone waits for an empty worker. When there is none,
 * the one that will be empty first gets no more until then.
 */
static void
dispatch_alone(struct pool *pool)
{
	struct lease *l;

	if (pool->alone.count == 0)
		pool->reserved = NULL;	/* it was cancelled meanwhile */
	while ((l = TAILQ_FIRST(&pool->alone.head)) != NULL) {
		struct slot *s = pool->reserved;

		pool->reserved = NULL;
		if (s == NULL)
			s = least_loaded(pool);
		if (s == NULL)
			return;
		if (s->state != SLOT_READY)
			continue;
		if (slot_load(s) > 0) {
			pool->reserved = s;
			return;
		}
		send_job(s, l);
	}
}

/* One for each of the least loaded, then again: all begin before any waits. */
static void
dispatch_ready(struct pool *pool)
{
	struct slot *best;

	while (pool->ready.count > 0 && (best = least_loaded(pool)) != NULL) {
		size_t level = slot_load(best);

		for (int i = best->index; i < pool->nslots; i++) {
			struct slot *s = &pool->slots[i];

			if (pool->ready.count == 0)
				return;
			if (slot_load(s) == level && room(s) > 0)
				send_job(s, TAILQ_FIRST(&pool->ready.head));
		}
	}
}

void
dispatch_run(struct pool *pool)
{
	if (pool->draining || flush_unsaved(pool) >= UNSAVED_MAX)
		return;
	breakers_hold(pool);
	dispatch_alone(pool);
	dispatch_ready(pool);
	for (int i = 0; i < pool->nslots; i++) {
		struct slot *s = &pool->slots[i];

		if (s->chan != NULL)
			chan_cork(s->chan, false);
		if (waits_behind(s) && !timer_pending(pool->recall))
			timer_set(pool->recall, RECALL_AFTER);
	}
}

/*
 * What was sent ahead and waits behind a run that turns out long
 */

void
dispatch_recall(struct slot *s)
{
	struct pool *pool = s->pool;
	struct lease *l;

	/* From the last: each comes back to the head of the list. */
	TAILQ_FOREACH_REVERSE(l, &s->sent.head, lease_queue, link) {
		if (l->recalled || s->chan == NULL)
			continue;
		l->recalled = true;
		msg_put_i64(&pool->body, l->job.id);
		msg_put_i64(&pool->body, l->job.attempt);
		chan_send(s->chan, MSG_RECALL, pool->body.data, pool->body.len,
		    -1);
		buf_reset(&pool->body);
	}
}

static void
on_recall(void *arg)
{
	struct pool *pool = arg;
	mono_t now = mono_now();

	for (int i = 0; i < pool->nslots; i++) {
		struct slot *s = &pool->slots[i];

		if (!waits_behind(s))
			continue;
		if (now - s->waiting_since >= RECALL_AFTER)
			dispatch_recall(s);
		else
			timer_set(pool->recall, RECALL_AFTER);
	}
}
