/*
 * The master's processes: starting, signalling, burying. Every fork of a
 * child happens here, and only who reaps may signal: a process id belongs to
 * its process until wait() took it, and not a moment longer.
 *
 * A child is finished when it was reaped and its channel has ended, because
 * what it said last may still be in the socket.
 */
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "core/msg.h"
#include "master/table.h"
#include "os/board.h"
#include "os/cgroup.h"
#include "os/listen.h"
#include "os/proc.h"

#define UNANSWERED_MAX 3	/* PINGs; then the process hangs */
#define STRAYS_MAX 4096

static void finish(struct child *);

static int
child_compare(const struct child *a, const struct child *b)
{
	return a->pid < b->pid ? -1 : a->pid > b->pid;
}

RB_PROTOTYPE(pids, child, by_pid, child_compare)
RB_GENERATE(pids, child, by_pid, child_compare)

static bool
has_channel(enum kind kind)
{
	return kind == KIND_POOL || kind == KIND_SCHED ||
	    kind == KIND_MONITOR || kind == KIND_API;
}

static void
set_name(struct child *c)
{
	switch (c->kind) {
	case KIND_SETUP:
		strlcpy(c->name, "setup", sizeof(c->name));
		break;
	case KIND_POOL:
		snprintf(c->name, sizeof(c->name), "queue %s", c->queue->name);
		break;
	case KIND_WORKER:
		snprintf(c->name, sizeof(c->name), "worker %s/%d",
		    c->queue->name, c->slot);
		break;
	case KIND_SCHED:
		strlcpy(c->name, "scheduler", sizeof(c->name));
		break;
	case KIND_MONITOR:
		strlcpy(c->name, "monitor", sizeof(c->name));
		break;
	case KIND_API:
		strlcpy(c->name, "api", sizeof(c->name));
		break;
	case KIND_POSTGRES:
		strlcpy(c->name, "postgres", sizeof(c->name));
		break;
	}
}

/* In the new process. The master's memory is there, its descriptors are not. */
static _Noreturn void
run(struct child *c)
{
	const struct master_entries *entries = c->master->options->entries;
	const struct conf *conf = c->gen->conf;
	int status = 2;

	log_process("%s", c->name);
	logs_use(c);
	proc_title("jobqd: %s", c->name);
	board_enter(has_channel(c->kind) ? c->seat : -1);
	switch (c->kind) {
	case KIND_SETUP:
		if (c->master->relay >= 0)
			log_echo(PROC_EXTRA_FD);
		status = entries->setup(conf);
		break;
	case KIND_POOL:
		status = entries->pool(conf, c->queue);
		break;
	case KIND_WORKER:
		status = entries->worker(conf, c->queue, c->slot);
		break;
	case KIND_SCHED:
		status = entries->sched(conf);
		break;
	case KIND_MONITOR:
		status = entries->monitor(conf);
		break;
	case KIND_API:
		status = entries->api(conf);
		break;
	case KIND_POSTGRES:
		embedded_exec(c->master->embedded);
	}
	exit(status);
}

static void
bad_message(struct child *c, uint32_t type)
{
	log_error("process speaks nonsense", "name=%s pid=%d message=%u",
	    c->name, (int)c->pid, type);
	child_signal(c, SIGKILL);
}

static void
on_found(struct child *c, struct msg_reader *r)
{
	char *queue = msg_get_str(r);
	bool looked = msg_get_u32(r) != 0, pulled = msg_get_u32(r) != 0;

	if (queue == NULL || !msg_end(r))
		bad_message(c, MSG_FOUND);
	else
		team_wake(c->master, queue, looked, pulled);
	free(queue);
}

static void
on_heard(struct child *c, struct msg_reader *r)
{
	char *payload = msg_get_str(r);

	if (payload == NULL || !msg_end(r))
		bad_message(c, MSG_HEARD);
	else
		team_heard(c->master, payload);
	free(payload);
}

static void
on_looking(struct child *c, struct msg_reader *r)
{
	bool yes = msg_get_u32(r) != 0;

	if (!msg_end(r)) {
		bad_message(c, MSG_LOOKING);
	} else {
		c->looks = yes;
		team_looking(c, yes);
	}
}

static void
on_pong(struct child *c)
{
	c->unanswered = 0;
	if (c->looks && c->master->looker == NULL)
		team_looking(c, true);
}

static void
on_ready(struct child *c)
{
	c->ready = true;
	log_debug("process ready", "name=%s pid=%d", c->name, (int)c->pid);
	master_step(c->master);
}

static void
on_message(struct chan *chan, uint32_t type, const void *body, size_t len,
    int fd, void *arg)
{
	struct child *c = arg;
	struct msg_reader r;

	(void)chan;
	msg_read(&r, body, len);
	if (fd >= 0)
		close(fd);	/* nobody sends the master one */
	if (type == MSG_PONG)
		on_pong(c);
	else if (type == MSG_READY)
		on_ready(c);
	else if (type == MSG_FOUND && c->kind == KIND_SCHED)
		on_found(c, &r);
	else if (type == MSG_HEARD && c->kind == KIND_SCHED)
		on_heard(c, &r);
	else if (type == MSG_LOOKING && c->kind == KIND_SCHED)
		on_looking(c, &r);
	else if (type == MSG_PULLS && c->kind == KIND_API)
		team_pulls(c, body, len);
	else if (c->team != NULL)
		team_message(c, type, body, len);
	else
		bad_message(c, type);
}

static void
on_closed(struct chan *chan, const char *reason, void *arg)
{
	struct child *c = arg;

	chan_free(chan);
	c->chan = NULL;
	if (c->pid == 0) {
		finish(c);
		return;
	}
	/* Usually it is about to be reaped. One that lives on without a
	 * channel can be told nothing any more. */
	log_debug("channel closed", "name=%s pid=%d reason=%s", c->name,
	    (int)c->pid, reason);
	child_kill_after(c, 2 * MONO_SECOND);
}

static const struct chan_ops chan_ops = { on_message, on_closed };

static void
child_free(struct child *c)
{
	TAILQ_REMOVE(&c->master->children, c, link);
	board_seat_leave(c->seat);
	timer_free(c->deadline);
	chan_free(c->chan);
	generation_unref(c->gen);
	free(c);
}

/* What a child has as descriptor 5; -1: nothing. */
static int
extra_of(const struct child *c)
{
	const struct master *m = c->master;

	if (c->kind == KIND_SETUP)
		return m->relay;
	return c->kind == KIND_API ? listener_fd(m->listener) : -1;
}

/* The two ends, fork, and the ends to their owners. -1: e says why. */
static int
launch(struct child *c, int *peer, struct err *e)
{
	struct master *m = c->master;
	int fds[2] = { -1, -1 };
	bool channel = has_channel(c->kind) || c->kind == KIND_WORKER;

	if (channel && proc_pair(fds, e) != 0)
		return -1;
	c->pid = proc_fork(m->loop, fds[1], extra_of(c), e);
	if (c->pid == 0)
		run(c);
	if (channel)
		close(fds[1]);
	if (c->pid < 0) {
		if (channel)
			close(fds[0]);
		return -1;
	}
	if (c->kind == KIND_WORKER)
		*peer = fds[0];
	else if (channel)
		c->chan = chan_new(m->loop, fds[0], &chan_ops, c);
	return 0;
}

struct child *
child_start(struct master *m, const struct child_plan *plan)
{
	struct child *c = xcalloc(1, sizeof(*c));
	struct err e;

	c->master = m;
	c->kind = plan->kind;
	c->gen = generation_ref(plan->gen);
	c->queue = plan->queue;
	c->slot = plan->slot;
	c->team = plan->team;
	c->started = mono_now();
	c->seat = c->kind == KIND_POOL ? board_seat_take(c->queue->name) : 0;
	set_name(c);
	TAILQ_INSERT_TAIL(&m->children, c, link);
	if (launch(c, plan->peer, &e) != 0) {
		log_error("cannot start a process", "name=%s reason=%s",
		    c->name, e.msg);
		c->pid = 0;
		child_free(c);
		return NULL;
	}
	c->was = c->pid;
	RB_INSERT(pids, &m->pids, c);
	log_debug("process started", "name=%s pid=%d", c->name, (int)c->pid);
	return c;
}

void
child_signal(struct child *c, int signo)
{
	if (c->pid <= 0)
		return;
	if (signo == SIGKILL)
		kill(-c->pid, signo);	/* what it left in its own group */
	if (kill(c->pid, signo) != 0)
		log_warn("cannot signal a process",
		    "name=%s pid=%d signal=%d error=%s", c->name, (int)c->pid,
		    signo, strerror(errno));
}

static void
on_deadline(void *arg)
{
	struct child *c = arg;

	if (c->pid == 0) {
		/* Reaped, but somebody holds its channel open. */
		chan_free(c->chan);
		c->chan = NULL;
		finish(c);
		return;
	}
	log_warn("process killed", "name=%s pid=%d reason=%s", c->name,
	    (int)c->pid, c->stopping ? "it did not stop in time" :
	    "its channel ended");
	child_signal(c, SIGKILL);
}

void
child_kill_after(struct child *c, mono_t after)
{
	if (c->deadline == NULL)
		c->deadline = timer_new(c->master->loop, on_deadline, c);
	timer_set(c->deadline, after);
}

void
child_stop(struct child *c, int64_t ms, mono_t patience)
{
	struct buf body = { 0 };

	c->stopping = true;
	msg_put_i64(&body, ms);
	if (c->chan != NULL)
		chan_send(c->chan, MSG_STOP, body.data, body.len, -1);
	buf_clear(&body);
	child_kill_after(c, ms * MONO_MS + patience);
}

bool
child_is_monitor(const struct child *c)
{
	return c->kind == KIND_MONITOR || (c->kind == KIND_WORKER &&
	    c->queue == c->gen->conf->notices);
}

const char *
child_end(const struct child *c, char *text, size_t size)
{
	if (WIFSIGNALED(c->status))
		snprintf(text, size, "signal %d", WTERMSIG(c->status));
	else
		snprintf(text, size, "status %d", WEXITSTATUS(c->status));
	return text;
}

static void
finish(struct child *c)
{
	struct master *m = c->master;

	switch (c->kind) {
	case KIND_SETUP:
		m->setup = NULL;
		reload_prepared(m, c);
		break;
	case KIND_POOL:
		team_leader_gone(c);
		break;
	case KIND_WORKER:
		team_worker_gone(c);
		break;
	case KIND_SCHED:
		team_looking(c, false);
		break;
	case KIND_MONITOR:
		if (c->team != NULL)
			team_leader_gone(c);
		break;
	case KIND_API:
		break;
	case KIND_POSTGRES:
		embedded_gone(m->embedded, c);
		break;
	}
	if (c->unit != NULL)
		unit_gone(c->unit, c);
	child_free(c);
	master_step(m);
}

static bool
has_strays(struct master *m)
{
	static pid_t found[STRAYS_MAX];
	size_t n = proc_children(found, STRAYS_MAX), strays = 0;

	for (size_t i = 0; i < n; i++) {
		struct child key = { .pid = found[i] };

		if (RB_FIND(pids, &m->pids, &key) != NULL)
			continue;
		log_debug("stray process killed", "pid=%d", (int)found[i]);
		strays++;
	}
	return strays > 0;
}

/*
 * What a dead worker had started is the master's now, since it adopts
 * orphans: nothing of it may survive. Their children come up in turn when
 * they are reaped.
 */
static void
kill_strays(struct master *m)
{
	struct child *c;
	pid_t *ours;
	size_t n = 0;

	if (!has_strays(m))
		return;
	RB_FOREACH(c, pids, &m->pids)
		n++;
	ours = xcalloc(n + 1, sizeof(*ours));
	n = 0;
	RB_FOREACH(c, pids, &m->pids)
		ours[n++] = c->pid;
	proc_kill_strays(ours, n);
	free(ours);
}

static void
buried(struct child *c, int status, const struct rusage *use)
{
	struct master *m = c->master;

	RB_REMOVE(pids, &m->pids, c);
	c->pid = 0;
	c->status = status;
	c->cpu_ms = (int64_t)(use->ru_utime.tv_sec + use->ru_stime.tv_sec) * 1000 +
	    (use->ru_utime.tv_usec + use->ru_stime.tv_usec) / 1000;
	c->rss_kb = use->ru_maxrss;
	if (c->chan == NULL)
		finish(c);
	else
		child_kill_after(c, MONO_SECOND);
}

void
child_reap_all(struct master *m)
{
	struct rusage use;
	bool strays = false;
	int status;
	pid_t pid;

	while ((pid = wait4(-1, &status, WNOHANG, &use)) > 0) {
		struct child key = { .pid = pid };
		struct child *c = RB_FIND(pids, &m->pids, &key);

		/* A stranger is a stray that was killed, or one that the
		 * system gave to its process 1. */
		strays |= c == NULL || c->kind == KIND_WORKER;
		if (c != NULL)
			buried(c, status, &use);
	}
	if (strays) {
		cgroup_sweep();
		kill_strays(m);
	}
}

void
child_ping_all(struct master *m)
{
	struct child *c;

	TAILQ_FOREACH(c, &m->children, link) {
		if (c->chan == NULL || c->pid == 0)
			continue;
		if (c->unanswered >= UNANSWERED_MAX) {
			log_error("process hangs", "name=%s pid=%d", c->name,
			    (int)c->pid);
			child_signal(c, SIGKILL);
			continue;
		}
		/* Who may hang hears nothing: others look until it answers. */
		if (c->unanswered > 0)
			team_looking(c, false);
		c->unanswered++;
		chan_send(c->chan, MSG_PING, NULL, 0, -1);
	}
}
