/*
 * Signatures of webhooks: see sign.h.
 */
#include "config.h"

#include <inttypes.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdbool.h>
#include <string.h>

#include "driver/sign.h"

#define MAC_SIZE 32

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
	for (size_t i = 0; i < len; i++)
		if (strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
		    "0123456789+/", text[i]) == NULL)
			return -1;
	memcpy(padded, text, len);
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
static int
mac(const struct key *key, const struct buf *front, const void *body,
    size_t len, unsigned char out[MAC_SIZE], struct err *e)
{
	struct buf all = { .len = 0 };
	unsigned int n = 0;
	unsigned char *done;

	buf_put(&all, front->data, front->len);
	buf_put(&all, body, len);
	done = HMAC(EVP_sha256(), key->bytes, (int)key->len,
	    (unsigned char *)all.data, all.len, out, &n);
	buf_clear(&all);
	if (done == NULL || n != MAC_SIZE)
		return err_set(e, "HMAC-SHA-256 is not available");
	return 0;
}

int
sign_standard(const char *secret, const char *id, int64_t timestamp,
    const void *body, size_t len, struct buf *out, struct err *e)
{
	struct buf front = { .len = 0 };
	unsigned char digest[MAC_SIZE], text[64];
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
		if (rc == 0)
			rc = mac(&key, &front, body, len, digest, e);
		if (rc == 0) {
			EVP_EncodeBlock(text, digest, MAC_SIZE);
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

int
sign_timestamped(const char *secret, int64_t timestamp, const void *body,
    size_t len, struct buf *out, struct err *e)
{
	struct buf front = { .len = 0 };
	unsigned char digest[MAC_SIZE];
	struct key key = { .len = strlen(secret) };
	int rc;

	if (key.len == 0)
		return err_set(e, "the secret is empty");
	if (key.len > SIGN_SECRET_MAX)
		return err_set(e, "the secret is longer than %d bytes",
		    SIGN_SECRET_MAX);
	memcpy(key.bytes, secret, key.len);
	buf_printf(&front, "%" PRId64 ".", timestamp);
	rc = mac(&key, &front, body, len, digest, e);
	for (size_t i = 0; rc == 0 && i < MAC_SIZE; i++)
		buf_printf(out, "%02x", digest[i]);
	OPENSSL_cleanse(&key, sizeof(key));
	buf_clear(&front);
	return rc;
}
