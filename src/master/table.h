/*
 * What the master's files share: the table of processes, the things that
 * should run, and the state of the whole. Nothing outside master/ includes it.
 *
 *	unit		what should run: a queue's leader, the scheduler, the monitor,
 *			the api
 *	child		a process that does run, or that is not buried yet
 *	team		a leader's workers, or the monitor's; outlives who leads
 *			it while they finish
 *	generation	a configuration, kept while any process was forked from it
 */
#ifndef MASTER_TABLE_H
#define MASTER_TABLE_H

#include <sys/types.h>

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/tree.h>

#include "base/mono.h"
#include "conf/conf.h"
#include "master/master.h"
#include "os/chan.h"
#include "os/loop.h"

#define SOLO_PATIENCE (2 * MONO_SECOND)	/* scheduler, monitor: to leave in */
#define API_MS 5000			/* api: to answer what it was asked … */
#define API_LAST_MS 500			/* … when nobody comes after it */

struct master;
struct embedded;
struct listener;

enum kind {
	KIND_SETUP, KIND_POOL, KIND_WORKER, KIND_SCHED, KIND_MONITOR, KIND_API,
	KIND_POSTGRES,
};

struct generation {
	struct conf *conf;
	unsigned refs;
	unsigned number;		/* from 1 */
};

struct child {
	struct master *master;
	enum kind kind;
	char name[96];			/* in the log: "worker email/2" */
	pid_t pid;			/* 0: reaped; nobody signals it any more */
	pid_t was;			/* pid, also after that */
	int status;			/* of wait, once reaped */
	int64_t cpu_ms, rss_kb;
	mono_t started;
	struct generation *gen;
	const struct queue_conf *queue;	/* of gen; pool, worker, monitor (or NULL) */
	struct unit *unit;		/* whose process it is; NULL: nobody's, it drains */
	struct team *team;		/* pool, monitor: its own; worker: the one it is in */
	int slot;			/* worker */
	int seat;			/* pool: on the board; 0: none */
	struct chan *chan;		/* NULL: has none, or it ended */
	unsigned unanswered;		/* PINGs */
	bool looks;			/* a scheduler: it listens and looks, it says */
	bool ready;
	bool stopping;			/* its end was asked for */
	struct timer *deadline;		/* then KILL; NULL: none yet */
	TAILQ_ENTRY(child) link;
	RB_ENTRY(child) by_pid;		/* while pid is not 0 */
};
TAILQ_HEAD(children, child);
RB_HEAD(pids, child);

struct unit {
	struct master *master;
	enum kind kind;
	char *queue;			/* of a leader; else NULL */
	struct generation *gen;		/* what the next process is forked from */
	const struct queue_conf *conf;
	struct child *child;		/* NULL: none runs */
	unsigned failures;		/* in a row */
	bool refused;			/* exit 2: not again with this configuration */
	bool idle;			/* the leader wants to be looked for */
	struct timer *retry;
	TAILQ_ENTRY(unit) link;
};
TAILQ_HEAD(units, unit);

struct slot {
	struct child *worker;
	bool wanted;			/* SPAWN came and is not done */
	unsigned failures, crashes;	/* in a row, right after the start */
	mono_t not_before;
};

struct team {
	struct master *master;
	struct child *leader;		/* NULL: dead */
	const struct queue_conf *queue;
	struct generation *gen;
	int64_t pool;			/* in the database; 0: not yet known */
	struct slot *slots;		/* queue->workers */
	int nworkers;
	int size;			/* last told to the leader; -1: nothing */
	struct timer *later;		/* for slots with a not_before */
	TAILQ_ENTRY(team) link;
};
TAILQ_HEAD(teams, team);

enum stage { STAGE_STARTING, STAGE_RUNNING, STAGE_STOPPING };

struct master {
	const struct master_options *options;
	struct loop *loop;
	struct generation *current;
	unsigned generations;		/* made so far */
	enum stage stage;
	bool prepared;			/* setup has been done once: units may run */
	bool ready;			/* has been told so */
	bool drained;			/* by WINCH */
	bool terminal;			/* run from one: WINCH is its size */
	int status;			/* to exit with */

	struct children children;
	struct pids pids;
	struct units units;
	struct teams teams;
	int64_t *gone;			/* pools the monitor is to be told of */
	size_t ngone;

	struct child *looker;		/* the scheduler that looks, and answers; NULL: none */

	struct child *setup;		/* at the start, or for a reload */
	unsigned setup_failures;
	struct timer *setup_retry;

	struct {
		struct generation *next;	/* NULL: no reload under way */
		bool again;		/* a HUP came meanwhile */
		mono_t since;
		bool moves;		/* the api is to listen elsewhere … */
		struct listener *listener;	/* … here; NULL: nowhere */
	} reload;
	struct listener *listener;	/* of the api; NULL: it is off */

	struct timer *beat;		/* PINGs, pid file */
	unsigned beats;
	struct timer *watchdog;
	struct timer *stop_soft, *stop_hard, *stop_postgres;
	mono_t stop_at;			/* when stop_soft is due */

	struct embedded *embedded;	/* NULL: the database is somebody else's */
	struct pidfile *pidfile;
	int relay;			/* to who started the daemon; -1: nobody waits */
};

/* master.c */
struct generation *generation_new(struct master *, struct conf *);	/* takes conf */
struct generation *generation_ref(struct generation *);
void generation_unref(struct generation *);
/* What the way it was started makes of a configuration just read. */
void master_settle(const struct master *, struct conf *);
/* Ready? Stopped? To be called whenever a child came or went. */
void master_step(struct master *);
/* The first start cannot succeed: stop everything and exit 1. */
void master_give_up(struct master *, const char *why);
/* Say on the board what state this is. */
void master_show(const struct master *);
/* The socket that api.listen, which is not off, asks for; NULL with e. */
struct listener *master_listen(const struct conf *, struct err *e);
/* Create the schema, register the queues; then everything may run. */
void master_prepare(struct master *);

/* child.c */
struct child_plan {
	enum kind kind;
	struct generation *gen;
	const struct queue_conf *queue;
	int slot;
	struct team *team;
	int *peer;			/* worker: gets its leader's end */
};
struct child *child_start(struct master *, const struct child_plan *);	/* NULL: logged */
void child_signal(struct child *, int signo);
void child_kill_after(struct child *, mono_t);
/* STOP over the channel; KILL when it has not ended ms and some later. */
void child_stop(struct child *, int64_t ms, mono_t patience);
/* Or one of its workers: no job of a queue is theirs. */
bool child_is_monitor(const struct child *);
void child_reap_all(struct master *);
void child_ping_all(struct master *);
const char *child_end(const struct child *, char *text, size_t size);	/* "status 1", "signal 9" */

/* unit.c */
struct unit *unit_new(struct master *, enum kind, const struct queue_conf *);
void unit_free(struct unit *);
struct unit *unit_find(struct master *, enum kind, const char *queue);
void unit_use(struct unit *, struct generation *, const struct queue_conf *);
void unit_gone(struct unit *, struct child *);
void unit_reconcile(struct master *);
mono_t unit_backoff(const struct master *, unsigned failures);
/* Let the unit's process finish beside its successor. */
void unit_retire(struct unit *, int64_t ms);

/* team.c */
struct team *team_new(struct child *leader);
void team_message(struct child *leader, uint32_t type, const void *body, size_t len);
void team_leader_gone(struct child *leader);
void team_worker_gone(struct child *worker);
/* Whether this scheduler listens and looks: to all whom it concerns. */
void team_looking(struct child *sched, bool yes);
/* Whether any does, to a child that may be one of them. */
void team_tell_looking(struct child *);
void team_tell_monitor(struct master *, struct child *monitor);
void team_tell_scheduler(struct master *, struct child *sched);
void team_idle(struct unit *, bool idle);
/* There may be jobs of a queue: looked, found by a look; pulled, workers
 * elsewhere wait for them, too. */
void team_wake(struct master *, const char *queue, bool looked, bool pulled);
void team_heard(struct master *, const char *payload);
/* PULLS, from the api. */
void team_pulls(struct child *api, const void *body, size_t len);
void team_free_all(struct master *);

/* reload.c */
void reload_begin(struct master *);
void reload_prepared(struct master *, const struct child *setup);
void reload_abandon(struct master *);
void reload_populate(struct master *);	/* the units of the first configuration */

/* logs.c: the logs of their own, of queues and schedules */
int logs_open(const struct conf *, struct err *e);	/* those that are not open */
void logs_chown(uid_t, gid_t);
void logs_drop(const struct conf *, const struct conf *kept);	/* close what only the first has */
void logs_use(const struct child *);		/* in it, after the fork */

/* stop.c */
void stop_begin(struct master *);
void stop_now(struct master *);
void stop_step(struct master *);
void stop_drain(struct master *);
enum stop_late { STOP_ORPHANS, STOP_ALL, STOP_POSTGRES };
void stop_late(struct master *, enum stop_late);	/* the timers stop_* */

/* embedded.c */
struct embedded *embedded_new(struct master *, const struct conf *, struct err *);
void embedded_start(struct embedded *);
void embedded_gone(struct embedded *, struct child *);
void embedded_stop(struct embedded *, int signo);
_Noreturn void embedded_exec(struct embedded *);	/* in the child */
void embedded_free(struct embedded *);

#endif
