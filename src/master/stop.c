/*
 * Coming to an end. Graceful: leaders stop leasing and have shutdown_timeout
 * for what runs, then their cancel ladder, then they hand back; whoever is
 * left a second after the longest grace is killed. The monitor and the api go
 * when the queues have gone, a database of our own last of all. Never longer
 * than shutdown_timeout, the longest grace and two seconds together.
 */
#include "config.h"

#include <signal.h>

#include "base/log.h"
#include "master/table.h"
#include "os/notify.h"

#define HAND_BACK MONO_SECOND		/* after the ladder: release, close */
#define LAST_WORDS (500 * MONO_MS)	/* the least that the monitor gets for notices */
#define POSTGRES_FAST (600 * MONO_MS)	/* past that, its immediate shutdown */
#define POSTGRES_QUIT (300 * MONO_MS)
#define DRAIN_MS (30 * INT64_C(86400000))	/* without a limit, nearly */

static size_t
count(const struct master *m, enum kind kind)
{
	const struct child *c;
	size_t n = 0;

	TAILQ_FOREACH(c, &m->children, link)
		n += c->kind == kind;
	return n;
}

/* Whoever has to do with jobs, or is about to start those. */
static bool
queues_left(const struct master *m)
{
	const struct child *c;

	TAILQ_FOREACH(c, &m->children, link)
		if (c->kind == KIND_SETUP || c->kind == KIND_POOL ||
		    (c->kind == KIND_WORKER && !child_is_monitor(c)))
			return true;
	return false;
}

static void
stop_kind(struct master *m, enum kind kind, int64_t ms, mono_t patience)
{
	struct child *c;

	TAILQ_FOREACH(c, &m->children, link)
		if (c->kind == kind)
			child_stop(c, ms, patience);
}

static void
signal_all(struct master *m, int signo, int signo_postgres)
{
	struct child *c;

	TAILQ_FOREACH(c, &m->children, link) {
		c->stopping = true;
		if (c->kind != KIND_POSTGRES)
			child_signal(c, signo);
		else if (signo_postgres != 0)
			child_signal(c, signo_postgres);
	}
}

/* Of every queue that has a process, by whatever configuration. */
static int64_t
longest_grace(const struct master *m)
{
	const struct child *c;
	int64_t longest = 0;

	TAILQ_FOREACH(c, &m->children, link)
		if (c->queue != NULL && !child_is_monitor(c) &&
		    c->queue->grace_ms > longest)
			longest = c->queue->grace_ms;
	return longest;
}

static void
no_more_starts(struct master *m)
{
	struct unit *u;

	m->stage = STAGE_STOPPING;
	master_show(m);
	reload_abandon(m);
	timer_stop(m->setup_retry);
	TAILQ_FOREACH(u, &m->units, link)
		timer_stop(u->retry);
	if (m->setup != NULL)
		child_signal(m->setup, SIGKILL);
}

/* Workers without a leader are told by nobody else. */
static void
late_orphans(struct master *m)
{
	struct child *c;

	TAILQ_FOREACH(c, &m->children, link)
		if (c->kind == KIND_WORKER && c->team->leader == NULL)
			child_signal(c, SIGTERM);
}

static void
late_all(struct master *m)
{
	struct child *c;

	TAILQ_FOREACH(c, &m->children, link)
		if (c->kind != KIND_POSTGRES)
			log_warn("process killed",
			    "name=%s pid=%d reason=%s", c->name, (int)c->pid,
			    "the shutdown took too long");
	signal_all(m, SIGKILL, SIGINT);
	timer_set(m->stop_postgres, POSTGRES_FAST);
}

static void
late_postgres(struct master *m)
{
	struct child *c;

	TAILQ_FOREACH(c, &m->children, link)
		if (c->kind == KIND_POSTGRES) {
			log_warn("postgres takes too long", "");
			child_signal(c, SIGQUIT);
			child_kill_after(c, POSTGRES_QUIT);
		}
}

void
stop_late(struct master *m, enum stop_late what)
{
	if (what == STOP_ORPHANS)
		late_orphans(m);
	else if (what == STOP_ALL)
		late_all(m);
	else
		late_postgres(m);
}

void
stop_begin(struct master *m)
{
	int64_t ms = m->current->conf->daemon.shutdown_timeout_ms;
	mono_t hard = (ms + longest_grace(m)) * MONO_MS + HAND_BACK;

	if (m->stage == STAGE_STOPPING)
		return;
	notify_manager("STOPPING=1\nSTATUS=stopping");
	log_info("stopping", "timeout_ms=%lld", (long long)ms);
	no_more_starts(m);
	stop_kind(m, KIND_POOL, ms, hard - ms * MONO_MS);
	stop_kind(m, KIND_SCHED, 0, SOLO_PATIENCE);
	m->stop_at = mono_now() + ms * MONO_MS;
	timer_set(m->stop_soft, ms * MONO_MS);
	timer_set(m->stop_hard, hard);
	stop_step(m);
}

void
stop_now(struct master *m)
{
	notify_manager("STOPPING=1\nSTATUS=stopping at once");
	log_info("stopping at once", "");
	no_more_starts(m);
	timer_stop(m->stop_soft);
	timer_stop(m->stop_hard);
	signal_all(m, SIGKILL, SIGQUIT);
	timer_set(m->stop_postgres, POSTGRES_FAST);
	stop_step(m);
}

/* After each end of a process: what is next? */
void
stop_step(struct master *m)
{
	mono_t left = m->stop_at - mono_now();
	struct child *c;

	if (m->stage != STAGE_STOPPING)
		return;
	if (TAILQ_EMPTY(&m->children)) {
		loop_stop(m->loop);
		return;
	}
	if (queues_left(m))
		return;
	TAILQ_FOREACH(c, &m->children, link)
		if (c->kind == KIND_API && !c->stopping)
			child_stop(c, API_LAST_MS,
			    SOLO_PATIENCE - API_LAST_MS * MONO_MS);
		else if (c->kind == KIND_MONITOR && !c->stopping)
			child_stop(c, c->queue == NULL ? 0 :
			    (left > LAST_WORDS ? left : LAST_WORDS) / MONO_MS,
			    SOLO_PATIENCE);
	if (count(m, KIND_MONITOR) + count(m, KIND_API) + count(m, KIND_SCHED) > 0)
		return;
	TAILQ_FOREACH(c, &m->children, link)
		if (c->kind == KIND_POSTGRES && !c->stopping) {
			c->stopping = true;
			embedded_stop(m->embedded, SIGINT);
		}
}

/* Let every queue run dry and start none, but stay; a reload ends it. */
void
stop_drain(struct master *m)
{
	struct unit *u;

	if (m->drained || m->stage == STAGE_STOPPING)
		return;
	log_info("draining", "until=%s", "reload");
	notify_manager("STATUS=draining");
	m->drained = true;
	TAILQ_FOREACH(u, &m->units, link)
		if (u->kind == KIND_POOL)
			unit_retire(u, DRAIN_MS);
	master_step(m);
}
