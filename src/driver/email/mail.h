/*
 * Delivery of mails to one server by SMTP (RFC 5321), over a connection that
 * is kept for the next one; what became of each recipient is read out.
 * Blocking, and no wait without an end.
 */
#ifndef DRIVER_MAIL_H
#define DRIVER_MAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mono.h"
#include "conf/node.h"
#include "core/job.h"

enum mail_tls { MAIL_TLS_OFF, MAIL_TLS_OPPORTUNISTIC, MAIL_TLS_REQUIRED };

/* What is waited for, and how long at most. */
enum mail_wait {
	MAIL_CONNECT,		/* the connection, and TLS's hands shaken */
	MAIL_GREETING,
	MAIL_COMMAND,		/* the answer to a command */
	MAIL_DATA,		/* the answer to DATA */
	MAIL_TRANSFER,		/* that some of the mail is taken */
	MAIL_END,		/* the answer to all of it */
	MAIL_WAITS
};

struct mail_link;

struct mail_server {
	char *host;
	char *port;
	bool implicit;			/* smtps: TLS from the first byte */
	enum mail_tls tls;
	const char *user;		/* NULL: no authentication */
	int auth;			/* how: an index of sasl_names */
	const char *hostname;		/* we say in EHLO; NULL: this machine's */
	const char *ca_file;		/* NULL: the system's */
	const char *tls_name;		/* in the certificate; NULL: host */
	/* Where the password is, read at each log-in; these and the texts above
	 * are borrowed from there. */
	const struct node *options;
	mono_t wait[MAIL_WAITS];
	int64_t mails_max;		/* over one connection */
	mono_t idle_max;		/* then a connection is not used again */
	struct mail_link *link;		/* made by mail_open() */
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

/* One mail to be delivered, to those recipients that are RECIPIENT_OPEN, at
 * least one; their states, codes, texts are filled in. */
struct mail_order {
	const char *from;
	struct recipient *recipients;
	size_t n;
	const struct buf *message;	/* lines of at most 998 bytes that end in CR LF */
	bool utf8;			/* addresses and headers are beyond ASCII */
	mono_t deadline;
};

/* What became of the session; recipients have their own. */
struct mail_end {
	enum job_class class;	/* CLASS_NONE: it went through to its end */
	char message[1024];
	bool ambiguous;		/* the server has it all, and did not say what of it */
	char answer[512];	/* the server's last word; "" : none */
};

/* "smtp://host[:port]", "smtps://…": into host, port, implicit. -1 with e. */
int mail_parse_server(const char *url, struct mail_server *, struct err *e);

/* Make what all sessions share; does not connect. -1 with e. */
int mail_open(struct mail_server *, struct err *e);
void mail_close(struct mail_server *);	/* hang up, and free what is its own */

void mail_send(struct mail_server *, const struct mail_order *,
    struct mail_end *);

/* Whether there is a connection; end it, waiting shortly for a good-bye. */
bool mail_is_connected(const struct mail_server *);
void mail_hang_up(struct mail_server *);

#endif
