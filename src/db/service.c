/*
 * A child of the master with one connection: see service.h.
 */
#include "config.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "db/service.h"
#include "db/stmt.h"
#include "os/proc.h"

static void on_message(struct chan *, uint32_t, const void *, size_t, int, void *);
static void on_closed(struct chan *, const char *, void *);
static void on_up(struct pg *, void *);
static void on_down(struct pg *, const char *, bool, void *);
static void on_notify(struct pg *, const char *, const char *, void *);
static void on_ear_up(struct pg *, void *);
static void on_ear_down(struct pg *, const char *, bool, void *);
static void on_term(int, void *);

static void
open_connection(struct service *s)
{
	static const struct pg_ops ops = { on_up, on_down, NULL };
	char *name = xasprintf("jobqd %s", s->ops->name);

	s->pg = pg_new(s->loop, s->conf->database.url, name,
	    s->conf->database.pooler_transaction, NULL, &ops, s);
	free(name);
}

static void
open_ear(struct service *s)
{
	static const struct pg_ops ops = { on_ear_up, on_ear_down, on_notify };
	char *listen = stmt_listen(s->conf->database.schema);
	char *name = xasprintf("jobqd %s listens", s->ops->name);
	const char *const setup[] = { listen, NULL };

	s->ear = pg_new(s->loop, s->conf->database.url, name, false, setup, &ops, s);
	free(name);
	free(listen);
}

void
service_init(struct service *s, const struct conf *conf,
    const struct service_ops *ops, void *arg)
{
	static const struct chan_ops chan_ops = { on_message, on_closed };

	log_process("%s", ops->name);
	proc_title("jobqd: %s", ops->name);
	*s = (struct service){ .ops = ops, .arg = arg, .conf = conf };
	s->loop = loop_new();
	loop_signal(s->loop, SIGTERM, on_term, s);
	s->master = chan_new(s->loop, PROC_CHANNEL_FD, &chan_ops, s);
	open_connection(s);
	if (ops->notify != NULL && !conf->database.pooler_transaction)
		open_ear(s);
}

void
service_run(struct service *s)
{
	loop_run(s->loop);
}

void
service_leave(struct service *s)
{
	loop_stop(s->loop);
}

void
service_disconnect(struct service *s)
{
	pg_free(s->ear);
	pg_free(s->pg);
	s->pg = s->ear = NULL;
}

void
service_clear(struct service *s)
{
	chan_free(s->master);
	loop_free(s->loop);
}

void
service_ready(struct service *s)
{
	if (s->ready || s->master == NULL)
		return;
	s->ready = true;
	chan_send(s->master, MSG_READY, NULL, 0, -1);
}

bool
service_hears(const struct service *s)
{
	return s->ear == NULL || pg_is_up(s->ear);
}

/*
 * The master
 */

static void
on_message(struct chan *master, uint32_t type, const void *body, size_t len,
    int fd, void *arg)
{
	struct service *s = arg;
	struct msg_reader r;
	bool fine = true;

	msg_read(&r, body, len);
	if (fd >= 0 && s->ops->descriptor != NULL) {
		fine = s->ops->descriptor(type, &r, fd, s->arg);
		fd = -1;
	} else if (type == MSG_PING) {
		chan_send(master, MSG_PONG, NULL, 0, -1);
	} else if (type == MSG_STOP) {
		s->stop_ms = msg_get_i64(&r);
		if (s->ops->stop != NULL)
			s->ops->stop(s->arg);
		else
			service_leave(s);
	} else {
		fine = s->ops->message(type, &r, s->arg);
	}
	if (fd >= 0)
		close(fd);
	if (!fine)
		log_warn("unexpected message", "type=%u", type);
}

static void
on_closed(struct chan *master, const char *reason, void *arg)
{
	struct service *s = arg;

	log_debug("master gone", "reason=%s", reason);
	chan_free(master);
	s->master = NULL;
	service_leave(s);
}

static void
on_term(int signo, void *arg)
{
	(void)signo;
	service_leave(arg);
}

/*
 * The connections
 */

static void
on_up(struct pg *pg, void *arg)
{
	struct service *s = arg;

	(void)pg;
	if (s->away)
		log_info("database is back", "");
	s->away = false;
	s->ops->up(s->arg);
}

static void
on_down(struct pg *pg, const char *reason, bool fatal, void *arg)
{
	struct service *s = arg;

	(void)pg;
	(void)fatal;	/* the setup process has been let in before */
	if (!s->away)
		log_warn("database is away", "reason=%s", reason);
	s->away = true;
	s->ops->down(reason, s->arg);
}

static void
on_notify(struct pg *pg, const char *channel, const char *payload, void *arg)
{
	struct service *s = arg;

	(void)pg;
	(void)channel;
	s->ops->notify(payload, s->arg);
}

static void
on_ear_up(struct pg *pg, void *arg)
{
	struct service *s = arg;

	(void)pg;
	s->deaf = false;
	s->ops->hears(true, s->arg);
}

static void
on_ear_down(struct pg *pg, const char *reason, bool fatal, void *arg)
{
	struct service *s = arg;

	(void)pg;
	(void)fatal;
	/* Of the database itself the other connection tells. */
	if (!s->deaf && pg_is_up(s->pg))
		log_warn("no connection to listen by, will be tried again",
		    "reason=%s", reason);
	s->deaf = true;
	s->ops->hears(false, s->arg);
}
