/*
 * Signatures of webhooks: made, and looked at. Pure.
 */
#ifndef CORE_SIGN_H
#define CORE_SIGN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define SIGN_SECRET_MAX 1024		/* bytes of one key */

/*
 * The value of webhook-signature as of Standard Webhooks: "v1," and the base64 of
 * HMAC-SHA-256 over "id.timestamp.body", appended to out.
 *   secret	"whsec_" and base64, or the key's bytes; several of the first kind with
 *		blanks between them (while a secret is being changed) give as many signatures
 * -1 with e when a secret is empty, too long, or no base64.
 */
int sign_standard(const char *secret, const char *id, int64_t timestamp,
    const void *body, size_t len, struct buf *out, struct err *e);

/* The value of X-Webhook-Signature: the hex of HMAC-SHA-256 over "timestamp.body",
 * keyed with the secret's bytes as they are. */
int sign_timestamped(const char *secret, int64_t timestamp, const void *body,
    size_t len, struct buf *out, struct err *e);

/* Of two texts, in a time that tells nothing of where they differ. */
bool sign_equal(const char *a, const char *b);

/* How a webhook that comes in says who sent it. */
enum verify_scheme {
	VERIFY_NONE,		/* not at all */
	VERIFY_STANDARD,		/* webhook-id, -timestamp, -signature (or svix-…) */
	VERIFY_TIMESTAMPED,	/* X-Webhook-Timestamp, X-Webhook-Signature */
	VERIFY_GITHUB,		/* X-Hub-Signature-256 */
	VERIFY_GRAPH,		/* clientState in each element of the body's `value` */
	VERIFY_TOKEN,		/* a header that has the secret, or "Bearer " and it */
};
extern const char *const verify_scheme_names[];	/* NULL at the end */

/* What came. */
struct signed_request {
	/* The value of a header by its lower-case name; NULL: it is not there. */
	const char *(*header)(const void *arg, const char *name);
	const void *arg;
	const void *body;
	size_t len;
};

/* What it is to be. */
struct sign_check {
	enum verify_scheme scheme;
	const char *const *secrets;	/* any of them will do, as while one is changed */
	size_t nsecrets;
	const char *token_header;	/* of VERIFY_TOKEN, lower case */
	int64_t tolerance;		/* seconds that a timestamp may be off, either way */
};

/*
 * Is it by who has one of the secrets, and of this time? now: Unix seconds.
 * VERIFY_GRAPH cannot be told from here (its secret is in the body: sign_is_secret()),
 * and is false.
 */
bool sign_verify(const struct sign_check *, const struct signed_request *, int64_t now);
/* Is the text one of the secrets? */
bool sign_is_secret(const struct sign_check *, const char *text);

#endif
