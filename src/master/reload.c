/*
 * Reload, by generations. The new configuration is read beside the one that
 * runs; whatever is wrong with it, the old one stays. When the setup process
 * has told the database of it, queues that changed get a new leader while
 * the old one drains, queues that did not are left alone, and the scheduler,
 * the monitor and the api are replaced. A HUP during a reload is remembered, once.
 */
#include "config.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "master/table.h"
#include "os/board.h"
#include "os/cgroup.h"
#include "os/listen.h"
#include "os/notify.h"

/* A setup that waits for a database that does not come gives way to a newer
 * request after this long. */
#define GIVE_WAY (5 * MONO_SECOND)

static void accept(struct master *);

static void
done(struct master *m)
{
	if (m->ready)
		notify_manager("READY=1");
	m->reload.next = NULL;
	if (m->reload.again && m->stage != STAGE_STOPPING) {
		m->reload.again = false;
		reload_begin(m);
	}
}

/* The one that was made for a reload that is not to be. */
static void
forget_listener(struct master *m)
{
	listener_free(m->reload.listener);
	m->reload.listener = NULL;
	m->reload.moves = false;
}

static void
refuse(struct master *m, const char *reason)
{
	log_error("reload refused", "reason=%s", reason);
	if (m->reload.next != NULL) {
		logs_drop(m->reload.next->conf, m->current->conf);
		generation_unref(m->reload.next);
	}
	forget_listener(m);
	done(m);
}

/* A line of the log for each complaint. */
static void
refuse_all(struct master *m, char *complaints)
{
	char *rest = complaints, *line;

	while ((line = strsep(&rest, "\n")) != NULL)
		if (line[0] != '\0')
			log_error("reload refused", "reason=%s", line);
	done(m);
}

/* The text of everything but secrets; the digests know of those. */
static char *
dump(const struct conf *conf)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	if (f == NULL)
		return xstrdup("");
	conf_dump(conf, f);
	fclose(f);
	return text;
}

static uint64_t
notices_digest(const struct conf *conf)
{
	return conf->notices != NULL ? conf->notices->digest : 0;
}

static bool
same_queues(const struct conf *a, const struct conf *b)
{
	if (a->nqueues != b->nqueues || notices_digest(a) != notices_digest(b))
		return false;
	for (size_t i = 0; i < a->nqueues; i++) {
		const struct queue_conf *other = conf_queue(b, a->queues[i].name);

		if (other == NULL || other->digest != a->queues[i].digest ||
		    other->enabled != a->queues[i].enabled)
			return false;
	}
	return true;
}

/* Of two that say the same: are the zones still what they were? */
static bool
same_zones(const struct conf *a, const struct conf *b)
{
	for (size_t i = 0; i < a->nschedules; i++)
		if (a->schedules[i].zone != b->schedules[i].zone)
			return false;
	return a->daemon.zone == b->daemon.zone;
}

static bool
nothing_changed(const struct conf *a, const struct conf *b)
{
	char *x = dump(a), *y = dump(b);
	bool same = a->shared_digest == b->shared_digest &&
	    a->files_digest == b->files_digest &&
	    same_queues(a, b) && strcmp(x, y) == 0 && same_zones(a, b);

	free(x);
	free(y);
	return same;
}

/* What gave up may try again: the reason may have been outside the file. */
static void
forgive(struct master *m)
{
	struct unit *u;

	TAILQ_FOREACH(u, &m->units, link)
		if (u->child == NULL) {
			u->refused = false;
			u->failures = 0;
			timer_stop(u->retry);
		}
	unit_reconcile(m);
}

/* The new address is bound while the old one still is: when that fails, all
 * stays. */
static int
prepare_listener(struct master *m, const struct conf *next, struct err *e)
{
	m->reload.moves = strcmp(m->current->conf->api.listen,
	    next->api.listen) != 0;
	if (!m->reload.moves || strcmp(next->api.listen, "off") == 0)
		return 0;
	m->reload.listener = master_listen(next, e);
	return m->reload.listener != NULL ? 0 : -1;
}

static void
consider(struct master *m, struct conf *next)
{
	const struct conf *old = m->current->conf;
	char *keys = conf_restart_keys(old, next), *reason;
	struct err e;

	if (logs_open(next, &e) != 0 ||
	    (strcmp(old->log.file, next->log.file) != 0 &&
	    log_check(next->log.file, &e) != 0)) {
		logs_drop(next, old);
		conf_free(next);
		refuse(m, e.msg);
	} else if (keys != NULL) {
		reason = xasprintf("these need a restart: %s", keys);
		logs_drop(next, old);
		conf_free(next);
		refuse(m, reason);
		free(reason);
	} else if (!m->drained && nothing_changed(old, next)) {
		conf_free(next);
		log_info("reload", "changed=%s", "nothing");
		forgive(m);
		done(m);
	} else if (prepare_listener(m, next, &e) != 0) {
		conf_free(next);
		refuse(m, e.msg);
	} else {
		m->reload.next = generation_new(m, next);
		m->reload.since = mono_now();
		if (m->prepared)
			master_prepare(m);
		else
			accept(m);
	}
	free(keys);
}

void
reload_begin(struct master *m)
{
	const char *path = m->current->conf->path;
	char *complaints = NULL;
	struct conf *next;

	if (m->stage == STAGE_STOPPING)
		return;
	if (m->reload.next != NULL) {
		m->reload.again = true;
		if (m->setup != NULL &&
		    mono_now() - m->reload.since > GIVE_WAY)
			child_signal(m->setup, SIGKILL);
		log_info("reload remembered", "");
		return;
	}
	notify_reloading();
	next = conf_load(path, m->options->drivers, &complaints);
	if (next == NULL) {
		refuse_all(m, complaints);
	} else if (conf_files(next, &complaints) != 0) {
		conf_free(next);
		refuse_all(m, complaints);
	} else {
		master_settle(m, next);
		consider(m, next);
	}
	free(complaints);
}

static void
count_queue(const struct queue_conf *queue)
{
	if (board_add(queue->name) != 0)
		log_warn("the queue is not counted", "queue=%s reason=%s",
		    queue->name, "there is room again after a restart");
	for (size_t i = 0; i < queue->ntypes; i++)
		if (*queue->types[i].type != '\0')
			board_expect(queue->name, queue->types[i].type);
}

/* With no workers it has no leader: those that work are elsewhere. */
static bool
has_leader(const struct queue_conf *queue)
{
	return queue->enabled && queue->workers > 0;
}

static void
use_queue(struct master *m, struct generation *gen,
    const struct queue_conf *queue)
{
	struct unit *u = unit_find(m, KIND_POOL, queue->name);

	count_queue(queue);
	if (!has_leader(queue))
		return;
	if (u == NULL) {
		u = unit_new(m, KIND_POOL, queue);
		if (m->stage != STAGE_STARTING)
			log_info("queue added", "queue=%s", queue->name);
	} else if (u->conf->digest != queue->digest) {
		unit_retire(u, gen->conf->daemon.shutdown_timeout_ms);
		log_info("queue changed", "queue=%s", queue->name);
	}	/* else its process, if there is one, is left alone */
	unit_use(u, gen, queue);
}

static void
use_solo(struct master *m, struct generation *gen, enum kind kind)
{
	struct unit *u = unit_find(m, kind, NULL);

	if (u == NULL)
		u = unit_new(m, kind, NULL);
	unit_use(u, gen, kind == KIND_MONITOR ? gen->conf->notices : NULL);
	/* The next one starts when this one has gone: there is never a
	 * second of them. One with notices to send has the time for it. */
	if (u->child != NULL)
		child_stop(u->child, u->child->queue == NULL ? 0 :
		    gen->conf->daemon.shutdown_timeout_ms, SOLO_PATIENCE);
}

/* One that is asked something answers beside its successor. */
static void
use_api(struct master *m, struct generation *gen)
{
	struct unit *u = unit_find(m, KIND_API, NULL);

	if (u != NULL)
		unit_retire(u, API_MS);
	if (u == NULL && m->listener != NULL)
		u = unit_new(m, KIND_API, NULL);
	if (m->listener != NULL)
		unit_use(u, gen, NULL);
	else if (u != NULL)
		unit_free(u);
}

static void
drop_removed(struct master *m, const struct conf *conf)
{
	struct unit *u, *next;

	TAILQ_FOREACH_SAFE(u, &m->units, link, next) {
		const struct queue_conf *queue;

		if (u->kind != KIND_POOL)
			continue;
		queue = conf_queue(conf, u->queue);
		if (queue != NULL && has_leader(queue))
			continue;
		log_info("queue removed", "queue=%s", u->queue);
		unit_retire(u, conf->daemon.shutdown_timeout_ms);
		unit_free(u);
	}
}

static void
use_log(const struct conf *old, const struct conf *next)
{
	struct err e;

	if (strcmp(old->log.file, next->log.file) == 0 &&
	    old->log.level == next->log.level &&
	    old->log.format == next->log.format)
		return;
	if (log_open(next->log.file, next->log.level, next->log.format, &e) != 0)
		log_error("the log stays where it is", "reason=%s", e.msg);
}

static void
tell_lacks(const struct conf *conf)
{
	char *lacks = sandbox_lacks(conf, cgroup_enforces());

	if (lacks != NULL)
		log_warn("sandbox is incomplete", "missing=%s", lacks);
	free(lacks);
}

static void
apply(struct master *m, struct generation *gen)
{
	const struct conf *conf = gen->conf;
	struct generation *old = m->current;

	drop_removed(m, conf);
	for (size_t i = 0; i < conf->nqueues; i++)
		if (conf->queues[i].enabled)
			use_queue(m, gen, &conf->queues[i]);
	use_solo(m, gen, KIND_SCHED);
	use_solo(m, gen, KIND_MONITOR);
	use_api(m, gen);
	m->current = generation_ref(gen);
	generation_unref(old);
	tell_lacks(gen->conf);
}

void
reload_populate(struct master *m)
{
	apply(m, m->current);
}

static void
accept(struct master *m)
{
	struct generation *gen = m->reload.next;

	use_log(m->current->conf, gen->conf);
	if (m->reload.moves) {
		listener_free(m->listener);
		m->listener = m->reload.listener;
		m->reload.listener = NULL;
		m->reload.moves = false;
	}
	logs_drop(m->current->conf, gen->conf);
	m->drained = false;
	master_show(m);
	apply(m, gen);
	log_info("reloaded", "generation=%u queues=%zu", gen->number,
	    gen->conf->nqueues);
	generation_unref(gen);
	unit_reconcile(m);
	if (!m->prepared && m->setup != NULL)
		child_signal(m->setup, SIGKILL);	/* it knows the old one */
	done(m);
}

/* The setup process of the start or of a reload has ended. */
void
reload_prepared(struct master *m, const struct child *setup)
{
	bool exited = WIFEXITED(setup->status);
	int status = exited ? WEXITSTATUS(setup->status) : 1;
	char end[32], *reason;

	if (m->stage == STAGE_STOPPING)
		return;
	if (m->reload.next != NULL) {
		if (exited && status == 0) {
			accept(m);
			return;
		}
		reason = xasprintf("the setup process ended with %s",
		    child_end(setup, end, sizeof(end)));
		refuse(m, reason);
		free(reason);
	} else if (exited && status == 0) {
		m->prepared = true;
		unit_reconcile(m);
	} else if (exited && status == 2) {
		master_give_up(m, "the database cannot be used as configured");
	} else {
		mono_t delay = unit_backoff(m, m->setup_failures++);

		log_warn("setup failed", "end=%s again_ms=%lld",
		    child_end(setup, end, sizeof(end)),
		    (long long)(delay / MONO_MS));
		timer_set(m->setup_retry, delay);
	}
}

void
reload_abandon(struct master *m)
{
	forget_listener(m);
	m->reload.again = false;
	if (m->reload.next != NULL)
		generation_unref(m->reload.next);
	m->reload.next = NULL;
}
