/*
 * The master: the parent of all of jobqd's processes, and the only one that
 * forks, signals and reaps them. It reads the configuration and nothing else;
 * it has no connection to the database and runs no job, so there is little it
 * could die of. It keeps a list of what should run and starts what does not.
 *
 *	master.c	the start, signals, readiness
 *	child.c		processes
 *	unit.c		what should run, and back-off
 *	team.c		leaders and their workers
 *	reload.c	generations
 *	stop.c		the end
 *	embedded.c	a PostgreSQL of our own
 */
#include "config.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/xalloc.h"
#include "master/dev.h"
#include "master/table.h"
#include "os/board.h"
#include "os/cgroup.h"
#include "os/listen.h"
#include "os/notify.h"
#include "os/pidfile.h"
#include "os/priv.h"
#include "os/proc.h"

#define BEAT (10 * MONO_SECOND)
#define PIDFILE_BEATS 6		/* looked at once a minute */

struct generation *
generation_new(struct master *m, struct conf *conf)
{
	struct generation *gen = xcalloc(1, sizeof(*gen));

	gen->conf = conf;
	gen->refs = 1;
	gen->number = ++m->generations;
	return gen;
}

struct generation *
generation_ref(struct generation *gen)
{
	gen->refs++;
	return gen;
}

void
generation_unref(struct generation *gen)
{
	if (--gen->refs > 0)
		return;
	conf_free(gen->conf);
	free(gen);
}

/* ---- readiness -------------------------------------------------------- */

static void
tell_ready(struct master *m)
{
	size_t workers = 0, queues = 0;
	const struct unit *u;

	TAILQ_FOREACH(u, &m->units, link)
		if (u->kind == KIND_POOL) {
			queues++;
			workers += (size_t)u->conf->workers;
		}
	m->ready = true;
	m->stage = STAGE_RUNNING;
	master_show(m);
	log_info("ready", "queues=%zu workers=%zu", queues, workers);
	notify_manager("READY=1\nSTATUS=%zu queues, %zu workers", queues, workers);
	if (m->relay >= 0) {
		log_echo(-1);
		proc_detached(m->relay);
		m->relay = -1;
	}
}

static void
tell_drained(struct master *m)
{
	const struct child *c;

	TAILQ_FOREACH(c, &m->children, link)
		if (c->kind == KIND_POOL || (c->kind == KIND_WORKER &&
		    !child_is_monitor(c)))
			return;
	log_info("drained", "");
	notify_manager("STATUS=drained");
}

void
master_show(const struct master *m)
{
	board_set_state(m->stage == STAGE_STOPPING ? BOARD_STOPPING :
	    m->drained ? BOARD_DRAINING : m->ready ? BOARD_READY :
	    BOARD_STARTING);
}

void
master_step(struct master *m)
{
	const struct unit *u;

	master_show(m);
	stop_step(m);
	if (m->stage == STAGE_RUNNING && m->drained)
		tell_drained(m);
	if (m->stage != STAGE_STARTING || !m->prepared)
		return;
	TAILQ_FOREACH(u, &m->units, link)
		if ((u->child == NULL || !u->child->ready) &&
		    !(m->drained && u->kind == KIND_POOL))
			return;
	tell_ready(m);
}

void
master_prepare(struct master *m)
{
	struct child_plan plan = {
		.kind = KIND_SETUP,
		.gen = m->reload.next ? m->reload.next : m->current,
	};

	if (m->setup != NULL || m->stage == STAGE_STOPPING)
		return;
	m->setup = child_start(m, &plan);
	if (m->setup == NULL)
		timer_set(m->setup_retry, unit_backoff(m, m->setup_failures++));
}

static void
on_setup_retry(void *arg)
{
	master_prepare(arg);
}

void
master_give_up(struct master *m, const char *why)
{
	log_error("start failed", "reason=%s", why);
	m->status = 1;
	stop_now(m);
}

/* ---- signals and timers ----------------------------------------------- */

static void
reopen_logs(struct master *m)
{
	struct child *c;
	struct err e;
	int status = log_reopen(&e);

	TAILQ_FOREACH(c, &m->children, link)
		if (c->kind != KIND_POSTGRES)
			child_signal(c, SIGUSR1);
	if (status == 0)
		log_info("logs reopened", "");
	else
		log_error("log not reopened", "reason=%s", e.msg);
}

static void
on_signal(int signo, void *arg)
{
	struct master *m = arg;

	switch (signo) {
	case SIGCHLD:
		child_reap_all(m);
		break;
	case SIGHUP:
		reload_begin(m);
		break;
	case SIGUSR1:
		reopen_logs(m);
		break;
	case SIGTERM:
	case SIGINT:
		stop_begin(m);
		break;
	case SIGQUIT:
		stop_now(m);
		break;
	case SIGUSR2:
		log_warn("signal ignored", "signal=%s reason=%s", "USR2",
		    "this version cannot be upgraded in place");
		break;
	case SIGWINCH:
		if (!m->terminal)	/* else it is the window's size */
			stop_drain(m);
		break;
	}
}

static void
check_pidfile(struct master *m)
{
	const char *path = m->current->conf->daemon.pid_file;
	struct pidfile *again;
	struct err e;

	if (m->pidfile == NULL || pidfile_check(m->pidfile, &e) == 0)
		return;
	log_warn("pid file lost", "reason=%s", e.msg);
	if ((again = pidfile_take(path, &e)) == NULL) {
		log_error("pid file not written again", "reason=%s", e.msg);
		return;
	}
	pidfile_free(m->pidfile);
	m->pidfile = again;
}

static void
on_beat(void *arg)
{
	struct master *m = arg;
	int64_t ms = m->options->ping_ms;

	board_beat();
	child_ping_all(m);
	if (++m->beats % PIDFILE_BEATS == 0)
		check_pidfile(m);
	timer_set(m->beat, ms > 0 ? ms * MONO_MS : BEAT);
}

static void
on_watchdog(void *arg)
{
	struct master *m = arg;

	notify_manager("WATCHDOG=1");
	timer_set(m->watchdog, notify_watchdog());
}

static void
stop_soft(void *arg)
{
	stop_late(arg, STOP_ORPHANS);
}

static void
stop_hard(void *arg)
{
	stop_late(arg, STOP_ALL);
}

static void
stop_postgres(void *arg)
{
	stop_late(arg, STOP_POSTGRES);
}

/* ---- the start -------------------------------------------------------- */

/* -d: no terminal to write to, so what would be shown there is syslog's. */
void
master_settle(const struct master *m, struct conf *conf)
{
	if (!m->options->detach || strcmp(conf->log.file, "stderr") != 0)
		return;
	free(conf->log.file);
	conf->log.file = xstrdup("syslog");
}

static int
detach(struct master *m, struct err *e)
{
	if (!m->options->detach)
		return 0;
	if ((m->relay = proc_detach(e)) < 0)
		return -1;
	log_echo(m->relay);
	return 0;
}

static int
open_log(const struct master *m, const struct conf *conf, struct err *e)
{
	if (log_open(conf->log.file, conf->log.level, conf->log.format, e) != 0)
		return -1;
	if (m->options->detach && log_fd() > STDERR_FILENO) {
		/* What is not a record, an assertion's last words, too. */
		dup2(log_fd(), STDOUT_FILENO);
		dup2(log_fd(), STDERR_FILENO);
		log_moved(log_fd());
		log_echo(m->relay);
	}
	return logs_open(conf, e);
}

/* Was daemon.user written down, or is it only the default? */
static bool
user_is_named(const struct conf *conf)
{
	return conf->root != NULL &&
	    node_get(node_get(conf->root, "daemon"), "user") != NULL;
}

struct listener *
master_listen(const struct conf *conf, struct err *e)
{
	mode_t mode = (mode_t)strtoul(conf->api.socket_mode, NULL, 8);
	struct listener *l = listener_open(conf->api.listen, mode, e);

	if (l == NULL)
		err_prepend(e, "api.listen");
	else
		log_info("listening", "address=%s", conf->api.listen);
	return l;
}

static int
give_up_root(struct master *m, const struct conf *conf, struct err *e)
{
	const char *user = conf->daemon.user;
	struct identity who;

	if (geteuid() != 0) {
		if (user_is_named(conf))
			log_info("daemon.user ignored", "reason=%s",
			    "not started as root");
		return 0;
	}
	if (user[0] == '\0' || strcmp(user, "root") == 0)
		return 0;
	if (priv_find(user, conf->daemon.group, &who, e) != 0) {
		if (user_is_named(conf))
			return err_prepend(e, "daemon.user");
		log_warn("runs as root", "reason=%s set=%s", e->msg,
		    "daemon.user");
		return 0;
	}
	if (m->pidfile != NULL)
		pidfile_chown(m->pidfile, who.uid, who.gid);
	if (m->listener != NULL &&
	    listener_chown(m->listener, who.uid, who.gid, e) != 0)
		return -1;
	if (log_fd() > STDERR_FILENO && fchown(log_fd(), who.uid, who.gid) != 0)
		log_warn("log file keeps its owner", "file=%s", conf->log.file);
	logs_chown(who.uid, who.gid);
	return priv_drop(&who, e);
}

static void
make_loop(struct master *m)
{
	static const int signals[] = {
		SIGCHLD, SIGHUP, SIGUSR1, SIGUSR2, SIGTERM, SIGINT, SIGQUIT, SIGWINCH,
	};

	m->loop = loop_new();
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		loop_signal(m->loop, signals[i], on_signal, m);
	m->beat = timer_new(m->loop, on_beat, m);
	m->watchdog = timer_new(m->loop, on_watchdog, m);
	m->setup_retry = timer_new(m->loop, on_setup_retry, m);
	m->stop_soft = timer_new(m->loop, stop_soft, m);
	m->stop_hard = timer_new(m->loop, stop_hard, m);
	m->stop_postgres = timer_new(m->loop, stop_postgres, m);
}

/* All that can fail before there is a loop. Takes conf. */
static int
begin(struct master *m, struct conf *conf, struct err *e)
{
	m->current = generation_new(m, conf);
	master_settle(m, conf);
	if (detach(m, e) != 0 || open_log(m, conf, e) != 0)
		return -1;
	notify_init();
	if (conf->daemon.pid_file[0] != '\0' &&
	    (m->pidfile = pidfile_take(conf->daemon.pid_file, e)) == NULL)
		return -1;
	if (board_make(conf->nqueues, e) != 0)
		return -1;
	if (strcmp(conf->api.listen, "off") != 0 &&
	    (m->listener = master_listen(conf, e)) == NULL)
		return -1;
	if (give_up_root(m, conf, e) != 0)
		return -1;
	make_loop(m);
	if (conf->database.embedded[0] != '\0' &&
	    (m->embedded = embedded_new(m, conf, e)) == NULL)
		return -1;
	return 0;
}

/* Before there are children, who stay in the group where they were made. */
static void
prepare_sandboxes(const struct conf *conf)
{
	bool wanted = false;

	for (size_t i = 0; i < conf->nqueues; i++)
		wanted |= conf->queues[i].box.memory > 0 ||
		    conf->queues[i].box.processes > 0;
	if (wanted)
		cgroup_delegate();
}

/* To those who come from a system that has its jobs there. */
static void
tell_of_redis(void)
{
	static const char *const names[] = {
		"REDIS_HOST", "REDIS_PORT", "REDIS_PASSWORD", "REDIS_DB",
		"REDIS_URL", "QUEUE_REDIS_HOST", "QUEUE_REDIS_PORT",
		"QUEUE_REDIS_PASSWORD",
	};
	struct buf set = { 0 };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (getenv(names[i]) != NULL)
			buf_printf(&set, "%s%s", set.len > 0 ? " " : "", names[i]);
	if (set.len > 0)
		log_warn("uses no Redis", "variables=%s set=%s", set.data,
		    "database.url");
	buf_clear(&set);
}

static void
serve(struct master *m)
{
	log_info("starting", "version=%s configuration=%s pid=%d",
	    PACKAGE_VERSION, m->current->conf->path, (int)getpid());
	tell_of_redis();
	proc_adopt_orphans();
	cgroup_sweep();
	prepare_sandboxes(m->current->conf);
	reload_populate(m);
	if (m->embedded != NULL)
		embedded_start(m->embedded);
	else
		master_prepare(m);
	unit_reconcile(m);
	on_beat(m);
	if (notify_watchdog() > 0)
		on_watchdog(m);
	loop_run(m->loop);
}

static void
clear(struct master *m)
{
	while (!TAILQ_EMPTY(&m->units))
		unit_free(TAILQ_FIRST(&m->units));
	team_free_all(m);
	embedded_free(m->embedded);
	timer_free(m->beat);
	timer_free(m->watchdog);
	timer_free(m->setup_retry);
	timer_free(m->stop_soft);
	timer_free(m->stop_hard);
	timer_free(m->stop_postgres);
	loop_free(m->loop);
	listener_free(m->listener);
	pidfile_free(m->pidfile);
	if (m->current != NULL)
		generation_unref(m->current);
	if (m->relay >= 0)
		close(m->relay);	/* it did not get ready */
}

int
master_main(struct conf *conf, const struct master_options *options)
{
	struct master m = {
		.options = options, .relay = -1,
		.terminal = isatty(STDIN_FILENO) || isatty(STDERR_FILENO),
	};
	struct err e;

	TAILQ_INIT(&m.children);
	TAILQ_INIT(&m.units);
	TAILQ_INIT(&m.teams);
	RB_INIT(&m.pids);
	signal(SIGPIPE, SIG_IGN);
	log_process("master");
	proc_title("jobqd: master (%s)", conf->path);
	if (options->dev)
		dev_say(conf);
	if (begin(&m, conf, &e) != 0) {
		log_error("start failed", "reason=%s", e.msg);
		m.status = 1;
	} else {
		serve(&m);
		log_info("stopped", "status=%d", m.status);
	}
	clear(&m);
	return m.status;
}

int
master_signal(const struct conf *conf, const char *name, struct err *e)
{
	static const struct {
		const char *name;
		int signo;
	} names[] = {
		{ "reload", SIGHUP },
		{ "quit", SIGTERM },
		{ "stop", SIGQUIT },
		{ "reopen", SIGUSR1 },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		pid_t pid;

		if (strcmp(name, names[i].name) != 0)
			continue;
		if ((pid = pidfile_owner(conf->daemon.pid_file, e)) < 0)
			return -1;
		if (kill(pid, names[i].signo) != 0)
			return err_errno(e, "cannot signal process %ld",
			    (long)pid);
		return 0;
	}
	return err_code(e, ERR_CONFIG,
	    "there is no signal %s: it is reload, quit, stop or reopen", name);
}
