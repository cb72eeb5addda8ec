/*
 * The leader's leases: its pool in the database, claiming jobs, and sleeping
 * when there are none.
 *
 * One claim is on the wire at a time and asks for what there is room for, so
 * batches grow with the load by themselves. When a claim brings nothing, the
 * database is told that we sleep, then we look again after 5, 20 and 100 ms
 * (a producer may have read the flag just before), and then wait to be told.
 * From then on producers tell us of each job, and a claim that takes all there
 * is is followed by none. When claims come back full again and again, or we are
 * told very often, we say that we are awake and look by ourselves: what notifies
 * commits one after the other, each with its own wait for the disk.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "core/msg.h"
#include "db/stmt.h"
#include "os/board.h"
#include "pool/leader.h"

#define RETRY_AFTER (MONO_SECOND)	/* a statement the server refused */
#define FULL_ENOUGH 3		/* full claims in a row: no need to be told of more */
#define RECOVER_LOOKS 4		/* beats that look for leases nobody knows */
#define AFTER_PART (MONO_MS)	/* until the next look when a claim took all */
#define WAKES_MANY 40		/* within this time: no need to be told of each */
#define WAKES_WITHIN (100 * MONO_MS)
#define BUSY_MOST 20		/* until that is over: looks in vain, less those
				 * that took several */

static const mono_t idle_looks[] = { 5 * MONO_MS, 20 * MONO_MS, 100 * MONO_MS };
#define IDLE_LOOKS (sizeof(idle_looks) / sizeof(idle_looks[0]))

struct lease_statements {
	char *open, *claim, *sleep, *wake, *reap, *close;
};

static void on_idle(void *);
static void tell_idle(struct pool *, bool idle);
static void open_pool(struct pool *);

static int
lease_key_cmp(struct lease *a, struct lease *b)
{
	if (a->job.id != b->job.id)
		return a->job.id < b->job.id ? -1 : 1;
	return a->job.attempt - b->job.attempt;
}

int
lease_deadline_cmp(struct lease *a, struct lease *b)
{
	if (a->deadline != b->deadline)
		return a->deadline < b->deadline ? -1 : 1;
	return lease_key_cmp(a, b);
}

RB_GENERATE(lease_keys, lease, by_key, lease_key_cmp)
RB_GENERATE(lease_deadlines, lease, by_deadline, lease_deadline_cmp)

/*
 * Lists
 */

void
lease_list_init(struct lease_list *list)
{
	TAILQ_INIT(&list->head);
	list->count = 0;
}

static void
leave_list(struct lease *l)
{
	if (l->in == NULL)
		return;
	TAILQ_REMOVE(&l->in->head, l, link);
	l->in->count--;
	l->in = NULL;
}

void
lease_move(struct lease *l, struct lease_list *to)
{
	leave_list(l);
	TAILQ_INSERT_TAIL(&to->head, l, link);
	to->count++;
	l->in = to;
}

void
lease_move_first(struct lease *l, struct lease_list *to)
{
	leave_list(l);
	TAILQ_INSERT_HEAD(&to->head, l, link);
	to->count++;
	l->in = to;
}

struct lease *
lease_find(struct pool *pool, int64_t id, int attempt)
{
	struct lease key;

	key.job.id = id;
	key.job.attempt = attempt;
	return RB_FIND(lease_keys, &pool->keys, &key);
}

void
lease_free(struct pool *pool, struct lease *l)
{
	leave_list(l);
	if (l->probe != NULL)
		breakers_probe_gone(l);
	RB_REMOVE(lease_keys, &pool->keys, l);
	if (l->deadline != 0)
		RB_REMOVE(lease_deadlines, &pool->deadlines, l);
	job_clear(&l->job);
	run_result_clear(&l->result);
	free(l->destination);
	free(l);
}

/*
 * Statements
 */

void
lease_init(struct pool *pool)
{
	const char *schema = pool->conf->database.schema;
	struct lease_statements *s = xcalloc(1, sizeof(*s));

	s->open = stmt_in_schema("select pool, queue_id "
	    "from jobq.pool_open($1, $2, $3)", schema);
	s->claim = stmt_in_schema("select batch, id, attempt, charged, crashes, "
	    "alone, type, data, priority, max_attempts, timeout_ms, tenant, "
	    "has_unique, late_ms, key, start_ms "
	    "from jobq.claim($1, $2, $3, $4, $5)", schema);
	s->sleep = stmt_in_schema("select jobq.sleep($1)", schema);
	s->wake = stmt_in_schema("select jobq.wake($1)", schema);
	s->reap = stmt_in_schema("select jobq.reap($1)", schema);
	s->close = stmt_in_schema("select jobq.pool_close($1)", schema);
	pool->sql = s;
	RB_INIT(&pool->keys);
	lease_list_init(&pool->ready);
	lease_list_init(&pool->alone);
	pool->idle = timer_new(pool->loop, on_idle, pool);
	pool->hungry = true;
}

void
lease_clear(struct pool *pool)
{
	struct lease_statements *s = pool->sql;
	struct lease *l;

	while ((l = RB_MIN(lease_keys, &pool->keys)) != NULL)
		lease_free(pool, l);
	timer_free(pool->idle);
	free(s->open);
	free(s->claim);
	free(s->sleep);
	free(s->wake);
	free(s->reap);
	free(s->close);
	free(s);
}

/*
 * The pool in the database
 */

void
lease_connected(struct pool *pool)
{
	pool->last_batch = 0;
	pool->not_before = 0;
	if (pool->id == 0) {
		open_pool(pool);
		return;
	}
	/* Before anything is claimed or saved again: are we still alive? */
	if (pool->unknown)
		pool->recover_looks = RECOVER_LOOKS;
	beat_send(pool);
}

void
lease_disconnected(struct pool *pool)
{
	pool->checked = false;
	pool->flagged = pool->settled = false;
	pool->busy = 0;
	pool->hungry = true;
	pool->idle_step = 0;
	breakers_unknown(pool);
}

static void
on_open(struct pg *pg, PGresult *res, void *arg)
{
	struct pool *pool = arg;

	(void)pg;
	pool->opening = false;
	if (!pg_ok(res, "pool_open") || PQntuples(res) != 1) {
		pool->not_before = mono_now() + RETRY_AFTER;
		return;
	}
	pool->id = pg_int(res, 0, 0);
	pool->queue_id = (int)pg_int(res, 0, 1);
	pool->checked = true;
	pool->beat_at = mono_now();
	pool->dirty = true;
	log_info("pool opened", "pool=%lld workers=%d", (long long)pool->id,
	    pool->size);
	msg_put_i64(&pool->body, pool->id);
	pool_send(pool, MSG_POOL, -1);
	if (!pool->ready_told) {
		pool->ready_told = true;
		pool_send(pool, MSG_READY, -1);
	}
	pool->hungry = true;
	pool_wants_turn(pool);
}

static void
open_pool(struct pool *pool)
{
	char pid[16];
	const char *params[3] = {
		pool->queue->name, pool->conf->daemon.node, pid,
	};

	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	if (pg_query(pool->pg, pool->sql->open, 3, params, on_open, pool,
	    NULL) == 0)
		pool->opening = true;
}

/*
 * Somebody thought us dead and gave our jobs away. What runs is stopped, and
 * nothing of it is written: it would be refused. A claim of ours may have
 * come in after that, so reap once more, then begin anew.
 */
void
lease_pool_lost(struct pool *pool)
{
	size_t count = 0;
	struct lease *l, *next;

	for (l = RB_MIN(lease_keys, &pool->keys); l != NULL; l = next) {
		next = RB_NEXT(lease_keys, &pool->keys, l);
		if (l->stop == STOP_LOST || l->pool != pool->id)
			continue;
		count++;
		if (l->slot != NULL)
			ladder_cancel(l, STOP_LOST);
	}
	board_lease_lost(pool->board, count);
	flush_forget(pool);
	while ((l = TAILQ_FIRST(&pool->ready.head)) != NULL)
		lease_free(pool, l);
	while ((l = TAILQ_FIRST(&pool->alone.head)) != NULL)
		lease_free(pool, l);
	while ((l = TAILQ_FIRST(&pool->paced.head)) != NULL)
		lease_free(pool, l);
	log_error("leases lost", "pool=%lld jobs=%zu reason=%s",
	    (long long)pool->id, count, "the pool was taken for dead; the jobs "
	    "run again elsewhere");
	query_number(pool, pool->sql->reap, pool->id, query_ignored, "reap");
	pool->settled = false;
	tell_idle(pool, false);
	breakers_unknown(pool);
	pool->id = 0;
	pool->checked = false;
	pool->unknown = false;
	if (!pool->draining)
		open_pool(pool);
	pool_wants_turn(pool);
}

/*
 * Claims
 */

static bool
get_job(const PGresult *res, int row, struct job *job)
{
	const char *data = pg_text(res, row, 7);

	if (data == NULL)
		return false;
	job->batch = pg_int(res, row, 0);
	job->id = pg_int(res, row, 1);
	job->attempt = (int)pg_int(res, row, 2);
	job->charged = (int)pg_int(res, row, 3);
	job->crashes = (int)pg_int(res, row, 4);
	job->alone = pg_true(res, row, 5);
	job->type = xstrdup(pg_text(res, row, 6) ? pg_text(res, row, 6) : "");
	job->data = xstrdup(data);
	job->priority = (int)pg_int(res, row, 8);
	job->max_attempts = (int)pg_int(res, row, 9);
	job->timeout_ms = (int)pg_int(res, row, 10);
	job->tenant = xstrdup(pg_text(res, row, 11));
	job->has_unique = pg_true(res, row, 12);
	job->late_ms = pg_int(res, row, 13);
	job->key = xstrdup(pg_text(res, row, 14));
	return true;
}

/* expire: it was not started in time, and now it never will be. */
static void
expire(struct pool *pool, struct lease *l)
{
	l->result.class = CLASS_TIMEOUT;
	l->result.message = xasprintf("not started within %lld ms of its time",
	    (long long)pool->queue->expire_ms);
	l->outcome = OUTCOME_DEAD;
	l->delay_ms = -1;
	l->ended = mono_now();
	if (tell_alone(pool, LOG_LEVEL_WARN, "job expired", l, NULL))
		log_warn("job expired", "id=%lld queue=%s type=%s tenant=%s "
		    "late_ms=%lld expire_ms=%lld", (long long)l->job.id,
		    pool->queue->name, l->job.type, l->job.tenant,
		    (long long)l->job.late_ms,
		    (long long)pool->queue->expire_ms);
	flush_ended(pool, l);
}

static void
take_job(struct pool *pool, const PGresult *res, int row)
{
	struct lease *l = xcalloc(1, sizeof(*l)), *known;

	run_result_init(&l->result);
	if (!get_job(res, row, &l->job)) {
		free(l);
		return;
	}
	l->pool = pool->id;
	l->worker = -1;
	pool->last_batch = l->job.batch;
	window_note_bytes(&pool->window, PQgetlength(res, row, 7));
	known = RB_INSERT(lease_keys, &pool->keys, l);
	if (known != NULL) {
		/* A crash of the server lost the claim, and it was made
		 * again: the job is with us already. */
		known->job.batch = l->job.batch;
		known->pool = pool->id;
		job_clear(&l->job);
		free(l);
		return;
	}
	if (l->job.key != NULL)
		bound_key_seen(pool);
	/* Once it has been run, it waits for what its policy says. */
	if (pool->queue->expire_ms > 0 && l->job.attempt == 1 &&
	    l->job.late_ms > pool->queue->expire_ms)
		expire(pool, l);
	else {
		if (!PQgetisnull(res, row, 15))
			bound_pace(pool, l, pg_int(res, row, 15));
		else
			lease_move(l, l->job.alone ? &pool->alone : &pool->ready);
		breakers_claimed(pool, l);
	}
}

static void
tell_idle(struct pool *pool, bool idle)
{
	if (pool->idle_told == idle)
		return;
	pool->idle_told = idle;
	msg_put_str(&pool->body, pool->queue->name);
	msg_put_u32(&pool->body, idle);
	pool_send(pool, MSG_IDLE, -1);
}

static void
tell_asleep(struct pool *pool)
{
	if (pool->flagged || pool->conf->database.pooler_transaction)
		return;
	if (query_number(pool, pool->sql->sleep, pool->queue_id, query_ignored,
	    "sleep") == 0)
		pool->flagged = true;
}

static void
tell_awake(struct pool *pool)
{
	if (!pool->flagged)
		return;
	pool->flagged = pool->settled = false;
	pool->busy = BUSY_MOST;
	tell_idle(pool, false);
	query_number(pool, pool->sql->wake, pool->queue_id, query_ignored, "wake");
}

/* The longest wait for somebody who could tell us; jittered, so that many
 * leaders do not look together. */
static mono_t
poll_wait(const struct pool *pool)
{
	mono_t poll = pool->queue->poll_ms * MONO_MS;

	if (poll < 10 * MONO_MS)
		poll = 10 * MONO_MS;
	return poll - (mono_t)arc4random_uniform((uint32_t)(poll / 10 + 1));
}

/* All there was is taken, and whoever adds to it tells us. */
static void
rest(struct pool *pool)
{
	pool->hungry = false;
	tell_idle(pool, true);
	if (!pool->looked_after)
		timer_set(pool->idle, poll_wait(pool));
}

static void
found_nothing(struct pool *pool)
{
	pool->full = 0;
	if (pool->again)
		return;
	pool->hungry = false;
	if (pool->busy > 0) {
		pool->busy--;
		timer_set(pool->idle, AFTER_PART);
		return;
	}
	if (!pool->settled) {
		if (pool->idle_step == 0)
			tell_asleep(pool);
		if (pool->idle_step < IDLE_LOOKS) {
			timer_set(pool->idle, idle_looks[pool->idle_step++]);
			return;
		}
		pool->settled = pool->flagged;
	}
	/* Somebody else was quicker, or nobody knows our pool any more. */
	if (pool->woken)
		pool->dirty = true;
	pool->woken = false;
	rest(pool);
}

static void
found_some(struct pool *pool, size_t count)
{
	pool->woken = false;
	pool->full = count >= pool->asked ? pool->full + 1 : 0;
	if (pool->settled && pool->full < FULL_ENOUGH) {
		if (pool->full == 0 && !pool->again)
			rest(pool);
		return;
	}
	pool->idle_step = 0;
	tell_idle(pool, false);
	if (pool->busy > 0 && pool->busy < BUSY_MOST && count > 1)
		pool->busy++;
	if (pool->full >= FULL_ENOUGH)
		tell_awake(pool);
	/* That was all there was. Results of short jobs will be here in a
	 * moment: they are not to wait behind a claim that finds nothing. */
	if (pool->full == 0 && !pool->again) {
		pool->hungry = false;
		timer_set(pool->idle, AFTER_PART);
	}
}

/* A limit holds the queue back: it is looked at again when that may be over,
 * and nobody needs to tell us of more. */
static void
held_back(struct pool *pool, int64_t wait_ms)
{
	pool->idle_step = 0;
	pool->woken = false;
	pool->full = 0;
	tell_idle(pool, false);
	tell_awake(pool);
	if (pool->again || wait_ms <= 0)
		return;
	pool->hungry = false;
	timer_set(pool->idle, wait_ms * MONO_MS);
}

static void
on_claim(struct pg *pg, PGresult *res, void *arg)
{
	struct pool *pool = arg;
	int count;
	bool waits;

	(void)pg;
	pool->claiming = false;
	if (res == NULL) {
		pool->unknown = true;
		return;
	}
	if (PQresultStatus(res) != PGRES_TUPLES_OK) {
		pg_claim_refused(res, pool->queue->name, &pool->claim_failures);
		pool->not_before = mono_now() + RETRY_AFTER;
		return;
	}
	pool->claim_failures = 0;
	count = PQntuples(res);
	/* A last row without a job says when there may be more. */
	waits = count > 0 && PQgetisnull(res, count - 1, 1);
	for (int row = 0; row < count - waits; row++)
		take_job(pool, res, row);
	if (waits)
		held_back(pool, pg_int(res, count - 1, 15));
	else if (count > 0)
		found_some(pool, (size_t)count);
	else
		found_nothing(pool);
	if (pool->draining)
		lease_drain(pool);
	pool_wants_turn(pool);
}

static bool
may_claim(const struct pool *pool)
{
	return pg_is_up(pool->pg) && pool->checked && !pool->claiming &&
	    !pool->draining && pool->hungry && pool->not_before <= mono_now();
}

void
lease_claim(struct pool *pool)
{
	char id[24], queue[16], count[16], held[16];
	const char *params[5] = { id, queue, count, held, NULL };
	size_t room;

	if (!may_claim(pool) || (room = dispatch_credits(pool)) == 0 ||
	    (room = breakers_room(pool, room)) == 0)
		return;
	if (room > CLAIM_MAX)
		room = CLAIM_MAX;
	room = (size_t)window_fit(&pool->window, (int)room);
	snprintf(id, sizeof(id), "%" PRId64, pool->id);
	snprintf(queue, sizeof(queue), "%d", pool->queue_id);
	snprintf(count, sizeof(count), "%zu", room);
	snprintf(held, sizeof(held), "%zu", bound_held(pool));
	params[4] = pool->frees ? bound_keys(pool) : NULL;
	pool->again = false;
	if (pg_query_often(pool->pg, pool->sql->claim, 5, params, on_claim, pool,
	    NULL) < 0)
		return;
	pool->claiming = true;
	pool->asked = room;
}

static void
on_idle(void *arg)
{
	struct pool *pool = arg;

	pool->hungry = true;
	lease_claim(pool);
}

static bool
is_told_often(struct pool *pool)
{
	mono_t now = mono_now();

	if (now - pool->wakes_since > WAKES_WITHIN) {
		pool->wakes_since = now;
		pool->wakes = 0;
	}
	return ++pool->wakes >= WAKES_MANY;
}

void
lease_wake(struct pool *pool)
{
	if (is_told_often(pool))
		tell_awake(pool);
	pool->hungry = true;
	pool->again = true;
	pool->woken = true;
	pool->idle_step = 0;
	timer_stop(pool->idle);
	pool_wants_turn(pool);
}

/* Our bit may have been cleared by another leader, which is gone. */
void
lease_not_told(struct pool *pool)
{
	pool->flagged = pool->settled = false;
}

void
lease_looked_after(struct pool *pool, bool yes)
{
	if (pool->looked_after == yes)
		return;
	pool->looked_after = yes;
	/* The looks before are its own: only after the last of them, which
	 * may be about to come, is anybody told that it is idle. */
	if (!pool->idle_told || (pool->idle_step < IDLE_LOOKS && !pool->settled))
		return;
	if (yes)
		timer_stop(pool->idle);
	else
		timer_set(pool->idle, poll_wait(pool));
}

/* The flag is shared by queues and not versioned: say it again now and then. */
void
lease_still_asleep(struct pool *pool)
{
	if (!pool->flagged)
		return;
	pool->flagged = false;
	tell_asleep(pool);
}

/* Each second. */
void
lease_tick(struct pool *pool)
{
	if (pg_is_up(pool->pg) && pool->id == 0 && !pool->opening &&
	    !pool->draining && mono_now() >= pool->not_before)
		open_pool(pool);
}

/*
 * Leaving
 */

void
lease_drain(struct pool *pool)
{
	struct lease *l;

	timer_stop(pool->idle);
	while ((l = TAILQ_FIRST(&pool->ready.head)) != NULL ||
	    (l = TAILQ_FIRST(&pool->alone.head)) != NULL ||
	    (l = TAILQ_FIRST(&pool->paced.head)) != NULL)
		flush_release(pool, l);
}

static void
on_close(struct pg *pg, PGresult *res, void *arg)
{
	struct pool *pool = arg;

	(void)pg;
	pool->closing = false;
	if (res == NULL)
		return;		/* asked again when the database is back */
	if (pg_ok(res, "pool_close"))
		log_info("pool closed", "pool=%lld", (long long)pool->id);
	pool_done(pool);
}

void
lease_close(struct pool *pool)
{
	if (pool->closing || pool->claiming)
		return;
	if (pool->id == 0) {
		pool_done(pool);
		return;
	}
	if (pool->checked && query_number(pool, pool->sql->close, pool->id, on_close,
	    pool) == 0)
		pool->closing = true;
}
