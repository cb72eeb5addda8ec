/*
 * Teams: a queue's leader and its workers. The leader decides how many it
 * wants and which must die; the master makes and kills them, because only
 * who reaps may fork and signal. Over all teams of one queue (a new leader
 * beside one that drains, or beside the workers of one that died) there are
 * never more workers than the queue's size.
 *
 * The monitor has a team as well, whose workers send its notices; what is
 * said of leaders is said of it, but that its workers have no jobs of queues.
 *
 * A team outlives its leader while its workers finish what they have begun.
 * The monitor is told, so that it keeps their leases, and told again when
 * the last is gone, so that it takes them back.
 */
#include "config.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "core/msg.h"
#include "master/table.h"

#define QUICK MONO_SECOND	/* a worker that ends so soon never got going */
#define CRASHES_FREE 20		/* quick ones in a row without a delay */
#define GONE_MAX 10000		/* pools remembered for a monitor that is not there */
#define HINTS_BACKLOG 65536	/* bytes unread */

static void fill_slots(struct team *);

static void
on_later(void *arg)
{
	fill_slots(arg);
}

static void
send_u32(struct child *c, enum msg_type type, uint32_t value)
{
	struct buf body = { 0 };

	if (c == NULL || c->chan == NULL)
		return;
	msg_put_u32(&body, value);
	chan_send(c->chan, type, body.data, body.len, -1);
	buf_clear(&body);
}

/* Workers of the queue that belong to other teams. */
static int
elsewhere(const struct team *t)
{
	const struct team *other;
	int n = 0;

	TAILQ_FOREACH(other, &t->master->teams, link)
		if (other != t && strcmp(other->queue->name, t->queue->name) == 0)
			n += other->nworkers;
	return n;
}

static int
room(const struct team *t)
{
	int n = t->queue->workers - elsewhere(t);

	return n > 0 ? n : 0;
}

static void
tell_size(struct team *t)
{
	int size = room(t);

	if (t->leader == NULL || t->leader->stopping || size == t->size ||
	    t->leader->kind != KIND_POOL)
		return;
	t->size = size;
	send_u32(t->leader, MSG_SIZE, (uint32_t)size);
}

struct team *
team_new(struct child *leader)
{
	struct master *m = leader->master;
	struct team *t = xcalloc(1, sizeof(*t));

	t->master = m;
	t->leader = leader;
	t->queue = leader->queue;
	t->gen = generation_ref(leader->gen);
	t->slots = xcalloc((size_t)t->queue->workers, sizeof(*t->slots));
	t->size = -1;
	t->later = timer_new(m->loop, on_later, t);
	leader->team = t;
	TAILQ_INSERT_TAIL(&m->teams, t, link);
	tell_size(t);
	return t;
}

static void
team_free(struct team *t)
{
	TAILQ_REMOVE(&t->master->teams, t, link);
	generation_unref(t->gen);
	timer_free(t->later);
	free(t->slots);
	free(t);
}

void
team_free_all(struct master *m)
{
	while (!TAILQ_EMPTY(&m->teams))
		team_free(TAILQ_FIRST(&m->teams));
	free(m->gone);
	m->gone = NULL;
	m->ngone = 0;
}

static void
start_worker(struct team *t, int slot)
{
	int peer = -1;
	struct child_plan plan = {
		.kind = KIND_WORKER, .gen = t->gen, .queue = t->queue,
		.slot = slot, .team = t, .peer = &peer,
	};
	struct child *c = child_start(t->master, &plan);
	struct buf body = { 0 };

	if (c == NULL) {
		t->slots[slot].not_before = mono_now() + MONO_SECOND;
		return;
	}
	t->slots[slot].worker = c;
	t->slots[slot].wanted = false;
	t->nworkers++;
	msg_put_u32(&body, (uint32_t)slot);
	msg_put_i64(&body, c->pid);
	chan_send(t->leader->chan, MSG_SPAWNED, body.data, body.len, peer);
	buf_clear(&body);
}

/* Start every worker that is wanted, that there is room for, and that has
 * waited long enough. */
static void
fill_slots(struct team *t)
{
	mono_t now = mono_now(), soonest = 0;

	timer_stop(t->later);
	if (t->leader == NULL || t->leader->chan == NULL)
		return;
	/* The monitor may have notices to send when it is to stop. */
	if (t->leader->kind == KIND_POOL && (t->leader->stopping ||
	    t->master->stage == STAGE_STOPPING))
		return;
	for (int i = 0; i < t->queue->workers; i++) {
		struct slot *s = &t->slots[i];

		if (!s->wanted || s->worker != NULL)
			continue;
		if (s->not_before <= now && t->nworkers < room(t))
			start_worker(t, i);
		if (s->wanted && s->not_before > now &&
		    (soonest == 0 || s->not_before < soonest))
			soonest = s->not_before;
	}
	if (soonest > 0)
		timer_set(t->later, soonest - now);
}

/* Somebody of this queue has gone: others may have more room now. */
static void
team_resize(struct master *m, const char *queue)
{
	struct team *t;

	TAILQ_FOREACH(t, &m->teams, link)
		if (strcmp(t->queue->name, queue) == 0) {
			tell_size(t);
			fill_slots(t);
		}
}

/* In a slot that the leader may name, or NULL. */
static struct slot *
slot_of(struct team *t, uint32_t slot)
{
	return slot < (uint32_t)t->queue->workers ? &t->slots[slot] : NULL;
}

static bool
on_spawn(struct team *t, struct msg_reader *r)
{
	struct slot *s = slot_of(t, msg_get_u32(r));

	if (s == NULL || !msg_end(r))
		return false;
	s->wanted = true;
	fill_slots(t);
	return true;
}

static bool
on_kill(struct team *t, struct msg_reader *r)
{
	struct slot *s = slot_of(t, msg_get_u32(r));
	int64_t pid = msg_get_i64(r), signo = msg_get_i64(r);

	if (s == NULL || !msg_end(r) || signo < 1 || signo >= NSIG)
		return false;
	/* It may be a request for the one before. */
	if (s->worker != NULL && s->worker->pid == pid)
		child_signal(s->worker, (int)signo);
	return true;
}

static void
forward_idle(struct unit *u)
{
	struct unit *sched = unit_find(u->master, KIND_SCHED, NULL);
	int64_t pool = u->idle && u->child != NULL && u->child->team != NULL ?
	    u->child->team->pool : 0;
	struct buf body = { 0 };

	if (sched == NULL || sched->child == NULL || sched->child->chan == NULL)
		return;
	msg_put_str(&body, u->queue);
	msg_put_u32(&body, u->idle);
	msg_put_i64(&body, pool);
	chan_send(sched->child->chan, MSG_IDLE, body.data, body.len, -1);
	buf_clear(&body);
}

void
team_idle(struct unit *u, bool idle)
{
	u->idle = idle;
	forward_idle(u);
}

static bool
on_idle(struct child *leader, struct msg_reader *r)
{
	char *queue = msg_get_str(r);
	uint32_t idle = msg_get_u32(r);
	bool fine = msg_end(r) && queue != NULL && idle <= 1 &&
	    strcmp(queue, leader->queue->name) == 0;

	/* Not from one that drains: its successor is who is to be woken. */
	if (fine && leader->unit != NULL) {
		team_idle(leader->unit, idle);
	}
	free(queue);
	return fine;
}

void
team_message(struct child *leader, uint32_t type, const void *body, size_t len)
{
	struct team *t = leader->team;
	struct msg_reader r;
	bool fine = false;

	msg_read(&r, body, len);
	if (type == MSG_SPAWN) {
		fine = on_spawn(t, &r);
	} else if (type == MSG_KILL) {
		fine = on_kill(t, &r);
	} else if (type == MSG_IDLE && leader->kind == KIND_POOL) {
		fine = on_idle(leader, &r);
	} else if (type == MSG_POOL && leader->kind == KIND_POOL) {
		t->pool = msg_get_i64(&r);
		fine = msg_end(&r);
	}
	if (fine)
		return;
	log_error("process speaks nonsense", "name=%s pid=%d message=%u",
	    leader->name, (int)leader->pid, type);
	child_signal(leader, SIGKILL);
}

/* The one that is there, of a kind of which there is one, to be told something. */
static struct child *
child_of(struct master *m, enum kind kind)
{
	struct unit *u = unit_find(m, kind, NULL);

	return u != NULL && u->child != NULL && u->child->chan != NULL ?
	    u->child : NULL;
}

static void
send_pool(struct child *monitor, enum msg_type type, int64_t pool)
{
	struct buf body = { 0 };

	msg_put_i64(&body, pool);
	chan_send(monitor->chan, type, body.data, body.len, -1);
	buf_clear(&body);
}

/* Nobody is left of the pool: its leases can be taken back at once. */
static void
report_gone(struct master *m, int64_t pool)
{
	struct child *monitor = child_of(m, KIND_MONITOR);

	if (pool == 0)
		return;
	if (monitor != NULL) {
		send_pool(monitor, MSG_GONE, pool);
	} else if (m->ngone < GONE_MAX) {
		m->gone = xreallocarray(m->gone, m->ngone + 1,
		    sizeof(*m->gone));
		m->gone[m->ngone++] = pool;
	}	/* else its leases run out in their own time */
}

void
team_tell_monitor(struct master *m, struct child *monitor)
{
	struct team *t;

	for (size_t i = 0; i < m->ngone; i++)
		send_pool(monitor, MSG_GONE, m->gone[i]);
	free(m->gone);
	m->gone = NULL;
	m->ngone = 0;
	TAILQ_FOREACH(t, &m->teams, link)
		if (t->leader == NULL && t->pool != 0)
			send_pool(monitor, MSG_ORPHANED, t->pool);
}

static bool
ended_well(const struct child *c)
{
	return WIFEXITED(c->status) && WEXITSTATUS(c->status) == 0;
}

void
team_leader_gone(struct child *leader)
{
	struct team *t = leader->team;
	struct master *m = t->master;
	struct child *monitor = child_of(m, KIND_MONITOR);
	const char *queue = t->queue->name;

	t->leader = NULL;
	if (leader->kind == KIND_POOL && leader->stopping && ended_well(leader))
		log_info("leader drained", "queue=%s pid=%d", queue,
		    (int)leader->was);
	if (leader->unit != NULL && leader->unit->idle)
		team_idle(leader->unit, false);
	if (t->nworkers > 0 && leader->kind == KIND_MONITOR)
		return;
	if (t->nworkers > 0) {
		log_warn("workers finish without their leader",
		    "queue=%s workers=%d", queue, t->nworkers);
		if (monitor != NULL && t->pool != 0)
			send_pool(monitor, MSG_ORPHANED, t->pool);
		return;
	}
	/* One that left in order has closed its pool itself. */
	if (!ended_well(leader))
		report_gone(m, t->pool);
	team_free(t);
}

static void
tell_exited(struct team *t, const struct child *worker)
{
	struct buf body = { 0 };

	if (t->leader == NULL || t->leader->chan == NULL)
		return;
	msg_put_u32(&body, (uint32_t)worker->slot);
	msg_put_i64(&body, worker->was);
	msg_put_i64(&body, worker->status);
	msg_put_i64(&body, worker->cpu_ms);
	msg_put_i64(&body, worker->rss_kb);
	chan_send(t->leader->chan, MSG_EXITED, body.data, body.len, -1);
	buf_clear(&body);
}

/*
 * How long before the slot's next worker. One that gives up right after its
 * start will do so again. One that is killed so soon may have met a job that
 * kills; only many in a row look like a fault of its own.
 */
static void
penalise(struct team *t, struct slot *s, const struct child *worker)
{
	mono_t delay = 0, now = mono_now();
	char end[32];

	if (now - worker->started >= QUICK || ended_well(worker)) {
		s->failures = s->crashes = 0;
	} else if (WIFEXITED(worker->status)) {
		delay = unit_backoff(t->master, s->failures++);
	} else if (++s->crashes > CRASHES_FREE) {
		delay = unit_backoff(t->master, s->crashes - CRASHES_FREE - 1);
	}
	s->not_before = now + delay;
	if (delay > 0)
		log_error("worker failed", "name=%s end=%s again_ms=%lld",
		    worker->name, child_end(worker, end, sizeof(end)),
		    (long long)(delay / MONO_MS));
}

void
team_worker_gone(struct child *worker)
{
	struct team *t = worker->team;
	struct master *m = t->master;
	struct slot *s = &t->slots[worker->slot];
	const struct queue_conf *queue = t->queue;
	char end[32];

	log_debug("worker ended", "name=%s end=%s", worker->name,
	    child_end(worker, end, sizeof(end)));
	s->worker = NULL;
	t->nworkers--;
	penalise(t, s, worker);
	tell_exited(t, worker);
	if (t->leader != NULL || t->nworkers > 0) {
		team_resize(m, queue->name);
		return;
	}
	report_gone(m, t->pool);
	generation_ref(worker->gen);	/* queue is of it, and is needed below */
	team_free(t);
	team_resize(m, queue->name);
	generation_unref(worker->gen);
}

void
team_tell_looking(struct child *c)
{
	if (c->kind == KIND_POOL || c->kind == KIND_API || c->kind == KIND_MONITOR)
		send_u32(c, MSG_LOOKING, c->master->looker != NULL);
}

/* One that leaves may do so after its successor has begun. */
void
team_looking(struct child *sched, bool yes)
{
	struct master *m = sched->master;
	struct child *c;

	if (!yes && m->looker != sched)
		return;
	m->looker = yes ? sched : NULL;
	TAILQ_FOREACH(c, &m->children, link)
		team_tell_looking(c);
}

/* What the api says of workers elsewhere is for the scheduler to understand. */
void
team_pulls(struct child *api, const void *body, size_t len)
{
	struct child *sched = child_of(api->master, KIND_SCHED);

	/* Not of one that leaves: its successor has said what is so. */
	if (sched != NULL && api->unit != NULL)
		chan_send(sched->chan, MSG_PULLS, body, len, -1);
}

/* A new scheduler knows of nobody who sleeps. */
void
team_tell_scheduler(struct master *m, struct child *sched)
{
	struct unit *u;

	(void)sched;
	TAILQ_FOREACH(u, &m->units, link)
		if (u->kind == KIND_POOL && u->idle)
			forward_idle(u);
}

/* For a hint; one that has not read so many has enough of them. */
static bool
takes_hints(const struct child *c)
{
	return c != NULL && c->chan != NULL && chan_backlog(c->chan) < HINTS_BACKLOG;
}

static void
hint(struct child *c, enum msg_type type, const char *text)
{
	struct buf body = { 0 };

	if (!takes_hints(c))
		return;
	msg_put_str(&body, text);
	chan_send(c->chan, type, body.data, body.len, -1);
	buf_clear(&body);
}

void
team_wake(struct master *m, const char *queue, bool looked, bool pulled)
{
	const struct unit *u = unit_find(m, KIND_POOL, queue);

	if (u != NULL && takes_hints(u->child))
		send_u32(u->child, MSG_WAKE, looked);
	if (pulled)
		hint(child_of(m, KIND_API), MSG_FOUND, queue);
}

void
team_heard(struct master *m, const char *payload)
{
	struct child *c;

	TAILQ_FOREACH(c, &m->children, link)
		if (c->kind == KIND_POOL || c->kind == KIND_MONITOR)
			hint(c, MSG_HEARD, payload);
}
