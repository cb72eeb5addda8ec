/*
 * The driver report: queries of the configuration become files. The rows of a
 * query go from the database's connection into the file one by one, so that
 * neither the worker nor the server needs room for all of them. All queries of
 * a job see one snapshot.
 *
 * A file appears under its name when it is whole, and goes when its job turns
 * out to be no longer ours. A mail that is wanted is enqueued in the
 * transaction that completes the job: there is one, or the job runs again.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "conf/conf.h"
#include "core/base64.h"
#include "db/stmt.h"
#include "db/txn.h"
#include "driver/data.h"
#include "driver/drivers.h"
#include "driver/report/options.h"
#include "driver/report/reports.h"
#include "driver/rows.h"

#define ENTITIES_MAX 50			/* reports in one job */
#define EXPIRE_EVERY (3600 * MONO_SECOND)
#define EXPIRE_PAUSE (60 * MONO_SECOND)
#define TELL_EVERY (MONO_SECOND / 2)

/* Opened once in a worker. */
struct reporter {
	struct driver_ctx *ctx;
	struct report_options options;
	int dir;
	struct session *session;	/* of the queries */
	struct session *jobs;		/* where the jobs are; may be the same */
	struct txn_settings settings, jobs_settings;
	char *enqueue, *complete;
	struct timer *expire;
	mono_t expired;
	struct report_run *now;		/* the one that runs, or NULL */
};

struct report_run {
	struct reporter *reporter;
	struct run *run;
	json_t *data;
	json_t *to;			/* whom to mail, borrowed from data; NULL: nobody */
	const struct format *format;
	struct report *reports;
	size_t count, index;

	struct txn txn;
	bool in_txn, cancelled;
	enum job_class why;		/* of the cancel */
	struct session_statement statement;
	const char *params[4];
	char *job;

	struct output output;
	bool output_open;
	struct writer *writer;
	struct table table;
	bool has_table;
	struct value values[TABLE_COLUMNS_MAX];
	int64_t rows;			/* of all tables */
	json_t *counts;			/* rows by entity */
	struct timer *slice;		/* the end of a table, part by part */
	mono_t told;

	enum job_class failed;		/* why, as we see it; CLASS_NONE: not yet */
	struct err reason;

	/* the mail and the completion */
	enum { END_ENQUEUE, END_COMPLETE, END_COMMIT } phase;
	char *mail, *result;
	char id[24], mail_job[24];
	bool completed;
};

static const unsigned query_types[2] = { SESSION_JSONB, SESSION_JSONB };
static const unsigned enqueue_types[4] = {
	SESSION_TEXT, SESSION_TEXT, SESSION_JSONB, SESSION_TEXT
};
static const unsigned complete_types[3] = { SESSION_BIGINT, SESSION_TEXT, SESSION_JSONB };

/*
 * In a worker
 */

static void
expire(struct reporter *x)
{
	size_t n;

	if (x->expired != 0 && mono_now() - x->expired < EXPIRE_PAUSE)
		return;
	x->expired = mono_now();
	n = output_expire(x->dir, x->options.keep_ms);
	if (n > 0)
		log_info("old reports removed", "count=%zu directory=%s", n,
		    x->options.directory);
}

static void
on_expire(void *arg)
{
	struct reporter *x = arg;

	expire(x);
	timer_set(x->expire, EXPIRE_EVERY);
}

static int
open_report(struct driver_ctx *ctx, struct err *e)
{
	const struct node *options = ctx->handler->options;
	struct reporter *x = xcalloc(1, sizeof(*x));
	char *url = node_secret(options, "url", NULL);

	x->ctx = ctx;
	report_options_read(&x->options, options);
	x->settings.read_only = true;
	x->settings.role = x->options.role;
	x->jobs_settings.role = "";
	if (url == NULL && node_entry(options, "url_file") != NULL) {
		free(x);
		return err_set(e, "url_file cannot be read");
	}
	x->dir = output_directory(x->options.directory, e);
	if (x->dir < 0) {
		free(url);
		free(x);
		return -1;
	}
	x->session = session_new(ctx->loop, url ? url : ctx->database, "jobqd report");
	x->jobs = url == NULL ? x->session :
	    session_new(ctx->loop, ctx->database, "jobqd report");
	free(url);
	x->enqueue = stmt_in_schema("select jobq.enqueue(queue => $1, type => $2, "
	    "data => $3, tenant => $4)", ctx->schema);
	x->complete = stmt_in_schema("select jobq.complete($1, $2, $3)", ctx->schema);
	x->expire = timer_new(ctx->loop, on_expire, x);
	on_expire(x);
	ctx->state = x;
	return 0;
}

static void
report_run_free(struct report_run *r)
{
	r->reporter->now = NULL;
	if (r->slice != NULL)
		timer_free(r->slice);
	if (r->writer != NULL)
		r->format->free(r->writer);
	if (r->output_open)
		output_clear(&r->output);
	report_table_clear(&r->table);
	json_decref(r->data);
	json_decref(r->counts);
	free(r->reports);
	free(r->job);
	free(r->mail);
	free(r->result);
	free(r);
}

static void
close_report(struct driver_ctx *ctx)
{
	struct reporter *x = ctx->state;

	if (x->jobs != x->session)
		session_free(x->jobs);
	session_free(x->session);
	if (x->now != NULL)
		report_run_free(x->now);
	timer_free(x->expire);
	close(x->dir);
	free(x->enqueue);
	free(x->complete);
	free(x);
	ctx->state = NULL;
}

/*
 * Ends
 */

static void
fail(struct report_run *r, enum job_class class, const char *message)
{
	struct run *run = r->run;
	char text[RESULT_MESSAGE_MAX];

	strlcpy(text, message, sizeof(text));
	report_run_free(r);
	run_fail(run, class, "%s", text);
}

/* The first reason counts; the transaction ends then. */
static void
failed(struct report_run *r, enum job_class class)
{
	if (r->failed != CLASS_NONE)
		return;
	r->failed = class;
	txn_cancel(&r->txn);
}

/* The file's address, where there is one. */
static void
add_link(struct buf *b, const struct report_run *r)
{
	const char *base = r->reporter->options.link_base;

	if (*base != '\0')
		buf_printf(b, "%s%s%s", base, base[strlen(base) - 1] == '/' ? "" : "/",
		    r->output.name);
}

static char *
make_result(const struct report_run *r)
{
	struct buf link = { .len = 0 };
	json_t *o = json_pack("{s:o, s:I, s:I, s:s}", "file",
	    json_sprintf("%s/%s", r->reporter->options.directory, r->output.name),
	    "rows", (json_int_t)r->rows, "bytes", (json_int_t)r->output.bytes,
	    "format", r->format->name);
	char *text;

	add_link(&link, r);
	if (link.len > 0)
		json_object_set_new(o, "url", json_string(link.data));
	buf_clear(&link);
	if (r->count > 1)
		json_object_set(o, "entities", r->counts);
	if (*r->mail_job != '\0')
		json_object_set_new(o, "mail_job",
		    json_integer(strtoll(r->mail_job, NULL, 10)));
	text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	return text;
}

static void
done(struct report_run *r)
{
	struct run *run = r->run;
	struct reporter *x = r->reporter;
	struct run_result result;

	run_result_init(&result);
	result.settled = r->completed;
	result.result = r->result != NULL ? r->result : make_result(r);
	r->result = NULL;
	report_run_free(r);
	expire(x);
	run_end(run, &result);
}

/*
 * The mail, and the completion with it
 */

static json_t *
attachment(struct report_run *r)
{
	size_t len = (size_t)r->output.bytes;
	char *bytes = xmalloc(len + 1);
	struct buf text = { 0 };
	json_t *o = NULL;

	if (pread(r->output.fd, bytes, len, 0) == (ssize_t)len) {
		base64_encode(&text, bytes, len);
		o = json_pack("[{s:s, s:s, s:s}]", "filename", r->output.name, "type",
		    r->count > 1 && !r->format->many ?
		    "application/zip" : r->format->type, "content", text.data);
	}
	free(bytes);
	buf_clear(&text);
	return o;
}

static char *
make_mail(struct report_run *r)
{
	const struct reporter *x = r->reporter;
	const char *title = r->count == 1 ? r->reports[0].title : "Export";
	bool attach = r->output.bytes <= x->options.attach_max;
	json_t *files = attach ? attachment(r) : NULL;
	struct buf text = { .len = 0 };
	size_t before;
	json_t *o;
	char *dumped;

	buf_printf(&text, "%s: %" PRId64 " rows, %" PRId64 " bytes.\n\n", title, r->rows,
	    r->output.bytes);
	before = text.len;
	add_link(&text, r);
	if (text.len > before)
		buf_printf(&text, "\n");
	else if (files == NULL)
		buf_printf(&text, "The file is too large for this mail: %s\n",
		    r->output.name);
	o = json_pack("{s:O, s:s, s:s}", "to", r->to, "subject", title, "text", text.data);
	if (files != NULL)
		json_object_set_new(o, "attachments", files);
	dumped = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	buf_clear(&text);
	return dumped;
}

static const struct session_statement *
next_end(void *arg)
{
	struct report_run *r = arg;
	struct reporter *x = r->reporter;

	if (r->phase == END_COMMIT)
		return NULL;
	if (r->phase == END_ENQUEUE) {
		r->params[0] = x->options.mail_queue;
		r->params[1] = x->options.mail_type;
		r->params[2] = r->mail;
		r->params[3] = r->run->job->tenant;
		r->statement = (struct session_statement){ .sql = x->enqueue,
		    .nparams = 4, .types = enqueue_types, .params = r->params };
		return &r->statement;
	}
	r->result = make_result(r);
	run_seal_result(r->run, &r->result);
	r->params[0] = r->id;
	r->params[1] = r->run->token;
	r->params[2] = r->result;
	r->statement = (struct session_statement){ .sql = x->complete, .nparams = 3,
	    .types = complete_types, .params = r->params };
	return &r->statement;
}

static void
end_row(const struct session_row *row, void *arg)
{
	struct report_run *r = arg;
	size_t len;
	const char *text = session_value(row, 0, &len);

	if (r->phase == END_ENQUEUE)
		strlcpy(r->mail_job, text ? text : "", sizeof(r->mail_job));
	else
		r->completed = text != NULL && *text == 't';
}

static enum txn_answer
end_answered(const struct session_end *end, void *arg)
{
	struct report_run *r = arg;

	(void)end;
	if (r->phase == END_COMPLETE && !r->completed)
		return TXN_BACK;
	r->phase++;
	return TXN_ON;
}

static void
end_over(const struct session_end *end, void *arg)
{
	struct report_run *r = arg;

	r->in_txn = false;
	if (end->class == CLASS_NONE) {
		done(r);
		return;
	}
	/* Perhaps it was committed, if the connection was lost. */
	if (end->sqlstate[0] != '\0')
		output_remove(&r->output);
	if (r->cancelled)
		fail(r, r->why, "stopped");
	else if (r->phase == END_COMPLETE && end->class == CLASS_ERROR && !r->completed)
		fail(r, CLASS_LOST, "the job is no longer this worker's");
	else
		fail(r, end->class, end->message);
}

static const struct txn_ops end_ops = { next_end, NULL, end_row, end_answered, end_over };

static void
mail(struct report_run *r)
{
	struct reporter *x = r->reporter;
	struct err e;

	r->mail = make_mail(r);
	if (conf_seal_data(x->ctx->conf, x->options.mail_queue, &r->mail, &e) < 0) {
		fail(r, CLASS_ERROR, e.msg);
		return;
	}
	snprintf(r->id, sizeof(r->id), "%" PRId64, r->run->job->id);
	x->jobs_settings.timeout_ms = r->run->timeout_ms;
	r->in_txn = true;
	txn_start(&r->txn, x->jobs, &x->jobs_settings, &end_ops, r);
}

/*
 * The queries
 */

static const struct session_statement *
next_query(void *arg)
{
	struct report_run *r = arg;

	if (r->index == r->count)
		return NULL;
	r->has_table = false;
	r->params[0] = r->run->job->data;
	r->params[1] = r->job;
	r->statement = (struct session_statement){ .sql = r->reports[r->index].query,
	    .nparams = 2, .types = query_types, .params = r->params };
	return &r->statement;
}

static void
query_head(const struct session_row *head, void *arg)
{
	struct report_run *r = arg;
	const struct report *report = &r->reports[r->index];
	char entry[128];

	r->has_table = true;
	report_table_clear(&r->table);
	snprintf(entry, sizeof(entry), "%s.%s", report->name, r->format->name);
	if (report_table(report, head, &r->table, &r->reason) < 0)
		failed(r, CLASS_ERROR);
	else if (output_entry(&r->output, entry, &r->reason) < 0 ||
	    r->format->begin(r->writer, &r->table, &r->reason) < 0)
		failed(r, CLASS_RESOURCE);
}

static void
tell(struct report_run *r, int pct)
{
	char note[64];

	if (mono_now() - r->told < TELL_EVERY)
		return;
	r->told = mono_now();
	snprintf(note, sizeof(note), "%" PRId64 " rows", r->rows);
	run_progress(r->run, pct, note);
}

static void
query_row(const struct session_row *row, void *arg)
{
	struct report_run *r = arg;

	for (int i = 0; i < r->table.ncolumns; i++) {
		struct value *v = &r->values[i];

		v->text = session_value(row, i, &v->len);
		if (v->text != NULL && r->table.columns[i].kind == VALUE_BOOLEAN) {
			v->text = *v->text == 't' ? "true" : "false";
			v->len = strlen(v->text);
		}
	}
	if (r->format->row(r->writer, &r->table, r->values, &r->reason) < 0) {
		failed(r, CLASS_RESOURCE);
		return;
	}
	report_count(&r->table, r->values);
	if (++r->rows % 1000 == 0)
		tell(r, r->count > 1 ? (int)(100 * r->index / r->count) : -1);
}

/* A part of the end of a table. */
static enum txn_answer
end_table(struct report_run *r)
{
	int pct = 0, rc = r->format->end(r->writer, &r->table, &pct, &r->reason);

	if (rc < 0) {
		r->failed = CLASS_RESOURCE;
		return TXN_BACK;
	}
	if (rc > 0) {
		tell(r, pct);
		timer_set(r->slice, 0);
		return TXN_WAIT;
	}
	json_object_set_new(r->counts, r->table.name, json_integer(r->table.nrows));
	r->index++;
	return TXN_ON;
}

static void
on_slice(void *arg)
{
	struct report_run *r = arg;
	enum txn_answer answer = r->cancelled ? TXN_BACK : end_table(r);

	if (answer != TXN_WAIT)
		txn_go_on(&r->txn, answer);
}

static enum txn_answer
query_answered(const struct session_end *end, void *arg)
{
	struct report_run *r = arg;

	(void)end;
	if (r->failed != CLASS_NONE)
		return TXN_BACK;
	if (r->has_table)
		return end_table(r);
	err_set(&r->reason, "report %s: the query returns no rows, not even none",
	    r->reports[r->index].name);
	r->failed = CLASS_ERROR;
	return TXN_BACK;
}

static void
finish(struct report_run *r)
{
	if (r->format->close(r->writer, &r->reason) < 0 ||
	    output_finish(&r->output, &r->reason) < 0)
		fail(r, CLASS_RESOURCE, r->reason.msg);
	else if (r->to != NULL)
		mail(r);
	else
		done(r);
}

static void
query_over(const struct session_end *end, void *arg)
{
	struct report_run *r = arg;

	r->in_txn = false;
	if (r->failed != CLASS_NONE)
		fail(r, r->failed, r->reason.msg);
	else if (r->cancelled)
		fail(r, r->why, "stopped");
	else if (end->class != CLASS_NONE)
		fail(r, end->class, end->message);
	else
		finish(r);
}

static const struct txn_ops query_ops = {
	next_query, query_head, query_row, query_answered, query_over
};

/*
 * Requests
 */

static int
find_format(struct report_run *r, struct err *e)
{
	json_t *value = json_object_get(r->data, "format");
	const char *name = value == NULL ? "csv" : json_string_value(value);
	struct buf known = { .len = 0 };

	r->format = name != NULL ? format_find(name) : NULL;
	for (size_t i = 0; formats[i] != NULL; i++) {
		if (!r->reporter->options.allowed[i])
			continue;
		if (formats[i] == r->format || (value == NULL && known.len == 0 &&
		    !r->reporter->options.allowed[0])) {
			r->format = formats[i];
			buf_clear(&known);
			return 0;
		}
		buf_printf(&known, "%s%s", known.len > 0 ? ", " : "", formats[i]->name);
	}
	err_set(e, "format: \"%.100s\" is none of %s", name ? name : "?", known.data);
	buf_clear(&known);
	return -1;
}

static int
add_report(struct report_run *r, const char *name, struct err *e)
{
	struct report *report = &r->reports[r->count];

	if (name == NULL || !reports_find(r->reporter->ctx->handler->options, name, report))
		return err_set(e, "there is no report \"%.100s\"", name ? name : "?");
	for (size_t i = 0; i < r->count; i++)
		if (strcmp(r->reports[i].name, name) == 0)
			return err_set(e, "entities: %s comes twice", name);
	r->count++;
	return report_parameters(report, r->data, e);
}

static int
find_reports(struct report_run *r, struct err *e)
{
	static const char *const keys[] = { "report_type", "export_type", "type" };
	json_t *list = json_object_get(r->data, "entities"), *one = NULL;
	size_t n = json_array_size(list);

	if (n > ENTITIES_MAX)
		return err_set(e, "entities: at most %d", ENTITIES_MAX);
	r->reports = xcalloc(n > 0 ? n : 1, sizeof(*r->reports));
	for (size_t i = 0; i < n; i++)
		if (add_report(r, json_string_value(json_array_get(list, i)), e) < 0)
			return -1;
	if (n > 0)
		return 0;
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]) && one == NULL; i++)
		one = json_object_get(r->data, keys[i]);
	if (one != NULL)
		return add_report(r, json_string_value(one), e);
	if (reports_only(r->reporter->ctx->handler->options) == NULL)
		return err_set(e, "report_type, export_type or entities is missing");
	return add_report(r, reports_only(r->reporter->ctx->handler->options), e);
}

static int
find_mail(struct report_run *r, struct err *e)
{
	json_t *to = json_object_get(r->data, "notifyEmail");

	if (to == NULL || json_is_null(to) || (json_is_string(to) &&
	    *json_string_value(to) == '\0'))
		return 0;
	if (!json_is_string(to) && !json_is_array(to))
		return err_set(e, "notifyEmail: is no address");
	if (*r->reporter->options.mail_queue == '\0')
		return err_set(e, "notifyEmail: the handler %s has no mail_queue:",
		    r->reporter->ctx->handler->name);
	r->to = to;
	return 0;
}

static int
read_request(struct report_run *r, struct err *e)
{
	r->data = data_read(r->run->job, e);
	if (r->data == NULL || find_format(r, e) < 0 || find_reports(r, e) < 0 ||
	    find_mail(r, e) < 0)
		return -1;
	if (r->count > 1 && !r->format->many && !output_has_zip())
		return err_set(e, "entities: several of them need a zip archive, which "
		    "this build cannot make (it lacks libarchive)");
	return 0;
}

static int
open_file(struct report_run *r, struct err *e)
{
	struct reporter *x = r->reporter;
	bool zip = r->count > 1 && !r->format->many;

	r->output_open = true;
	if (output_open(&r->output, x->dir, r->count > 1 ? "export" : r->reports[0].name,
	    r->run->job->id, zip ? "zip" : r->format->name, x->options.max_size, e) < 0 ||
	    (zip && output_zip(&r->output, e) < 0))
		return -1;
	r->writer = r->format->open(&r->output, &x->options.writer);
	return r->writer != NULL ? 0 : err_set(e, "%s: no file in %s", r->format->name,
	    x->options.directory);
}

static void
run_report(struct driver_ctx *ctx, struct run *run)
{
	struct reporter *x = ctx->state;
	struct report_run *r = xcalloc(1, sizeof(*r));
	struct buf job = { .len = 0 };

	r->reporter = x;
	r->run = run;
	x->now = r;
	run->state = r;
	if (read_request(r, &r->reason) < 0) {
		fail(r, CLASS_VALIDATION, r->reason.msg);
		return;
	}
	if (open_file(r, &r->reason) < 0) {
		fail(r, CLASS_RESOURCE, r->reason.msg);
		return;
	}
	rows_job(&job, run);
	r->job = buf_detach(&job);
	r->counts = json_object();
	r->slice = timer_new(ctx->loop, on_slice, r);
	x->settings.timeout_ms = run->timeout_ms;
	r->in_txn = true;
	txn_start(&r->txn, x->session, &x->settings, &query_ops, r);
}

static void
cancel(struct driver_ctx *ctx, struct run *run, enum job_class why)
{
	struct report_run *r = run->state;

	(void)ctx;
	r->cancelled = true;
	r->why = why == CLASS_NONE ? CLASS_ERROR : why;
	if (r->in_txn)
		txn_cancel(&r->txn);
}

static const char *
library(void)
{
	static char text[256];

	text[0] = '\0';
	for (size_t i = 0; formats[i] != NULL; i++) {
		if (formats[i]->library == NULL)
			continue;
		strlcat(text, *text != '\0' ? ", " : "", sizeof(text));
		strlcat(text, formats[i]->library(), sizeof(text));
	}
	if (output_library() != NULL) {
		strlcat(text, *text != '\0' ? ", " : "", sizeof(text));
		strlcat(text, output_library(), sizeof(text));
	}
	return *text != '\0' ? text : NULL;
}

const struct driver driver_report = {
	.name = "report",
	.flags = DRIVER_ASYNC,
	.check = report_options_check,
	.open = open_report,
	.run = run_report,
	.cancel = cancel,
	.close = close_report,
	.library = library,
};
