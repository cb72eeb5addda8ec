/*
 * The beat: telling the database that we live and what our workers do, and
 * hearing what it says of our jobs.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "db/array.h"
#include "db/stmt.h"
#include "pool/leader.h"

#define DIRTY_BEAT (MONO_SECOND)	/* a changed state is told so soon */
#define IDLE_BEAT (300 * MONO_SECOND)	/* while the scheduler renews the pool */

struct beat_statements {
	char *beat, *cancels, *leases, *release;
};

static void look_unknown(struct pool *);

void
beat_init(struct pool *pool)
{
	const char *schema = pool->conf->database.schema;
	struct beat_statements *s = xcalloc(1, sizeof(*s));

	s->beat = stmt_in_schema("select alive, cancel_job, cancel_attempt, "
	    "paused from jobq.beat($1, $2, $3, $4, $5, $6, $7, $8)", schema);
	s->cancels = stmt_in_schema("select job, attempt from jobq.cancels($1)",
	    schema);
	s->leases = stmt_in_schema("select job, attempt from jobq.lease "
	    "where pool = $1", schema);
	s->release = stmt_in_schema(BATCH_RELEASE, schema);
	pool->beat_sql = s;
}

void
beat_clear(struct pool *pool)
{
	struct beat_statements *s = pool->beat_sql;

	free(s->beat);
	free(s->cancels);
	free(s->leases);
	free(s->release);
	free(s);
}

/*
 * Cancels that somebody asked for
 */

static void
cancel_lease(struct pool *pool, int64_t id, int attempt)
{
	struct lease *l = lease_find(pool, id, attempt);

	if (l == NULL)
		return;
	if (l->in == &pool->ready || l->in == &pool->alone ||
	    l->in == &pool->paced) {
		l->ended = mono_now();
		verdict_cancelled(pool, l);
	} else if (l->slot != NULL && l->stop == STOP_NOT) {
		if (tell_alone(pool, LOG_LEVEL_INFO, "job is being cancelled",
		    l, NULL))
			log_info("job is being cancelled", "id=%lld type=%s "
			    "tenant=%s attempt=%d", (long long)id, l->job.type,
			    l->job.tenant, attempt);
		ladder_cancel(l, STOP_ASKED);
	}
}

static void
on_cancels(struct pg *pg, PGresult *res, void *arg)
{
	struct pool *pool = arg;

	(void)pg;
	if (!pg_ok(res, "cancels"))
		return;
	for (int row = 0; row < PQntuples(res); row++)
		cancel_lease(pool, pg_int(res, row, 0),
		    (int)pg_int(res, row, 1));
	pool_wants_turn(pool);
}

void
beat_cancels(struct pool *pool)
{
	if (pool->id != 0)
		query_number(pool, pool->beat_sql->cancels, pool->id, on_cancels,
		    pool);
}

/*
 * The beat
 */

/* The oldest claim that may have a job without an end; 0 while it is not
 * certain, since a server that crashed gives batch numbers again. */
static int64_t
oldest_batch(struct pool *pool)
{
	int64_t oldest = pool->last_batch + 1;
	struct lease *l;

	if (pool->last_batch == 0 || pool->unknown)
		return 0;
	RB_FOREACH(l, lease_keys, &pool->keys)
		if (l->pool == pool->id && l->job.batch < oldest)
			oldest = l->job.batch;
	return oldest;
}

static void
note_paused(struct pool *pool, bool paused)
{
	if (paused && !pool->paused)
		log_info("queue is paused", "queue=%s running=%d",
		    pool->queue->name, slot_running(pool));
	else if (!paused && pool->paused)
		log_info("queue goes on", "queue=%s", pool->queue->name);
	pool->paused = paused;
}

static void
on_beat(struct pg *pg, PGresult *res, void *arg)
{
	struct pool *pool = arg;

	(void)pg;
	pool->beating = false;
	if (!pg_ok(res, "beat") || pool->id == 0)
		return;
	if (PQntuples(res) < 1 || !pg_true(res, 0, 0)) {
		lease_pool_lost(pool);
		return;
	}
	note_paused(pool, pg_true(res, 0, 3));
	breakers_stale(pool);
	for (int row = 0; row < PQntuples(res); row++)
		if (pg_text(res, row, 1) != NULL)
			cancel_lease(pool, pg_int(res, row, 1),
			    (int)pg_int(res, row, 2));
	if (pool->recover_looks > 0) {
		pool->recover_looks--;
		look_unknown(pool);
	}
	if (!pool->checked) {
		pool->checked = true;
		log_info("database is back", "pool=%lld unsaved=%zu",
		    (long long)pool->id, flush_unsaved(pool));
	}
	pool_wants_turn(pool);
}

/* One column of each worker that there is. */
struct beat_columns {
	struct array slots, pids, states, jobs, done, rss;
};

static void
put_slots(const struct pool *pool, struct beat_columns *c)
{
	for (int i = 0; i < pool->nslots; i++) {
		const struct slot *s = &pool->slots[i];
		const struct lease *l = TAILQ_FIRST(&s->running.head);

		if (s->state == SLOT_EMPTY || s->state == SLOT_ASKED)
			continue;
		array_int(&c->slots, s->index);
		array_int(&c->pids, s->pid);
		array_text(&c->states, slot_state_name(s));
		if (l != NULL)
			array_int(&c->jobs, l->job.id);
		else
			array_null(&c->jobs);
		array_int(&c->done, s->jobs_done);
		array_int(&c->rss, s->rss_kb);
	}
}

void
beat_send(struct pool *pool)
{
	struct beat_columns c = { .slots = { .count = 0 } };
	char id[24], oldest[24];
	const char *params[8] = { id, oldest };

	snprintf(id, sizeof(id), "%" PRId64, pool->id);
	snprintf(oldest, sizeof(oldest), "%" PRId64, oldest_batch(pool));
	put_slots(pool, &c);
	params[2] = array_close(&c.slots);
	params[3] = array_close(&c.pids);
	params[4] = array_close(&c.states);
	params[5] = array_close(&c.jobs);
	params[6] = array_close(&c.done);
	params[7] = array_close(&c.rss);
	if (pg_query_often(pool->pg, pool->beat_sql->beat, 8, params, on_beat,
	    pool, NULL) == 0) {
		pool->beating = true;
		pool->dirty = false;
		pool->beat_at = mono_now();
	}
	array_clear(&c.slots);
	array_clear(&c.pids);
	array_clear(&c.states);
	array_clear(&c.jobs);
	array_clear(&c.done);
	array_clear(&c.rss);
}

/* While we sleep and have nothing on lease, the scheduler renews the pool
 * together with those of the other queues. Should it have come too late, we
 * are woken for a job that we do not get, and beat. */
static bool
is_kept(const struct pool *pool)
{
	return pool->looked_after && pool->idle_told && RB_EMPTY(&pool->keys);
}

static mono_t
interval(const struct pool *pool)
{
	return is_kept(pool) ? IDLE_BEAT : pool->queue->lease_ms * MONO_MS / 3;
}

bool
beat_rests(const struct pool *pool)
{
	if (!is_kept(pool) || !pg_is_up(pool->pg) || !pool->checked ||
	    pool->id == 0 || pool->dirty || pool->beating || pool->turning ||
	    pool->draining || pool->recover_looks > 0 ||
	    breakers_any_shut(pool))
		return false;
	/* What a server refused is tried again by a tick. */
	if (pool->hungry || pool->claiming || flush_unsaved(pool) > 0 ||
	    !notes_empty(pool))
		return false;
	for (int i = 0; i < pool->nslots; i++)
		if (pool->slots[i].state != SLOT_READY &&
		    pool->slots[i].state != SLOT_EMPTY)
			return false;
	return true;
}

/* Each second, less often while the pool rests. */
void
beat_soon(struct pool *pool)
{
	pool->dirty = true;
	pool_wants_turn(pool);
}

void
beat_tick(struct pool *pool)
{
	mono_t since = mono_now() - pool->beat_at;
	bool due = since >= interval(pool);

	if (!pg_is_up(pool->pg) || pool->closing || pool->id == 0 ||
	    pool->beating)
		return;
	if (due)
		lease_still_asleep(pool);
	if (due || pool->recover_looks > 0 || !pool->checked ||
	    (pool->dirty && since >= DIRTY_BEAT))
		beat_send(pool);
}

/*
 * Leases nobody knows: a claim was made, its answer was lost with the
 * connection. They were not run: hand them back as they are.
 */
static void
on_unknown(struct pg *pg, PGresult *res, void *arg)
{
	struct pool *pool = arg;
	struct array jobs = { .count = 0 }, attempts = { .count = 0 };
	char id[24];
	const char *params[3] = { id };

	(void)pg;
	if (!pg_ok(res, "leases after a lost answer"))
		return;
	for (int row = 0; row < PQntuples(res); row++) {
		int64_t job = pg_int(res, row, 0);
		int attempt = (int)pg_int(res, row, 1);

		if (lease_find(pool, job, attempt) != NULL)
			continue;
		array_int(&jobs, job);
		array_int(&attempts, attempt);
	}
	if (jobs.count > 0) {
		log_warn("leases without an answer handed back", "jobs=%zu",
		    jobs.count);
		snprintf(id, sizeof(id), "%" PRId64, pool->id);
		params[1] = array_close(&jobs);
		params[2] = array_close(&attempts);
		pg_query(pool->pg, pool->beat_sql->release, 3, params, query_ignored,
		    "release", NULL);
	}
	if (pool->recover_looks == 0)
		pool->unknown = false;
	array_clear(&jobs);
	array_clear(&attempts);
}

static void
look_unknown(struct pool *pool)
{
	query_number(pool, pool->beat_sql->leases, pool->id, on_unknown, pool);
}
