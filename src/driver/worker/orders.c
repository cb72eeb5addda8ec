/*
 * Orders of programs: see orders.h.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/xalloc.h"
#include "core/sqlstate.h"
#include "db/stmt.h"
#include "db/txn.h"
#include "driver/worker/orders.h"

#define TIMEOUT_MS 30000
#define AGAIN_MAX 3		/* times that a passing failure is tried again */

struct order {
	TAILQ_ENTRY(order) link;
	struct orders *orders;
	struct strings jobs;
	size_t bytes;
	int64_t job;
	char *token, *result;
	order_fn *fn;		/* NULL: dropped */
	void *arg;

	size_t next;		/* of jobs */
	bool sent;		/* a statement was, beside "begin" */
	bool completing, completed;
	int again;
	int64_t id;
};
TAILQ_HEAD(order_list, order);

struct orders {
	struct loop *loop;
	struct session *session;
	struct timer *turn;	/* the first one is to begin */
	struct order_list list;	/* the first one is at work, if `working` */
	bool working;
	size_t bytes;
	char *enqueue, *complete;
	struct txn txn;
	struct session_statement statement;
	const char *params[3];
	char id[24];
};

static const struct txn_settings settings = {
	.role = "", .timeout_ms = TIMEOUT_MS,
};
static const unsigned enqueue_types[2] = { SESSION_TEXT, SESSION_JSONB };
static const unsigned complete_types[3] = { SESSION_BIGINT, SESSION_TEXT, SESSION_JSONB };

static void on_turn(void *);
static void tell(struct order *, enum job_class, const char *message);

struct orders *
orders_new(struct loop *loop, const char *url, const char *schema)
{
	struct orders *o = xcalloc(1, sizeof(*o));

	o->loop = loop;
	o->session = session_new(loop, url, "jobqd worker");
	o->turn = timer_new(loop, on_turn, o);
	o->enqueue = stmt_in_schema("select jobq.enqueue_object($1, "
	    "$2 - '{queue,id,ref}'::text[], 'the job')", schema);
	o->complete = stmt_in_schema("select jobq.complete($1, $2, $3)", schema);
	TAILQ_INIT(&o->list);
	return o;
}

static void
order_free(struct order *order)
{
	TAILQ_REMOVE(&order->orders->list, order, link);
	order->orders->bytes -= order->bytes;
	strings_clear(&order->jobs);
	free(order->token);
	free(order->result);
	free(order);
}

void
orders_free(struct orders *o)
{
	if (o == NULL)
		return;
	session_free(o->session);
	while (!TAILQ_EMPTY(&o->list))
		tell(TAILQ_FIRST(&o->list), CLASS_LOST, "the worker has left");
	timer_free(o->turn);
	free(o->enqueue);
	free(o->complete);
	free(o);
}

bool
orders_empty(const struct orders *o)
{
	return TAILQ_EMPTY(&o->list);
}

size_t
orders_bytes(const struct orders *o)
{
	return o->bytes;
}

struct order *
orders_add(struct orders *o, struct strings *jobs, int64_t job,
    const char *token, const char *result, order_fn *fn, void *arg)
{
	struct order *order = xcalloc(1, sizeof(*order));

	order->orders = o;
	order->jobs = *jobs;
	*jobs = (struct strings){ .n = 0 };
	for (size_t i = 0; i < order->jobs.n; i++)
		order->bytes += strlen(order->jobs.v[i]);
	order->job = job;
	order->token = xstrdup(token);
	order->result = xstrdup(result);
	order->fn = fn;
	order->arg = arg;
	o->bytes += order->bytes;
	TAILQ_INSERT_TAIL(&o->list, order, link);
	if (!o->working)
		timer_set(o->turn, 0);
	return order;
}

/* One that has begun is stopped: nobody needs its end. */
void
orders_drop(struct order *order)
{
	struct orders *o = order->orders;

	order->fn = NULL;
	if (!o->working || order != TAILQ_FIRST(&o->list))
		order_free(order);
	else
		txn_cancel(&o->txn);
}

/*
 * The transaction of the first one
 */

static const struct session_statement *
on_next(void *arg)
{
	struct order *order = arg;
	struct orders *o = order->orders;

	if (order->next < order->jobs.n) {
		o->params[0] = order->jobs.v[order->next++];
		o->params[1] = order->jobs.v[order->next++];
		o->statement = (struct session_statement){ .sql = o->enqueue,
		    .nparams = 2, .types = enqueue_types, .params = o->params };
	} else if (order->job != 0 && !order->completing) {
		order->completing = true;
		snprintf(o->id, sizeof(o->id), "%" PRId64, order->job);
		o->params[0] = o->id;
		o->params[1] = order->token;
		o->params[2] = order->result;
		o->statement = (struct session_statement){ .sql = o->complete,
		    .nparams = 3, .types = complete_types, .params = o->params };
	} else {
		return NULL;
	}
	order->sent = true;
	return &o->statement;
}

static void
on_row(const struct session_row *row, void *arg)
{
	struct order *order = arg;
	size_t len;
	const char *text = session_value(row, 0, &len);

	if (order->completing)
		order->completed = text != NULL && *text == 't';
	else
		order->id = text != NULL ? strtoll(text, NULL, 10) : 0;
}

static enum txn_answer
on_answered(const struct session_end *end, void *arg)
{
	struct order *order = arg;

	(void)end;
	return order->completing && !order->completed ? TXN_BACK : TXN_ON;
}

static void
tell(struct order *order, enum job_class class, const char *message)
{
	struct order_end end = { class, message, order->id };
	struct orders *o = order->orders;
	order_fn *fn = order->fn;
	void *arg = order->arg;

	o->working = false;
	order_free(order);
	if (!TAILQ_EMPTY(&o->list))
		timer_set(o->turn, 0);
	if (fn != NULL)
		fn(&end, arg);
}

/* A connection may have been lost long ago; with nothing said on a new one,
 * nothing can have happened. */
static bool
may_go_again(const struct order *order, const struct session_end *end)
{
	return order->fn != NULL && order->again < AGAIN_MAX &&
	    (sqlstate_is_passing(end->sqlstate) ||
	    (end->class == CLASS_NETWORK && !order->sent));
}

static void begin(struct order *);

static void
on_over(const struct session_end *end, void *arg)
{
	struct order *order = arg;
	bool refused = order->completing && !order->completed &&
	    end->class == CLASS_ERROR;

	if (refused) {
		tell(order, CLASS_LOST, "the job is no longer this worker's, and "
		    "nothing was enqueued");
	} else if (end->class != CLASS_NONE && may_go_again(order, end)) {
		order->again++;
		begin(order);
	} else {
		tell(order, end->class, end->message);
	}
}

static const struct txn_ops txn_ops = { on_next, NULL, on_row, on_answered, on_over };

static void
begin(struct order *order)
{
	struct orders *o = order->orders;

	order->next = 0;
	order->sent = order->completing = order->completed = false;
	txn_start(&o->txn, o->session, &settings, &txn_ops, order);
}

static void
on_turn(void *arg)
{
	struct orders *o = arg;
	struct order *order = TAILQ_FIRST(&o->list);

	if (o->working || order == NULL)
		return;
	o->working = true;
	if (order->jobs.n == 0 && order->job == 0)
		tell(order, CLASS_NONE, "");
	else
		begin(order);
}
