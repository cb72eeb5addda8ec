/*
 * The leader of one queue on this node: leases jobs from the database over
 * one connection, gives them to its workers, and writes their ends. It never
 * forks, signals or reaps: the master does, when asked. See leader.h for who
 * does what.
 *
 * How it ends:
 *	STOP from the master	no more leases, what no worker has is handed
 *				back, what runs may finish for a while, then it
 *				is stopped and handed back; exit 0
 *	SIGTERM			at once; workers finish without us
 *	the master is gone	at once, and so are the workers: their jobs are
 *				handed back as far as a second allows
 */
#include "config.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "core/msg.h"
#include "os/board.h"
#include "os/proc.h"
#include "pool/leader.h"
#include "pool/pool.h"

#define TICK MONO_SECOND
#define REST (10 * MONO_SECOND)	/* a tick while nothing happens */
#define LEAVE_WITHIN MONO_SECOND		/* without master */
#define STOP_SLACK (1500 * MONO_MS)	/* after the ladder, to write and close */
#define DOWN_LINE (60 * MONO_SECOND)	/* one line about a lasting loss each */

static void stir(struct pool *);
static void on_up(struct pg *, void *);
static void on_down(struct pg *, const char *, bool, void *);
static void on_message(struct chan *, uint32_t, const void *, size_t, int, void *);
static void on_closed(struct chan *, const char *, void *);
static void on_turn(void *);
static void on_tick(void *);
static void on_stop_at(void *);
static void on_give_up(void *);
static void on_signal(int, void *);
static void drain(struct pool *, int64_t ms);

static const struct pg_ops database_ops = { on_up, on_down, NULL };
static const struct chan_ops master_ops = { on_message, on_closed };

/*
 * The process
 */

static struct pg *
connect_database(struct pool *pool)
{
	const struct conf *conf = pool->conf;
	char *name = xasprintf("jobqd queue %s", pool->queue->name);
	const char *setup[] = {
		"set plan_cache_mode = force_generic_plan",
		"set synchronous_commit = on", NULL,
	};
	struct pg *pg = pg_new(pool->loop, conf->database.url, name,
	    conf->database.pooler_transaction, setup, &database_ops, pool);

	free(name);
	return pg;
}

static void
pool_init(struct pool *pool, const struct conf *conf,
    const struct queue_conf *queue)
{
	pool->conf = conf;
	pool->queue = queue;
	pool->board = board_queue(queue->name);
	pool->loop = loop_new();
	pool->turn = timer_new(pool->loop, on_turn, pool);
	pool->tick = timer_new(pool->loop, on_tick, pool);
	pool->stop_at = timer_new(pool->loop, on_stop_at, pool);
	pool->give_up = timer_new(pool->loop, on_give_up, pool);
	lease_init(pool);
	bound_init(pool);
	beat_init(pool);
	slot_init(pool);
	dispatch_init(pool);
	ladder_init(pool);
	flush_init(pool);
	notes_init(pool);
	breakers_init(pool);
	tell_init(pool);
	loop_signal(pool->loop, SIGTERM, on_signal, pool);
	loop_signal(pool->loop, SIGINT, on_signal, pool);
	pool->master = chan_new(pool->loop, PROC_CHANNEL_FD, &master_ops, pool);
	pool->pg = connect_database(pool);
	timer_set(pool->tick, TICK);
}

static void
pool_clear(struct pool *pool)
{
	pg_free(pool->pg);
	lease_clear(pool);	/* leases are in the others' lists */
	bound_clear(pool);
	beat_clear(pool);
	slot_clear(pool);
	dispatch_clear(pool);
	ladder_clear(pool);
	flush_clear(pool);
	notes_clear(pool);
	breakers_clear(pool);
	tell_clear(pool);
	chan_free(pool->master);
	timer_free(pool->turn);
	timer_free(pool->tick);
	timer_free(pool->stop_at);
	timer_free(pool->give_up);
	loop_free(pool->loop);
	buf_clear(&pool->body);
	free(pool);
}

static void
show_title(struct pool *pool)
{
	int busy = slot_busy(pool);

	if (busy == pool->titled_busy && pool->size == pool->titled_size &&
	    pool->draining == pool->titled_draining)
		return;
	pool->titled_busy = busy;
	pool->titled_size = pool->size;
	pool->titled_draining = pool->draining;
	proc_title("jobqd: queue %s %d/%d running%s", pool->queue->name, busy,
	    pool->size, pool->draining ? " (draining)" : "");
}

int
pool_main(const struct conf *conf, const struct queue_conf *queue)
{
	struct pool *pool = xcalloc(1, sizeof(*pool));
	int status;

	log_process("queue %s", queue->name);
	pool->titled_busy = -1;
	pool_init(pool, conf, queue);
	show_title(pool);
	loop_run(pool->loop);
	if (pool->master != NULL)
		chan_flush(pool->master);
	status = pool->status;
	pool_clear(pool);
	return status;
}

/*
 * Messages of the master
 */

void
pool_send(struct pool *pool, enum msg_type type, int fd)
{
	if (pool->master != NULL)
		chan_send(pool->master, type, pool->body.data, pool->body.len, fd);
	buf_reset(&pool->body);
}

static void
on_exited(struct pool *pool, struct msg_reader *r)
{
	unsigned index = msg_get_u32(r);
	pid_t pid = (pid_t)msg_get_i64(r);
	int status = (int)msg_get_i64(r);
	int64_t cpu_ms = msg_get_i64(r), max_rss_kb = msg_get_i64(r);

	slot_exited(pool, index, pid, status, cpu_ms, max_rss_kb);
}

/* Of what concerns no queue, or one; others may be new. */
static void
on_heard(struct pool *pool, const char *payload)
{
	if (strcmp(payload, "*cancel") == 0)
		beat_cancels(pool);
	else if (strcmp(payload, "*pause") == 0)
		beat_soon(pool);
	else if (strncmp(payload, "*breaker ", 9) == 0 &&
	    strcmp(payload + 9, pool->queue->name) == 0)
		breakers_stale(pool);
}

static void
on_message(struct chan *c, uint32_t type, const void *body, size_t len, int fd,
    void *arg)
{
	struct pool *pool = arg;
	struct msg_reader r;

	(void)c;
	msg_read(&r, body, len);
	if (fd >= 0 && type != MSG_SPAWNED)
		close(fd);
	if (type != MSG_PING)
		stir(pool);
	switch (type) {
	case MSG_PING:
		pool_send(pool, MSG_PONG, -1);
		break;
	case MSG_STOP:
		drain(pool, msg_get_i64(&r));
		break;
	case MSG_SPAWNED: {
		unsigned index = msg_get_u32(&r);

		slot_spawned(pool, index, (pid_t)msg_get_i64(&r), fd);
		break;
	}
	case MSG_EXITED:
		on_exited(pool, &r);
		break;
	case MSG_SIZE:
		slot_resize(pool, (int)msg_get_u32(&r));
		break;
	case MSG_WAKE:
		if (msg_get_u32(&r) != 0)
			lease_not_told(pool);
		lease_wake(pool);
		break;
	case MSG_HEARD: {
		char *payload = msg_get_str(&r);

		if (payload != NULL)
			on_heard(pool, payload);
		free(payload);
		break;
	}
	case MSG_LOOKING:
		lease_looked_after(pool, msg_get_u32(&r) != 0);
		beat_soon(pool);	/* what was notified before was not heard */
		break;
	default:
		log_warn("unexpected message", "type=%u", type);
		break;
	}
}

/*
 * The database
 */

static void
on_up(struct pg *pg, void *arg)
{
	struct pool *pool = arg;

	(void)pg;
	lease_connected(pool);
	pool_wants_turn(pool);
}

/* Refused again and again is one line a minute. */
static void
on_down(struct pg *pg, const char *reason, bool fatal, void *arg)
{
	struct pool *pool = arg;
	mono_t now = mono_now();

	(void)pg;
	if (pool->checked || pool->opening || pool->down_line == 0 ||
	    now - pool->down_line > DOWN_LINE) {
		pool->down_line = now;
		if (fatal)
			log_error("database refuses us", "reason=%s", reason);
		else
			log_warn("database is away", "reason=%s unsaved=%zu",
			    reason, flush_unsaved(pool));
	}
	lease_disconnected(pool);
	stir(pool);
}

/*
 * Turns and timers
 */

/* Something has happened: what a tick is to see, it sees within a second. */
static void
stir(struct pool *pool)
{
	if (!pool->resting)
		return;
	pool->resting = false;
	timer_set(pool->tick, TICK);
}

void
pool_wants_turn(struct pool *pool)
{
	stir(pool);
	if (pool->turning)
		return;
	pool->turning = true;
	timer_set(pool->turn, 0);
}

/* Nothing is left to do, or nothing that is worth waiting for the database:
 * leases that cannot be given back run out by themselves. */
static void
leave_if_empty(struct pool *pool)
{
	if (pool->claiming || flush_unsaved(pool) > 0)
		return;
	if (pool->id != 0 && !pg_is_up(pool->pg) && !pool->by_term &&
	    !pool->orphan && slot_none_left(pool)) {
		log_info("leases are not given back", "pool=%lld reason=%s",
		    (long long)pool->id, "the database is away");
		pool_done(pool);
	}
	if (!notes_empty(pool))
		return;
	/* Told to go at once: the pool stays for what the workers still run. */
	if (pool->by_term && !pool->orphan)
		pool_done(pool);
	else if (RB_EMPTY(&pool->keys) && (pool->orphan || slot_none_left(pool)))
		lease_close(pool);
}

static void
on_turn(void *arg)
{
	struct pool *pool = arg;

	pool->turning = false;
	breakers_run(pool);
	dispatch_run(pool);
	flush_run(pool);
	lease_claim(pool);
	if (pool->draining)
		leave_if_empty(pool);
}

static void
on_tick(void *arg)
{
	struct pool *pool = arg;

	timer_set(pool->tick, TICK);
	slot_tick(pool);
	lease_tick(pool);
	beat_tick(pool);
	breakers_tick(pool);
	tell_tick(pool);
	show_title(pool);
	slot_show(pool);
	if (beat_rests(pool)) {
		pool->resting = true;
		timer_set(pool->tick, REST);
	} else {
		pool_wants_turn(pool);
	}
}

/*
 * Shutdown
 */

void
pool_done(struct pool *pool)
{
	loop_stop(pool->loop);
}

/* What is on lease and with no worker goes back at once. */
static void
drain(struct pool *pool, int64_t ms)
{
	if (ms < 0)
		ms = 0;
	if (!pool->draining)
		log_info("queue is draining", "running=%d stop_ms=%lld",
		    slot_running(pool), (long long)ms);
	pool->draining = true;
	lease_drain(pool);
	slot_leave_all(pool);
	timer_set(pool->stop_at, ms * MONO_MS);
	show_title(pool);
	pool_wants_turn(pool);
}

static void
on_stop_at(void *arg)
{
	struct pool *pool = arg;

	if (slot_running(pool) > 0)
		log_info("running jobs are stopped", "running=%d",
		    slot_running(pool));
	slot_stop_all(pool);
	timer_set(pool->give_up, pool->queue->grace_ms * MONO_MS + STOP_SLACK);
}

static void
on_give_up(void *arg)
{
	struct pool *pool = arg;

	log_warn("leaving before all is written", "unsaved=%zu reason=%s",
	    flush_unsaved(pool), pg_is_up(pool->pg) ?
	    "workers did not end in time" : "the database is away");
	pool->status = 1;
	pool_done(pool);
}

/* The workers die with the master. What they had was not finished. */
static void
on_closed(struct chan *c, const char *reason, void *arg)
{
	struct pool *pool = arg;

	chan_free(c);
	pool->master = NULL;
	log_warn("the master is gone", "reason=%s running=%d", reason,
	    slot_running(pool));
	pool->draining = pool->orphan = true;
	lease_drain(pool);
	slot_abandon(pool);
	timer_set(pool->give_up, LEAVE_WITHIN);
	pool_wants_turn(pool);
}

/*
 * Without a leader the workers finish what runs, and write it themselves. A
 * signal that comes because the master died is followed by the end of its
 * channel, which settles the rest.
 */
static void
on_signal(int signo, void *arg)
{
	struct pool *pool = arg;

	if (signo != SIGTERM || pool->by_term || pool->orphan)
		return;
	log_info("terminated", "running=%d", slot_running(pool));
	pool->draining = pool->by_term = true;
	lease_drain(pool);
	timer_set(pool->give_up, LEAVE_WITHIN);
	pool_wants_turn(pool);
}
