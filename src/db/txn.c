/*
 * A driver's transaction: see txn.h.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "db/txn.h"

/* Phases, in this order. */
enum { TXN_BEGIN, TXN_SETTINGS, TXN_STATEMENTS, TXN_COMMIT, TXN_ROLLBACK };

/*
 * The server looks every two seconds whether we are still there, as a
 * statement of a worker that was killed is to end. Last the role, which may
 * not be allowed the others.
 */
static const char settings_local[] =
    "select set_config('statement_timeout', $1, true), "
    "set_config('client_connection_check_interval', '2000', true), "
    "set_config('role', $2, true)";
static const char settings_session[] =
    "select set_config('statement_timeout', $1, false), "
    "set_config('client_connection_check_interval', '2000', false), "
    "set_config('role', $2, false)";

static void on_head(const struct session_row *, void *);
static void on_row(const struct session_row *, void *);
static void on_done(const struct session_end *, void *);

static const struct session_ops own_ops = { NULL, NULL, on_done };
static const struct session_ops their_ops = { on_head, on_row, on_done };

static void
run_own(struct txn *t, int phase, const char *sql, int nparams)
{
	t->phase = phase;
	t->own = (struct session_statement){ .sql = sql, .nparams = nparams,
	    .params = t->params };
	session_run(t->session, &t->own, &own_ops, t);
}

static void
give_up(struct txn *t)
{
	bool open = t->phase != TXN_BEGIN && t->phase != TXN_COMMIT &&
	    !t->settings->bare && t->end.sqlstate[0] != '\0';

	if (open)
		run_own(t, TXN_ROLLBACK, "rollback", 0);
	else
		t->ops->over(&t->end, t->arg);
}

/* For a reason of ours, not the server's. */
static void
refuse(struct txn *t, enum job_class class, const char *message)
{
	t->end.class = class;
	strlcpy(t->end.sqlstate, "55000", sizeof(t->end.sqlstate));
	strlcpy(t->end.message, message, sizeof(t->end.message));
	give_up(t);
}

static void
run_settings(struct txn *t)
{
	const char *role = t->settings->role;

	snprintf(t->timeout, sizeof(t->timeout), "%" PRId64,
	    t->settings->timeout_ms > INT32_MAX ? INT32_MAX :
	    t->settings->timeout_ms);
	t->params[0] = t->timeout;
	t->params[1] = *role != '\0' ? role : "none";
	run_own(t, TXN_SETTINGS, t->settings->bare ? settings_session :
	    settings_local, 2);
}

static void
run_next(struct txn *t)
{
	const struct session_statement *next = NULL;

	if (t->cancelled) {
		refuse(t, CLASS_TIMEOUT, "stopped");
		return;
	}
	next = t->ops->next(t->arg);
	t->phase = TXN_STATEMENTS;
	if (next != NULL)
		session_run(t->session, next, &their_ops, t);
	else if (t->settings->bare)
		t->ops->over(&t->end, t->arg);
	else
		run_own(t, TXN_COMMIT, "commit", 0);
}

static void
on_head(const struct session_row *row, void *arg)
{
	struct txn *t = arg;

	if (t->ops->head != NULL)
		t->ops->head(row, t->arg);
}

static void
on_row(const struct session_row *row, void *arg)
{
	struct txn *t = arg;

	if (t->ops->row != NULL)
		t->ops->row(row, t->arg);
}

static void
on_done(const struct session_end *end, void *arg)
{
	struct txn *t = arg;

	if (t->phase == TXN_ROLLBACK) {
		t->ops->over(&t->end, t->arg);
		return;
	}
	if (end->class != CLASS_NONE) {
		t->end = *end;
		give_up(t);
		return;
	}
	switch (t->phase) {
	case TXN_BEGIN:
		run_settings(t);
		break;
	case TXN_COMMIT:
		t->ops->over(&t->end, t->arg);
		break;
	case TXN_STATEMENTS:
		txn_go_on(t, t->ops->answered != NULL ?
		    t->ops->answered(end, t->arg) : TXN_ON);
		break;
	default:
		run_next(t);
	}
}

void
txn_start(struct txn *t, struct session *session,
    const struct txn_settings *settings, const struct txn_ops *ops, void *arg)
{
	memset(t, 0, sizeof(*t));
	t->session = session;
	t->settings = settings;
	t->ops = ops;
	t->arg = arg;
	if (settings->bare)
		run_settings(t);
	else
		run_own(t, TXN_BEGIN, settings->read_only ?
		    "begin isolation level repeatable read read only" : "begin", 0);
}

void
txn_go_on(struct txn *t, enum txn_answer answer)
{
	if (answer == TXN_BACK)
		refuse(t, CLASS_ERROR, "rolled back");
	else if (answer == TXN_ON)
		run_next(t);
}

void
txn_cancel(struct txn *t)
{
	t->cancelled = true;
	if (t->phase != TXN_COMMIT && t->phase != TXN_ROLLBACK)
		session_cancel(t->session);
}
