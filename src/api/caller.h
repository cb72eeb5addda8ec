/*
 * Who calls: the credentials of a request, and how many requests they are good
 * for. A caller is known by a token (Authorization: Bearer), the admin key
 * (X-Admin-Key), or a cookie that was given for one of them. Of tokens only
 * digests are known. Lives in the api process; a reload makes a new one.
 */
#ifndef API_CALLER_H
#define API_CALLER_H

#include <stdbool.h>

#include "conf/conf.h"

struct callers;
struct exchange;
struct route;

struct caller {
	const char *name;	/* of the token; NULL: nobody is known */
	enum role role;
	const char *tenant;	/* NULL: any */
	bool is_cookie;
	const struct token *token;	/* NULL: none */
};

/* conf is borrowed. */
struct callers *callers_new(const struct conf *);
void callers_free(struct callers *);

/*
 * Fill in x->caller and see whether it may call the route. False: it may not,
 * and x is the problem document that says why.
 */
bool callers_admit(struct callers *, struct exchange *, const struct route *);

/*
 * Whoever this is has shown something that is not right, other than a token: x is
 * a 401 that says why, or a 429 when that was too often from this address.
 */
void callers_wrong(struct callers *, struct exchange *, const char *why);

/*
 * What the dashboard logs in by. show: who calls. begin: for the credential of
 * the request, or the token of its body, a cookie. end: without it again. They
 * fill in the answer and do not send it.
 */
void session_show(struct exchange *);
void session_begin(struct callers *, struct exchange *);
void session_end(struct exchange *);

#endif
