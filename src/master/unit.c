/*
 * What should run, and the one function that starts whatever should and does
 * not. A process that fails is started again after a second, doubling to a
 * minute, from the start again once it has been well for a minute. Exit
 * status 2 means that trying again is no use with this configuration.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "master/table.h"

#define BACKOFF_DOUBLINGS 6		/* 64 s, cut to a minute */
#define HEALTHY (60 * MONO_SECOND)
#define LEAVE_PATIENCE (2 * MONO_SECOND)	/* beyond what STOP grants */

static void
on_retry(void *arg)
{
	struct unit *u = arg;

	unit_reconcile(u->master);
}

struct unit *
unit_new(struct master *m, enum kind kind, const struct queue_conf *queue)
{
	struct unit *u = xcalloc(1, sizeof(*u));

	u->master = m;
	u->kind = kind;
	u->queue = queue ? xstrdup(queue->name) : NULL;
	u->retry = timer_new(m->loop, on_retry, u);
	TAILQ_INSERT_TAIL(&m->units, u, link);
	return u;
}

/* Its process, if there is one, goes on without it. */
void
unit_free(struct unit *u)
{
	TAILQ_REMOVE(&u->master->units, u, link);
	if (u->child != NULL)
		u->child->unit = NULL;
	if (u->gen != NULL)
		generation_unref(u->gen);
	timer_free(u->retry);
	free(u->queue);
	free(u);
}

struct unit *
unit_find(struct master *m, enum kind kind, const char *queue)
{
	struct unit *u;

	TAILQ_FOREACH(u, &m->units, link)
		if (u->kind == kind && (queue == NULL ||
		    strcmp(u->queue, queue) == 0))
			return u;
	return NULL;
}

/* What the next process is made from; failures of the last are forgiven. */
void
unit_use(struct unit *u, struct generation *gen, const struct queue_conf *conf)
{
	struct generation *old = u->gen;

	u->gen = generation_ref(gen);
	u->conf = conf;
	u->refused = false;
	u->failures = 0;
	timer_stop(u->retry);
	if (old != NULL)
		generation_unref(old);
}

mono_t
unit_backoff(const struct master *m, unsigned failures)
{
	mono_t first = m->options->backoff_ms > 0 ?
	    m->options->backoff_ms * MONO_MS : MONO_SECOND;
	mono_t delay = first << (failures < BACKOFF_DOUBLINGS ? failures :
	    BACKOFF_DOUBLINGS);

	return delay < 60 * first ? delay : 60 * first;
}

static void
start(struct unit *u)
{
	struct child_plan plan = {
		.kind = u->kind, .gen = u->gen, .queue = u->conf,
	};
	struct child *c = child_start(u->master, &plan);

	if (c == NULL) {
		timer_set(u->retry, unit_backoff(u->master, u->failures++));
		return;
	}
	u->child = c;
	c->unit = u;
	if (c->queue != NULL)
		team_new(c);
	if (u->kind == KIND_MONITOR)
		team_tell_monitor(u->master, c);
	else if (u->kind == KIND_SCHED)
		team_tell_scheduler(u->master, c);
	if (u->master->looker != NULL)
		team_tell_looking(c);
}

static bool
may_run(const struct unit *u)
{
	const struct master *m = u->master;

	/* The api tells, too, that there is no database yet. */
	return (m->prepared || u->kind == KIND_API) &&
	    m->stage != STAGE_STOPPING &&
	    !(m->drained && u->kind == KIND_POOL);
}

void
unit_reconcile(struct master *m)
{
	struct unit *u;

	TAILQ_FOREACH(u, &m->units, link)
		if (u->child == NULL && !u->refused && may_run(u) &&
		    !timer_pending(u->retry))
			start(u);
}

static void
failed(struct unit *u, const struct child *c)
{
	mono_t lived = mono_now() - c->started, delay;
	char end[32];

	if (lived >= HEALTHY)
		u->failures = 0;
	delay = unit_backoff(u->master, u->failures++);
	log_error("process failed", "name=%s end=%s lived_ms=%lld again_ms=%lld",
	    c->name, child_end(c, end, sizeof(end)),
	    (long long)(lived / MONO_MS), (long long)(delay / MONO_MS));
	timer_set(u->retry, delay);
}

/* Its process has ended and is about to be freed. */
void
unit_gone(struct unit *u, struct child *c)
{
	bool exited = WIFEXITED(c->status);

	u->child = NULL;
	if (u->master->stage == STAGE_STOPPING)
		return;
	if (c->stopping || (exited && WEXITSTATUS(c->status) == 0 &&
	    mono_now() - c->started >= MONO_SECOND)) {
		log_info("process ended", "name=%s", c->name);
	} else if (exited && WEXITSTATUS(c->status) == 2) {
		u->refused = true;
		log_error("process refuses to run",
		    "name=%s end=%s until=%s", c->name, "status 2", "reload");
	} else {
		failed(u, c);
	}
	unit_reconcile(u->master);
}

void
unit_retire(struct unit *u, int64_t ms)
{
	struct child *c = u->child;

	if (c == NULL)
		return;
	u->child = NULL;
	c->unit = NULL;
	if (u->idle)
		team_idle(u, false);
	child_stop(c, ms, c->queue == NULL ? LEAVE_PATIENCE :
	    c->queue->grace_ms * MONO_MS + LEAVE_PATIENCE);
}
