/*
 * The driver http: webhooks and calls of HTTP services, many at once, by
 * libcurl's multi interface on the worker's loop. What to send is made by
 * request.c, who we are is auth.c's; httpcurl.c hands it to libcurl.
 *
 * Every connection's address is looked at when its socket is made, after
 * all name resolution, so that no spelling of a private address gets past.
 * Answers are never followed elsewhere, and little of them is kept.
 */
#include "config.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/xalloc.h"
#include "conf/conf.h"
#include "core/outcome.h"
#include "driver/drivers.h"
#include "driver/http/http.h"
#include "os/loop.h"

#define FILE_SIZE_MAX (INT64_C(1) << 30)	/* of what is saved, if the handler does not say */
#define PATIENCE_MS 5000		/* how long slow start holds one up, at most */
#define MESSAGE_BODY 200		/* of an answer, in a failure's message */

static void go_on(struct http *);
static void on_pace_timer(void *);

/*
 * Options
 */

static void
check_tls(const struct node_entry *entry, struct conf_sink *sink)
{
	static const char *const keys[] = { "cert", "key", NULL };
	const struct node *map = entry->value;
	const char *cert = NULL, *key = NULL;

	node_known_keys(map, keys, sink);
	node_str(map, "cert", &cert, sink);
	node_str(map, "key", &key, sink);
	if (cert == NULL || *cert == '\0' || key == NULL || *key == '\0')
		conf_complain(sink, entry->file, entry->line, entry->column,
		    "tls: needs a map {cert, key}, two files");
}

static void
check_networks(const struct node_entry *entry, struct conf_sink *sink)
{
	const struct node *list = entry->value;

	if (list->kind != NODE_LIST)
		conf_complain(sink, entry->file, entry->line, entry->column,
		    "allow_networks: needs a list of networks, such as 10.1.0.0/16");
	for (size_t i = 0; list->kind == NODE_LIST && i < list->count; i++) {
		const struct node_entry *item = &list->entries[i];
		const char *wrong = item->value->kind != NODE_SCALAR ?
		    "needs a network, such as 10.1.0.0/16" :
		    network_parse(item->value->text, NULL);

		if (wrong != NULL)
			conf_complain(sink, item->file, item->line, item->column,
			    "allow_networks: %s", wrong);
	}
}

static void
check(const struct node *options, struct conf_sink *sink)
{
	static const char *const keys[] = {
		"driver", "url", "method", "headers", "sign", "auth",
		"allow_private", "timeout", "connect_timeout", "ca_file",
		"keep_body", "keep_headers", "query", "payload", "body", "form",
		"multipart", "upload", "save_to", "directory", "max_size",
		"tls", "slow_start", "allow_networks", "answer_timeout",
		"stall_timeout", NULL
	};
	int64_t ms = 0, size = 1;
	bool yes = false;
	const char *text = NULL;

	node_known_keys(options, keys, sink);
	request_check(options, sink);
	answer_check(options, sink);
	if (node_get(options, "auth") != NULL)
		auth_check(node_get(options, "auth"), sink);
	if (node_get(options, "tls") != NULL)
		check_tls(node_entry(options, "tls"), sink);
	node_bool(options, "allow_private", &yes, sink);
	node_bool(options, "slow_start", &yes, sink);
	node_duration_ms(options, "timeout", &ms, sink);
	node_duration_ms(options, "connect_timeout", &ms, sink);
	node_duration_ms(options, "answer_timeout", &ms, sink);
	node_duration_ms(options, "stall_timeout", &ms, sink);
	if (node_get(options, "allow_networks") != NULL)
		check_networks(node_entry(options, "allow_networks"), sink);
	node_str(options, "ca_file", &text, sink);
	node_size(options, "max_size", &size, sink);
	if (size < 1) {
		const struct node_entry *at = node_entry(options, "max_size");

		conf_complain(sink, at->file, at->line, at->column,
		    "max_size: must be more than 0");
	}
}

/*
 * libcurl on the loop
 */

static void
collect(struct http *h)
{
	CURLMsg *msg;
	int left;

	while ((msg = curl_multi_info_read(h->multi, &left)) != NULL) {
		struct transfer *t;
		CURLcode code = msg->data.result;

		if (msg->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &t);
		transfer_done(t, code);
	}
	/* Whoever could go on since somebody is connected; not in that callback,
	 * from which nothing can be added to libcurl. */
	go_on(h);
}

static void
on_socket(int fd, unsigned what, void *arg)
{
	struct http *h = arg;
	int running;

	curl_multi_socket_action(h->multi, fd,
	    (what & LOOP_READ ? CURL_CSELECT_IN : 0) |
	    (what & LOOP_WRITE ? CURL_CSELECT_OUT : 0), &running);
	collect(h);
}

static void
on_timer(void *arg)
{
	struct http *h = arg;
	int running;

	curl_multi_socket_action(h->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	collect(h);
}

static int
want_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socketp)
{
	struct http *h = arg;

	(void)easy;
	(void)socketp;
	if (what == CURL_POLL_REMOVE)
		sockets_forget(&h->sockets, fd);
	else
		sockets_want(&h->sockets, fd,
		    (what & CURL_POLL_IN ? LOOP_READ : 0) |
		    (what & CURL_POLL_OUT ? LOOP_WRITE : 0));
	return 0;
}

static int
want_timer(CURLM *multi, long ms, void *arg)
{
	struct http *h = arg;

	(void)multi;
	if (ms < 0)
		timer_stop(h->timer);
	else
		timer_set(h->timer, ms * MONO_MS);
	return 0;
}

/*
 * The end of a job's request
 */

static enum job_class
class_of_error(const struct transfer *t, CURLcode code)
{
	curl_off_t connected = 0;

	if (t->refused_address)
		return CLASS_VALIDATION;
	if (t->cut != CLASS_NONE)
		return t->cut;
	switch (code) {
	case CURLE_URL_MALFORMAT:
	case CURLE_FILESIZE_EXCEEDED:
		return CLASS_VALIDATION;
	case CURLE_OPERATION_TIMEDOUT:
		curl_easy_getinfo(t->easy, CURLINFO_PRETRANSFER_TIME_T, &connected);
		return connected > 0 ? CLASS_TIMEOUT : CLASS_NETWORK;
	default:
		return CLASS_NETWORK;
	}
}

static char *
error_message(const struct transfer *t, CURLcode code)
{
	char where[256];

	request_where(t->request.url, where, sizeof(where));
	if (t->refused_address)
		return xasprintf("%s: is at a private address; the handler's "
		    "allow_networks or allow_private would let it", where);
	if (t->cut != CLASS_NONE)
		return xasprintf("%s: %s", where, t->why.msg);
	if (code == CURLE_FILESIZE_EXCEEDED)
		return xasprintf("%s: more than max_size, %" PRId64 " bytes", where,
		    t->http->max_size);
	/* So it calls a line of a head that does not end. */
	if (code == CURLE_OUT_OF_MEMORY)
		return xasprintf("%s: a line of the answer's head is too long, or "
		    "memory ran out", where);
	return xasprintf("%s: %s", where,
	    t->error[0] != '\0' ? t->error : curl_easy_strerror(code));
}

static char *
status_message(const struct transfer *t, long status)
{
	char where[256];
	const struct buf *body = &t->answer.body;
	size_t len = body->len < MESSAGE_BODY ? body->len : MESSAGE_BODY;

	request_where(t->request.url, where, sizeof(where));
	if (status >= 300 && status <= 399)
		return xasprintf("%s: HTTP %ld: redirects are not followed",
		    where, status);
	return xasprintf("%s: HTTP %ld%s%.*s", where, status,
	    len > 0 ? ": " : "", (int)len, len > 0 ? body->data : "");
}

/* The file is there, or the job has failed. */
static void
keep_file(struct transfer *t, struct run_result *r)
{
	struct err e;

	if (output_finish(&t->files->output, &e) < 0) {
		r->class = CLASS_RESOURCE;
		r->message = xasprintf("save_to: %s", e.msg);
		return;
	}
	t->answer.file = t->request.save_to;
	t->answer.file_bytes = t->files->output.bytes;
}

/* Nothing that we are known by, nor what a header's name calls secret. */
static void
mask(const struct transfer *t, struct buf *b)
{
	const struct strings *headers = &t->request.headers;

	if (b->len == 0)
		return;
	auth_mask(&t->http->auth, b->data, b->len);
	for (size_t i = 0; i < headers->n; i++) {
		char *colon = strchr(headers->v[i], ':'), *word;

		/* By itself, too, without "Bearer" in front. */
		word = strrchr(colon + 1, ' ');
		if (memmem(b->data, b->len, word + 1, strlen(word + 1)) == NULL)
			continue;	/* what a name calls secret is asked last */
		*colon = '\0';
		if (conf_names_secret(headers->v[i])) {
			auth_mask_secret(word + 1, b->data, b->len);
			auth_mask_secret(colon + 2, b->data, b->len);
		}
		*colon = ':';
	}
}

/* Of some, less would be more. */
static enum pace_end
pace_end_of(enum job_class class, bool answered)
{
	if (class == CLASS_NETWORK || class == CLASS_TIMEOUT ||
	    class == CLASS_RATE_LIMIT)
		return PACE_BAD;
	return answered ? PACE_GOOD : PACE_NONE;
}

static void
job_done(struct transfer *t, CURLcode code)
{
	struct run *run = t->run;
	struct run_result r;
	long status = 0;

	run_result_init(&r);
	curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
	/* With too long an answer the status is what counts. */
	if (code == CURLE_OK || (code == CURLE_WRITE_ERROR && status != 0 &&
	    t->cut == CLASS_NONE)) {
		mask(t, &t->answer.body);
		mask(t, &t->answer.headers);
		r.retry_after_ms = t->answer.retry_after_ms;
		r.class = answer_class(status, r.retry_after_ms >= 0);
		if (r.class != CLASS_NONE)
			r.message = status_message(t, status);
		if (r.class == CLASS_NONE && transfer_is_saved(t))
			keep_file(t, &r);
		r.result = answer_result(&t->answer, status);
		if (r.class == CLASS_AUTH)
			auth_refuse_token(&t->http->auth, t->token_at);
	} else {
		r.class = class_of_error(t, code);
		r.message = error_message(t, code);
	}
	pace_leave(&t->http->pace, &t->ticket, pace_end_of(r.class, status != 0));
	transfer_free(t);
	run_end(run, &r);
}

/*
 * OAuth: client credentials for a token, kept by this worker
 */

static void
token_done(struct transfer *t, CURLcode code)
{
	struct http *h = t->http;
	struct transfers waiting = TAILQ_HEAD_INITIALIZER(waiting);
	struct transfer *w;
	enum job_class class = CLASS_NONE;
	struct err e = { .code = ERR_NONE };
	char word[64];
	long status = 0;

	curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
	if (code != CURLE_OK) {
		class = class_of_error(t, code);
		err_set(&e, "%s", t->cut != CLASS_NONE ? t->why.msg :
		    t->error[0] ? t->error : curl_easy_strerror(code));
		if (t->refused_address)
			err_set(&e, "it is at a private address");
	} else if (status != 200) {
		class = answer_class(status, false);
		if (class == CLASS_VALIDATION || class == CLASS_NONE)
			class = CLASS_AUTH;
		auth_token_error(t->answer.body.data, t->answer.body.len, word,
		    sizeof(word));
		err_set(&e, "HTTP %ld%s%s", status, *word ? ": " : "", word);
	} else if (auth_take_token(&h->auth, t->answer.body.data,
	    t->answer.body.len, t->token_at, &e) < 0) {
		class = CLASS_AUTH;
	}
	h->fetch = NULL;
	transfer_free(t);
	TAILQ_CONCAT(&waiting, &h->waiting, link);
	while ((w = TAILQ_FIRST(&waiting)) != NULL) {
		struct run *run = w->run;

		TAILQ_REMOVE(&waiting, w, link);
		if (class == CLASS_NONE) {
			transfer_start(w);
			continue;
		}
		transfer_free(w);
		run_fail(run, class, "no token from %s: %s", h->auth.token_url, e.msg);
	}
}

static void
fetch_token(struct http *h)
{
	struct transfer *t = transfer_new(h, NULL);
	struct buf body = { .len = 0 };

	auth_token_form(&h->auth, &body);
	t->request.url = xstrdup(h->auth.token_url);
	t->request.method = xstrdup("POST");
	t->request.body_len = body.len;
	t->request.body = buf_detach(&body);
	strings_take(&t->request.headers, xstrdup("Accept: application/json"));
	h->fetch = t;
	transfer_start(t);
}

void
transfer_done(struct transfer *t, CURLcode code)
{
	struct http *h = t->http;

	if (t->run != NULL)
		job_done(t, code);
	else
		token_done(t, code);
	go_on(h);
}

/*
 * The driver
 */

static void close_http(struct driver_ctx *);

static void
read_networks(struct http *h, const struct node *list)
{
	if (list == NULL)
		return;
	h->networks = xreallocarray(NULL, list->count, sizeof(*h->networks));
	for (size_t i = 0; i < list->count; i++)
		if (network_parse(list->entries[i].value->text,
		    &h->networks[h->nnetworks]) == NULL)
			h->nnetworks++;
}

static int
sign_open(struct http *h, const struct node *sign, struct err *e)
{
	h->secrets = node_secrets(sign, "secret");
	if (h->secrets == NULL && (node_get(sign, "secret") != NULL ||
	    node_get(sign, "secret_file") != NULL))
		return err_set(e, "sign: the secret is empty, or its file cannot be "
		    "read");
	return 0;
}

static int
open_http(struct driver_ctx *ctx, struct err *e)
{
	const struct node *options = ctx->handler->options;
	struct http *h = xcalloc(1, sizeof(*h));
	bool usable, slow_start = true;

	h->ctx = ctx;
	ctx->state = h;
	TAILQ_INIT(&h->waiting);
	node_bool(options, "allow_private", &h->allow_private, NULL);
	node_duration_ms(options, "timeout", &h->timeout_ms, NULL);
	node_duration_ms(options, "connect_timeout", &h->connect_ms, NULL);
	node_duration_ms(options, "answer_timeout", &h->answer_ms, NULL);
	node_duration_ms(options, "stall_timeout", &h->stall_ms, NULL);
	read_networks(h, node_get(options, "allow_networks"));
	answer_keep_init(&h->keep, options);
	node_str(options, "ca_file", &h->ca_file, NULL);
	node_str(node_get(options, "tls"), "cert", &h->cert, NULL);
	node_str(node_get(options, "tls"), "key", &h->key, NULL);
	node_str(options, "directory", &h->directory, NULL);
	h->max_size = FILE_SIZE_MAX;
	node_size(options, "max_size", &h->max_size, NULL);
	usable = auth_open(&h->auth, node_get(options, "auth"), e) == 0 &&
	    sign_open(h, node_get(options, "sign"), e) == 0;
	sockets_init(&h->sockets, ctx->loop, on_socket, h);
	h->timer = timer_new(ctx->loop, on_timer, h);
	h->pace_timer = timer_new(ctx->loop, on_pace_timer, h);
	node_bool(options, "slow_start", &slow_start, NULL);
	pace_init(&h->pace, slow_start && ctx->queue->concurrency > 1 ?
	    ctx->queue->concurrency : 0);
	curl_global_init(CURL_GLOBAL_DEFAULT);
	h->multi = curl_multi_init();
	if (h->multi == NULL)
		err_set(e, "libcurl cannot start");
	if (h->multi == NULL || !usable) {
		close_http(ctx);
		return -1;
	}
	curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, want_socket);
	curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
	curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, want_timer);
	curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
	/* Idle connections that are kept for the next request. */
	curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS,
	    (long)ctx->queue->concurrency);
	return 0;
}

static void
close_http(struct driver_ctx *ctx)
{
	struct http *h = ctx->state;

	if (h->fetch != NULL)
		transfer_free(h->fetch);
	while (h->nspare > 0)
		curl_easy_cleanup(h->spare[--h->nspare]);
	if (h->multi != NULL)
		curl_multi_cleanup(h->multi);
	sockets_clear(&h->sockets);
	timer_free(h->timer);
	timer_free(h->pace_timer);
	pace_clear(&h->pace);
	auth_close(&h->auth);
	for (char **s = h->secrets; s != NULL && *s != NULL; s++)
		auth_wipe(*s);
	free(h->secrets);
	answer_keep_clear(&h->keep);
	free(h->networks);
	free(h);
	curl_global_cleanup();
	ctx->state = NULL;
}

/*
 * A job that is tried again may have been refused in another worker, with a
 * token as old as ours: only one that was asked for since then will do.
 */
static mono_t
token_since(const struct driver_ctx *ctx, const struct job *job)
{
	return job->attempt <= 1 ? 0 : mono_now() - MONO_MS *
	    outcome_least_delay_ms(conf_policy(ctx->queue, job->id), CLASS_AUTH,
	    job->charged);
}

/* With a token, which may have to be fetched first. */
static void
send_out(struct transfer *t)
{
	struct http *h = t->http;

	if (auth_is_ready(&h->auth, token_since(h->ctx, t->run->job))) {
		transfer_start(t);
		return;
	}
	TAILQ_INSERT_TAIL(&h->waiting, t, link);
	if (h->fetch == NULL)
		fetch_token(h);
}

/* False: it was deferred, as nobody is to go there now. */
static bool
is_open(struct transfer *t, const char *destination)
{
	struct run *run = t->run;

	if (run_goes_to(run, destination))
		return true;
	transfer_free(t);
	run_defer(run);
	return false;
}

static void
set_pace_timer(struct http *h)
{
	mono_t due = pace_due(&h->pace), now = mono_now();

	if (due == PACE_NEVER)
		timer_stop(h->pace_timer);
	else
		timer_set(h->pace_timer, due > now ? due - now : 0);
}

/* False: not, or not now. */
static bool
goes_to(struct transfer *t, const char *destination)
{
	struct http *h = t->http;
	int64_t ms = t->run->timeout_ms / 4;

	if (!is_open(t, destination))
		return false;
	if (h->pace.max == 0 || pace_enter(&h->pace, &t->ticket, destination,
	    mono_now(), MONO_MS * (ms < PATIENCE_MS ? ms : PATIENCE_MS)))
		return true;
	set_pace_timer(h);
	return false;
}

/* Whoever waited and has its turn. */
static void
go_on(struct http *h)
{
	struct pace_ticket *ticket;
	char destination[BREAKER_NAME_MAX + 1];

	if (TAILQ_EMPTY(&h->pace.waiting))
		return;
	while ((ticket = pace_next(&h->pace, mono_now())) != NULL) {
		struct transfer *t = (struct transfer *)ticket;

		/* A breaker may have opened meanwhile. */
		request_destination(t->request.url, destination,
		    sizeof(destination));
		if (is_open(t, destination))
			send_out(t);
	}
	set_pace_timer(h);
}

static void
on_pace_timer(void *arg)
{
	go_on(arg);
}

static void
run_http(struct driver_ctx *ctx, struct run *run)
{
	struct http *h = ctx->state;
	struct transfer *t = transfer_new(h, run);
	struct err e = { .code = ERR_NONE };
	enum job_class class;
	char destination[BREAKER_NAME_MAX + 1];

	if (request_make(&t->request, ctx->handler->options, h->secrets,
	    run->job, ctx->queue->name, time(NULL), &e) < 0)
		class = CLASS_VALIDATION;
	else
		class = transfer_open_files(t, &e);
	if (class != CLASS_NONE) {
		transfer_free(t);
		run_fail(run, class, "%s", e.msg);
		return;
	}
	if (request_destination(t->request.url, destination,
	    sizeof(destination)) && !goes_to(t, destination))
		return;
	send_out(t);
}

static void
cancel(struct driver_ctx *ctx, struct run *run, enum job_class why)
{
	struct transfer *t = run->state;
	struct http *h = ctx->state;

	if (t->easy != NULL)
		pace_leave(&h->pace, &t->ticket,
		    why == CLASS_TIMEOUT ? PACE_BAD : PACE_NONE);
	else if (!t->ticket.waiting)
		TAILQ_REMOVE(&h->waiting, t, link);
	transfer_free(t);
	run_fail(run, why == CLASS_NONE ? CLASS_ERROR : why,
	    "stopped before the answer came");
	go_on(h);
}

static const char *
library(void)
{
	return curl_version();
}

const struct driver driver_http = {
	.name = "http",
	.flags = DRIVER_MULTIPLEX | DRIVER_ASYNC,
	.check = check,
	.open = open_http,
	.run = run_http,
	.cancel = cancel,
	.close = close_http,
	.destination = request_fixed_destination,
	.library = library,
};
