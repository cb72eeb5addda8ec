/*
 * The HTTP server of the api process: connections, deadlines, keep-alive. What
 * is answered is not its business: it reads requests, has a function look for
 * who answers them, and writes the answers in the order of the requests.
 */
#ifndef API_SERVER_H
#define API_SERVER_H

#include <stdbool.h>
#include <stddef.h>

#include "api/caller.h"
#include "api/forward.h"
#include "api/http.h"
#include "base/buf.h"
#include "os/address.h"
#include "os/loop.h"
#include "os/tls.h"

struct asker;
struct route;
struct server;
struct exchange;

/* Answers a request: exchange_done() exactly once, now or later. */
typedef void answer_fn(struct exchange *, void *arg);
/* There is nobody to answer any more, or the server stops and waits for the
 * answer: exchange_done() as ever, but soon. */
typedef void gone_fn(struct exchange *, void *arg);

/*
 * One request and its answer. It outlives its connection when that is lost
 * before the answer is there.
 */
struct exchange {
	struct http_request request;
	struct buf content;		/* the request's body, whole */
	int status;
	const char *type;		/* of body; static */
	const char *cache;		/* Cache-Control; NULL: no-store; static */
	struct buf headers;		/* more of them, "Name: value\r\n" each */
	struct buf body;
	char from[ADDRESS_MAX];		/* the client's address, or "unix" */
	bool secure;			/* the client's connection has TLS */
	struct connection *connection;	/* the server's; NULL: lost */
	answer_fn *answer;
	gone_fn *gone;			/* NULL: nobody wants to know */
	void *gone_arg;
	answer_fn *more;		/* of a stream, all is out; NULL: it is none */
	mono_t began;
	/* What the core of the API has found out. */
	struct caller caller;
	const struct route *route;	/* NULL: none */
	char **values;			/* of its parameters; freed with the exchange */
	struct asker *asker;
	/* What a route keeps between its statements; freed with the exchange. */
	void *state;
	void (*state_free)(void *state);
};

struct server_options {
	/*
	 * Who answers a request whose head is read. NULL: nobody, and the
	 * exchange is filled in with the reason (by exchange_problem()).
	 */
	answer_fn *(*route)(struct exchange *, void *arg);
	void *arg;			/* of route and answer */
	size_t body_max;
	size_t connections_max;
	size_t per_address;		/* of them; 0: as many as there are */
	struct tls_server *tls;		/* NULL: without; not the server's */
	struct forward_options forward;
	/* All absolute; what has not come or gone by then ends the connection. */
	mono_t head_within, body_within, write_within, idle_within;
};

/* Takes fd, which listens; options are copied. */
struct server *server_new(struct loop *, int fd, const struct server_options *);
/* Accept no more, let what is being answered be answered; then call done. */
void server_stop(struct server *, void (*done)(void *arg), void *arg);
void server_free(struct server *);

void exchange_done(struct exchange *);
/* For an answer that is to take its time: hear, once, that its client is gone. */
void exchange_watch(struct exchange *, gone_fn *, void *arg);
/*
 * Begin an answer that comes in pieces until exchange_done(), after which the
 * connection is closed: status, type and headers are there. more is called, from
 * the loop and with watch's arg, when all that was sent is taken, or at least
 * with the system: sent then, a piece is the most that is kept for the client.
 * Who takes too long with one is gone.
 */
void exchange_stream(struct exchange *, answer_fn *more);
void exchange_send(struct exchange *, const void *data, size_t len);
/* The answer is a problem document (RFC 9457). */
void exchange_problem(struct exchange *, int status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The same, and what is wrong is this parameter ("": none). */
void exchange_problem_of(struct exchange *, int status, const char *field,
    const char *detail);

#endif
