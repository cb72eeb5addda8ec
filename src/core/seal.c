/*
 * Encrypted payloads: see seal.h.
 */
#include "config.h"

#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "core/base64.h"
#include "core/jtext.h"
#include "core/seal.h"

#define NAME "$enc"
#define FORMAT "1"
#define NONCE_SIZE 12
#define TAG_SIZE 16

/* An envelope taken apart. */
struct envelope {
	bool version;
	char id[SEAL_ID_MAX + 1];
	struct buf nonce, text;		/* text: with the tag at its end */
};

const char *
seal_check_id(const char *id)
{
	if (*id == '\0' || strlen(id) > SEAL_ID_MAX ||
	    id[strspn(id, "abcdefghijklmnopqrstuvwxyz"
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")] != '\0')
		return "a key's name has letters, digits and _ . -, at most 64";
	return NULL;
}

int
seal_key_parse(struct seal_key *key, const char *id, const char *base64)
{
	struct buf bytes = { 0 };
	bool fine = base64_decode(&bytes, base64, strlen(base64)) == 0 &&
	    bytes.len == SEAL_KEY_SIZE;

	strlcpy(key->id, id, sizeof(key->id));
	if (fine)
		memcpy(key->bytes, bytes.data, SEAL_KEY_SIZE);
	if (bytes.data != NULL)
		OPENSSL_cleanse(bytes.data, bytes.cap);
	buf_clear(&bytes);
	return fine ? 0 : -1;
}

const struct seal_key *
keyring_find(const struct keyring *r, const char *id)
{
	for (size_t i = 0; i < r->count; i++)
		if (strcmp(r->keys[i].id, id) == 0)
			return &r->keys[i];
	return NULL;
}

/* Not by realloc(), which may leave the old ones lying about. */
void
keyring_add(struct keyring *r, const struct seal_key *key)
{
	struct seal_key *keys = xcalloc(r->count + 1, sizeof(*keys));

	if (r->count > 0) {
		memcpy(keys, r->keys, r->count * sizeof(*keys));
		OPENSSL_cleanse(r->keys, r->count * sizeof(*keys));
	}
	free(r->keys);
	keys[r->count++] = *key;
	r->keys = keys;
}

void
keyring_free(struct keyring *r)
{
	if (r == NULL)
		return;
	if (r->keys != NULL)
		OPENSSL_cleanse(r->keys, r->count * sizeof(*r->keys));
	free(r->keys);
	free(r);
}

static int
add_context(EVP_CIPHER_CTX *ctx, const char *id, const char *queue,
    const char *field)
{
	struct buf b = { 0 };
	int n, done;

	buf_printf(&b, "jobq " FORMAT " %s %s %s", id, queue, field);
	done = EVP_CipherUpdate(ctx, NULL, &n, (unsigned char *)b.data, (int)b.len);
	buf_clear(&b);
	return done;
}

/* out has room for len bytes; the tag is made, or looked at. */
static bool
crypt(const struct seal_key *key, const unsigned char *nonce, bool encrypt,
    const char *queue, const char *field, const char *text, size_t len,
    unsigned char *out, unsigned char *tag)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	unsigned char rest[EVP_MAX_BLOCK_LENGTH];
	int n = 0;
	bool done;

	done = ctx != NULL && len <= INT_MAX &&
	    EVP_CipherInit_ex(ctx, EVP_aes_256_gcm(), NULL, key->bytes, nonce,
	    encrypt) == 1 &&
	    add_context(ctx, key->id, queue, field) == 1 &&
	    (len == 0 || EVP_CipherUpdate(ctx, out, &n,
	    (const unsigned char *)text, (int)len) == 1) &&
	    (encrypt || EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG,
	    TAG_SIZE, tag) == 1) &&
	    EVP_CipherFinal_ex(ctx, rest, &n) == 1 &&
	    (!encrypt || EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG,
	    TAG_SIZE, tag) == 1);
	EVP_CIPHER_CTX_free(ctx);
	return done;
}

int
seal(const struct keyring *r, const char *queue, const char *field,
    const char *text, size_t len, struct buf *out, struct err *e)
{
	const struct seal_key *key = &r->keys[0];
	unsigned char nonce[NONCE_SIZE], tag[TAG_SIZE];
	struct buf secret = { 0 };

	arc4random_buf(nonce, sizeof(nonce));
	buf_grow(&secret, len + sizeof(tag));
	if (!crypt(key, nonce, true, queue, field, text, len,
	    (unsigned char *)secret.data, tag)) {
		buf_clear(&secret);
		return err_set(e, "AES-256-GCM is not available");
	}
	secret.len = len;
	buf_put(&secret, tag, sizeof(tag));
	buf_printf(out, "{\"" NAME "\":{\"v\":" FORMAT ",\"k\":\"%s\",\"n\":\"",
	    key->id);
	base64_encode(out, nonce, sizeof(nonce));
	buf_str(out, "\",\"c\":\"");
	base64_encode(out, secret.data, secret.len);
	buf_str(out, "\"}}");
	buf_clear(&secret);
	return 0;
}

static int
put_data(const struct keyring *r, const char *queue, const char *json,
    size_t len, struct buf *out, struct err *e)
{
	if (*json == '{' && !seal_is(json))
		return seal(r, queue, "data", json, len, out, e);
	buf_put(out, json, len);
	return 0;
}

/* The rest behind it, and out in the place of the text; or nothing. */
static int
replace(char **json, const char *rest, struct buf *out, int rc)
{
	if (rc == 0) {
		buf_str(out, rest);
		free(*json);
		*json = buf_detach(out);
	}
	buf_clear(out);
	return rc;
}

int
seal_data(const struct keyring *r, const char *queue, char **json, struct err *e)
{
	struct buf out = { 0 };

	return replace(json, "", &out,
	    put_data(r, queue, *json, strlen(*json), &out, e));
}

/* What stands between `from` and the data of the job, and its envelope; from is
 * left behind it. */
static int
put_job(const struct keyring *r, const char *queue, const char *job,
    const char **from, struct buf *out, struct err *e)
{
	size_t len;
	const char *data = *job == '{' ? jtext_member(job, "data", &len) : NULL;

	if (data == NULL)
		return 0;
	buf_put(out, *from, (size_t)(data - *from));
	*from = data + len;
	return put_data(r, queue, data, len, out, e);
}

int
seal_job(const struct keyring *r, const char *queue, char **json, struct err *e)
{
	const char *rest = *json;
	struct buf out = { 0 };
	int rc = put_job(r, queue, *json, &rest, &out, e);

	return replace(json, rest, &out, rc);
}

int
seal_jobs(const struct keyring *r, const char *queue, char **json, struct err *e)
{
	const char *at = *json, *rest = *json, *job;
	struct buf out = { 0 };
	size_t len;
	int rc = 0;

	while (rc == 0 && (job = jtext_element(&at, &len)) != NULL)
		rc = put_job(r, queue, job, &rest, &out, e);
	return replace(json, rest, &out, rc);
}

static bool
is_key(const struct jtext_entry *m, const char *key)
{
	return m->key_len == strlen(key) && memcmp(m->key, key, m->key_len) == 0;
}

bool
seal_is(const char *json)
{
	struct jtext_entry m;
	const char *at = json;

	while (jtext_next(&at, &m))
		if (is_key(&m, NAME))
			return true;
	return false;
}

/* A string without escapes: none of an envelope's needs one. */
static bool
plain_string(const struct jtext_entry *m, const char **text, size_t *len)
{
	if (m->len < 2 || m->value[0] != '"' || m->value[m->len - 1] != '"')
		return false;
	*text = m->value + 1;
	*len = m->len - 2;
	return memchr(*text, '\\', *len) == NULL && memchr(*text, '"', *len) == NULL;
}

static bool
read_member(const struct jtext_entry *m, struct envelope *v)
{
	const char *text;
	size_t len;

	if (is_key(m, "v"))
		return v->version = m->len == strlen(FORMAT) &&
		    memcmp(m->value, FORMAT, m->len) == 0;
	if (!plain_string(m, &text, &len))
		return false;
	if (is_key(m, "n"))
		return base64_decode(&v->nonce, text, len) == 0 &&
		    v->nonce.len == NONCE_SIZE;
	if (is_key(m, "c"))
		return base64_decode(&v->text, text, len) == 0 &&
		    v->text.len >= TAG_SIZE;
	if (!is_key(m, "k") || len > SEAL_ID_MAX)
		return false;
	memcpy(v->id, text, len);
	v->id[len] = '\0';
	return seal_check_id(v->id) == NULL;
}

static bool
ends(const char *at)
{
	return *at == '}' && at[1 + strspn(at + 1, " \t\r\n")] == '\0';
}

/* All four members are there, so none is there twice. */
static bool
open_envelope(const char *json, struct envelope *v)
{
	struct jtext_entry outer, m;
	const char *at = json, *inner;
	size_t count = 0;

	if (json[strspn(json, " \t\r\n")] != '{' || !jtext_next(&at, &outer) ||
	    !is_key(&outer, NAME) || *outer.value != '{' || !ends(at))
		return false;
	inner = outer.value;
	while (jtext_next(&inner, &m)) {
		if (++count > 4 || !read_member(&m, v))
			return false;
	}
	return count == 4 && *inner == '}' && v->version && *v->id != '\0' &&
	    v->nonce.len == NONCE_SIZE && v->text.len >= TAG_SIZE;
}

static enum unsealed
broken(struct err *e, const char *why)
{
	err_set(e, "%s", why);
	return UNSEAL_BROKEN;
}

enum unsealed
unseal(const struct keyring *r, const char *queue, const char *field,
    const char *json, struct buf *out, struct err *e)
{
	struct envelope v = { .id = "" };
	const struct seal_key *key;
	enum unsealed done;
	size_t len;

	if (!open_envelope(json, &v)) {
		done = broken(e, "it is no envelope {\"" NAME "\":{\"v\":" FORMAT
		    ",\"k\":…,\"n\":…,\"c\":…}}");
	} else if ((key = keyring_find(r, v.id)) == NULL) {
		err_set(e, "there is no key \"%s\"", v.id);
		done = UNSEAL_NO_KEY;
	} else {
		len = v.text.len - TAG_SIZE;
		buf_grow(out, len);
		done = UNSEALED;
		if (crypt(key, (unsigned char *)v.nonce.data, false, queue, field,
		    v.text.data, len, (unsigned char *)out->data + out->len,
		    (unsigned char *)v.text.data + len))
			out->len += len;
		else {
			/* What was decrypted is nobody's yet. */
			OPENSSL_cleanse(out->data + out->len, len);
			err_set(e, "with the key \"%s\" it does not come out: it "
			    "was changed, or encrypted for another queue, or the "
			    "key of that name is another one", v.id);
			done = UNSEAL_BROKEN;
		}
		out->data[out->len] = '\0';
	}
	buf_clear(&v.nonce);
	buf_clear(&v.text);
	return done;
}
