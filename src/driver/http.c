/*
 * The driver http: webhooks and calls of HTTP services, many at once, by
 * libcurl's multi interface on the worker's loop. What to send is made by
 * request.c, who we are is auth.c's; here it travels.
 *
 * Every connection's address is looked at when its socket is made, after
 * all name resolution, so that no spelling of a private address gets past.
 * Answers are never followed elsewhere, and little of them is kept.
 */
#include "config.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mono.h"
#include "base/xalloc.h"
#include "conf/conf.h"
#include "core/outcome.h"
#include "driver/answer.h"
#include "driver/auth.h"
#include "driver/below.h"
#include "driver/drivers.h"
#include "driver/netaddr.h"
#include "driver/output.h"
#include "driver/request.h"
#include "driver/upload.h"
#include "os/loop.h"

#define CONNECT_MS 10000
#define TOKEN_MS 30000			/* to fetch an OAuth token */
#define BUFFER_SIZE 4096L		/* of curl, for each that is on its way */
#define FILE_BUFFER_SIZE (256L << 10)	/* … with a file */
#define FILE_SIZE_MAX (INT64_C(1) << 30)	/* of what is saved, if the handler does not say */
#define PROGRESS_US MONO_SECOND		/* between two reports of it */
#define BODY_READ (1u << 20)		/* bytes of an answer; then the connection is cut */
#define TOKEN_BODY (64u << 10)
#define MESSAGE_BODY 200		/* of an answer, in a failure's message */

/* Files that are sent, and the one that is received. */
struct files {
	struct upload upload;		/* pieces NULL: none is sent */
	struct output output;
	int dir;			/* the one that output goes to; -1: nowhere */
	mono_t told;			/* of progress */
};

/* A request on its way: of a job, or for the token (run NULL). */
struct transfer {
	struct http *http;
	struct run *run;
	struct request request;
	CURL *easy;			/* NULL: waits for the token */
	struct curl_slist *headers;
	char error[CURL_ERROR_SIZE];
	struct answer answer;
	bool refused_address;
	enum job_class cut;		/* we ended it; CLASS_NONE: no, or the status counts */
	struct err why;			/* of cut */
	mono_t token_at;		/* auth.token_at when it began */
	struct files *files;		/* NULL: it has to do with none */
	TAILQ_ENTRY(transfer) link;	/* while it waits for the token */
};
TAILQ_HEAD(transfers, transfer);

/* Opened once in a worker. */
struct http {
	struct driver_ctx *ctx;
	CURLM *multi;
	struct timer *timer;
	bool allow_private;
	int64_t timeout_ms, connect_ms;	/* 0: the job's */
	struct answer_keep keep;
	char **secrets;			/* to sign with; NULL: none of the handler */
	const char *ca_file;		/* NULL: the system's */
	const char *directory;		/* of files; NULL: none */
	int64_t max_size;		/* of one that is saved */

	struct auth auth;
	struct transfer *fetch;		/* for the token, NULL: none on its way */
	struct transfers waiting;
};

static void start(struct transfer *);
static void transfer_done(struct transfer *, CURLcode);

/*
 * Options
 */

static void
check(const struct node *options, struct conf_sink *sink)
{
	static const char *const keys[] = {
		"driver", "url", "method", "headers", "sign", "auth",
		"allow_private", "timeout", "connect_timeout", "ca_file",
		"keep_body", "keep_headers", "query", "payload", "body", "form",
		"multipart", "upload", "save_to", "directory", "max_size", NULL
	};
	int64_t ms = 0, size = 1;
	bool yes = false;
	const char *text = NULL;

	node_known_keys(options, keys, sink);
	request_check(options, sink);
	answer_check(options, sink);
	if (node_get(options, "auth") != NULL)
		auth_check(node_get(options, "auth"), sink);
	node_bool(options, "allow_private", &yes, sink);
	node_duration_ms(options, "timeout", &ms, sink);
	node_duration_ms(options, "connect_timeout", &ms, sink);
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
	struct watch *watch = socketp;
	unsigned events = (what & CURL_POLL_IN ? LOOP_READ : 0) |
	    (what & CURL_POLL_OUT ? LOOP_WRITE : 0);

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		watch_free(watch);
		curl_multi_assign(h->multi, fd, NULL);
	} else if (watch == NULL) {
		watch = watch_new(h->ctx->loop, fd, events, on_socket, h);
		curl_multi_assign(h->multi, fd, watch);
	} else {
		watch_set(watch, events);
	}
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

static curl_socket_t
make_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *to)
{
	struct transfer *t = arg;

	(void)purpose;
	if (!t->http->allow_private && netaddr_is_private(&to->addr)) {
		t->refused_address = true;
		return CURL_SOCKET_BAD;
	}
	return socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
}

/* To the file, if this is what is to be saved. */
static bool
save_some(struct transfer *t, const char *data, size_t len)
{
	struct output *o = &t->files->output;

	if (output_put(o, data, len, &t->why) == 0)
		return true;
	t->cut = o->bytes > o->max ? CLASS_VALIDATION : CLASS_RESOURCE;
	return false;
}

static bool
is_saved(const struct transfer *t)
{
	long status = 0;

	if (t->files == NULL || t->files->dir < 0)
		return false;
	curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
	return answer_class(status, false) == CLASS_NONE;
}

static size_t
take_body(char *data, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;
	size_t len = size * n;

	if (is_saved(t))
		return save_some(t, data, len) ? len : 0;
	answer_body(&t->answer, data, len);
	return t->answer.body_seen > BODY_READ ? 0 : len;	/* 0 ends the transfer */
}

static size_t
take_header(char *data, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;
	size_t len = size * n;

	if (answer_header(&t->answer, data, len, time(NULL), &t->why) < 0) {
		t->cut = CLASS_NETWORK;
		return 0;
	}
	return len;
}

static size_t
give_body(char *data, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;
	ssize_t len = upload_read(&t->files->upload, data, size * n, &t->why);

	if (len >= 0)
		return (size_t)len;
	t->cut = CLASS_RESOURCE;
	return CURL_READFUNC_ABORT;
}

/* To begin again, on another connection. */
static int
rewind_body(void *arg, curl_off_t offset, int origin)
{
	struct transfer *t = arg;

	if (origin != SEEK_SET)
		return CURL_SEEKFUNC_CANTSEEK;
	upload_seek(&t->files->upload, offset);
	return CURL_SEEKFUNC_OK;
}

static int
tell_progress(void *arg, curl_off_t down_all, curl_off_t down, curl_off_t up_all,
    curl_off_t up)
{
	struct transfer *t = arg;
	curl_off_t all = t->files->dir >= 0 && down > 0 ? down_all : up_all;
	curl_off_t done = t->files->dir >= 0 && down > 0 ? down : up;
	mono_t now = mono_now();
	char note[80];

	if (done <= 0 || now - t->files->told < PROGRESS_US)
		return 0;
	t->files->told = now;
	if (all > 0)
		snprintf(note, sizeof(note), "%lld of %lld bytes", (long long)done,
		    (long long)all);
	else
		snprintf(note, sizeof(note), "%lld bytes", (long long)done);
	run_progress(t->run, all > 0 ? (int)(done / ((double)all / 100)) : -1, note);
	return 0;
}

/*
 * Files
 */

static void
files_free(struct files *f)
{
	if (f == NULL)
		return;
	upload_close(&f->upload);
	if (f->dir >= 0) {
		output_clear(&f->output);
		close(f->dir);
	}
	free(f);
}

/* All that a request has to do with is opened before it goes out. */
static enum job_class
files_open(struct transfer *t, struct err *e)
{
	const struct request *r = &t->request;
	const struct job *job = t->run->job;
	struct files *f;
	const char *name;

	if (r->pieces.n == 0 && r->save_to == NULL)
		return CLASS_NONE;
	f = t->files = xcalloc(1, sizeof(*f));
	f->dir = f->output.fd = -1;
	f->told = mono_now();
	if (r->pieces.n > 0 && upload_open(&f->upload, &r->pieces,
	    t->http->directory, e) < 0) {
		err_prepend(e, "upload");
		return CLASS_VALIDATION;
	}
	if (r->save_to == NULL)
		return CLASS_NONE;
	f->dir = below_make(t->http->directory, r->save_to, &name, e);
	if (f->dir < 0 || output_replace(&f->output, f->dir, name, job->id,
	    job->attempt, t->http->max_size, e) < 0) {
		err_prepend(e, "save_to");
		return CLASS_RESOURCE;
	}
	return CLASS_NONE;
}

/*
 * Transfers
 */

static const struct answer_keep token_keep = { .body = TOKEN_BODY };

static struct transfer *
transfer_new(struct http *h, struct run *run)
{
	struct transfer *t = xcalloc(1, sizeof(*t));

	t->http = h;
	t->run = run;
	answer_init(&t->answer, run ? &h->keep : &token_keep);
	if (run != NULL)
		run->state = t;
	return t;
}

static void
transfer_free(struct transfer *t)
{
	if (t->easy != NULL) {
		curl_multi_remove_handle(t->http->multi, t->easy);
		curl_easy_cleanup(t->easy);
	}
	curl_slist_free_all(t->headers);
	files_free(t->files);
	request_clear(&t->request);
	answer_clear(&t->answer);
	free(t);
}

static void
add_header(struct transfer *t, const char *text)
{
	t->headers = curl_slist_append(t->headers, text);
}

static void
set_headers(struct transfer *t)
{
	const struct strings *all = &t->request.headers;

	for (size_t i = 0; i < all->n; i++) {
		const char *value = strchr(all->v[i], ':') + 2;

		if (*value != '\0') {
			add_header(t, all->v[i]);
			continue;
		}
		/* How curl is told to send a header that is empty. */
		char *name = xasprintf("%.*s;", (int)(value - 2 - all->v[i]),
		    all->v[i]);
		add_header(t, name);
		free(name);
	}
	/* Else curl calls what is not there a form. */
	if (t->request.body == NULL && t->request.pieces.n == 0)
		add_header(t, "Content-Type:");
	/* Else curl waits a second for leave to send what is large. */
	add_header(t, "Expect:");
	if (t->run != NULL && t->http->auth.bearer != NULL) {
		char *text = xasprintf("Authorization: Bearer %s",
		    t->http->auth.bearer);

		add_header(t, text);
		auth_wipe(text);
	}
	curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->headers);
}

static void
set_method(struct transfer *t)
{
	const struct request *r = &t->request;

	if (r->pieces.n > 0) {
		curl_easy_setopt(t->easy, CURLOPT_UPLOAD, 1L);
		curl_easy_setopt(t->easy, CURLOPT_INFILESIZE_LARGE,
		    (curl_off_t)t->files->upload.size);
	} else if (r->body != NULL || strcmp(r->method, "POST") == 0 ||
	    strcmp(r->method, "PUT") == 0 || strcmp(r->method, "PATCH") == 0) {
		curl_easy_setopt(t->easy, CURLOPT_POSTFIELDSIZE_LARGE,
		    (curl_off_t)r->body_len);
		curl_easy_setopt(t->easy, CURLOPT_POSTFIELDS,
		    r->body ? r->body : "");
	}
	if (strcmp(r->method, "HEAD") == 0)
		curl_easy_setopt(t->easy, CURLOPT_NOBODY, 1L);
	else
		curl_easy_setopt(t->easy, CURLOPT_CUSTOMREQUEST, r->method);
}

static void
set_times(struct transfer *t)
{
	struct http *h = t->http;
	int64_t ms = h->timeout_ms, connect_ms = h->connect_ms;

	if (t->run == NULL)
		ms = TOKEN_MS;
	else if (ms == 0 || ms > t->run->timeout_ms)
		ms = t->run->timeout_ms;
	if (connect_ms == 0)
		connect_ms = CONNECT_MS;
	curl_easy_setopt(t->easy, CURLOPT_TIMEOUT_MS, (long)ms);
	curl_easy_setopt(t->easy, CURLOPT_CONNECTTIMEOUT_MS,
	    (long)(connect_ms < ms ? connect_ms : ms));
}

static void
set_options(struct transfer *t)
{
	struct http *h = t->http;
	CURL *c = t->easy;

	curl_easy_setopt(c, CURLOPT_PRIVATE, t);
	curl_easy_setopt(c, CURLOPT_URL, t->request.url);
	/* Its resolver would use SIGALRM else, in a process with a loop. */
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
#if LIBCURL_VERSION_NUM >= 0x075500
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
#else
	curl_easy_setopt(c, CURLOPT_PROTOCOLS,
	    (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
	curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
	/* Not even one of the environment: an address behind it is unseen. */
	curl_easy_setopt(c, CURLOPT_PROXY, "");
	curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, make_socket);
	curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, t);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
	curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, take_header);
	curl_easy_setopt(c, CURLOPT_HEADERDATA, t);
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, t->error);
	/* Most answers are small, and hundreds may be awaited. */
	curl_easy_setopt(c, CURLOPT_BUFFERSIZE, BUFFER_SIZE);
	/* Of what is compressed as little is read as of all others; these two
	 * need no memory to speak of. */
	curl_easy_setopt(c, CURLOPT_ACCEPT_ENCODING, "gzip, deflate");
	curl_easy_setopt(c, CURLOPT_USERAGENT, PACKAGE_NAME "/" PACKAGE_VERSION);
	if (h->ca_file != NULL)
		curl_easy_setopt(c, CURLOPT_CAINFO, h->ca_file);
	if ((t->run != NULL && h->auth.kind == AUTH_BASIC) ||
	    (t->run == NULL && h->auth.kind == AUTH_OAUTH2)) {
		curl_easy_setopt(c, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
		curl_easy_setopt(c, CURLOPT_USERNAME, h->auth.user);
		curl_easy_setopt(c, CURLOPT_PASSWORD, h->auth.password);
	}
}

static void
set_files(struct transfer *t)
{
	CURL *c = t->easy;

	curl_easy_setopt(c, CURLOPT_BUFFERSIZE, FILE_BUFFER_SIZE);
	curl_easy_setopt(c, CURLOPT_UPLOAD_BUFFERSIZE, FILE_BUFFER_SIZE);
	curl_easy_setopt(c, CURLOPT_READFUNCTION, give_body);
	curl_easy_setopt(c, CURLOPT_READDATA, t);
	curl_easy_setopt(c, CURLOPT_SEEKFUNCTION, rewind_body);
	curl_easy_setopt(c, CURLOPT_SEEKDATA, t);
	curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, tell_progress);
	curl_easy_setopt(c, CURLOPT_XFERINFODATA, t);
	curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
	if (t->files->dir < 0)
		return;
	/* Saved as it is, and known to be too large as soon as can be. */
	curl_easy_setopt(c, CURLOPT_ACCEPT_ENCODING, NULL);
	curl_easy_setopt(c, CURLOPT_MAXFILESIZE_LARGE,
	    (curl_off_t)t->http->max_size);
}

static void
start(struct transfer *t)
{
	t->easy = curl_easy_init();
	if (t->easy == NULL)
		fatal("libcurl has no memory", "driver=%s", "http");
	t->token_at = t->run != NULL ? t->http->auth.token_at : mono_now();
	set_options(t);
	if (t->files != NULL)
		set_files(t);
	set_method(t);
	set_times(t);
	set_headers(t);
	curl_multi_add_handle(t->http->multi, t->easy);
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
		    "allow_private would let it", where);
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
		r.retry_after_ms = t->answer.retry_after_ms;
		r.class = answer_class(status, r.retry_after_ms >= 0);
		if (r.class != CLASS_NONE)
			r.message = status_message(t, status);
		if (r.class == CLASS_NONE && is_saved(t))
			keep_file(t, &r);
		r.result = answer_result(&t->answer, status);
		if (r.class == CLASS_AUTH)
			auth_refuse_token(&t->http->auth, t->token_at);
	} else {
		r.class = class_of_error(t, code);
		r.message = error_message(t, code);
	}
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
	long status = 0;

	curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
	if (code != CURLE_OK) {
		class = class_of_error(t, code);
		err_set(&e, "%s", t->error[0] ? t->error : curl_easy_strerror(code));
		if (t->refused_address)
			err_set(&e, "it is at a private address");
	} else if (status != 200) {
		class = answer_class(status, false);
		if (class == CLASS_VALIDATION || class == CLASS_NONE)
			class = CLASS_AUTH;
		err_set(&e, "HTTP %ld", status);
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
			start(w);
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

	buf_str(&body, "grant_type=client_credentials");
	if (h->auth.scope != NULL && h->auth.scope[0] != '\0') {
		char *scope = curl_easy_escape(NULL, h->auth.scope, 0);

		buf_printf(&body, "&scope=%s", scope ? scope : "");
		curl_free(scope);
	}
	t->request.url = xstrdup(h->auth.token_url);
	t->request.method = xstrdup("POST");
	t->request.body_len = body.len;
	t->request.body = buf_detach(&body);
	strings_take(&t->request.headers, xstrdup("Accept: application/json"));
	h->fetch = t;
	start(t);
}

static void
transfer_done(struct transfer *t, CURLcode code)
{
	if (t->run != NULL)
		job_done(t, code);
	else
		token_done(t, code);
}

/*
 * The driver
 */

static void close_http(struct driver_ctx *);

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
	bool usable;

	h->ctx = ctx;
	ctx->state = h;
	TAILQ_INIT(&h->waiting);
	node_bool(options, "allow_private", &h->allow_private, NULL);
	node_duration_ms(options, "timeout", &h->timeout_ms, NULL);
	node_duration_ms(options, "connect_timeout", &h->connect_ms, NULL);
	answer_keep_init(&h->keep, options);
	node_str(options, "ca_file", &h->ca_file, NULL);
	node_str(options, "directory", &h->directory, NULL);
	h->max_size = FILE_SIZE_MAX;
	node_size(options, "max_size", &h->max_size, NULL);
	usable = auth_open(&h->auth, node_get(options, "auth"), e) == 0 &&
	    sign_open(h, node_get(options, "sign"), e) == 0;
	h->timer = timer_new(ctx->loop, on_timer, h);
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
	if (h->multi != NULL)
		curl_multi_cleanup(h->multi);
	timer_free(h->timer);
	auth_close(&h->auth);
	for (char **s = h->secrets; s != NULL && *s != NULL; s++)
		auth_wipe(*s);
	free(h->secrets);
	answer_keep_clear(&h->keep);
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
	    outcome_least_delay_ms(ctx->queue->retry, CLASS_AUTH, job->charged);
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
		class = files_open(t, &e);
	if (class != CLASS_NONE) {
		transfer_free(t);
		run_fail(run, class, "%s", e.msg);
		return;
	}
	if (request_destination(t->request.url, destination,
	    sizeof(destination)) && !run_goes_to(run, destination)) {
		transfer_free(t);
		run_defer(run);
		return;
	}
	if (auth_is_ready(&h->auth, token_since(ctx, run->job))) {
		start(t);
		return;
	}
	TAILQ_INSERT_TAIL(&h->waiting, t, link);
	if (h->fetch == NULL)
		fetch_token(h);
}

static void
cancel(struct driver_ctx *ctx, struct run *run, enum job_class why)
{
	struct transfer *t = run->state;
	struct http *h = ctx->state;

	if (t->easy == NULL)
		TAILQ_REMOVE(&h->waiting, t, link);
	transfer_free(t);
	run_fail(run, why == CLASS_NONE ? CLASS_ERROR : why,
	    "stopped before the answer came");
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
