/*
 * Authorisation of HTTP requests, the option auth of the driver http: who
 * this is, and the token of OAuth's client credentials, kept by each worker.
 * Knows nothing of curl: the driver fetches the token and hands the answer in.
 */
#ifndef DRIVER_AUTH_H
#define DRIVER_AUTH_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/mono.h"
#include "conf/node.h"

enum auth_kind { AUTH_NONE, AUTH_BEARER, AUTH_BASIC, AUTH_OAUTH2 };

struct auth {
	enum auth_kind kind;
	char *user, *password;		/* of basic; client id and secret of oauth2 */
	char *bearer;			/* of bearer; the token of oauth2, NULL: none now */
	const char *token_url, *scope;	/* of oauth2; borrowed from the options */
	mono_t token_until;
};

/* Complain of what is wrong with the option's value. */
void auth_check(const struct node *, struct conf_sink *);

/* auth: the option's value, or NULL for none. -1 with e; to be closed anyway. */
int auth_open(struct auth *, const struct node *auth, struct err *e);
void auth_close(struct auth *);

/* A request can go out now; otherwise a token has to be fetched first. */
bool auth_is_ready(const struct auth *);
/* The token is not good any more; nothing when it is not one of oauth2. */
void auth_drop_token(struct auth *);
/* Keep the token of the server's answer, JSON. -1 with e: there is none. */
int auth_take_token(struct auth *, const char *answer, size_t len, struct err *e);

/* Free a secret, or NULL, and leave nothing of it in memory. */
void auth_wipe(char *secret);

#endif
