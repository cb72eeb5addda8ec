/*
 * Ends of attempts on their way to the database, and jobs on their way back.
 *
 * Group completion without a timer: results wait only while a statement of
 * their kind is on the wire, then all of them go in the next. What the
 * database returns it has not accepted: that is no longer ours.
 *
 * Nothing is given up. Without a database the ends wait. Those of jobs that an
 * open transaction is ending, too, are set aside, and the others go on. A
 * statement that the server refuses for what is in it is sent again in halves,
 * down to the one end that it cannot take; that one loses its result, then its
 * text.
 */
#include "config.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/utf8.h"
#include "base/xalloc.h"
#include "db/stmt.h"
#include "os/board.h"
#include "pool/leader.h"

#define FAILURE_WAIT (100 * MONO_MS)	/* doubled for each in a row */
#define FAILURE_WAIT_MAX (10 * MONO_SECOND)
#define LOCKED_WAIT MONO_SECOND		/* until it is asked again whether they are */

static void flush_one(struct flush *);
static void count_end(const struct flush *, const struct lease *);

static const char *const statements[FLUSH_KINDS] = {
	[FLUSH_PLAIN] = BATCH_FINISH_OK,
	[FLUSH_FULL] = BATCH_FINISH,
	[FLUSH_RELEASE] = BATCH_RELEASE,
	[FLUSH_DEFER] = BATCH_DEFER,
	[FLUSH_REFUSED] = BATCH_LOST,
	[FLUSH_LOCKED] = BATCH_LOCKED,
};

void
flush_init(struct pool *pool)
{
	for (int i = 0; i < FLUSH_KINDS; i++) {
		struct flush *f = &pool->flushes[i];

		f->pool = pool;
		f->kind = (enum flush_kind)i;
		f->sql = stmt_in_schema(statements[i],
		    pool->conf->database.schema);
		f->limit = SAVE_MAX;
		lease_list_init(&f->waiting);
		lease_list_init(&f->saving);
	}
}

void
flush_clear(struct pool *pool)
{
	for (int i = 0; i < FLUSH_KINDS; i++) {
		batch_clear(&pool->flushes[i].batch);
		free(pool->flushes[i].sql);
	}
}

size_t
flush_unsaved(const struct pool *pool)
{
	size_t n = 0;

	for (int i = 0; i < FLUSH_KINDS; i++)
		n += pool->flushes[i].waiting.count +
		    pool->flushes[i].saving.count;
	return n;
}

bool
flush_frees_key(const struct pool *pool, const struct lease *l)
{
	if (l->in == &pool->flushes[FLUSH_PLAIN].waiting)
		return true;
	for (int i = 0; i < FLUSH_KINDS; i++)
		if (i != FLUSH_LOCKED && l->in == &pool->flushes[i].saving)
			return true;
	return false;
}

static struct ending
ending_of(const struct lease *l, mono_t now)
{
	const struct run_result *r = &l->result;

	return (struct ending){
		.job = l->job.id, .attempt = l->job.attempt,
		.outcome = l->outcome, .class = r->class,
		.error = r->message, .result = r->result,
		.delay_ms = l->delay_ms, .run_us = l->run_us,
		.ago_us = now - l->ended, .worker = l->worker,
		.exit_status = r->exit_status, .signal = r->signal,
		.cpu_ms = r->cpu_ms, .max_rss_kb = r->max_rss_kb,
		.alone = l->makes_alone, .has_unique = l->job.has_unique,
	};
}

/* To those that wait for its statement. */
static void
queue_end(struct pool *pool, struct lease *l)
{
	struct ending e = ending_of(l, l->ended);

	lease_move(l, &pool->flushes[ending_is_plain(&e) ? FLUSH_PLAIN :
	    FLUSH_FULL].waiting);
}

void
flush_ended(struct pool *pool, struct lease *l)
{
	if (l->result.settled) {
		count_end(&pool->flushes[FLUSH_PLAIN], l);
		lease_free(pool, l);
		bound_ended(pool);
		pool_wants_turn(pool);
		return;
	}
	if (l->result.message != NULL)
		utf8_clean(l->result.message, strlen(l->result.message));
	queue_end(pool, l);
	bound_ended(pool);
	pool->dirty = true;
	pool_wants_turn(pool);
}

void
flush_release(struct pool *pool, struct lease *l)
{
	lease_move(l, &pool->flushes[FLUSH_RELEASE].waiting);
	pool_wants_turn(pool);
}

void
flush_defer(struct pool *pool, struct lease *l)
{
	lease_move(l, &pool->flushes[FLUSH_DEFER].waiting);
	pool_wants_turn(pool);
}

/* Those on the wire are judged by the answer that is still to come. */
void
flush_forget(struct pool *pool)
{
	struct lease *l;

	for (int i = 0; i < FLUSH_KINDS; i++)
		while ((l = TAILQ_FIRST(&pool->flushes[i].waiting.head)) != NULL)
			lease_free(pool, l);
}

/*
 * Answers
 */

/* All of saving goes back to the front, in its order. */
static void
keep_all(struct flush *f, bool unsure)
{
	struct lease *l;

	while ((l = TAILQ_LAST(&f->saving.head, lease_queue)) != NULL) {
		l->unsure |= unsure;
		lease_move_first(l, &f->waiting);
	}
}

static void
wait_a_while(struct flush *f)
{
	mono_t wait = FAILURE_WAIT;

	for (unsigned i = 0; i < f->failures && wait < FAILURE_WAIT_MAX; i++)
		wait *= 2;
	f->failures++;
	f->not_before = mono_now() +
	    (wait < FAILURE_WAIT_MAX ? wait : FAILURE_WAIT_MAX);
}

/* Make the only one of a refused statement easier to take. */
static void
strip(struct lease *l, const char *reason)
{
	log_warn("result cannot be stored", "id=%lld attempt=%d reason=%s",
	    (long long)l->job.id, l->job.attempt, reason);
	if (l->refused++ == 0 && l->result.result != NULL) {
		free(l->result.result);
		l->result.result = NULL;
		if (l->result.message == NULL)
			l->result.message = xasprintf(
			    "the result could not be stored: %.500s", reason);
		return;
	}
	free(l->result.message);
	l->result.message = xstrdup("the error could not be stored");
}

/* Some of these are being ended elsewhere: ask which. */
static void
set_aside(struct flush *f)
{
	struct flush *locked = &f->pool->flushes[FLUSH_LOCKED];
	struct lease *l;

	while ((l = TAILQ_FIRST(&f->saving.head)) != NULL)
		lease_move(l, &locked->waiting);
	locked->not_before = 0;
}

static void
refused(struct flush *f, const PGresult *res)
{
	struct err e;

	if (pg_is_locked(res) && (f->kind == FLUSH_PLAIN || f->kind == FLUSH_FULL)) {
		set_aside(f);
		return;
	}
	pg_error(res, &e);
	if (pg_is_passing(res) || f->kind == FLUSH_LOCKED) {
		log_warn("saving failed", "jobs=%zu reason=%s", f->saving.count,
		    e.msg);
		wait_a_while(f);
	} else if (f->saving.count > 1) {
		log_warn("saving is tried in smaller parts", "jobs=%zu reason=%s",
		    f->saving.count, e.msg);
		f->limit = (f->saving.count + 1) / 2;
	} else {
		struct lease *l = TAILQ_FIRST(&f->saving.head);

		if (l->refused > 1)
			wait_a_while(f);
		strip(l, e.msg);
	}
	keep_all(f, false);
}

/* The database has it: it counts. */
static void
count_end(const struct flush *f, const struct lease *l)
{
	struct board_queue *board = f->pool->board;

	if (f->kind == FLUSH_RELEASE || f->kind == FLUSH_DEFER)
		return;
	board_finished(board, l->job.type, l->outcome - OUTCOME_COMPLETED);
	if (l->worker >= 0 && l->outcome <= OUTCOME_DEAD)
		board_ran(board, l->run_us);
}

static void
end_lost(struct flush *f, struct lease *l)
{
	f->pool->lost++;
	board_lease_lost(f->pool->board, 1);
	if (tell_alone(f->pool, LOG_LEVEL_WARN, "lease lost", l, NULL))
		log_warn("lease lost", "id=%lld type=%s attempt=%d reason=%s",
		    (long long)l->job.id, l->job.type, l->job.attempt,
		    "its end was not accepted");
	lease_free(f->pool, l);
}

static void
end_refused(struct flush *f, struct lease *l)
{
	/* Said twice because an answer was lost: the first counted. */
	if (l->unsure) {
		count_end(f, l);
		lease_free(f->pool, l);
		return;
	}
	/* Whatever it was, if nobody else has ended the job. */
	l->outcome = OUTCOME_COMPLETED;
	lease_move(l, &f->pool->flushes[FLUSH_REFUSED].waiting);
	pool_wants_turn(f->pool);
}

/* The rows of the answer are locked still. Others are sent again, but not at
 * once when none ever was: what they waited for is something else. */
static void
locked(struct flush *f, const PGresult *res)
{
	struct pool *pool = f->pool;
	bool any = PQntuples(res) > 0;
	struct lease *l;

	for (int row = 0; row < PQntuples(res); row++) {
		l = lease_find(pool, pg_int(res, row, 0),
		    (int)pg_int(res, row, 1));
		if (l == NULL || l->in != &f->saving)
			continue;
		if (!l->locked)
			log_warn("the end of a job waits for a transaction that "
			    "ends it, too", "id=%lld attempt=%d",
			    (long long)l->job.id, l->job.attempt);
		l->locked = true;
		lease_move(l, &f->waiting);
	}
	while ((l = TAILQ_FIRST(&f->saving.head)) != NULL) {
		any |= l->locked;
		queue_end(pool, l);
	}
	if (!any)
		pool->flushes[FLUSH_PLAIN].not_before =
		    pool->flushes[FLUSH_FULL].not_before =
		    mono_now() + LOCKED_WAIT;
	f->not_before = mono_now() + LOCKED_WAIT;
	f->failures = 0;
}

/* The rows of the answer are what was not accepted, or not deferred. */
static void
accepted(struct flush *f, const PGresult *res)
{
	struct pool *pool = f->pool;
	struct lease *l;
	int refused = f->kind == FLUSH_RELEASE ? 0 : PQntuples(res);

	for (int row = 0; row < refused; row++) {
		l = lease_find(pool, pg_int(res, row, 0),
		    (int)pg_int(res, row, 1));
		if (l == NULL || l->in != &f->saving)
			continue;
		if (f->kind == FLUSH_DEFER)
			breakers_spared(pool, l, pg_true(res, row, 2));
		else if (f->kind == FLUSH_REFUSED)
			end_lost(f, l);
		else
			end_refused(f, l);
	}
	while ((l = TAILQ_FIRST(&f->saving.head)) != NULL) {
		count_end(f, l);
		lease_free(pool, l);
	}
	f->failures = 0;
	f->limit = f->limit * 2 < SAVE_MAX ? f->limit * 2 : SAVE_MAX;
}

static void
on_answer(struct pg *pg, PGresult *res, void *arg)
{
	struct flush *f = arg;

	(void)pg;
	f->on_wire = false;
	if (res == NULL)
		keep_all(f, f->kind != FLUSH_LOCKED);
	else if (PQresultStatus(res) == PGRES_FATAL_ERROR)
		refused(f, res);
	else if (f->kind == FLUSH_LOCKED)
		locked(f, res);
	else
		accepted(f, res);
	bound_ended(f->pool);
	pool_wants_turn(f->pool);
}

/*
 * Statements
 */

/* The leases of one pool, up to the limits, from the front. */
static int64_t
fill(struct flush *f)
{
	struct lease *l = TAILQ_FIRST(&f->waiting.head);
	int64_t pool = l->pool;
	mono_t now = mono_now();

	batch_reset(&f->batch);
	while ((l = TAILQ_FIRST(&f->waiting.head)) != NULL && l->pool == pool &&
	    f->saving.count < f->limit && batch_bytes(&f->batch) < SAVE_BYTES) {
		struct ending e = ending_of(l, now);

		if (f->kind == FLUSH_RELEASE || f->kind == FLUSH_REFUSED ||
		    f->kind == FLUSH_LOCKED)
			batch_add_lease(&f->batch, e.job, e.attempt);
		else if (f->kind == FLUSH_DEFER)
			batch_add_deferred(&f->batch, e.job, e.attempt,
			    l->destination);
		else
			batch_add(&f->batch, &e);
		lease_move(l, &f->saving);
	}
	return pool;
}

static void
flush_one(struct flush *f)
{
	const char *params[BATCH_PARAMS];
	int64_t pool = fill(f);
	int n = f->kind == FLUSH_PLAIN ?
	    batch_finish_ok(&f->batch, pool, params) :
	    f->kind == FLUSH_FULL ? batch_finish(&f->batch, pool, params) :
	    f->kind == FLUSH_DEFER ? batch_defer(&f->batch, pool, params) :
	    batch_release(&f->batch, pool, params);
	int skip = f->kind == FLUSH_LOCKED;	/* whose they are does not matter */

	if (pg_query_often(f->pool->pg, f->sql, n - skip, params + skip,
	    on_answer, f, NULL) < 0)
		keep_all(f, false);
	else
		f->on_wire = true;
}

void
flush_run(struct pool *pool)
{
	mono_t now = mono_now();

	notes_run(pool);
	for (int i = 0; i < FLUSH_KINDS; i++) {
		struct flush *f = &pool->flushes[i];

		if (pg_is_up(pool->pg) && pool->checked && !f->on_wire &&
		    f->waiting.count > 0 && f->not_before <= now)
			flush_one(f);
	}
}
