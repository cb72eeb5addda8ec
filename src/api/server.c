/*
 * Connections: see server.h. One request of a connection is at work at a time;
 * what was sent behind it waits in the socket, so a client that sends and never
 * reads costs one answer and one buffer. When there are too many connections,
 * the one that has been waiting for its client for longest is closed.
 */
#include "config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "api/route.h"
#include "api/server.h"
#include "api/wire.h"
#include "base/log.h"
#include "base/xalloc.h"
#include "os/listen.h"

#define UNUSED_BODY_MAX 4096	/* of a GET: read to its end, and of no use */
#define ACCEPTS_A_TURN 64	/* then others on the loop get a chance */
#define ACCEPT_PAUSE (100 * MONO_MS)	/* when the system has no descriptor */
#define LINGER (2 * MONO_SECOND)	/* for a refused client to read why */

enum stage {
	STAGE_HEAD,		/* a request, or nothing, is on its way */
	STAGE_BODY,
	STAGE_ANSWER,		/* somebody is at work on it */
	STAGE_STREAM,		/* … and its pieces go out as they come */
	STAGE_WRITE,
	STAGE_LINGER,		/* all is said; what still comes is thrown away */
};

struct connection {
	struct server *server;
	struct wire wire;
	struct address peer;
	enum stage stage;
	struct timer *deadline;
	bool begun;		/* bytes of the next request are here */
	unsigned served;	/* answers it has had; then it may be closed while idle */
	bool closing;		/* after this answer */
	struct buf in, out;
	size_t seen, sent;
	struct http_body body;
	struct exchange *exchange;	/* NULL: none */
	TAILQ_ENTRY(connection) link;
};
TAILQ_HEAD(connections, connection);

struct server {
	struct loop *loop;
	struct server_options options;
	int fd;
	struct watch *watch;
	struct timer *again;
	struct connections connections;	/* the one that did something last is last */
	size_t count;
	bool stopping;
	void (*done)(void *);
	void *done_arg;
	struct timer *finish;	/* calls done, from the loop */
};

static void on_connect(int, unsigned, void *);
static void on_again(void *);
static void on_finish(void *);
static void on_ready(struct wire *, unsigned, void *);
static void on_deadline(void *);
static void connection_free(struct connection *);
static bool advance(struct connection *);
static void begin_answer(struct connection *);
static void tell_gone(struct exchange *);
static void refuse(struct connection *, int status, const char *why);

/*
 * The server
 */

struct server *
server_new(struct loop *loop, int fd, const struct server_options *options)
{
	struct server *s = xcalloc(1, sizeof(*s));

	s->loop = loop;
	s->fd = fd;
	s->options = *options;
	TAILQ_INIT(&s->connections);
	s->again = timer_new(loop, on_again, s);
	s->finish = timer_new(loop, on_finish, s);
	s->watch = watch_new(loop, fd, LOOP_READ, on_connect, s);
	return s;
}

void
server_free(struct server *s)
{
	if (s == NULL)
		return;
	while (!TAILQ_EMPTY(&s->connections))
		connection_free(TAILQ_FIRST(&s->connections));
	watch_free(s->watch);
	if (s->fd >= 0)
		close(s->fd);
	timer_free(s->again);
	timer_free(s->finish);
	free(s);
}

static void
on_finish(void *arg)
{
	struct server *s = arg;

	s->done(s->done_arg);
}

void
server_stop(struct server *s, void (*done)(void *), void *arg)
{
	struct connection *c, *next;

	if (s->stopping)
		return;
	s->stopping = true;
	s->done = done;
	s->done_arg = arg;
	/* Whoever connects from now on is not to wait for us. */
	watch_free(s->watch);
	s->watch = NULL;
	close(s->fd);
	s->fd = -1;
	timer_stop(s->again);
	TAILQ_FOREACH_SAFE(c, &s->connections, link, next) {
		c->closing = true;
		if (c->stage == STAGE_HEAD && !c->begun && c->served > 0)
			connection_free(c);
		else
			tell_gone(c->exchange);
	}
	if (s->count == 0)
		timer_set(s->finish, 0);
}

static void
on_again(void *arg)
{
	struct server *s = arg;

	watch_set(s->watch, LOOP_READ);
}

/* Of those that wait for their client the one that has done so for longest;
 * from: only that address's, NULL: anybody's. */
static struct connection *
waiting(struct server *s, const struct address *from)
{
	struct connection *c;

	TAILQ_FOREACH(c, &s->connections, link)
		if ((c->stage == STAGE_HEAD || c->stage == STAGE_LINGER) &&
		    (from == NULL || address_is_same(&c->peer, from)))
			break;
	return c;
}

static void
evict(struct server *s)
{
	struct connection *c = waiting(s, NULL);

	if (c == NULL)
		c = TAILQ_FIRST(&s->connections);
	if (c != NULL)
		connection_free(c);
}

/* Whether one more of that address may stay: in place of one of its own that
 * does nothing, when it has enough. Programs of this machine and proxies are
 * many clients. */
static bool
has_room(struct server *s, const struct address *from)
{
	struct connection *c;
	size_t n = 0;

	if (s->options.per_address == 0 || from->is_unix ||
	    address_is_loopback(from) ||
	    forward_is_trusted(&s->options.forward, from))
		return true;
	TAILQ_FOREACH(c, &s->connections, link)
		n += address_is_same(&c->peer, from);
	if (n < s->options.per_address)
		return true;
	c = waiting(s, from);
	if (c != NULL)
		connection_free(c);
	return c != NULL;
}

static void
accepted(struct server *s, int fd, const struct address *from)
{
	struct connection *c = xcalloc(1, sizeof(*c));

	c->server = s;
	c->peer = *from;
	c->deadline = timer_new(s->loop, on_deadline, c);
	wire_init(&c->wire, s->loop, fd, s->options.tls, on_ready, c);
	TAILQ_INSERT_TAIL(&s->connections, c, link);
	s->count++;
	timer_set(c->deadline, s->options.head_within);
}

static void
on_connect(int fd, unsigned what, void *arg)
{
	struct server *s = arg;

	(void)what;
	for (int i = 0; i < ACCEPTS_A_TURN; i++) {
		struct address from;
		int got = listen_accept(fd, &from);

		if (got < 0 && (errno == EMFILE || errno == ENFILE)) {
			/* One of ours makes room; else it passes by itself. */
			evict(s);
			watch_set(s->watch, 0);
			timer_set(s->again, ACCEPT_PAUSE);
			return;
		}
		if (got < 0)
			return;
		if (!has_room(s, &from)) {
			close(got);
			continue;
		}
		while (s->count >= s->options.connections_max)
			evict(s);
		accepted(s, got, &from);
	}
}

/*
 * Connections
 */

static struct exchange *
exchange_new(struct connection *c)
{
	struct exchange *x = xcalloc(1, sizeof(*x));

	x->connection = c;
	x->secure = c->wire.tls != NULL;
	address_text(&c->peer, x->from);
	x->began = mono_now();
	c->exchange = x;
	return x;
}

static void
exchange_free(struct exchange *x)
{
	http_request_clear(&x->request);
	buf_clear(&x->content);
	buf_clear(&x->headers);
	buf_clear(&x->body);
	for (size_t i = 0; x->values != NULL && i < route_params(x->route); i++)
		free(x->values[i]);
	free(x->values);
	if (x->state_free != NULL)
		x->state_free(x->state);
	free(x);
}

static void
tell_gone(struct exchange *x)
{
	gone_fn *gone = x != NULL ? x->gone : NULL;

	if (gone == NULL)
		return;
	x->gone = NULL;
	gone(x, x->gone_arg);
}

static void
drop_exchange(struct connection *c)
{
	struct exchange *x = c->exchange;

	if (x == NULL)
		return;
	c->exchange = NULL;
	/* Whoever is at work on it will say that it is done. */
	x->connection = NULL;
	if (c->stage == STAGE_ANSWER || c->stage == STAGE_STREAM)
		tell_gone(x);
	else
		exchange_free(x);
}

static void
connection_free(struct connection *c)
{
	struct server *s = c->server;

	char from[ADDRESS_MAX];

	log_debug("connection ended", "from=%s requests=%u",
	    address_text(&c->peer, from), c->served);
	drop_exchange(c);
	TAILQ_REMOVE(&s->connections, c, link);
	s->count--;
	wire_clear(&c->wire);
	timer_free(c->deadline);
	buf_clear(&c->in);
	buf_clear(&c->out);
	free(c);
	if (s->stopping && s->count == 0)
		timer_set(s->finish, 0);
}

static void
set_stage(struct connection *c, enum stage stage)
{
	static const unsigned interest[] = {
		[STAGE_HEAD] = LOOP_READ, [STAGE_BODY] = LOOP_READ,
		[STAGE_ANSWER] = 0, [STAGE_STREAM] = LOOP_READ,
		[STAGE_WRITE] = LOOP_WRITE, [STAGE_LINGER] = LOOP_READ,
	};

	c->stage = stage;
	wire_wait(&c->wire, interest[stage]);
}

static void
on_deadline(void *arg)
{
	struct connection *c = arg;

	if (c->stage == STAGE_HEAD && c->begun) {
		refuse(c, 408, "the head of the request did not come in time");
		return;
	}
	if (c->stage == STAGE_BODY) {
		refuse(c, 408, "the body of the request did not come in time");
		return;
	}
	connection_free(c);
}

/* Until it has to wait. Nobody has freed it when it returns true. */
static void
go_on(struct connection *c)
{
	while (advance(c))
		;
}

/* What came and is not used yet never exceeds a head. False: nothing came,
 * or the connection is no more. */
static bool
receive(struct connection *c)
{
	/* Not into the buffer, which for most is to stay small. */
	static char data[HTTP_HEAD_MAX + 1];
	ssize_t n = c->stage == STAGE_LINGER ? wire_discard(&c->wire) :
	    wire_recv(&c->wire, data, sizeof(data) - c->in.len);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n < 0 && errno == EPROTONOSUPPORT) {
		refuse(c, 400, "this port speaks TLS: the address begins with https://");
		return true;
	}
	if (n <= 0) {
		connection_free(c);
		return false;
	}
	if (c->stage != STAGE_LINGER)
		buf_put(&c->in, data, (size_t)n);
	/* Listened to only to hear that it is gone: the rest can wait. */
	if (c->stage == STAGE_ANSWER && c->in.len >= HTTP_HEAD_MAX)
		wire_wait(&c->wire, 0);
	return true;
}

/* Whether the client of a stream is still there. What it says is of no use:
 * there is nothing behind a stream. */
static bool
hear(struct connection *c)
{
	char data[1024];
	ssize_t n = wire_recv(&c->wire, data, sizeof(data));

	if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
		return true;
	connection_free(c);
	return false;
}

/* Send what there is of a stream. */
static void
flush_stream(struct connection *c)
{
	struct exchange *x = c->exchange;

	while (c->sent < c->out.len) {
		ssize_t n = wire_send(&c->wire, c->out.data + c->sent,
		    c->out.len - c->sent);

		if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
			wire_wait(&c->wire, LOOP_READ | LOOP_WRITE);
			return;
		}
		if (n < 0) {
			connection_free(c);
			return;
		}
		c->sent += (size_t)n;
	}
	buf_clear(&c->out);
	c->sent = 0;
	timer_stop(c->deadline);
	wire_wait(&c->wire, LOOP_READ);
	x->more(x, x->gone_arg);
}

static void
on_ready(struct wire *w, unsigned what, void *arg)
{
	struct connection *c = arg;

	(void)w;
	if (c->stage == STAGE_STREAM) {
		if (!(what & LOOP_READ) || hear(c))
			flush_stream(c);
		return;
	}
	if (c->stage == STAGE_WRITE || receive(c))
		go_on(c);
}

/* Most of the time there is nothing more. */
static void
used(struct connection *c, size_t len)
{
	if (len == c->in.len)
		buf_clear(&c->in);
	else
		buf_drop(&c->in, len);
	c->seen = 0;
}

/* Whether there is more to do at once: so say the stages, too. */
static bool
take_head(struct connection *c)
{
	const struct server_options *o = &c->server->options;
	struct exchange *x;
	ssize_t len;
	int status;

	/* An empty line before a request is left over from the last one. */
	if (!c->begun && c->in.len >= 2 && memcmp(c->in.data, "\r\n", 2) == 0)
		used(c, 2);
	if (c->in.len > 0 && !c->begun) {
		c->begun = true;
		timer_set(c->deadline, o->head_within);
	}
	len = http_head_end(c->in.data, c->in.len, &c->seen);
	if (len == 0 && c->in.len <= HTTP_HEAD_MAX)
		return false;
	x = exchange_new(c);
	if (len < 0) {
		refuse(c, 400, "a line does not end with CR LF, or has a control character");
		return true;
	}
	if (len == 0 || len > HTTP_HEAD_MAX) {
		refuse(c, 431, "the head of the request is larger than 16 KiB");
		return true;
	}
	status = http_parse(&x->request, c->in.data, (size_t)len);
	used(c, (size_t)len);
	if (status != 0) {
		refuse(c, status, x->request.problem);
		return true;
	}
	begin_answer(c);
	return true;
}

static void
put_text(struct connection *c, const char *text)
{
	buf_str(&c->out, text);
}

static size_t
body_limit(const struct connection *c)
{
	const char *method = c->exchange->request.method;
	size_t max = c->server->options.body_max;

	return max > UNUSED_BODY_MAX && (strcmp(method, "GET") == 0 ||
	    strcmp(method, "HEAD") == 0) ? UNUSED_BODY_MAX : max;
}

/* Who it is from, of whom the request itself may tell. */
static void
tell_client(const struct connection *c, struct exchange *x)
{
	struct address a = forward_client(&c->server->options.forward,
	    &x->request, &c->peer, &x->secure);

	address_text(&a, x->from);
}

/* The head is fine: is there somebody to answer, and is there a body? */
static void
begin_answer(struct connection *c)
{
	const struct server_options *o = &c->server->options;
	struct exchange *x = c->exchange;

	TAILQ_REMOVE(&c->server->connections, c, link);
	TAILQ_INSERT_TAIL(&c->server->connections, c, link);
	if (!x->request.keep_alive)
		c->closing = true;
	tell_client(c, x);
	http_body_init(&c->body, &x->request, body_limit(c));
	x->answer = o->route(x, o->arg);
	if (x->answer == NULL) {
		/* Its body, if there is one, is not waited for. */
		c->closing |= c->body.state != BODY_DONE;
		exchange_done(x);
		return;
	}
	if ((uint64_t)x->request.length > c->body.max) {
		refuse(c, 413, "the body of the request is too large");
		return;
	}
	if (x->request.wants_continue && c->body.state != BODY_DONE &&
	    c->in.len == 0)
		put_text(c, "HTTP/1.1 100 Continue\r\n\r\n");
	set_stage(c, STAGE_BODY);
	timer_set(c->deadline, o->body_within);
}

/* The few bytes of a 100 fit into a socket that has just been read from. */
static void
send_continue(struct connection *c)
{
	if (c->out.len > 0 && wire_send(&c->wire, c->out.data, c->out.len) < 0)
		log_debug("cannot send", "error=%s", strerror(errno));
	buf_reset(&c->out);
}

static bool
take_body(struct connection *c)
{
	struct exchange *x = c->exchange;
	ssize_t n;

	send_continue(c);
	n = http_body_take(&c->body, c->in.len > 0 ? c->in.data : "", c->in.len,
	    &x->content);
	if (n == -2) {
		refuse(c, 413, "the body of the request is too large");
		return true;
	}
	if (n < 0) {
		refuse(c, 400, c->body.problem);
		return true;
	}
	used(c, (size_t)n);
	if (c->body.state != BODY_DONE)
		return false;
	set_stage(c, STAGE_ANSWER);
	timer_stop(c->deadline);
	x->answer(x, c->server->options.arg);
	return c->stage != STAGE_ANSWER;
}

/* All of the answer is out, or the connection is gone with it. */
static bool
write_answer(struct connection *c)
{
	ssize_t n = wire_send(&c->wire, c->out.data + c->sent,
	    c->out.len - c->sent);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n < 0) {
		connection_free(c);
		return false;
	}
	c->sent += (size_t)n;
	if (c->sent < c->out.len)
		return true;
	buf_clear(&c->out);
	c->sent = 0;
	drop_exchange(c);
	c->served++;
	if (c->closing) {
		/* Closed at once it might never read what was said. */
		wire_end(&c->wire);
		set_stage(c, STAGE_LINGER);
		timer_set(c->deadline, LINGER);
		return false;
	}
	c->begun = false;
	set_stage(c, STAGE_HEAD);
	timer_set(c->deadline, c->server->options.idle_within);
	return true;
}

static bool
advance(struct connection *c)
{
	switch (c->stage) {
	case STAGE_HEAD:
		return take_head(c);
	case STAGE_BODY:
		return take_body(c);
	case STAGE_WRITE:
		return write_answer(c);
	default:
		return false;
	}
}

/*
 * Answers
 */

static void
put_head(struct connection *c, const struct exchange *x)
{
	char date[HTTP_DATE_MAX];

	buf_printf(&c->out, "HTTP/1.1 %d %s\r\nDate: %s\r\n"
	    "Cache-Control: %s\r\nX-Content-Type-Options: nosniff\r\n"
	    "Referrer-Policy: no-referrer\r\n",
	    x->status, http_reason(x->status),
	    http_date(date, (int64_t)time(NULL)), x->cache ? x->cache : "no-store");
	if (x->status != 204 && x->status != 304)
		buf_printf(&c->out, "Content-Type: %s\r\n",
		    x->type ? x->type : "application/json");
	if (x->more != NULL && x->request.minor > 0)
		put_text(c, "Transfer-Encoding: chunked\r\n");
	else if (x->more == NULL && x->status != 204 && x->status != 304)
		buf_printf(&c->out, "Content-Length: %zu\r\n", x->body.len);
	if (c->wire.tls != NULL)
		put_text(c, "Strict-Transport-Security: max-age=31536000\r\n");
	if (c->closing)
		put_text(c, "Connection: close\r\n");
	else if (x->request.minor == 0)
		put_text(c, "Connection: keep-alive\r\n");
	buf_put(&c->out, x->headers.data, x->headers.len);
	put_text(c, "\r\n");
}

static void
log_exchange(const struct exchange *x)
{
	log_debug("request", "from=%s method=%s path=%s status=%d bytes=%zu ms=%lld",
	    x->from, x->request.method, x->request.path, x->status, x->body.len,
	    (long long)((mono_now() - x->began) / MONO_MS));
}

void
exchange_done(struct exchange *x)
{
	struct connection *c = x->connection;

	log_exchange(x);
	if (c == NULL) {
		exchange_free(x);
		return;
	}
	x->gone = NULL;
	c->closing |= c->server->stopping;
	if (x->more != NULL)
		put_text(c, x->request.minor > 0 ? "0\r\n\r\n" : "");
	else
		put_head(c, x);
	if (strcmp(x->request.method, "HEAD") != 0)
		buf_put(&c->out, x->body.data, x->body.len);
	buf_clear(&x->body);
	set_stage(c, STAGE_WRITE);
	timer_set(c->deadline, c->server->options.write_within);
}

/* Pieces that come together go out together; and within a time. */
static void
write_soon(struct connection *c)
{
	wire_wait(&c->wire, LOOP_READ | LOOP_WRITE);
	if (!timer_pending(c->deadline))
		timer_set(c->deadline, c->server->options.write_within);
}

void
exchange_watch(struct exchange *x, gone_fn *gone, void *arg)
{
	struct connection *c = x->connection;

	x->gone = gone;
	x->gone_arg = arg;
	if (c != NULL && c->stage == STAGE_ANSWER && c->in.len < HTTP_HEAD_MAX)
		wire_wait(&c->wire, LOOP_READ);
}

void
exchange_stream(struct exchange *x, answer_fn *more)
{
	struct connection *c = x->connection;

	x->more = more;
	if (c == NULL)
		return;
	c->closing = true;
	put_head(c, x);
	set_stage(c, STAGE_STREAM);
	write_soon(c);
}

void
exchange_send(struct exchange *x, const void *data, size_t len)
{
	struct connection *c = x->connection;

	if (c == NULL || len == 0)
		return;
	if (x->request.minor > 0)
		buf_printf(&c->out, "%zx\r\n", len);
	buf_put(&c->out, data, len);
	if (x->request.minor > 0)
		put_text(c, "\r\n");
	write_soon(c);
}

void
exchange_problem_of(struct exchange *x, int status, const char *field,
    const char *detail)
{
	x->status = status;
	x->type = "application/problem+json";
	buf_reset(&x->body);
	buf_printf(&x->body, "{\"type\":\"about:blank\",\"title\":\"%s\","
	    "\"status\":%d,\"detail\":", http_reason(status), status);
	buf_json(&x->body, detail, strlen(detail));
	if (*field != '\0') {
		buf_str(&x->body, ",\"field\":");
		buf_json(&x->body, field, strlen(field));
	}
	buf_str(&x->body, "}\n");
}

void
exchange_problem(struct exchange *x, int status, const char *fmt, ...)
{
	char *detail = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&detail, fmt, ap) < 0)
		detail = NULL;
	va_end(ap);
	exchange_problem_of(x, status, "", detail ? detail : "");
	free(detail);
}

/* What is wrong with the request makes all behind it unreadable. */
static void
refuse(struct connection *c, int status, const char *why)
{
	struct exchange *x = c->exchange ? c->exchange : exchange_new(c);

	c->closing = true;
	buf_clear(&c->in);
	exchange_problem(x, status, "%s", why);
	exchange_done(x);
}
