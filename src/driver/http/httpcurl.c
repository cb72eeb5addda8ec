/*
 * A request as libcurl sees it: what is set of it before it goes out, and what
 * is called back while it is on its way. See http.h.
 */
#include "config.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "driver/below.h"
#include "driver/http/http.h"
#include "driver/http/netaddr.h"
#include "os/loop.h"

#define CONNECT_MS 10000
#define TOKEN_MS 30000			/* to fetch an OAuth token */
#define BUFFER_SIZE 4096L		/* of curl, for each that is on its way */
#define FILE_BUFFER_SIZE (256L << 10)	/* … with a file */
#define PROGRESS_US MONO_SECOND		/* between two reports of it */
#define BODY_READ (1u << 20)		/* bytes of an answer; then the connection is cut */
#define TOKEN_BODY (64u << 10)

static void files_free(struct files *);

/*
 * While it is on its way
 */

static bool
is_allowed(const struct http *h, const struct sockaddr *to)
{
	struct address address;

	if (h->allow_private || !netaddr_is_private(to))
		return true;
	address = address_of(to);
	for (size_t i = 0; i < h->nnetworks; i++)
		if (network_has(&h->networks[i], &address))
			return true;
	return false;
}

static curl_socket_t
make_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *to)
{
	struct transfer *t = arg;
	int fd;

	(void)purpose;
	if (!is_allowed(t->http, &to->addr)) {
		t->refused_address = true;
		return CURL_SOCKET_BAD;
	}
	fd = socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
	if (fd < 0)
		return CURL_SOCKET_BAD;
	sockets_made(&t->http->sockets, fd);
	return fd;
}

/* Of a connection, which may outlive the transfer that made it. */
static int
close_socket(void *arg, curl_socket_t fd)
{
	struct http *h = arg;

	return sockets_close(&h->sockets, fd);
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

bool
transfer_is_saved(const struct transfer *t)
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

	if (transfer_is_saved(t))
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

static int
on_connected(void *arg, char *peer, char *own, int peer_port, int own_port)
{
	struct transfer *t = arg;

	(void)peer;
	(void)own;
	(void)peer_port;
	(void)own_port;
	pace_connected(&t->http->pace, &t->ticket);
	return CURL_PREREQFUNC_OK;
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

enum job_class
transfer_open_files(struct transfer *t, struct err *e)
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

struct transfer *
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

/* One that is used again costs half of a new one. */
static CURL *
take_easy(struct http *h)
{
	CURL *easy = h->nspare > 0 ? h->spare[--h->nspare] : curl_easy_init();

	if (easy == NULL)
		fatal("libcurl has no memory", "driver=%s", "http");
	return easy;
}

/* The token's is not kept: nothing of who asked for it is to be in a job's. */
static void
leave_easy(const struct transfer *t)
{
	struct http *h = t->http;

	curl_multi_remove_handle(h->multi, t->easy);
	if (t->run == NULL || h->nspare == SPARE_MAX) {
		curl_easy_cleanup(t->easy);
		return;
	}
	curl_easy_reset(t->easy);
	h->spare[h->nspare++] = t->easy;
}

void
transfer_free(struct transfer *t)
{
	if (t->easy != NULL)
		leave_easy(t);
	pace_leave(&t->http->pace, &t->ticket, PACE_NONE);
	timer_free(t->answer_timer);
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
on_no_answer(void *arg)
{
	struct transfer *t = arg;
	struct http *h = t->http;
	const struct upload *u = t->files != NULL ? &t->files->upload : NULL;

	if (t->answer.head_seen > 0)
		return;
	/* The other side has still to hear all of it. */
	if (u != NULL && u->at < u->size) {
		timer_set(t->answer_timer, h->answer_ms * MONO_MS);
		return;
	}
	t->cut = CLASS_TIMEOUT;
	err_set(&t->why, "no answer within %lld ms", (long long)h->answer_ms);
	transfer_done(t, CURLE_OPERATION_TIMEDOUT);
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
	if (h->stall_ms > 0) {
		curl_easy_setopt(t->easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
		curl_easy_setopt(t->easy, CURLOPT_LOW_SPEED_TIME,
		    (long)((h->stall_ms + 999) / 1000));
	}
	if (h->answer_ms > 0) {
		t->answer_timer = timer_new(h->ctx->loop, on_no_answer, t);
		timer_set(t->answer_timer, h->answer_ms * MONO_MS);
	}
}

/* Files are read at every new connection: others may take their place. */
static void
set_tls(const struct http *h, CURL *c)
{
	curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	/* Rather wait whether one connection carries all by HTTP/2. */
	curl_easy_setopt(c, CURLOPT_PIPEWAIT, 1L);
	if (h->ca_file != NULL)
		curl_easy_setopt(c, CURLOPT_CAINFO, h->ca_file);
	if (h->cert == NULL)
		return;
	curl_easy_setopt(c, CURLOPT_SSLCERT, h->cert);
	curl_easy_setopt(c, CURLOPT_SSLKEY, h->key);
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
	curl_easy_setopt(c, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
	curl_easy_setopt(c, CURLOPT_CLOSESOCKETDATA, h);
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
	if (t->ticket.host != NULL) {
		curl_easy_setopt(c, CURLOPT_PREREQFUNCTION, on_connected);
		curl_easy_setopt(c, CURLOPT_PREREQDATA, t);
	}
	if (strncasecmp(t->request.url, "https:", 6) == 0)
		set_tls(h, c);
	if ((t->run != NULL && h->auth.kind == AUTH_BASIC) ||
	    (t->run == NULL && !h->auth.in_body)) {
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

void
transfer_start(struct transfer *t)
{
	t->easy = take_easy(t->http);
	t->token_at = t->run != NULL ? t->http->auth.token_at : mono_now();
	set_options(t);
	if (t->files != NULL)
		set_files(t);
	set_method(t);
	set_times(t);
	set_headers(t);
	curl_multi_add_handle(t->http->multi, t->easy);
}
