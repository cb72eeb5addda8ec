/*
 * The driver sql: runs statements of the configuration, with the job's data
 * as $1 and the job itself as $2, both jsonb. Data is never made part of a
 * statement's text. A worker has one session for each handler, and runs one
 * job at a time on its loop, so that it hears the leader meanwhile.
 *
 * What one job's statements do is one transaction. With `transactional` the
 * job's completion is part of it: whoever dies where, either both are there
 * or neither, as the end of an attempt is a row that only one can insert.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "conf/conf.h"
#include "core/sqlstate.h"
#include "core/template.h"
#include "db/stmt.h"
#include "db/txn.h"
#include "driver/drivers.h"
#include "driver/rows.h"

#define STATEMENTS_MAX 100
#define ROWS_MAX 10000			/* of max_rows */
#define ROWS_DEFAULT 100
#define BYTES_MAX (RESULT_MAX - 1024)	/* of rows in a result */
#define LIMIT_DEFAULT 1000
#define PAUSE_DEFAULT 10		/* ms */
#define AGAIN_MAX 3			/* times that a passing failure is tried again */
#define TELL_EVERY (MONO_SECOND / 2)

struct sql_run {
	struct sql *sql;
	struct run *run;
	struct txn txn;
	bool in_txn;
	bool cancelled;
	enum job_class why;		/* of the cancel */
	int again;
	char *chosen;			/* the statement's name, with choose: */

	char *job, *result;
	char limit[24], id[24];
	const char *params[3];		/* data, job, limit */
	const char *ends[3];		/* of complete(): id, token, result */
	struct session_statement statement;
	size_t next;			/* of the statements */
	enum { RUN_STATEMENTS, RUN_OWNER, RUN_COMPLETE } phase;
	bool completed;			/* what complete() said */

	struct buf rows;		/* objects, commas between them */
	int64_t nrows;			/* that the statement has returned */
	bool truncated;
	int64_t affected;		/* by the last statement, in all with batch: */
	int64_t single;			/* the number that was all of its answer; -1: none */

	struct timer *pause;		/* between batches; NULL: none */
	mono_t told;
};

/* Opened once in a worker. */
struct sql {
	struct driver_ctx *ctx;
	struct session *session;
	struct txn_settings settings;
	const struct node *statements;	/* a list or a map; NULL: `one` */
	const char *one, *choose;
	char *complete;
	bool transactional, batch;
	int64_t limit, pause_ms, max_rows;
	struct sql_run *now;		/* the one that runs, or NULL */
};

static const unsigned param_types[3] = { SESSION_JSONB, SESSION_JSONB, SESSION_BIGINT };
static const unsigned complete_types[3] = { SESSION_BIGINT, SESSION_TEXT, SESSION_JSONB };

static void begin(struct sql_run *);

/*
 * Options
 */

static void
complain(struct conf_sink *sink, const struct node *options, const char *key,
    const char *why)
{
	const struct node_entry *at = node_entry(options, key);

	if (at != NULL)
		conf_complain(sink, at->file, at->line, at->column, "%s: %s", key, why);
	else
		conf_complain(sink, options->file, options->line, options->column,
		    "%s: %s", key, why);
}

static void
check_statements(const struct node *options, struct conf_sink *sink)
{
	const struct node *one = node_get(options, "statement");
	const struct node *many = node_get(options, "statements");
	const struct node *choose = node_get(options, "choose");
	const char *text = "x";
	struct err e;

	node_str(options, "statement", &text, sink);
	if (*text == '\0')
		complain(sink, options, "statement", "is empty");
	if ((one == NULL) == (many == NULL)) {
		complain(sink, options, many != NULL ? "statements" : "statement",
		    "needs either statement: or statements:");
		return;
	}
	if ((choose != NULL) != (many != NULL && many->kind == NODE_MAP)) {
		complain(sink, options, choose != NULL ? "choose" : "statements",
		    "choose: and a map of statements: go together");
		return;
	}
	text = "";
	node_str(options, "choose", &text, sink);
	if (template_check(text, &e) < 0)
		complain(sink, options, "choose", e.msg);
	if (many == NULL)
		return;
	if (many->kind == NODE_SCALAR || many->count == 0 ||
	    many->count > STATEMENTS_MAX) {
		complain(sink, options, "statements", "needs a list of statements, "
		    "or a map of names and statements, at most 100");
		return;
	}
	for (size_t i = 0; i < many->count; i++) {
		const struct node_entry *at = &many->entries[i];

		if (at->value->kind != NODE_SCALAR || *at->value->text == '\0')
			conf_complain(sink, at->file, at->line, at->column,
			    "statements: needs the text of a statement");
	}
}

static void
read_batch(const struct node *options, struct sql *x, struct conf_sink *sink)
{
	const struct node *batch = node_get(options, "batch");

	x->limit = LIMIT_DEFAULT;
	x->pause_ms = PAUSE_DEFAULT;
	x->batch = batch != NULL;
	node_int(batch, "limit", 1, 1000000, &x->limit, sink);
	node_duration_ms(batch, "pause", &x->pause_ms, sink);
}

static void
check_batch(const struct node *options, struct conf_sink *sink)
{
	static const char *const keys[] = { "limit", "pause", NULL };
	const struct node *batch = node_get(options, "batch");
	const struct node *many = node_get(options, "statements");
	struct sql x = { .ctx = NULL };
	bool transactional = false;

	if (batch == NULL)
		return;
	if (batch->kind != NODE_MAP) {
		complain(sink, options, "batch", "needs a map: limit, pause");
		return;
	}
	node_known_keys(batch, keys, sink);
	read_batch(options, &x, sink);
	if (x.pause_ms > 3600000)
		complain(sink, batch, "pause", "at most 1h");
	node_bool(options, "transactional", &transactional, NULL);
	if (transactional)
		complain(sink, options, "batch",
		    "every batch commits by itself: not with transactional:");
	if (many != NULL && many->kind == NODE_LIST)
		complain(sink, options, "batch",
		    "repeats one statement: not with a list of them");
}

static void
check(const struct node *options, struct conf_sink *sink)
{
	static const char *const keys[] = {
		"driver", "statement", "statements", "choose", "url", "url_file",
		"role", "transactional", "autocommit", "batch", "max_rows", NULL
	};
	bool transactional = false, autocommit = false;
	const char *text = NULL;
	char *url;
	int64_t n;

	node_known_keys(options, keys, sink);
	check_statements(options, sink);
	check_batch(options, sink);
	url = node_secret(options, "url", sink);
	node_str(options, "role", &text, sink);
	node_bool(options, "transactional", &transactional, sink);
	node_bool(options, "autocommit", &autocommit, sink);
	node_int(options, "max_rows", 0, ROWS_MAX, &n, sink);
	if (transactional && url != NULL)
		complain(sink, options, "transactional", "the job is completed in "
		    "the database that it is in: not with url:");
	if (transactional && autocommit)
		complain(sink, options, "autocommit",
		    "is no transaction: not with transactional:");
	free(url);
}

/*
 * In a worker
 */

static int
open_sql(struct driver_ctx *ctx, struct err *e)
{
	const struct node *options = ctx->handler->options;
	struct sql *x = xcalloc(1, sizeof(*x));
	char *url = node_secret(options, "url", NULL);

	if (url == NULL && node_entry(options, "url_file") != NULL) {
		free(x);
		return err_set(e, "url_file cannot be read");
	}
	x->ctx = ctx;
	x->one = x->choose = x->settings.role = "";
	x->max_rows = ROWS_DEFAULT;
	x->statements = node_get(options, "statements");
	node_str(options, "statement", &x->one, NULL);
	node_str(options, "choose", &x->choose, NULL);
	node_str(options, "role", &x->settings.role, NULL);
	node_bool(options, "transactional", &x->transactional, NULL);
	node_bool(options, "autocommit", &x->settings.bare, NULL);
	node_int(options, "max_rows", 0, ROWS_MAX, &x->max_rows, NULL);
	read_batch(options, x, NULL);
	x->complete = stmt_in_schema("select jobq.complete($1, $2, $3)", ctx->schema);
	x->session = session_new(ctx->loop, url ? url : ctx->database, "jobqd sql");
	free(url);
	ctx->state = x;
	return 0;
}

static void
sql_run_free(struct sql_run *r)
{
	if (r->pause != NULL)
		timer_free(r->pause);
	buf_clear(&r->rows);
	free(r->chosen);
	free(r->job);
	free(r->result);
	r->sql->now = NULL;
	free(r);
}

static void
close_sql(struct driver_ctx *ctx)
{
	struct sql *x = ctx->state;

	session_free(x->session);
	if (x->now != NULL)
		sql_run_free(x->now);
	free(x->complete);
	free(x);
	ctx->state = NULL;
}

/*
 * Ends
 */

/* The message may be a part of what is freed here. */
static void
fail(struct sql_run *r, enum job_class class, const char *message)
{
	struct run *run = r->run;
	char text[RESULT_MESSAGE_MAX];

	if (r->sql->batch && r->affected > 0)
		snprintf(text, sizeof(text), "%s; %" PRId64 " rows are done", message,
		    r->affected);
	else
		strlcpy(text, message, sizeof(text));
	sql_run_free(r);
	run_fail(run, class, "%s", text);
}

static char *
make_result(struct sql_run *r)
{
	struct buf b = { .len = 0 };

	buf_str(&b, "{\"rows\":[");
	buf_put(&b, r->rows.data, r->rows.len);
	buf_printf(&b, "],\"count\":%" PRId64 "%s}", r->affected,
	    r->truncated ? ",\"truncated\":true" : "");
	return buf_detach(&b);
}

static void
done(struct sql_run *r)
{
	struct run *run = r->run;
	struct run_result result;

	run_result_init(&result);
	result.settled = r->completed;
	result.result = r->result != NULL ? r->result : make_result(r);
	r->result = NULL;
	sql_run_free(r);
	run_end(run, &result);
}

/*
 * Rows
 */

static void
on_row(const struct session_row *row, void *arg)
{
	struct sql_run *r = arg;
	size_t before = r->rows.len, bytes = before, len = 0;
	const char *text = session_value(row, 0, &len);

	if (r->phase != RUN_STATEMENTS) {
		r->completed = r->phase == RUN_COMPLETE && text != NULL && *text == 't';
		return;
	}
	r->nrows++;
	if (r->sql->batch) {
		r->single = r->nrows == 1 && session_columns(row) == 1 &&
		    text != NULL && session_kind(row, 0) == VALUE_NUMBER ?
		    strtoll(text, NULL, 10) : -1;
		return;
	}
	for (int i = 0; i < session_columns(row); i++)
		bytes += session_value(row, i, &len) != NULL ? len : 0;
	r->truncated |= r->nrows > r->sql->max_rows || bytes > BYTES_MAX;
	if (r->truncated)
		return;
	if (before > 0)
		buf_char(&r->rows, ',');
	rows_object(&r->rows, row);
	if (r->rows.len > BYTES_MAX) {
		r->truncated = true;
		r->rows.len = before;
	}
}

/*
 * Statements
 */

/* The one of a map whose name the data says. */
static const char *
chosen_text(const struct sql_run *r)
{
	const struct node *text = node_get(r->sql->statements, r->chosen);

	return text != NULL ? text->text : NULL;
}

static const char *
statement_text(struct sql_run *r)
{
	const struct sql *x = r->sql;
	size_t i = r->next++;

	if (x->statements != NULL && x->statements->kind == NODE_LIST)
		return i < x->statements->count ?
		    x->statements->entries[i].value->text : NULL;
	return i > 0 ? NULL : x->statements != NULL ? chosen_text(r) : x->one;
}

/* The owner of the schema completes the job, not the role of the statements. */
static const struct session_statement *
next_end(struct sql_run *r)
{
	if (r->phase == RUN_STATEMENTS && *r->sql->settings.role != '\0') {
		r->phase = RUN_OWNER;
		r->statement = (struct session_statement){
			.sql = "select set_config('role', 'none', true)" };
		return &r->statement;
	}
	if (r->phase == RUN_COMPLETE)
		return NULL;
	r->phase = RUN_COMPLETE;
	free(r->result);
	r->result = make_result(r);
	run_seal_result(r->run, &r->result);
	r->ends[2] = r->result;
	r->statement = (struct session_statement){ .sql = r->sql->complete,
	    .nparams = 3, .types = complete_types, .params = r->ends };
	return &r->statement;
}

static const struct session_statement *
on_next(void *arg)
{
	struct sql_run *r = arg;
	const char *text = r->phase == RUN_STATEMENTS ? statement_text(r) : NULL;

	if (text == NULL)
		return r->sql->transactional ? next_end(r) : NULL;
	buf_reset(&r->rows);		/* the result is the last one's */
	r->nrows = 0;
	r->truncated = false;
	r->single = -1;
	r->statement = (struct session_statement){ .sql = text,
	    .nparams = r->sql->batch ? 3 : 2, .types = param_types,
	    .params = r->params };
	return &r->statement;
}

static void
tell(struct sql_run *r)
{
	char note[64];

	if (mono_now() - r->told < TELL_EVERY)
		return;
	r->told = mono_now();
	snprintf(note, sizeof(note), "%" PRId64 " rows", r->affected);
	run_progress(r->run, -1, note);
}

static enum txn_answer
on_answered(const struct session_end *end, void *arg)
{
	struct sql_run *r = arg;

	if (r->phase == RUN_COMPLETE)
		return r->completed ? TXN_ON : TXN_BACK;
	if (r->phase != RUN_STATEMENTS)
		return TXN_ON;
	if (!r->sql->batch) {
		r->affected = end->affected;
		return TXN_ON;
	}
	/* A function that did it says how many. */
	r->single = r->single >= 0 ? r->single : end->affected;
	return TXN_ON;
}

static void
on_pause(void *arg)
{
	struct sql_run *r = arg;

	timer_free(r->pause);
	r->pause = NULL;
	if (r->cancelled)
		fail(r, r->why, "stopped between two batches");
	else
		begin(r);
}

/* A batch was committed: the next one, until there is nothing left. */
static void
batch_over(struct sql_run *r)
{
	r->affected += r->single;
	if (r->single <= 0) {
		done(r);
		return;
	}
	r->again = 0;
	tell(r);
	r->pause = timer_new(r->sql->ctx->loop, on_pause, r);
	timer_set(r->pause, r->sql->pause_ms * MONO_MS);
}

static void
on_over(const struct session_end *end, void *arg)
{
	struct sql_run *r = arg;
	bool refused = r->phase == RUN_COMPLETE && !r->completed;

	r->in_txn = false;
	if (end->class == CLASS_NONE && !r->sql->batch) {
		done(r);
	} else if (end->class == CLASS_NONE) {
		batch_over(r);
	} else if (r->cancelled) {
		fail(r, r->why, "stopped");
	} else if (refused && end->class == CLASS_ERROR) {
		fail(r, CLASS_LOST, "the job is no longer this worker's, and all "
		    "was rolled back");
	} else if (sqlstate_is_passing(end->sqlstate) && !r->sql->settings.bare &&
	    r->again++ < AGAIN_MAX) {
		log_debug("transaction again", "id=%lld reason=%s",
		    (long long)r->run->job->id, end->message);
		begin(r);
	} else {
		fail(r, end->class, end->message);
	}
}

static const struct txn_ops txn_ops = { on_next, NULL, on_row, on_answered, on_over };

static void
begin(struct sql_run *r)
{
	r->next = 0;
	r->phase = RUN_STATEMENTS;
	r->completed = false;
	r->in_txn = true;
	txn_start(&r->txn, r->sql->session, &r->sql->settings, &txn_ops, r);
}

static int
choose(struct sql_run *r, struct err *e)
{
	struct buf context = { .len = 0 }, name = { .len = 0 };
	int rc;

	if (*r->sql->choose == '\0')
		return 0;
	template_context(&context, r->run->job, r->sql->ctx->queue->name, 0);
	rc = template_expand(r->sql->choose, context.data, TEMPLATE_TEXT, &name, e);
	buf_clear(&context);
	if (rc == 0)
		r->chosen = buf_detach(&name);
	if (rc == 0 && chosen_text(r) == NULL)
		return err_set(e, "there is no statement \"%.100s\"", r->chosen);
	return rc < 0 ? err_prepend(e, "choose") : 0;
}

static void
run_sql(struct driver_ctx *ctx, struct run *run)
{
	struct sql *x = ctx->state;
	struct sql_run *r = xcalloc(1, sizeof(*r));
	struct buf job = { .len = 0 };
	struct err e;

	r->sql = x;
	r->run = run;
	x->now = r;
	run->state = r;
	if (choose(r, &e) < 0) {
		fail(r, CLASS_VALIDATION, e.msg);
		return;
	}
	rows_job(&job, run);
	r->job = buf_detach(&job);
	snprintf(r->limit, sizeof(r->limit), "%" PRId64, x->limit);
	snprintf(r->id, sizeof(r->id), "%" PRId64, run->job->id);
	r->params[0] = run->job->data;
	r->params[1] = r->job;
	r->params[2] = r->limit;
	r->ends[0] = r->id;
	r->ends[1] = run->token;
	x->settings.timeout_ms = run->timeout_ms;
	begin(r);
}

static void
cancel(struct driver_ctx *ctx, struct run *run, enum job_class why)
{
	struct sql_run *r = run->state;

	(void)ctx;
	r->cancelled = true;
	r->why = why == CLASS_NONE ? CLASS_ERROR : why;
	if (r->in_txn)
		txn_cancel(&r->txn);
	else if (r->pause != NULL)
		timer_set(r->pause, 0);
}

const struct driver driver_sql = {
	.name = "sql",
	.flags = DRIVER_ASYNC,
	.check = check,
	.open = open_sql,
	.run = run_sql,
	.cancel = cancel,
	.close = close_sql,
};
