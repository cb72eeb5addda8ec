/*
 * The circuit breakers of the leader's queue, where it has them: counting how
 * attempts end, telling the database what follows and hearing what others
 * found (65-breaker.sql), and seeing to it that nothing is run meanwhile.
 *
 * Where all jobs of the queue go to one place, or the drivers name none, there
 * is one breaker, the gate: while it is not closed no job is claimed but the
 * probe, and what was claimed goes back. Else each destination has one, and
 * only the worker learns where a job goes. It is told which destinations are
 * shut, and gives such a job back; the database decides whether that one waits,
 * is the probe, or may run since the breaker is closed by now.
 *
 * Of destinations only so many are remembered, those used last.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/utf8.h"
#include "base/xalloc.h"
#include "core/breaker.h"
#include "db/stmt.h"
#include "pool/leader.h"

#define TARGETS_MAX 1000
#define AHEAD_OF 50			/* times `of`, of short runs, with a worker */
#define ERROR_MAX 500			/* bytes of an error kept with a breaker */

/* A destination; "" is the queue's jobs that name none. */
struct target {
	struct breaker breaker;
	struct pool *pool;
	char *name;
	enum breaker_change news;	/* to be told to the database … */
	enum breaker_change telling;	/* … and on the wire */
	char *error;			/* of the attempt that made the news */
	bool seen;			/* in the answer that is being read */
	unsigned probes;		/* leases that point here */
	RB_ENTRY(target) by_name;
	TAILQ_ENTRY(target) by_use;
};
RB_HEAD(targets, target);
TAILQ_HEAD(target_queue, target);

struct breakers {
	char *set, *look;		/* SQL */
	struct targets all;
	struct target_queue by_use;	/* the last used last */
	size_t count;
	struct target *gate;		/* NULL: no worker has said yet */
	bool known;			/* what the database has, on this connection */
	bool stale;			/* somebody may have changed it */
	bool looking;
	bool any_news;
	bool reshut;			/* the workers are to be told */
	struct timer *wake;		/* when the first of them may be probed */
};

static void on_wake(void *);

static int
target_cmp(struct target *a, struct target *b)
{
	return strcmp(a->name, b->name);
}

RB_PROTOTYPE(targets, target, by_name, target_cmp)
RB_GENERATE(targets, target, by_name, target_cmp)

void
breakers_init(struct pool *pool)
{
	const char *schema = pool->conf->database.schema;
	struct breakers *all;

	if (!pool->queue->breaker)
		return;
	all = xcalloc(1, sizeof(*all));
	all->set = stmt_in_schema("select jobq.breaker_set"
	    "($1, $2, $3, $4, $5, $6, $7, $8, $9)", schema);
	all->look = stmt_in_schema("select destination, half_open, wait_ms, ours "
	    "from jobq.breaker_look($1, $2)", schema);
	RB_INIT(&all->all);
	TAILQ_INIT(&all->by_use);
	all->wake = timer_new(pool->loop, on_wake, pool);
	pool->breakers = all;
}

static void
target_free(struct breakers *all, struct target *t)
{
	RB_REMOVE(targets, &all->all, t);
	TAILQ_REMOVE(&all->by_use, t, by_use);
	all->count--;
	breaker_clear(&t->breaker);
	free(t->name);
	free(t->error);
	free(t);
}

void
breakers_clear(struct pool *pool)
{
	struct breakers *all = pool->breakers;
	struct target *t;

	if (all == NULL)
		return;
	while ((t = TAILQ_FIRST(&all->by_use)) != NULL)
		target_free(all, t);
	timer_free(all->wake);
	free(all->set);
	free(all->look);
	free(all);
	pool->breakers = NULL;
}

/* Nothing would be lost with it but a few counts. */
static bool
can_be_forgotten(const struct breakers *all, const struct target *t)
{
	return t != all->gate && t->breaker.state == BREAKER_CLOSED &&
	    t->probes == 0 && t->news == BREAKER_SAME && t->telling == BREAKER_SAME;
}

static struct target *
target_get(struct pool *pool, const char *name)
{
	struct breakers *all = pool->breakers;
	struct target key = { .name = (char *)name }, *t;

	t = RB_FIND(targets, &all->all, &key);
	if (t != NULL) {
		TAILQ_REMOVE(&all->by_use, t, by_use);
		TAILQ_INSERT_TAIL(&all->by_use, t, by_use);
		return t;
	}
	if (all->count >= TARGETS_MAX) {
		TAILQ_FOREACH(t, &all->by_use, by_use)
			if (can_be_forgotten(all, t)) {
				target_free(all, t);
				break;
			}
	}
	t = xcalloc(1, sizeof(*t));
	t->pool = pool;
	t->name = xstrdup(name);
	breaker_init(&t->breaker, pool->queue->breaker_failures,
	    pool->queue->breaker_of);
	RB_INSERT(targets, &all->all, t);
	TAILQ_INSERT_TAIL(&all->by_use, t, by_use);
	all->count++;
	return t;
}

static bool
is_shut(const struct target *t)
{
	return t != NULL && t->breaker.state != BREAKER_CLOSED;
}

/*
 * The workers
 */

/* The destinations that are shut; false: none is. */
static bool
put_shut(struct pool *pool)
{
	struct breakers *all = pool->breakers;
	struct target *t;
	uint32_t n = 0;

	RB_FOREACH(t, targets, &all->all)
		n += t != all->gate && is_shut(t);
	msg_put_u32(&pool->body, n);
	RB_FOREACH(t, targets, &all->all)
		if (t != all->gate && is_shut(t))
			msg_put_str(&pool->body, t->name);
	return n > 0;
}

static void
send_shut(struct pool *pool)
{
	put_shut(pool);
	for (int i = 0; i < pool->nslots; i++)
		if (pool->slots[i].chan != NULL)
			chan_send(pool->slots[i].chan, MSG_SHUT, pool->body.data,
			    pool->body.len, -1);
	buf_reset(&pool->body);
}

void
breakers_hello(struct slot *s, const char *destination)
{
	struct pool *pool = s->pool;
	struct breakers *all = pool->breakers;

	if (all == NULL)
		return;
	if (all->gate == NULL)
		all->gate = target_get(pool, destination ? destination : "");
	if (put_shut(pool))
		chan_send(s->chan, MSG_SHUT, pool->body.data, pool->body.len, -1);
	buf_reset(&pool->body);
}

/* What begins from now on is not to run, or is. */
static void
shut_or_open(struct target *t)
{
	struct pool *pool = t->pool;

	if (t != pool->breakers->gate) {
		pool->breakers->reshut = true;
	} else if (is_shut(t) && !t->breaker.ours) {
		for (int i = 0; i < pool->nslots; i++)
			dispatch_recall(&pool->slots[i]);
	} else {
		lease_wake(pool);
	}
	pool_wants_turn(pool);
}

/*
 * The database
 */

/* To the first moment when one that is open may be tried. */
static void
arm(struct pool *pool)
{
	struct breakers *all = pool->breakers;
	mono_t now = mono_now(), first = INT64_MAX;
	struct target *t;

	RB_FOREACH(t, targets, &all->all)
		if (is_shut(t) && t->breaker.until > now &&
		    t->breaker.until < first)
			first = t->breaker.until;
	if (first != INT64_MAX)
		timer_set(all->wake, first - now);
}

static void
on_wake(void *arg)
{
	struct pool *pool = arg;

	breakers_stale(pool);
	arm(pool);
}

static void
set_news(struct target *t, enum breaker_change news, const char *error)
{
	t->news = news;
	t->pool->breakers->any_news = true;
	free(t->error);
	t->error = error ? xstrndup(error, ERROR_MAX) : NULL;
	if (t->error != NULL)
		utf8_clean(t->error, strlen(t->error));
	arm(t->pool);
	pool_wants_turn(t->pool);
}

static void
on_told(struct pg *pg, PGresult *res, void *arg)
{
	struct target *t = arg;
	struct breakers *all = t->pool->breakers;
	enum breaker_change told = t->telling;

	(void)pg;
	t->telling = BREAKER_SAME;
	if (res == NULL || (PQresultStatus(res) == PGRES_FATAL_ERROR &&
	    pg_is_passing(res))) {
		all->any_news = true;	/* again, by the next tick at the latest */
		return;
	}
	pg_ok(res, "breaker_set");
	if (t->news == told)
		t->news = BREAKER_SAME;
	pool_wants_turn(t->pool);
}

static void
tell(struct target *t)
{
	static const char *const changes[] = {
		[BREAKER_OPENS] = "opens", [BREAKER_CLOSES] = "closes",
		[BREAKER_REOPENS] = "reopens", [BREAKER_PASSES] = "passes",
		[BREAKER_ASKS] = "asks",
	};
	struct pool *pool = t->pool;
	char id[24], queue[16], failures[24], of[24], open_ms[24];
	const char *params[9] = { id, queue, t->name, changes[t->news],
		t == pool->breakers->gate ? "t" : "f", failures, of, open_ms,
		t->error };

	snprintf(id, sizeof(id), "%" PRId64, pool->id);
	snprintf(queue, sizeof(queue), "%d", pool->queue_id);
	snprintf(failures, sizeof(failures), "%zu", t->breaker.failed);
	snprintf(of, sizeof(of), "%zu", t->breaker.of);
	snprintf(open_ms, sizeof(open_ms), "%" PRId64,
	    pool->queue->breaker_open_ms);
	if (pg_query(pool->pg, pool->breakers->set, 9, params, on_told, t,
	    NULL) == 0) {
		t->telling = t->news;
		pool->breakers->stale = true;
	}
}

/* What we are about to say of it is newer. */
static void
heard(struct target *t, enum breaker_state state, mono_t until, bool ours)
{
	if (t->news != BREAKER_SAME || t->telling != BREAKER_SAME)
		return;
	if (breaker_told(&t->breaker, state, until, ours)) {
		log_debug("breaker heard of", "queue=%s destination=%s state=%s "
		    "ours=%d", t->pool->queue->name, t->name,
		    breaker_state_name(state), ours);
		shut_or_open(t);
	}
	/* Granted by an answer that was lost: the next job will do. */
	if (ours && !t->breaker.probing && t != t->pool->breakers->gate)
		set_news(t, BREAKER_PASSES, NULL);
}

static void
on_look(struct pg *pg, PGresult *res, void *arg)
{
	struct pool *pool = arg;
	struct breakers *all = pool->breakers;
	mono_t now = mono_now();
	struct target *t;

	(void)pg;
	all->looking = false;
	if (!pg_ok(res, "breaker_look"))
		return;
	for (int row = 0; row < PQntuples(res); row++) {
		bool half = pg_true(res, row, 1);

		t = target_get(pool, pg_text(res, row, 0));
		t->seen = true;
		heard(t, half ? BREAKER_HALF_OPEN : BREAKER_OPEN,
		    now + pg_int(res, row, 2) * MONO_MS, pg_true(res, row, 3));
	}
	RB_FOREACH(t, targets, &all->all) {
		if (!t->seen)
			heard(t, BREAKER_CLOSED, 0, false);
		t->seen = false;
	}
	all->known = true;
	arm(pool);
	pool_wants_turn(pool);
}

static void
look(struct pool *pool)
{
	char id[24], queue[16];
	const char *params[2] = { id, queue };

	snprintf(id, sizeof(id), "%" PRId64, pool->id);
	snprintf(queue, sizeof(queue), "%d", pool->queue_id);
	if (pg_query(pool->pg, pool->breakers->look, 2, params, on_look, pool,
	    NULL) < 0)
		return;
	pool->breakers->looking = true;
	pool->breakers->stale = false;
}

/* News first, so that the look finds them. */
void
breakers_run(struct pool *pool)
{
	struct breakers *all = pool->breakers;
	struct target *t;

	if (all == NULL)
		return;
	if (all->reshut)
		send_shut(pool);
	all->reshut = false;
	if (!pg_is_up(pool->pg) || !pool->checked || pool->id == 0)
		return;
	if (all->any_news) {
		all->any_news = false;
		RB_FOREACH(t, targets, &all->all) {
			if (t->news == BREAKER_SAME)
				continue;
			if (t->telling == BREAKER_SAME)
				tell(t);
			else
				all->any_news = true;
		}
	}
	if ((!all->known || all->stale) && !all->looking)
		look(pool);
}

void
breakers_stale(struct pool *pool)
{
	if (pool->breakers == NULL)
		return;
	pool->breakers->stale = true;
	pool_wants_turn(pool);
}

void
breakers_unknown(struct pool *pool)
{
	if (pool->breakers != NULL)
		pool->breakers->known = false;
}

bool
breakers_any_shut(const struct pool *pool)
{
	struct target *t;

	if (pool->breakers == NULL)
		return false;
	RB_FOREACH(t, targets, &pool->breakers->all)
		if (is_shut(t) || t->news != BREAKER_SAME)
			return true;
	return false;
}

/* Each second: a notification may not have come. */
void
breakers_tick(struct pool *pool)
{
	if (breakers_any_shut(pool))
		breakers_stale(pool);
}

/*
 * Ends of attempts
 */

static void
log_change(const struct target *t, enum breaker_change change,
    const char *error)
{
	const struct breaker *b = &t->breaker;
	const char *queue = t->pool->queue->name;
	long long open_ms = t->pool->queue->breaker_open_ms;

	if (change == BREAKER_OPENS)
		log_warn("breaker opened", "queue=%s destination=%s share=%.2f "
		    "failures=%zu of=%zu open_ms=%lld error=%s", queue, t->name,
		    (double)b->failed / (double)b->of, b->failed, b->of, open_ms,
		    error);
	else if (change == BREAKER_REOPENS)
		log_warn("breaker stays open", "queue=%s destination=%s "
		    "open_ms=%lld error=%s", queue, t->name, open_ms, error);
	else if (change == BREAKER_CLOSES)
		log_info("breaker closed", "queue=%s destination=%s", queue,
		    t->name);
}

static void
set_probe(struct lease *l, struct target *t)
{
	breaker_probe(&t->breaker);
	t->probes++;
	l->probe = t;
}

static void
target_ended(struct target *t, struct lease *l, enum breaker_sign sign)
{
	const char *error = l->result.message ? l->result.message : "";
	enum breaker_change change = breaker_ended(&t->breaker, sign,
	    l->probe == t, mono_now(), t->pool->queue->breaker_open_ms);

	if (l->probe == t) {
		t->probes--;
		l->probe = NULL;
	}
	if (change == BREAKER_SAME)
		return;
	log_change(t, change, error);
	set_news(t, change, change == BREAKER_OPENS ||
	    change == BREAKER_REOPENS ? error : NULL);
	if (change != BREAKER_PASSES)
		shut_or_open(t);
}

void
breakers_ended(struct pool *pool, struct lease *l)
{
	struct breakers *all = pool->breakers;
	struct target *t = l->probe;

	if (all == NULL)
		return;
	if (t == NULL && l->destination != NULL)
		t = target_get(pool, l->destination);
	if (t == NULL)
		t = all->gate;
	if (t != NULL)
		target_ended(t, l, breaker_sign(l->result.class,
		    l->destination != NULL));
}

void
breakers_probe_gone(struct lease *l)
{
	target_ended(l->probe, l, BREAKER_SILENT);
}

/*
 * What may run
 */

size_t
breakers_room(struct pool *pool, size_t room)
{
	struct breakers *all = pool->breakers;
	mono_t now = mono_now();
	struct target *gate;

	if (all == NULL)
		return room;
	if (!all->known || (gate = all->gate) == NULL)
		return 0;
	switch (breaker_leave(&gate->breaker, now)) {
	case BREAKER_RUN:
		return room;
	case BREAKER_PROBE:
		return 1;
	case BREAKER_ASK:
		breaker_asked(&gate->breaker, now);
		set_news(gate, BREAKER_ASKS, NULL);
		return 0;
	default:
		return 0;
	}
}

/* Behind runs that fail nothing is to wait, and behind others not much more than
 * would open the breaker. Where jobs name destinations, a worker looks at each. */
size_t
breakers_ahead(const struct pool *pool, size_t ahead)
{
	const struct breakers *all = pool->breakers;
	const struct breaker *b;

	if (all == NULL || all->gate == NULL || all->count > 1)
		return ahead;
	b = &all->gate->breaker;
	if (b->last_failed || b->state != BREAKER_CLOSED)
		return 0;
	return ahead < AHEAD_OF * b->of ? ahead : AHEAD_OF * b->of;
}

void
breakers_claimed(struct pool *pool, struct lease *l)
{
	struct target *gate;

	if (pool->breakers == NULL || (gate = pool->breakers->gate) == NULL ||
	    breaker_leave(&gate->breaker, mono_now()) != BREAKER_PROBE)
		return;
	set_probe(l, gate);
}

static void
hand_back(struct pool *pool, struct lease_list *list)
{
	struct lease *l, *next;

	for (l = TAILQ_FIRST(&list->head); l != NULL; l = next) {
		next = TAILQ_NEXT(l, link);
		if (l->probe != pool->breakers->gate)
			flush_release(pool, l);
	}
}

void
breakers_hold(struct pool *pool)
{
	if (pool->breakers == NULL || !is_shut(pool->breakers->gate))
		return;
	hand_back(pool, &pool->ready);
	hand_back(pool, &pool->alone);
	hand_back(pool, &pool->paced);
}

/*
 * Jobs that a worker did not run for where they go
 */

void
breakers_deferred(struct pool *pool, struct lease *l)
{
	if (pool->breakers == NULL || l->stop != STOP_NOT || pool->draining ||
	    !is_shut(target_get(pool, l->destination))) {
		verdict_unsend(pool, l);
		return;
	}
	verdict_leave_slot(pool, l);
	l->worker = -1;
	log_debug("job deferred", "id=%lld attempt=%d destination=%s",
	    (long long)l->job.id, l->job.attempt, l->destination);
	flush_defer(pool, l);
}

void
breakers_spared(struct pool *pool, struct lease *l, bool probe)
{
	struct target *t = target_get(pool, l->destination);

	if (probe) {
		if (breaker_told(&t->breaker, BREAKER_HALF_OPEN, 0, true))
			shut_or_open(t);
		set_probe(l, t);
		l->job.probe = true;
	} else {
		heard(t, BREAKER_CLOSED, 0, false);
	}
	verdict_unsend(pool, l);
}
