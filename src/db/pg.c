/*
 * One asynchronous PostgreSQL connection on a loop, in pipeline mode; used by
 * the processes that serve (leaders, scheduler, monitor). Owns the connection
 * and the queue of what it owes an answer to.
 *
 * Each statement is followed by a Sync, so it is its own transaction and its
 * failure is nobody else's. An answer is handed on when its Sync comes back,
 * not before: only then has the commit been made.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/xalloc.h"
#include "db/pg.h"
#include "db/pgsync.h"

#define CONNECT_TIMEOUT (20 * MONO_SECOND)	/* all hosts of the url together */
#define ANSWER_TIMEOUT (30 * MONO_SECOND)
#define BACKOFF_FIRST (100 * MONO_MS)
#define BACKOFF_LAST (1 * MONO_SECOND)
#define OFTENS_MAX 16	/* more of them go as text */
#define STEADY (5 * MONO_SECOND)	/* up this long: the next loss starts with BACKOFF_FIRST */

/* A statement that is sent often. Its name is of this connection: unknown to
 * the server until its preparation has been answered. */
struct often {
	char *sql;
	char name[16];
	enum { OFTEN_NEW, OFTEN_SENT, OFTEN_PREPARED } state;
};

struct pending {
	STAILQ_ENTRY(pending) link;
	pg_result_fn *cb;
	void *arg;
	PGresult *res;		/* what came before the Sync */
	const struct pg_setting *settings;	/* until it is sent */
	int nsettings;
	struct often *often;	/* of pg's, or NULL */
	bool prepares;
	bool setup;
};
STAILQ_HEAD(pending_list, pending);

struct pg {
	struct loop *loop;
	char *url, *application_name;
	bool pooled;
	char **setup;
	size_t nsetup, setup_left;
	struct often oftens[OFTENS_MAX];
	size_t noftens;
	unsigned names;			/* given so far */
	const struct pg_ops *ops;
	void *arg;
	PGconn *conn;			/* NULL while waiting to try again */
	struct watch *watch;
	unsigned watching;		/* what it watches for, once connected */
	struct timer *retry;		/* time to connect again */
	struct timer *guard;		/* connecting or answering takes too long */
	struct pending_list pending;
	size_t npending;
	mono_t backoff;
	mono_t up_since;
	bool up;
	bool broken;			/* a statement was sent in part */
	unsigned depth;			/* callbacks of ours on the stack */
	bool freed;			/* pg_free() was called within one */
};

static void connect_start(void *);
static void connect_step(int, unsigned, void *);
static void connected(struct pg *);
static void guard_expired(void *);
static void ready(int, unsigned, void *);
static int queue_statement(struct pg *, const char *, int,
    const char *const *, struct pending *, struct err *);
static int send_statement(struct pg *, const char *, int,
    const char *const *, struct pending *, struct err *);
static void drop(struct pg *, const char *reason, bool fatal);

static void
enter(struct pg *pg)
{
	pg->depth++;
}

/* Returns false when pg is no more. */
static bool
leave(struct pg *pg)
{
	if (--pg->depth > 0)
		return !pg->freed;
	if (!pg->freed)
		return true;
	free(pg);
	return false;
}

static void
keep_setup(struct pg *pg, const char *const *setup)
{
	size_t n = 0;

	while (setup != NULL && setup[n] != NULL)
		n++;
	pg->setup = xcalloc(n + 1, sizeof(*pg->setup));
	pg->setup[pg->nsetup++] = xstrdup(PG_SETTLE("false"));
	for (size_t i = 0; i < n; i++)
		pg->setup[pg->nsetup++] = xstrdup(setup[i]);
}

struct pg *
pg_new(struct loop *loop, const char *url, const char *application_name,
    bool pooled, const char *const *setup, const struct pg_ops *ops, void *arg)
{
	struct pg *pg = xcalloc(1, sizeof(*pg));

	pg->loop = loop;
	pg->url = xstrdup(url);
	pg->application_name = xstrdup(application_name);
	pg->pooled = pooled;
	if (!pooled)
		keep_setup(pg, setup);
	pg->ops = ops;
	pg->arg = arg;
	pg->backoff = BACKOFF_FIRST;
	STAILQ_INIT(&pg->pending);
	pg->retry = timer_new(loop, connect_start, pg);
	pg->guard = timer_new(loop, guard_expired, pg);
	timer_set(pg->retry, 0);
	return pg;
}

bool
pg_is_up(const struct pg *pg)
{
	return pg->up;
}

int
pg_client_pid(const struct pg *pg)
{
	return pg->up ? PQbackendPID(pg->conn) : 0;
}

static struct pending *
pending_new(pg_result_fn *cb, void *arg)
{
	struct pending *p = xcalloc(1, sizeof(*p));

	p->cb = cb;
	p->arg = arg;
	return p;
}

int
pg_query(struct pg *pg, const char *sql, int nparams,
    const char *const *params, pg_result_fn *cb, void *arg, struct err *e)
{
	return queue_statement(pg, sql, nparams, params, pending_new(cb, arg), e);
}

int
pg_query_as(struct pg *pg, const struct pg_setting *settings, int nsettings,
    const char *sql, int nparams, const char *const *params,
    pg_result_fn *cb, void *arg, struct err *e)
{
	struct pending *p = pending_new(cb, arg);

	p->settings = settings;
	p->nsettings = nsettings;
	return queue_statement(pg, sql, nparams, params, p, e);
}

int
pg_query_within(struct pg *pg, int limit_ms, const char *sql, int nparams,
    const char *const *params, pg_result_fn *cb, void *arg, struct err *e)
{
	char text[16];
	const struct pg_setting limit = { "statement_timeout", text };

	snprintf(text, sizeof(text), "%d", limit_ms);
	return pg_query_as(pg, &limit, 1, sql, nparams, params, cb, arg, e);
}

/* NULL when there are too many. */
static struct often *
find_often(struct pg *pg, const char *sql)
{
	struct often *o;

	for (size_t i = 0; i < pg->noftens; i++)
		if (strcmp(pg->oftens[i].sql, sql) == 0)
			return &pg->oftens[i];
	if (pg->noftens == OFTENS_MAX)
		return NULL;
	o = &pg->oftens[pg->noftens++];
	o->sql = xstrdup(sql);
	return o;
}

int
pg_query_often(struct pg *pg, const char *sql, int nparams,
    const char *const *params, pg_result_fn *cb, void *arg, struct err *e)
{
	struct pending *p = pending_new(cb, arg);

	if (!pg->pooled)
		p->often = find_often(pg, sql);
	return queue_statement(pg, sql, nparams, params, p, e);
}

/* Takes p. */
static int
queue_statement(struct pg *pg, const char *sql, int nparams,
    const char *const *params, struct pending *p, struct err *e)
{
	if (pg->up)
		return send_statement(pg, sql, nparams, params, p, e);
	free(p);
	return err_code(e, ERR_DOWN, "not connected to the database");
}

static void
free_connection(struct pg *pg)
{
	watch_free(pg->watch);
	pg->watch = NULL;
	if (pg->conn != NULL)
		PQfinish(pg->conn);
	pg->conn = NULL;
	pg->up = pg->broken = false;
	for (size_t i = 0; i < pg->noftens; i++)
		pg->oftens[i].state = OFTEN_NEW;
	timer_stop(pg->guard);
}

static void
log_failure(const PGresult *res)
{
	struct err e;

	if (PQresultStatus(res) == PGRES_TUPLES_OK ||
	    PQresultStatus(res) == PGRES_COMMAND_OK)
		return;
	pg_error(res, &e);
	log_error("statement failed", "reason=%s", e.msg);
}

/* Takes the oldest statement off the queue and tells its owner the end. */
static void
answer(struct pg *pg, struct pending *p, bool lost)
{
	STAILQ_REMOVE_HEAD(&pg->pending, link);
	pg->npending--;
	if (p->cb != NULL)
		p->cb(pg, lost ? NULL : p->res, p->arg);
	else if (!lost)
		log_failure(p->res);
	PQclear(p->res);
	free(p);
}

static void
answer_all_lost(struct pg *pg)
{
	struct pending *p;

	while ((p = STAILQ_FIRST(&pg->pending)) != NULL)
		answer(pg, p, true);
}

void
pg_free(struct pg *pg)
{
	if (pg == NULL || pg->freed)
		return;
	enter(pg);
	free_connection(pg);
	answer_all_lost(pg);
	timer_free(pg->retry);
	timer_free(pg->guard);
	for (size_t i = 0; i < pg->nsetup; i++)
		free(pg->setup[i]);
	free(pg->setup);
	for (size_t i = 0; i < pg->noftens; i++)
		free(pg->oftens[i].sql);
	free(pg->url);
	free(pg->application_name);
	pg->freed = true;
	leave(pg);
}

/* The connection is gone; try again later. */
static void
drop(struct pg *pg, const char *reason, bool fatal)
{
	/* reason may be the connection's own text. */
	char *why = xstrdup(reason);
	mono_t wait;

	enter(pg);
	if (pg->up && mono_now() - pg->up_since > STEADY)
		pg->backoff = BACKOFF_FIRST;
	free_connection(pg);
	answer_all_lost(pg);
	if (!pg->freed) {
		wait = pg->backoff / 2 +
		    (mono_t)arc4random_uniform((uint32_t)pg->backoff);
		timer_set(pg->retry, wait);
		pg->backoff *= 2;
		if (pg->backoff > BACKOFF_LAST)
			pg->backoff = BACKOFF_LAST;
		pg->ops->down(pg, why, fatal, pg->arg);
	}
	free(why);
	leave(pg);
}

static void
drop_connecting(struct pg *pg, struct err *e)
{
	drop(pg, e->msg, e->code == ERR_CONFIG);
}

static void
connect_start(void *arg)
{
	struct pg *pg = arg;
	struct err e;

	pg->conn = pg_connect_start(pg->url, pg->application_name, &e);
	if (pg->conn == NULL) {
		drop_connecting(pg, &e);
		return;
	}
	if (PQstatus(pg->conn) == CONNECTION_BAD) {
		pg_connect_error(pg->conn, &e);
		drop_connecting(pg, &e);
		return;
	}
	timer_set(pg->guard, CONNECT_TIMEOUT);
	pg->watch = watch_new(pg->loop, PQsocket(pg->conn), LOOP_WRITE,
	    connect_step, pg);
}

static void
connect_step(int fd, unsigned what, void *arg)
{
	struct pg *pg = arg;
	PostgresPollingStatusType status;
	struct err e;

	(void)fd;
	(void)what;
	/* libpq may close this socket and open another, with several hosts or
	 * addresses, perhaps under the same number: watch anew each time. */
	watch_free(pg->watch);
	pg->watch = NULL;
	status = PQconnectPoll(pg->conn);
	switch (status) {
	case PGRES_POLLING_FAILED:
		pg_connect_error(pg->conn, &e);
		drop_connecting(pg, &e);
		break;
	case PGRES_POLLING_OK:
		connected(pg);
		break;
	default:
		pg->watch = watch_new(pg->loop, PQsocket(pg->conn),
		    status == PGRES_POLLING_READING ? LOOP_READ : LOOP_WRITE,
		    connect_step, pg);
		break;
	}
}

static void
became_up(struct pg *pg)
{
	pg->up = true;
	pg->up_since = mono_now();
	pg->ops->up(pg, pg->arg);
}

static void
connected(struct pg *pg)
{
	struct err e;

	timer_stop(pg->guard);
	pg_connect_done(pg->conn);
	if (PQsetnonblocking(pg->conn, 1) < 0 ||
	    PQenterPipelineMode(pg->conn) != 1) {
		drop(pg, PQerrorMessage(pg->conn), false);
		return;
	}
	pg->watching = LOOP_READ;
	pg->watch = watch_new(pg->loop, PQsocket(pg->conn), LOOP_READ, ready, pg);
	pg->setup_left = pg->nsetup;
	for (size_t i = 0; i < pg->nsetup; i++) {
		struct pending *p = xcalloc(1, sizeof(*p));

		p->setup = true;
		if (send_statement(pg, pg->setup[i], 0, NULL, p, &e) < 0) {
			drop(pg, e.msg, false);
			return;
		}
	}
	if (pg->nsetup == 0)
		became_up(pg);
}

static void
guard_expired(void *arg)
{
	struct pg *pg = arg;

	if (pg->broken)
		drop(pg, "cannot send a statement", false);
	else if (pg->npending > 0)
		drop(pg, "no answer to a statement for 30 s", false);
	else
		drop(pg, "no answer within 20 s while connecting", false);
}

/* Give the socket what it takes. When it does not take all: the server may
 * be blocked on its answers, so go on reading meanwhile. */
static int
flush(struct pg *pg)
{
	int rest = PQflush(pg->conn);
	unsigned what = rest > 0 ? LOOP_READ | LOOP_WRITE : LOOP_READ;

	if (rest < 0)
		return -1;
	if (what != pg->watching)
		watch_set(pg->watch, pg->watching = what);
	return 0;
}

/* A setting lasts as long as the transaction, which ends with the Sync: nothing
 * stays behind in a session that may be a pooler's. */
static int
send_settings(struct pg *pg, const struct pending *p)
{
	const char *params[2 * PG_SETTINGS_MAX];
	struct buf sql = { 0 };
	int sent;

	if (p->nsettings == 0)
		return 1;
	buf_str(&sql, "SELECT");
	for (int i = 0; i < p->nsettings; i++) {
		params[2 * i] = p->settings[i].name;
		params[2 * i + 1] = p->settings[i].value;
		buf_printf(&sql, "%s set_config($%d, $%d, true)", i > 0 ? "," : "",
		    2 * i + 1, 2 * i + 2);
	}
	sent = PQsendQueryParams(pg->conn, sql.data, 2 * p->nsettings, NULL,
	    params, NULL, NULL, 0);
	buf_clear(&sql);
	return sent;
}

/* What is sent often is prepared on the way, and goes as text while that is
 * not known to have succeeded. */
static int
send_text(struct pg *pg, const char *sql, int nparams,
    const char *const *params, struct pending *p)
{
	struct often *o = p->often;

	if (o != NULL && o->state == OFTEN_NEW) {
		snprintf(o->name, sizeof(o->name), "s%u", pg->names++);
		if (PQsendPrepare(pg->conn, o->name, sql, 0, NULL) != 1)
			return 0;
		o->state = OFTEN_SENT;
		p->prepares = true;
	}
	if (p->prepares || (o != NULL && o->state == OFTEN_PREPARED))
		return PQsendQueryPrepared(pg->conn, o->name, nparams, params,
		    NULL, NULL, 0);
	return PQsendQueryParams(pg->conn, sql, nparams, NULL, params, NULL,
	    NULL, 0);
}

/* Takes p. */
static int
send_statement(struct pg *pg, const char *sql, int nparams,
    const char *const *params, struct pending *p, struct err *e)
{
	int sent = send_settings(pg, p);

	if (sent == 1)
		sent = send_text(pg, sql, nparams, params, p);
	if (sent != 1 || PQpipelineSync(pg->conn) != 1 || flush(pg) < 0) {
		const char *reason = PQerrorMessage(pg->conn);

		err_code(e, ERR_DOWN, "%.*s", (int)strcspn(reason, "\n"), reason);
		free(p);
		/* Half a statement may be in the buffer: nothing that follows
		 * could be matched with its answer. Dropped at the loop's
		 * next turn, since the caller may be anywhere. */
		pg->broken = true;
		timer_set(pg->guard, 0);
		return -1;
	}
	if (pg->npending++ == 0)
		timer_set(pg->guard, ANSWER_TIMEOUT);
	STAILQ_INSERT_TAIL(&pg->pending, p, link);
	return 0;
}

/* Every setup statement must succeed, or the session is not what its owner
 * thinks it is. */
static bool
setup_answered(struct pg *pg, const struct pending *p)
{
	struct err e;

	if (PQresultStatus(p->res) != PGRES_COMMAND_OK &&
	    PQresultStatus(p->res) != PGRES_TUPLES_OK) {
		pg_error(p->res, &e);
		drop(pg, e.msg, false);
		return false;
	}
	if (--pg->setup_left == 0)
		became_up(pg);
	return true;
}

/* How the server took a statement that is sent often. It is prepared again
 * when what it stands for has changed (feature_not_supported: its result type)
 * or somebody has discarded it. */
static void
learn(struct often *o, bool prepares, const PGresult *res)
{
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);

	if (prepares)
		o->state = PQresultStatus(res) == PGRES_COMMAND_OK ?
		    OFTEN_PREPARED : OFTEN_NEW;
	else if (state != NULL && (strcmp(state, "0A000") == 0 ||
	    strcmp(state, "26000") == 0))
		o->state = OFTEN_NEW;
}

/* Keep the first error, else the last result. */
static void
keep(struct pending *p, PGresult *res)
{
	if (p->often != NULL) {
		learn(p->often, p->prepares, res);
		p->prepares = false;
	}
	if (p->res != NULL && PQresultStatus(p->res) == PGRES_FATAL_ERROR) {
		PQclear(res);
		return;
	}
	PQclear(p->res);
	p->res = res;
}

/*
 * All answers that are here. False when the connection was dropped: libpq's
 * object is gone then, and pg itself may be.
 */
static bool
take_answers(struct pg *pg)
{
	struct pending *p;
	unsigned nulls = 0;

	while ((p = STAILQ_FIRST(&pg->pending)) != NULL && !pg->broken &&
	    !PQisBusy(pg->conn)) {
		PGresult *res = PQgetResult(pg->conn);
		bool setup = p->setup;

		/* One stands between a result and its Sync; a dead connection
		 * gives nothing else. */
		if (res == NULL) {
			if (++nulls > 2)
				break;
			continue;
		}
		nulls = 0;
		if (PQresultStatus(res) != PGRES_PIPELINE_SYNC) {
			keep(p, res);
			continue;
		}
		PQclear(res);
		if (setup && !setup_answered(pg, p))
			return false;
		if (pg->freed || pg->conn == NULL)
			return false;
		answer(pg, p, false);
		if (pg->freed || pg->conn == NULL)
			return false;
	}
	if (nulls > 2 && PQstatus(pg->conn) != CONNECTION_BAD) {
		drop(pg, "answers out of step", false);
		return false;
	}
	if (pg->broken)
		return true;
	if (pg->npending == 0)
		timer_stop(pg->guard);
	else
		timer_set(pg->guard, ANSWER_TIMEOUT);
	return true;
}

static bool
take_notifies(struct pg *pg)
{
	PGnotify *n;

	while ((n = PQnotifies(pg->conn)) != NULL) {
		if (pg->ops->notify != NULL)
			pg->ops->notify(pg, n->relname, n->extra, pg->arg);
		PQfreemem(n);
		if (pg->freed || pg->conn == NULL)
			return false;
	}
	return true;
}

static void
ready(int fd, unsigned what, void *arg)
{
	struct pg *pg = arg;
	bool alive = true;

	(void)fd;
	enter(pg);
	/* Read first: what blocks our writing may be answers nobody reads. */
	if (what & LOOP_READ)
		alive = PQconsumeInput(pg->conn) == 1;
	/* What arrived before the end of the line still counts. */
	if (take_answers(pg) && take_notifies(pg) &&
	    (!alive || pg->broken || PQstatus(pg->conn) == CONNECTION_BAD ||
	    flush(pg) < 0)) {
		const char *reason = PQerrorMessage(pg->conn);
		char line[512];

		snprintf(line, sizeof(line), "%.*s",
		    (int)strcspn(reason, "\n"), reason);
		drop(pg, line[0] != '\0' ? line : "connection lost", false);
	}
	leave(pg);
}
