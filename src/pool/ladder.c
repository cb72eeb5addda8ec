/*
 * Deadlines of runs, and the cancel ladder: the worker is asked to end the
 * run; when it has not after the grace, the master kills the worker. One that
 * hears us while it runs kills its program itself then, and has a moment more.
 */
#include "config.h"

#include <string.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "core/msg.h"
#include "pool/leader.h"

#define HEARS_MORE (MONO_SECOND / 2)

static void on_deadline(void *);

void
ladder_init(struct pool *pool)
{
	RB_INIT(&pool->deadlines);
	pool->deadline = timer_new(pool->loop, on_deadline, pool);
}

void
ladder_clear(struct pool *pool)
{
	timer_free(pool->deadline);
}

static void
arm(struct pool *pool)
{
	struct lease *l = RB_MIN(lease_deadlines, &pool->deadlines);

	/* A timer that is too early looks once more; most runs end long
	 * before theirs, and setting it for each would cost more. */
	if (l == NULL || (pool->deadline_armed != 0 &&
	    pool->deadline_armed <= l->deadline))
		return;
	pool->deadline_armed = l->deadline;
	timer_set(pool->deadline, l->deadline - mono_now());
}

void
ladder_deadline(struct pool *pool, struct lease *l, mono_t at)
{
	if (l->deadline != 0)
		RB_REMOVE(lease_deadlines, &pool->deadlines, l);
	l->deadline = at;
	if (at != 0) {
		RB_INSERT(lease_deadlines, &pool->deadlines, l);
		arm(pool);
	}
}

int64_t
ladder_timeout_ms(const struct queue_conf *q, const struct job *job)
{
	int64_t timeout = q->timeout_ms;

	if (job->timeout_ms > 0)
		return job->timeout_ms;
	for (size_t i = 0; i < q->ntypes; i++) {
		if (strcmp(q->types[i].type, job->type) == 0)
			return q->types[i].timeout_ms > 0 ?
			    q->types[i].timeout_ms : q->timeout_ms;
		if (q->types[i].type[0] == '\0' && q->types[i].timeout_ms > 0)
			timeout = q->types[i].timeout_ms;
	}
	return timeout;
}

/*
 * The first rung. A job that has not begun gets its grace from its start on:
 * what runs before it in the same worker is not to be killed for it.
 */
void
ladder_cancel(struct lease *l, enum stop stop)
{
	struct pool *pool = l->slot->pool;
	mono_t grace = pool->queue->grace_ms * MONO_MS +
	    (l->slot->hears ? HEARS_MORE : 0);

	l->stop = stop;
	l->stopped = mono_now();
	if (l->slot->chan != NULL) {
		msg_put_i64(&pool->body, l->job.id);
		msg_put_i64(&pool->body, l->job.attempt);
		msg_put_u32(&pool->body, stop == STOP_TIMEOUT ? CLASS_TIMEOUT :
		    CLASS_NONE);
		chan_send(l->slot->chan, MSG_CANCEL, pool->body.data,
		    pool->body.len, -1);
		buf_reset(&pool->body);
	}
	if (l->started != 0)
		ladder_deadline(pool, l, l->stopped + grace);
}

static void
deadline_passed(struct pool *pool, struct lease *l)
{
	if (l->stop == STOP_NOT) {
		log_debug("job timed out", "id=%lld type=%s attempt=%d worker=%d "
		    "timeout_ms=%lld", (long long)l->job.id, l->job.type,
		    l->job.attempt, l->slot->index,
		    (long long)ladder_timeout_ms(pool->queue, &l->job));
		ladder_cancel(l, STOP_TIMEOUT);
		return;
	}
	if (l->slot->state != SLOT_KILLED)
		log_warn("worker killed", "worker=%d pid=%d id=%lld reason=%s",
		    l->slot->index, (int)l->slot->pid, (long long)l->job.id,
		    "the job did not end within its grace");
	l->slot->deliberate = true;
	slot_kill(l->slot);
	ladder_deadline(pool, l, mono_now() + KILL_AGAIN);
}

static void
on_deadline(void *arg)
{
	struct pool *pool = arg;
	mono_t now = mono_now();
	struct lease *l;

	pool->deadline_armed = 0;
	while ((l = RB_MIN(lease_deadlines, &pool->deadlines)) != NULL &&
	    l->deadline <= now)
		deadline_passed(pool, l);
	arm(pool);
}
