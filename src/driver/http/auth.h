/*
 * Authorisation of HTTP requests, the option auth of the driver http: who
 * this is, and the token of OAuth's client credentials, kept by each worker.
 * Knows nothing of curl: the driver fetches the token and hands the answer in.
 */
#ifndef DRIVER_AUTH_H
#define DRIVER_AUTH_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mono.h"
#include "conf/node.h"

enum auth_kind { AUTH_NONE, AUTH_BEARER, AUTH_BASIC, AUTH_OAUTH2 };

struct auth {
	enum auth_kind kind;
	char *user, *password;		/* of basic; client id and secret of oauth2 */
	char *bearer;			/* of bearer; the token of oauth2, NULL: none now */
	const struct node *file;	/* the option's value, when it names a file */
	char *pair;			/* of basic: what stands for both in the header */
	const char *token_url;		/* of oauth2; borrowed from the options */
	const struct node *oauth2;	/* the map of it */
	bool in_body;			/* oauth2: id and secret are sent there */
	mono_t token_at;		/* when it was asked for; AUTH_REFUSED */
	mono_t token_until;
};

#define AUTH_REFUSED INT64_MIN		/* token_at of one that is not good any more */

/* Complain of what is wrong with the option's value. */
void auth_check(const struct node *, struct conf_sink *);

/* auth: the option's value, or NULL for none. -1 with e; to be closed anyway. */
int auth_open(struct auth *, const struct node *auth, struct err *e);
void auth_close(struct auth *);

/*
 * A request can go out now, with a token that was asked for at that time or
 * later (0: with any); otherwise one has to be fetched first. One of a file is
 * read again instead.
 */
bool auth_is_ready(struct auth *, mono_t since);
/* The token that was asked for at that time was refused. */
void auth_refuse_token(struct auth *, mono_t token_at);
/* Keep the token of the server's answer, JSON, to what was asked at that time.
 * -1 with e: there is none. */
int auth_take_token(struct auth *, const char *answer, size_t len, mono_t asked,
    struct err *e);

/* The body of the request for a token, a form, appended. */
void auth_token_form(const struct auth *, struct buf *out);
/* What the server says is wrong, in its answer: a word of OAuth's; empty: nothing. */
void auth_token_error(const char *answer, size_t len, char *buf, size_t size);

/* Have stars in place of our secrets in a text that came from a peer, who may
 * have sent back what we sent. */
void auth_mask(const struct auth *, char *text, size_t len);
/* … of this one; a short one is left alone, which would be found everywhere. */
void auth_mask_secret(const char *secret, char *text, size_t len);

/* Free a secret, or NULL, and leave nothing of it in memory. */
void auth_wipe(char *secret);

#endif
