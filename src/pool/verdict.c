/*
 * What the end of a run means, by a result or by the death of its worker:
 * completed, again, dead, cancelled, lost, handed back.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "core/msg.h"
#include "core/outcome.h"
#include "pool/leader.h"

static void lease_dropped(struct pool *, struct lease *);

/* Out of the worker's hands, into nobody's: the caller moves it on. If it ran,
 * that is over now, unless the worker says since when. */
void
verdict_leave_slot(struct pool *pool, struct lease *l)
{
	l->ended = mono_now();
	ladder_deadline(pool, l, 0);
	l->worker = l->slot->index;
	l->slot = NULL;
}

/* Whether the run had ended before it was asked to, whatever came first. */
static bool
ended_by_itself(const struct lease *l)
{
	return l->result.class == CLASS_NONE && (l->started == 0 ||
	    l->result.settled || l->ended <= l->stopped);
}

static void
set_message(struct lease *l, char *message)
{
	free(l->result.message);
	l->result.message = message;
}

static struct decision
decide(struct pool *pool, struct lease *l)
{
	double unit = l->result.class == CLASS_NONE ? 0 :
	    (double)arc4random() / 4294967296.0;

	return outcome_decide(conf_policy(pool->queue, l->job.id), &l->job,
	    &l->result, unit);
}

static void
end_as(struct pool *pool, struct lease *l, const struct decision *d)
{
	l->outcome = d->outcome;
	l->delay_ms = d->outcome == OUTCOME_FAILED ||
	    d->outcome == OUTCOME_LOST ? d->delay_ms : -1;
	tell_ended(pool, l, d);
	flush_ended(pool, l);
}

void
verdict_cancelled(struct pool *pool, struct lease *l)
{
	end_as(pool, l, &(struct decision){ .outcome = OUTCOME_CANCELLED });
}

/*
 * A run has ended, by a result or by the death of its worker: what it means.
 * l->result, l->ended and l->run_us say how and when; the lease has left its slot.
 */
void
verdict_run_ended(struct pool *pool, struct lease *l)
{
	struct decision d;

	if (l->stop == STOP_LOST) {
		lease_dropped(pool, l);
		return;
	}
	if (l->stop != STOP_NOT && ended_by_itself(l))
		l->stop = STOP_NOT;
	switch (l->stop) {
	case STOP_SHUTDOWN:
		flush_release(pool, l);
		return;
	case STOP_ASKED:
		l->result.class = CLASS_NONE;
		verdict_cancelled(pool, l);
		return;
	case STOP_TIMEOUT:
		l->result.class = CLASS_TIMEOUT;
		set_message(l, xasprintf("not done within %lld ms",
		    (long long)ladder_timeout_ms(pool->queue, &l->job)));
		break;
	default:
		break;
	}
	breakers_ended(pool, l);
	l->makes_alone = l->result.alone;
	d = decide(pool, l);
	end_as(pool, l, &d);
}

/* Its lease is not ours any more. */
static void
lease_dropped(struct pool *pool, struct lease *l)
{
	log_debug("lost job has ended", "id=%lld attempt=%d",
	    (long long)l->job.id, l->job.attempt);
	lease_free(pool, l);
}

/* "killed by signal 9 (Killed)" */
static char *
how_it_died(const struct slot *s)
{
	if (WIFSIGNALED(s->status))
		return xasprintf("its worker process died: signal %d (%s)",
		    WTERMSIG(s->status), strsignal(WTERMSIG(s->status)));
	return xasprintf("its worker process ended: exit status %d",
	    WEXITSTATUS(s->status));
}

static void
blame(struct pool *pool, struct slot *s, struct lease *l)
{
	l->result.class = CLASS_CRASH;
	set_message(l, how_it_died(s));
	if (WIFSIGNALED(s->status))
		l->result.signal = WTERMSIG(s->status);
	else
		l->result.exit_status = WEXITSTATUS(s->status);
	l->result.cpu_ms = s->cpu_ms;
	l->result.max_rss_kb = s->max_rss_kb;
	verdict_run_ended(pool, l);
}

/* Lost with its worker through no fault that could be shown: runs again at
 * once, uncharged. */
static void
lose(struct pool *pool, struct lease *l, const char *why, bool alone)
{
	l->result.class = CLASS_LOST;
	set_message(l, xstrdup(why));
	l->makes_alone = alone;
	end_as(pool, l, &(struct decision){ .outcome = OUTCOME_LOST,
	    .reason = "not charged" });
}

/* One that was running in a worker that died. */
static void
judge(struct pool *pool, struct slot *s, struct lease *l, bool single)
{
	verdict_leave_slot(pool, l);
	l->run_us = l->ended - l->started;
	if (l->stop != STOP_NOT) {
		if (l->result.message == NULL)
			set_message(l, xstrdup("stopped with its worker"));
		l->result.class = CLASS_ERROR;	/* not by itself */
		if (WIFSIGNALED(s->status))
			l->result.signal = WTERMSIG(s->status);
		verdict_run_ended(pool, l);
	} else if (s->deliberate) {
		lose(pool, l, "its worker was killed because of another job",
		    false);
	} else if (single) {
		blame(pool, s, l);
	} else {
		lose(pool, l, "its worker died while it ran other jobs, too",
		    true);
	}
}

/* One that was sent and has not begun: as if it had not been sent. */
void
verdict_unsend(struct pool *pool, struct lease *l)
{
	if (l->slot != NULL)
		verdict_leave_slot(pool, l);
	l->worker = -1;
	if (l->stop == STOP_LOST) {
		lease_dropped(pool, l);
	} else if (l->stop == STOP_ASKED) {
		l->ended = mono_now();
		verdict_cancelled(pool, l);
	} else if (pool->draining) {
		flush_release(pool, l);
	} else {
		l->stop = STOP_NOT;
		lease_move_first(l, l->job.alone ? &pool->alone : &pool->ready);
	}
}

/* One that, as far as we know, had not begun in a worker that died. It may
 * well be the reason that workers die before they can say so. */
static void
take_back(struct pool *pool, struct slot *s, struct lease *l)
{
	verdict_leave_slot(pool, l);
	if (l->stop == STOP_NOT && ++l->returns >= RETURNS_MAX)
		blame(pool, s, l);
	else
		verdict_unsend(pool, l);
}

void
verdict_worker_died(struct slot *s)
{
	struct pool *pool = s->pool;
	bool single = s->running.count == 1;
	struct lease *l;

	while ((l = TAILQ_FIRST(&s->running.head)) != NULL)
		judge(pool, s, l, single);
	/* From the last, so that they stay in order at the head of the list. */
	while ((l = TAILQ_LAST(&s->sent.head, lease_queue)) != NULL)
		take_back(pool, s, l);
}
