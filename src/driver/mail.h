/*
 * Delivery of one mail to one server by SMTP: libesmtp behind a wrapper that
 * gives it only what was checked, a connection made in time, and time-outs
 * in every phase; and reads out what became of each recipient. Blocking.
 */
#ifndef DRIVER_MAIL_H
#define DRIVER_MAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "core/job.h"

enum mail_tls { MAIL_TLS_OFF, MAIL_TLS_OPPORTUNISTIC, MAIL_TLS_REQUIRED };

struct mail_server {
	char *host;
	char *port;
	bool implicit;			/* smtps: TLS from the first byte */
	enum mail_tls tls;
	char *user, *password;		/* NULL: no authentication */
	char *hostname;			/* we say in EHLO; NULL: this machine's */
	const char *ca_file;		/* NULL: the system's */
	struct ssl_ctx_st *ctx;		/* made by mail_open() */
};

enum recipient_state {
	RECIPIENT_OPEN,		/* to be tried */
	RECIPIENT_ACCEPTED,
	RECIPIENT_DEFERRED,	/* 4xx, or nobody knows: may be tried again */
	RECIPIENT_REFUSED,	/* 5xx */
};

struct recipient {
	const char *address;
	enum recipient_state state;
	int code;		/* of the server's answer, 0: none */
	char *text;		/* of it; NULL: none */
};

/* What became of the session; recipients have their own. */
struct mail_end {
	enum job_class class;	/* CLASS_NONE: it went through to its end */
	char message[1024];
};

/* "smtp://host[:port]", "smtps://…": into host, port, implicit. -1 with e. */
int mail_parse_server(const char *url, struct mail_server *, struct err *e);

/* Make what all sessions share. -1 with e. */
int mail_open(struct mail_server *, struct err *e);
void mail_close(struct mail_server *);	/* and free its strings */

/*
 * Deliver to those recipients that are RECIPIENT_OPEN, at least one; their
 * states, codes, texts are filled in.
 *   message	headers and body, lines of at most 998 bytes that end in CR LF
 *   phase_ms	the longest wait for the connection, and for each answer
 */
void mail_send(const struct mail_server *, const char *from,
    struct recipient *, size_t n, const struct buf *message, int phase_ms,
    struct mail_end *);

#endif
