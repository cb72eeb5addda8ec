/*
 * Signatures of webhooks: see sign.h.
 */
#include "config.h"

#include <inttypes.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/digest.h"
#include "core/sign.h"

const char *const verify_scheme_names[] = { "none", "standard-webhooks",
    "timestamped-hmac", "github", "microsoft-graph", "token", NULL };

struct key {
	unsigned char bytes[SIGN_SECRET_MAX];
	size_t len;
};

/* Strict, but for the padding, which may be left out. */
static int
decode_base64(const char *text, size_t len, struct key *key)
{
	unsigned char padded[SIGN_SECRET_MAX + 4];
	unsigned char out[SIGN_SECRET_MAX + 4];
	size_t pad = 0;
	int n;

	while (len > 0 && pad < 2 && text[len - 1] == '=') {
		len--;
		pad++;
	}
	if (len == 0 || len > SIGN_SECRET_MAX || len % 4 == 1 ||
	    (pad > 0 && (len + pad) % 4 != 0))
		return -1;
	memcpy(padded, text, len);
	padded[len] = '\0';
	if (strspn((char *)padded, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	    "abcdefghijklmnopqrstuvwxyz0123456789+/") != len)
		return -1;
	pad = (4 - len % 4) % 4;
	memset(padded + len, '=', pad);
	n = EVP_DecodeBlock(out, padded, (int)(len + pad));
	if (n < 0)
		return -1;
	key->len = (size_t)n - pad;
	memcpy(key->bytes, out, key->len);
	OPENSSL_cleanse(out, sizeof(out));
	OPENSSL_cleanse(padded, sizeof(padded));
	return 0;
}

static int
read_key(const char *text, size_t len, struct key *key, struct err *e)
{
	static const char prefix[] = "whsec_";
	size_t skip = sizeof(prefix) - 1;

	if (len > skip && strncmp(text, prefix, skip) == 0) {
		if (decode_base64(text + skip, len - skip, key) < 0)
			return err_set(e, "the secret has no base64 after \"%s\"",
			    prefix);
		return 0;
	}
	if (len > SIGN_SECRET_MAX)
		return err_set(e, "the secret is longer than %d bytes",
		    SIGN_SECRET_MAX);
	memcpy(key->bytes, text, len);
	key->len = len;
	return 0;
}

/* The text in front of the body, then the body. */
static void
mac(const void *key, size_t key_len, const struct buf *front,
    const void *body, size_t len, unsigned char out[DIGEST_SIZE])
{
	struct buf all = { .len = 0 };

	buf_put(&all, front->data, front->len);
	buf_put(&all, body, len);
	digest_hmac(out, key, key_len, all.data, all.len);
	buf_clear(&all);
}

int
sign_standard(const char *secret, const char *id, int64_t timestamp,
    const void *body, size_t len, struct buf *out, struct err *e)
{
	struct buf front = { .len = 0 };
	unsigned char digest[DIGEST_SIZE], text[64];
	struct key key;
	bool first = true;
	int rc = 0;

	buf_printf(&front, "%s.%" PRId64 ".", id, timestamp);
	secret += strspn(secret, " ");
	if (*secret == '\0')
		rc = err_set(e, "the secret is empty");
	while (rc == 0 && *secret != '\0') {
		/* Bytes as they are may have blanks of their own. */
		size_t word = strncmp(secret, "whsec_", 6) == 0 ?
		    strcspn(secret, " ") : strlen(secret);

		rc = read_key(secret, word, &key, e);
		if (rc == 0) {
			mac(key.bytes, key.len, &front, body, len, digest);
			EVP_EncodeBlock(text, digest, DIGEST_SIZE);
			buf_printf(out, "%sv1,%s", first ? "" : " ", text);
			first = false;
		}
		secret += word;
		secret += strspn(secret, " ");
	}
	OPENSSL_cleanse(&key, sizeof(key));
	buf_clear(&front);
	return rc;
}

/* The hex of what the bytes of a secret, as they are, make of front and body. */
static int
sign_hex(const char *secret, const struct buf *front, const void *body,
    size_t len, struct buf *out, struct err *e)
{
	unsigned char digest[DIGEST_SIZE];
	char hex[DIGEST_HEX_MAX];
	size_t key_len = strlen(secret);

	if (key_len == 0)
		return err_set(e, "the secret is empty");
	if (key_len > SIGN_SECRET_MAX)
		return err_set(e, "the secret is longer than %d bytes",
		    SIGN_SECRET_MAX);
	mac(secret, key_len, front, body, len, digest);
	buf_str(out, digest_hex(hex, digest));
	return 0;
}

int
sign_timestamped(const char *secret, int64_t timestamp, const void *body,
    size_t len, struct buf *out, struct err *e)
{
	struct buf front = { .len = 0 };
	int rc;

	buf_printf(&front, "%" PRId64 ".", timestamp);
	rc = sign_hex(secret, &front, body, len, out, e);
	buf_clear(&front);
	return rc;
}

/*
 * Looking at them
 */

bool
sign_equal(const char *a, const char *b)
{
	size_t len = strlen(a);

	return len == strlen(b) && CRYPTO_memcmp(a, b, len) == 0;
}

bool
sign_is_secret(const struct sign_check *c, const char *text)
{
	bool is = false;

	for (size_t i = 0; i < c->nsecrets; i++)
		is |= *c->secrets[i] != '\0' && sign_equal(c->secrets[i], text);
	return is;
}

static const char *
header(const struct signed_request *r, const char *name)
{
	return r->header(r->arg, name);
}

/* Unix seconds in digits, as near to now as it must be. */
static bool
is_recent(const struct sign_check *c, const char *text, int64_t now,
    int64_t *timestamp)
{
	size_t len = text != NULL ? strspn(text, "0123456789") : 0;

	if (len == 0 || len > 15 || text[len] != '\0')
		return false;
	*timestamp = strtoll(text, NULL, 10);
	return *timestamp >= now - c->tolerance &&
	    *timestamp <= now + c->tolerance;
}

/* Is one of the words of what was sent one of those of what it should be? */
static bool
shares_word(const char *sent, const char *wanted)
{
	bool found = false;

	while (*(sent += strspn(sent, " ")) != '\0') {
		size_t len = strcspn(sent, " ");

		for (const char *w = wanted; *w != '\0';
		    w += strcspn(w, " "), w += strspn(w, " "))
			found |= strcspn(w, " ") == len &&
			    CRYPTO_memcmp(w, sent, len) == 0;
		sent += len;
	}
	return found;
}

static bool
verify_standard(const struct sign_check *c, const struct signed_request *r,
    int64_t now)
{
	bool svix = header(r, "webhook-id") == NULL;
	const char *id = header(r, svix ? "svix-id" : "webhook-id");
	const char *sent = header(r, svix ? "svix-signature" : "webhook-signature");
	struct buf wanted = { .len = 0 };
	int64_t timestamp;
	bool is = false;
	struct err e;

	if (id == NULL || *id == '\0' || sent == NULL || !is_recent(c, header(r,
	    svix ? "svix-timestamp" : "webhook-timestamp"), now, &timestamp))
		return false;
	for (size_t i = 0; i < c->nsecrets; i++) {
		buf_reset(&wanted);
		if (sign_standard(c->secrets[i], id, timestamp, r->body, r->len,
		    &wanted, &e) == 0)
			is |= shares_word(sent, wanted.data);
	}
	buf_clear(&wanted);
	return is;
}

/* Hex, perhaps behind "sha256="; in front of the body what was signed with it. */
static bool
verify_hex(const struct sign_check *c, const struct signed_request *r,
    const char *sent, const struct buf *front)
{
	struct buf wanted = { .len = 0 };
	char hex[DIGEST_HEX_MAX];
	bool is = false;
	struct err e;

	if (sent != NULL && strncmp(sent, "sha256=", 7) == 0)
		sent += 7;
	if (sent == NULL || strlen(sent) != 2 * DIGEST_SIZE)
		return false;
	for (size_t i = 0; i < sizeof(hex); i++)
		hex[i] = sent[i] >= 'A' && sent[i] <= 'F' ?
		    (char)(sent[i] - 'A' + 'a') : sent[i];
	for (size_t i = 0; i < c->nsecrets; i++) {
		buf_reset(&wanted);
		if (sign_hex(c->secrets[i], front, r->body, r->len, &wanted,
		    &e) == 0)
			is |= sign_equal(wanted.data, hex);
	}
	buf_clear(&wanted);
	return is;
}

static bool
verify_timestamped(const struct sign_check *c, const struct signed_request *r,
    int64_t now)
{
	const char *timestamp = header(r, "x-webhook-timestamp");
	struct buf front = { .len = 0 };
	int64_t when;
	bool is;

	if (!is_recent(c, timestamp, now, &when))
		return false;
	/* The digits as they came: they are what was signed. */
	buf_printf(&front, "%s.", timestamp);
	is = verify_hex(c, r, header(r, "x-webhook-signature"), &front);
	buf_clear(&front);
	return is;
}

static bool
verify_token(const struct sign_check *c, const struct signed_request *r)
{
	const char *sent = header(r, c->token_header);

	if (sent == NULL)
		return false;
	if (strcmp(c->token_header, "authorization") == 0) {
		if (strncasecmp(sent, "Bearer ", 7) != 0)
			return false;
		sent += 7 + strspn(sent + 7, " ");
	}
	return sign_is_secret(c, sent);
}

bool
sign_verify(const struct sign_check *c, const struct signed_request *r,
    int64_t now)
{
	static const struct buf nothing = { .len = 0 };

	switch (c->scheme) {
	case VERIFY_NONE:
		return true;
	case VERIFY_STANDARD:
		return verify_standard(c, r, now);
	case VERIFY_TIMESTAMPED:
		return verify_timestamped(c, r, now);
	case VERIFY_GITHUB:
		return verify_hex(c, r, header(r, "x-hub-signature-256"),
		    &nothing);
	case VERIFY_TOKEN:
		return verify_token(c, r);
	case VERIFY_GRAPH:
		break;
	}
	return false;
}
