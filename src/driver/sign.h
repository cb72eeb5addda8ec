/*
 * Signatures of webhooks. Pure.
 */
#ifndef DRIVER_SIGN_H
#define DRIVER_SIGN_H

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

#endif
