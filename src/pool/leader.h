/*
 * What the files of a queue's leader share. One pool a process.
 *
 *	pool.c	the process: master's messages, timers, shutdown
 *	lease.c	the pool in the database, claims, sleeping and waking
 *	bound.c	what limits and concurrency keys ask of claims and leases
 *	beat.c	signs of life, what somebody asked to cancel, leases nobody knows of
 *	slot.c	workers: their life and their messages
 *	dispatch.c	which worker gets which job
 *	ladder.c	deadlines, and stopping runs
 *	verdict.c	what the end of a run means
 *	tell.c	what the log is told of jobs and workers
 *	flush.c	ends of attempts and hand-backs on their way to the database
 *	notes.c	progress and output on their way there
 *	breaker.c	circuit breakers: what is not to run for now
 *
 * A job on lease is in exactly one list, and the list is its state:
 *
 *	(paced →) ready, alone → a slot's sent → its running → a flush's waiting →
 *	its saving → gone
 *
 * Nothing acts at once: what an event changed is looked at when the loop has
 * taken all that was there (pool_turn()), so that jobs, claims and results
 * travel in batches without waiting for a time.
 */
#ifndef POOL_LEADER_H
#define POOL_LEADER_H

#include <sys/types.h>

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/tree.h>

#include "base/log.h"
#include "conf/conf.h"
#include "core/job.h"
#include "core/msg.h"
#include "db/array.h"
#include "db/batch.h"
#include "db/pg.h"
#include "os/chan.h"
#include "os/loop.h"
#include "pool/window.h"

#define CLAIM_MAX 1000		/* jobs in one claim */
#define SAVE_MAX 2000		/* attempts ended in one statement … */
#define SAVE_BYTES ((size_t)8 << 20)	/* … and no more when errors and results are so much */
#define UNSAVED_MAX 10000	/* results kept before no more jobs are run */
#define KILL_AGAIN (5 * MONO_SECOND)	/* a worker that should be dead */
#define RETURNS_MAX 3		/* deaths of a worker before a job counts as started */

struct pool;
struct slot;
struct lease;
struct target;

/* Why a run is to end before its time. */
enum stop { STOP_NOT, STOP_TIMEOUT, STOP_ASKED, STOP_SHUTDOWN, STOP_LOST };

TAILQ_HEAD(lease_queue, lease);
struct lease_list {
	struct lease_queue head;
	size_t count;
};

struct lease {
	struct job job;
	int64_t pool;			/* the pool it was leased by */
	struct lease_list *in;
	TAILQ_ENTRY(lease) link;
	RB_ENTRY(lease) by_key;		/* (id, attempt) */
	mono_t not_before;		/* while it is paced */

	/* while with a worker */
	struct slot *slot;
	RB_ENTRY(lease) by_deadline;
	mono_t deadline;		/* 0: none, not in the tree */
	mono_t started;			/* 0: not yet */
	enum stop stop;
	mono_t stopped;			/* when it was asked to */
	bool recalled;			/* asked back from the worker */
	unsigned returns;		/* workers that died before it started there */

	/* its end */
	struct run_result result;
	enum outcome outcome;
	int64_t delay_ms;
	int64_t run_us;
	mono_t ended;
	int worker;			/* -1: never ran */
	bool makes_alone;
	bool unsure;			/* was sent to the database, which did not answer */
	bool locked;			/* somebody else is just ending it */
	unsigned refused;		/* times the database could not take it alone */
	char *destination;		/* where its run went, or would have gone; NULL: unknown */
	struct target *probe;		/* the breaker it is the probe of; NULL: none */
};
RB_HEAD(lease_keys, lease);
RB_HEAD(lease_deadlines, lease);

/* SLOT_ASKED: the master knows we want one; SLOT_LEAVING: takes no more jobs;
 * SLOT_KILLED: by our wish. */
enum slot_state { SLOT_EMPTY, SLOT_ASKED, SLOT_STARTING, SLOT_READY,
    SLOT_LEAVING, SLOT_KILLED };

struct slot {
	struct pool *pool;
	int index;
	enum slot_state state;
	mono_t since;			/* in this state */
	pid_t pid;
	struct chan *chan;		/* NULL: none, or at its end */
	struct timer *drain;		/* reaped, but the channel has not ended */
	bool deliberate;		/* killed by us: no job of it crashed it */
	bool exited;
	int status;			/* of wait(), once exited */
	int64_t cpu_ms, max_rss_kb;	/* once exited; -1 not known */

	int at_once;			/* jobs it runs at once, by its own word */
	bool hears;			/* it listens while it runs */
	bool keeps;			/* its programs live on between jobs, and count */
	struct lease_list sent, running;
	mono_t waiting_since;		/* of the first unstarted job, or of the last start */
	mono_t born;
	int64_t jobs_done;
	int64_t rss_kb;
	mono_t rss_at;			/* when that was read */
};

/* REFUSED: ends that were not accepted, of which is asked why. LOCKED: ends that
 * may have to wait for a transaction that is open, of which is asked whether. */
enum flush_kind { FLUSH_PLAIN, FLUSH_FULL, FLUSH_RELEASE, FLUSH_DEFER, FLUSH_REFUSED,
    FLUSH_LOCKED, FLUSH_KINDS };

/* One kind of statement: results wait only while one is on the wire. */
struct flush {
	struct pool *pool;
	enum flush_kind kind;
	char *sql;
	struct lease_list waiting, saving;
	struct batch batch;
	size_t limit;			/* leases a statement; less after a refusal */
	bool on_wire;
	mono_t not_before;		/* after a failure */
	unsigned failures;		/* in a row */
};

struct notes;
struct breakers;
struct board_queue;
struct told;
struct decision;

struct pool {
	const struct conf *conf;
	const struct queue_conf *queue;
	struct loop *loop;
	struct chan *master;		/* NULL: gone */
	struct pg *pg;
	int status;			/* of the process */

	/* in the database */
	int64_t id;			/* 0: not opened yet */
	int queue_id;
	bool opening;			/* pool_open on the wire */
	bool checked;			/* on this connection the pool is known to live */
	mono_t not_before;		/* no claim and no opening before, after a failure */
	struct lease_statements *sql;
	struct beat_statements *beat_sql;

	/* claiming */
	bool hungry;			/* there may be something */
	bool claiming;
	bool again;			/* a wake came during the claim */
	bool woken;			/* … or before, and no job has come since */
	bool unknown;			/* a claim's answer was lost: leases nobody knows */
	unsigned recover_looks;		/* left after that */
	size_t asked;
	unsigned full;			/* claims in a row that gave all that was asked */
	bool flagged;			/* the database knows that we sleep … */
	bool settled;			/* … for so long that all producers do */
	mono_t wakes_since;
	unsigned wakes;			/* since then */
	unsigned busy;			/* looks left; 0: we sleep when there is nothing */
	unsigned idle_step;
	struct timer *idle;
	bool looked_after;		/* somebody looks for idle queues */
	bool idle_told;			/* to the master */
	int64_t last_batch;		/* 0: none on this connection */
	bool paused;
	unsigned claim_failures;

	/* the beat */
	bool beating;
	bool dirty;			/* a worker's state changed since the last */
	mono_t beat_at;

	/* leases */
	struct lease_list ready, alone;
	struct lease_list paced;	/* not to be started yet, in the order of their times */
	struct timer *pace;
	mono_t gap, paced_at;		/* between starts; the last one, 0: none yet */
	bool frees;			/* the end of a job may let another one start */
	struct array held_keys;		/* a claim's parameter */
	struct lease_keys keys;
	struct lease_deadlines deadlines;
	struct timer *deadline, *recall;
	mono_t deadline_armed;		/* 0: not */
	size_t lost;			/* since the last line about it */

	/* workers */
	struct slot *slots;
	int nslots;
	int size;			/* of them we may fill */
	struct slot *reserved;		/* gets nothing but the next lone job */
	struct window window;
	struct buf body;		/* of the message being made */

	struct flush flushes[FLUSH_KINDS];
	struct notes *notes;
	struct breakers *breakers;	/* NULL: the queue has none */
	struct board_queue *board;	/* its counters */
	struct told *told;

	/* the process */
	struct timer *turn, *tick, *stop_at, *give_up;
	bool turning;			/* turn is set */
	bool resting;			/* tick is far away */
	bool ready_told;
	bool draining;			/* no new leases; leave when empty */
	bool orphan;			/* the master is gone, and so will be the workers */
	bool closing;			/* pool_close on the wire */
	bool by_term;			/* told to go at once; the workers finish */
	mono_t down_line;		/* when the log was last told that the database is away */
	int titled_busy, titled_size;	/* what the title shows */
	bool titled_draining;
};

/* pool.c */
void pool_wants_turn(struct pool *);
void pool_send(struct pool *, enum msg_type, int fd);	/* pool->body, then empty */
void pool_done(struct pool *);		/* the process may end */

/* lists: lease.c */
void lease_list_init(struct lease_list *);
void lease_move(struct lease *, struct lease_list *);		/* to the tail */
void lease_move_first(struct lease *, struct lease_list *);	/* to the head */
void lease_free(struct pool *, struct lease *);
struct lease *lease_find(struct pool *, int64_t id, int attempt);

/* lease.c */
void lease_init(struct pool *);
void lease_clear(struct pool *);
void lease_connected(struct pool *);
void lease_disconnected(struct pool *);
void lease_claim(struct pool *);	/* if there is reason and room */
void lease_wake(struct pool *);		/* there may be something */
void lease_not_told(struct pool *);	/* … of which nobody told us */
void lease_looked_after(struct pool *, bool);
void lease_tick(struct pool *);
void lease_still_asleep(struct pool *);
void lease_pool_lost(struct pool *);	/* the database says that it was reaped */
void lease_drain(struct pool *);	/* hand back what no worker has */
void lease_close(struct pool *);	/* tell the database, then pool_done() */
int lease_deadline_cmp(struct lease *, struct lease *);
RB_PROTOTYPE(lease_keys, lease, by_key, lease_key_cmp)
RB_PROTOTYPE(lease_deadlines, lease, by_deadline, lease_deadline_cmp)

/* bound.c */
void bound_init(struct pool *);
void bound_clear(struct pool *);
void bound_pace(struct pool *, struct lease *, int64_t start_ms);
size_t bound_held(const struct pool *);		/* leases whose runs have not ended */
const char *bound_keys(struct pool *);		/* an array; NULL: nothing has a key */
void bound_key_seen(struct pool *);
void bound_ended(struct pool *);	/* a run has, or its end is saved */

/* beat.c */
void beat_init(struct pool *);
void beat_clear(struct pool *);
void beat_send(struct pool *);
void beat_tick(struct pool *);
void beat_soon(struct pool *);		/* the answer may say something new */
bool beat_rests(const struct pool *);	/* until somebody says something */
void beat_cancels(struct pool *);	/* somebody asked to stop a job, perhaps ours */

/* query.c */
int query_number(struct pool *, const char *sql, int64_t number, pg_result_fn *, void *arg);
/* A callback for answers that matter to nobody; arg: what, for the log. */
void query_ignored(struct pg *, PGresult *, void *arg);

/* slot.c */
void slot_init(struct pool *);
void slot_clear(struct pool *);
void slot_resize(struct pool *, int size);
void slot_spawned(struct pool *, unsigned index, pid_t, int fd);
void slot_exited(struct pool *, unsigned index, pid_t, int status,
    int64_t cpu_ms, int64_t max_rss_kb);
void slot_kill(struct slot *);
size_t slot_load(const struct slot *);	/* jobs it has */
void slot_tick(struct pool *);
void slot_leave_all(struct pool *);
void slot_stop_all(struct pool *);	/* the cancel ladder for what runs */
void slot_abandon(struct pool *);	/* workers die: hand back what they have */
bool slot_none_left(const struct pool *);
int slot_running(const struct pool *);	/* jobs */
int slot_busy(const struct pool *);	/* workers */
void slot_show(const struct pool *);	/* on the board */
const char *slot_state_name(const struct slot *);

/* dispatch.c */
void dispatch_init(struct pool *);
void dispatch_clear(struct pool *);
void dispatch_run(struct pool *);
size_t dispatch_credits(const struct pool *);	/* jobs there is room for */
void dispatch_recall(struct slot *);	/* ask back what has not begun */

/* ladder.c */
void ladder_init(struct pool *);
void ladder_clear(struct pool *);
void ladder_deadline(struct pool *, struct lease *, mono_t at);	/* 0: none */
int64_t ladder_timeout_ms(const struct queue_conf *, const struct job *);
void ladder_cancel(struct lease *, enum stop);	/* of one that is with a worker */

/* verdict.c */
void verdict_leave_slot(struct pool *, struct lease *);	/* the caller moves it on */
void verdict_run_ended(struct pool *, struct lease *);	/* by its result */
void verdict_cancelled(struct pool *, struct lease *);	/* before it began */
void verdict_unsend(struct pool *, struct lease *);	/* it had not begun */
void verdict_worker_died(struct slot *);	/* with all that it had */

/* tell.c */
void tell_init(struct pool *);
void tell_clear(struct pool *);
void tell_tick(struct pool *);
void tell_started(const struct pool *, const struct lease *);
void tell_ended(struct pool *, const struct lease *, const struct decision *);
/*
 * Is this to be said in a line of its own? No, when the log does not want the
 * level, or when so much of the kind (event, class, type) was said in the last
 * second that it is only counted, and told by number later on.
 *	event	stays as long as the process
 *	text	what the line would say: shown as that of one of them; NULL: nothing
 */
bool tell_alone(struct pool *, enum log_level, const char *event,
    const struct lease *, const char *text);

/* flush.c */
void flush_init(struct pool *);
void flush_clear(struct pool *);
void flush_run(struct pool *);
void flush_ended(struct pool *, struct lease *);	/* its end is filled in */
void flush_release(struct pool *, struct lease *);
void flush_defer(struct pool *, struct lease *);	/* its destination is shut */
size_t flush_unsaved(const struct pool *);
bool flush_frees_key(const struct pool *, const struct lease *);
void flush_forget(struct pool *);	/* the pool is no more: nothing of it counts */

/* notes.c */
void notes_init(struct pool *);
void notes_clear(struct pool *);
void notes_progress(struct pool *, const struct lease *, int pct, char *note);
void notes_output(struct pool *, const struct lease *, char *text);
void notes_run(struct pool *);
bool notes_empty(const struct pool *);

/* breaker.c; all of it does nothing where the queue has no breakers */
void breakers_init(struct pool *);
void breakers_clear(struct pool *);
void breakers_run(struct pool *);
void breakers_tick(struct pool *);
void breakers_stale(struct pool *);	/* look what the database has */
void breakers_unknown(struct pool *);	/* … and do not claim before that */
bool breakers_any_shut(const struct pool *);
/* A worker is there; where all its runs go, NULL: it depends, or no name. */
void breakers_hello(struct slot *, const char *destination);
size_t breakers_room(struct pool *, size_t room);	/* what of it to claim */
size_t breakers_ahead(const struct pool *, size_t ahead);	/* … to send ahead */
void breakers_claimed(struct pool *, struct lease *);	/* it is ready now */
void breakers_hold(struct pool *);	/* what is ready and not to run: back */
void breakers_ended(struct pool *, struct lease *);	/* by its result */
void breakers_probe_gone(struct lease *);	/* without one */
void breakers_deferred(struct pool *, struct lease *);	/* by its worker */
/* Answer to flush_defer(): it is to run after all. */
void breakers_spared(struct pool *, struct lease *, bool probe);

#endif
