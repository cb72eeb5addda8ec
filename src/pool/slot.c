/*
 * The leader's workers: asking the master for them, hearing from them,
 * replacing those that are worn out, sending them home.
 *
 * A worker is gone when the master has reaped it and its channel has ended:
 * results that it sent before are read first.
 */
#include "config.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "core/breaker.h"
#include "core/msg.h"
#include "os/board.h"
#include "os/proc.h"
#include "pool/leader.h"

#define HELLO_TIMEOUT (30 * MONO_SECOND)	/* of a new worker */
#define START_TIMEOUT (60 * MONO_SECOND)	/* of a job sent to an idle worker */
#define DRAIN_TIMEOUT (2 * MONO_SECOND)		/* channel of a reaped worker */
#define RSS_EVERY (5 * MONO_SECOND)

static void on_message(struct chan *, uint32_t, const void *, size_t, int, void *);
static void on_closed(struct chan *, const char *, void *);
static void on_drain(void *);
static void slot_ended(struct slot *);

static const struct chan_ops worker_ops = { on_message, on_closed };

static void
set_state(struct slot *s, enum slot_state state)
{
	s->state = state;
	s->since = mono_now();
	s->pool->dirty = true;
}

size_t
slot_load(const struct slot *s)
{
	return s->sent.count + s->running.count;
}

const char *
slot_state_name(const struct slot *s)
{
	switch (s->state) {
	case SLOT_READY:
		return s->running.count + s->sent.count > 0 ? "busy" : "idle";
	case SLOT_LEAVING:
		return "leaving";
	case SLOT_KILLED:
		return "killed";
	default:
		return "starting";
	}
}

void
slot_init(struct pool *pool)
{
	pool->nslots = pool->queue->workers;
	pool->slots = xcalloc((size_t)pool->nslots, sizeof(*pool->slots));
	for (int i = 0; i < pool->nslots; i++) {
		struct slot *s = &pool->slots[i];

		s->pool = pool;
		s->index = i;
		lease_list_init(&s->sent);
		lease_list_init(&s->running);
		s->drain = timer_new(pool->loop, on_drain, s);
	}
}

void
slot_clear(struct pool *pool)
{
	for (int i = 0; i < pool->nslots; i++) {
		chan_free(pool->slots[i].chan);
		timer_free(pool->slots[i].drain);
	}
	free(pool->slots);
}

static void
ask_for(struct slot *s)
{
	msg_put_u32(&s->pool->body, (uint32_t)s->index);
	pool_send(s->pool, MSG_SPAWN, -1);
	set_state(s, SLOT_ASKED);
}

static void
slot_leave(struct slot *s)
{
	if (s->chan != NULL)
		chan_send(s->chan, MSG_LEAVE, NULL, 0, -1);
	set_state(s, SLOT_LEAVING);
}

/* Until it is reaped. */
void
slot_kill(struct slot *s)
{
	msg_put_u32(&s->pool->body, (uint32_t)s->index);
	msg_put_i64(&s->pool->body, s->pid);
	msg_put_i64(&s->pool->body, SIGKILL);
	pool_send(s->pool, MSG_KILL, -1);
	set_state(s, SLOT_KILLED);
}

/* Its messages make no sense: nothing it says can be believed. */
static void
slot_distrust(struct slot *s, const char *what)
{
	if (s->state == SLOT_KILLED)
		return;
	log_error("worker sent nonsense", "worker=%d pid=%d message=%s", s->index,
	    (int)s->pid, what);
	s->deliberate = true;
	slot_kill(s);
}

static void
reconcile(struct pool *pool)
{
	for (int i = 0; i < pool->nslots && !pool->draining; i++) {
		struct slot *s = &pool->slots[i];

		if (i < pool->size && s->state == SLOT_EMPTY)
			ask_for(s);
		else if (i >= pool->size && (s->state == SLOT_READY ||
		    s->state == SLOT_STARTING))
			slot_leave(s);
	}
}

void
slot_resize(struct pool *pool, int size)
{
	pool->size = size < 0 ? 0 : size > pool->nslots ? pool->nslots : size;
	reconcile(pool);
	pool_wants_turn(pool);
}

/*
 * A worker's life
 */

void
slot_spawned(struct pool *pool, unsigned index, pid_t pid, int fd)
{
	struct slot *s;

	if (index >= (unsigned)pool->nslots || fd < 0 ||
	    pool->slots[index].state != SLOT_ASKED) {
		log_error("unexpected worker", "worker=%u pid=%d", index,
		    (int)pid);
		if (fd >= 0)
			close(fd);	/* which is how it hears of it */
		return;
	}
	s = &pool->slots[index];
	s->pid = pid;
	s->chan = chan_new(pool->loop, fd, &worker_ops, s);
	s->exited = s->deliberate = false;
	s->jobs_done = 0;
	s->rss_kb = 0;
	s->born = mono_now();
	set_state(s, SLOT_STARTING);
	if (pool->draining || s->index >= pool->size)
		slot_leave(s);
}

void
slot_exited(struct pool *pool, unsigned index, pid_t pid, int status,
    int64_t cpu_ms, int64_t max_rss_kb)
{
	struct slot *s = index < (unsigned)pool->nslots ? &pool->slots[index] :
	    NULL;

	if (s == NULL || s->state == SLOT_EMPTY ||
	    (s->state != SLOT_ASKED && s->pid != pid))
		return;
	if (s->state == SLOT_ASKED) {
		/* The master could not start it, or it died on the way. */
		set_state(s, SLOT_EMPTY);
		reconcile(pool);
		return;
	}
	s->exited = true;
	s->status = status;
	s->cpu_ms = cpu_ms;
	s->max_rss_kb = max_rss_kb;
	if (s->chan == NULL)
		slot_ended(s);
	else
		timer_set(s->drain, DRAIN_TIMEOUT);
}

/* Reaped, but somebody else holds its end of the channel: it says no more. */
static void
on_drain(void *arg)
{
	struct slot *s = arg;

	chan_free(s->chan);
	s->chan = NULL;
	slot_ended(s);
}

static void
on_closed(struct chan *c, const char *reason, void *arg)
{
	struct slot *s = arg;

	chan_free(c);
	s->chan = NULL;
	if (s->exited) {
		slot_ended(s);
		return;
	}
	log_debug("worker's channel ended", "worker=%d pid=%d reason=%s",
	    s->index, (int)s->pid, reason);
	/* Dead as a rule; should it live, it could not be talked to. One that
	 * leaves is given the time to do so. */
	if (s->state != SLOT_LEAVING && s->state != SLOT_KILLED)
		slot_kill(s);
}

/* Workers come and go all the time where jobs crash them. */
static bool
tell(const struct slot *s, enum log_level level, const char *event)
{
	return tell_alone(s->pool, level, event, NULL, NULL);
}

static void
log_exit(const struct slot *s)
{
	int signo = WIFSIGNALED(s->status) ? WTERMSIG(s->status) : 0;
	int status = WIFEXITED(s->status) ? WEXITSTATUS(s->status) : -1;

	if (s->status == 0) {
		if (tell(s, LOG_LEVEL_INFO, "worker left"))
			log_info("worker left", "worker=%d pid=%d jobs=%lld",
			    s->index, (int)s->pid, (long long)s->jobs_done);
	} else if (s->deliberate) {
		if (tell(s, LOG_LEVEL_INFO, "worker ended"))
			log_info("worker ended", "worker=%d pid=%d signal=%d "
			    "status=%d", s->index, (int)s->pid, signo, status);
	} else if (tell(s, LOG_LEVEL_WARN, "worker died")) {
		log_warn("worker died", "worker=%d pid=%d signal=%d status=%d "
		    "running=%zu", s->index, (int)s->pid, signo, status,
		    s->running.count);
	}
}

/* Reaped and heard to the end. */
static void
slot_ended(struct slot *s)
{
	struct pool *pool = s->pool;

	timer_stop(s->drain);
	log_exit(s);
	verdict_worker_died(s);
	if (pool->reserved == s)
		pool->reserved = NULL;
	s->pid = 0;
	set_state(s, SLOT_EMPTY);
	reconcile(pool);
	pool_wants_turn(pool);
}

/*
 * Messages of a worker
 */

/* The lease a message is about; NULL when this worker has no such job. */
static struct lease *
named(struct slot *s, struct msg_reader *r)
{
	int64_t id = msg_get_i64(r), attempt = msg_get_i64(r);
	struct lease *l;

	if (r->bad || attempt < 0 || attempt > INT16_MAX)
		return NULL;
	l = lease_find(s->pool, id, (int)attempt);
	return l != NULL && l->slot == s ? l : NULL;
}

static void
on_hello(struct slot *s, struct msg_reader *r)
{
	uint32_t at_once, flags;
	char *destination;

	msg_get_i64(r);
	at_once = msg_get_u32(r);
	flags = msg_get_u32(r);
	destination = msg_get_short(r, BREAKER_NAME_MAX);
	if (!msg_end(r) || at_once < 1 ||
	    flags > (WORKER_HEARS | WORKER_KEEPS) ||
	    at_once > (uint32_t)s->pool->queue->concurrency) {
		free(destination);
		slot_distrust(s, "HELLO");
		return;
	}
	breakers_hello(s, destination);
	free(destination);
	s->at_once = (int)at_once;
	s->hears = flags & WORKER_HEARS;
	s->keeps = flags & WORKER_KEEPS;
	if (s->state == SLOT_STARTING) {
		set_state(s, SLOT_READY);
		if (tell(s, LOG_LEVEL_INFO, "worker started"))
			log_info("worker started", "worker=%d pid=%d at_once=%d",
			    s->index, (int)s->pid, s->at_once);
	}
	pool_wants_turn(s->pool);
}

static void
on_started(struct slot *s, struct msg_reader *r)
{
	struct pool *pool = s->pool;
	struct lease *l = named(s, r);

	if (l == NULL || !msg_end(r) || l->in != &s->sent) {
		slot_distrust(s, "STARTED");
		return;
	}
	lease_move(l, &s->running);
	l->started = s->waiting_since = mono_now();
	pool->dirty = true;
	tell_started(pool, l);
	if (l->stop != STOP_NOT)
		ladder_cancel(l, l->stop);
	else
		ladder_deadline(pool, l, l->started +
		    ladder_timeout_ms(pool->queue, &l->job) * MONO_MS);
}

/* The end of a message. */
static bool
get_destination(struct lease *l, struct msg_reader *r)
{
	free(l->destination);
	l->destination = msg_get_short(r, BREAKER_NAME_MAX);
	return msg_end(r);
}

static void
on_result(struct slot *s, struct msg_reader *r)
{
	struct pool *pool = s->pool;
	struct lease *l = named(s, r);
	struct run_result result;
	mono_t now = mono_now();
	mono_t ended = msg_get_range(r, 0, INT64_MAX / 2);
	int64_t run_us = msg_get_range(r, 0, INT64_MAX / 2);

	run_result_init(&result);
	if (l == NULL || msg_get_result(r, &result) < 0 ||
	    !get_destination(l, r)) {
		run_result_clear(&result);
		slot_distrust(s, "RESULT");
		return;
	}
	run_result_clear(&l->result);
	l->result = result;
	l->run_us = run_us;
	s->jobs_done++;
	s->waiting_since = now;
	window_note(&pool->window, run_us);
	verdict_leave_slot(pool, l);
	l->ended = ended < now ? ended : now;
	verdict_run_ended(pool, l);
	pool_wants_turn(pool);
}

static void
on_returned(struct slot *s, struct msg_reader *r)
{
	struct lease *l = named(s, r);

	if (l == NULL || !msg_end(r) || l->in != &s->sent) {
		slot_distrust(s, "RETURNED");
		return;
	}
	verdict_unsend(s->pool, l);
	pool_wants_turn(s->pool);
}

static void
on_deferred(struct slot *s, struct msg_reader *r)
{
	struct lease *l = named(s, r);

	if (l == NULL || !get_destination(l, r) || l->destination == NULL) {
		slot_distrust(s, "DEFERRED");
		return;
	}
	s->waiting_since = mono_now();
	breakers_deferred(s->pool, l);
	pool_wants_turn(s->pool);
}

static void
on_progress(struct slot *s, struct msg_reader *r)
{
	struct lease *l = named(s, r);
	int64_t pct = msg_get_range(r, -1, 100);
	char *note = msg_get_str(r);

	if (l == NULL || !msg_end(r)) {
		free(note);
		slot_distrust(s, "PROGRESS");
		return;
	}
	notes_progress(s->pool, l, (int)pct, note);
	pool_wants_turn(s->pool);
}

static void
on_output(struct slot *s, struct msg_reader *r)
{
	struct lease *l = named(s, r);
	char *text = msg_get_str(r);

	if (l == NULL || text == NULL || !msg_end(r)) {
		free(text);
		slot_distrust(s, "OUTPUT");
		return;
	}
	notes_output(s->pool, l, text);
	pool_wants_turn(s->pool);
}

static void
on_message(struct chan *c, uint32_t type, const void *body, size_t len, int fd,
    void *arg)
{
	struct slot *s = arg;
	struct msg_reader r;

	(void)c;
	if (fd >= 0)
		close(fd);
	msg_read(&r, body, len);
	switch (type) {
	case MSG_HELLO:
		on_hello(s, &r);
		break;
	case MSG_STARTED:
		on_started(s, &r);
		break;
	case MSG_RESULT:
		on_result(s, &r);
		break;
	case MSG_RETURNED:
		on_returned(s, &r);
		break;
	case MSG_DEFERRED:
		on_deferred(s, &r);
		break;
	case MSG_PROGRESS:
		on_progress(s, &r);
		break;
	case MSG_OUTPUT:
		on_output(s, &r);
		break;
	default:
		slot_distrust(s, "unknown");
		break;
	}
}

/*
 * Now and then
 */

static const char *
worn_out(const struct slot *s)
{
	const struct queue_conf *q = s->pool->queue;

	if (q->recycle.jobs > 0 && s->jobs_done >= q->recycle.jobs)
		return "jobs";
	if (q->recycle.age_ms > 0 &&
	    mono_now() - s->born >= q->recycle.age_ms * MONO_MS)
		return "age";
	/* One that has run nothing is as small as they get. */
	if (q->recycle.rss_bytes > 0 && s->jobs_done > 0 &&
	    s->rss_kb >= q->recycle.rss_bytes / 1024)
		return "rss";
	return NULL;
}

/* One at a time, so that the queue is never without workers for it. */
static void
recycle(struct pool *pool)
{
	for (int i = 0; i < pool->nslots; i++)
		if (pool->slots[i].state == SLOT_LEAVING)
			return;
	for (int i = 0; i < pool->nslots; i++) {
		struct slot *s = &pool->slots[i];
		const char *why = s->state == SLOT_READY ? worn_out(s) : NULL;

		if (why == NULL)
			continue;
		log_info("worker is replaced", "worker=%d pid=%d reason=%s "
		    "jobs=%lld rss_kb=%lld", s->index, (int)s->pid, why,
		    (long long)s->jobs_done, (long long)s->rss_kb);
		slot_leave(s);
		return;
	}
}

/* Alive by the master's word, and yet it does nothing. */
static bool
stuck(const struct slot *s, mono_t now)
{
	switch (s->state) {
	case SLOT_STARTING:
		return now - s->since > HELLO_TIMEOUT;
	case SLOT_READY:
		return s->sent.count > 0 && s->running.count == 0 &&
		    now - s->waiting_since > START_TIMEOUT;
	case SLOT_LEAVING:
		return slot_load(s) == 0 && now - s->since > START_TIMEOUT;
	case SLOT_KILLED:
		return now - s->since > KILL_AGAIN;
	default:
		return false;
	}
}

/* It has run something since its memory was last looked at, or begun to. */
static bool
may_have_grown(const struct slot *s)
{
	return slot_load(s) > 0 || s->rss_at <= s->waiting_since ||
	    s->rss_at <= s->since;
}

/* Each second, less often while the pool rests. */
void
slot_tick(struct pool *pool)
{
	mono_t now = mono_now();

	for (int i = 0; i < pool->nslots; i++) {
		struct slot *s = &pool->slots[i];

		if (s->pid == 0)
			continue;
		if (now - s->rss_at > RSS_EVERY && may_have_grown(s)) {
			s->rss_at = now;
			s->rss_kb = s->keeps ? proc_tree_rss_kb(s->pid) :
			    proc_rss_kb(s->pid);
		}
		if (!stuck(s, now))
			continue;
		if (s->state != SLOT_KILLED)
			log_error("worker is stuck", "worker=%d pid=%d state=%s",
			    s->index, (int)s->pid, slot_state_name(s));
		s->deliberate = true;
		slot_kill(s);
	}
	if (!pool->draining)
		recycle(pool);
}

/*
 * Leaving
 */

void
slot_leave_all(struct pool *pool)
{
	for (int i = 0; i < pool->nslots; i++) {
		struct slot *s = &pool->slots[i];

		dispatch_recall(s);
		if (s->state == SLOT_READY || s->state == SLOT_STARTING)
			slot_leave(s);
	}
}

void
slot_stop_all(struct pool *pool)
{
	for (int i = 0; i < pool->nslots; i++) {
		struct slot *s = &pool->slots[i];
		struct lease *l;

		TAILQ_FOREACH(l, &s->running.head, link)
			if (l->stop == STOP_NOT)
				ladder_cancel(l, STOP_SHUTDOWN);
		TAILQ_FOREACH(l, &s->sent.head, link)
			if (l->stop == STOP_NOT)
				ladder_cancel(l, STOP_SHUTDOWN);
	}
}

void
slot_abandon(struct pool *pool)
{
	for (int i = 0; i < pool->nslots; i++) {
		struct slot *s = &pool->slots[i];
		struct lease *l;

		while ((l = TAILQ_FIRST(&s->running.head)) != NULL ||
		    (l = TAILQ_FIRST(&s->sent.head)) != NULL) {
			verdict_leave_slot(pool, l);
			flush_release(pool, l);
		}
		chan_free(s->chan);
		s->chan = NULL;
		s->state = SLOT_EMPTY;
	}
}

bool
slot_none_left(const struct pool *pool)
{
	for (int i = 0; i < pool->nslots; i++)
		if (pool->slots[i].state != SLOT_EMPTY &&
		    pool->slots[i].state != SLOT_ASKED)
			return false;
	return true;
}

int
slot_running(const struct pool *pool)
{
	size_t n = 0;

	for (int i = 0; i < pool->nslots; i++)
		n += pool->slots[i].running.count;
	return (int)n;
}

void
slot_show(const struct pool *pool)
{
	static const enum board_worker states[] = {
		[SLOT_STARTING] = BOARD_WORKER_STARTING,
		[SLOT_READY] = BOARD_WORKER_IDLE,
		[SLOT_LEAVING] = BOARD_WORKER_LEAVING,
		[SLOT_KILLED] = BOARD_WORKER_LEAVING,
	};
	uint32_t n[BOARD_WORKER_STATES] = { 0 };

	for (int i = 0; i < pool->nslots; i++) {
		const struct slot *s = &pool->slots[i];

		if (s->pid == 0)
			continue;
		n[s->state == SLOT_READY && slot_load(s) > 0 ?
		    BOARD_WORKER_BUSY : states[s->state]]++;
	}
	board_seat_workers(n);
}

int
slot_busy(const struct pool *pool)
{
	int n = 0;

	for (int i = 0; i < pool->nslots; i++)
		n += slot_load(&pool->slots[i]) > 0;
	return n;
}
