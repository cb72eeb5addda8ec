/*
 * A job's data for drivers: see data.h.
 */
#include "config.h"

#include <openssl/evp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/xalloc.h"
#include "core/jtext.h"
#include "driver/data.h"

/* An integer that is too large for one becomes a real number. A text without
 * escapes needs no parser, whose cost is per character. */
static json_t *
read_value(const char *text, size_t len, struct err *e)
{
	json_error_t why;
	json_t *value = NULL;

	if (len >= 2 && *text == '"' && memchr(text, '\\', len) == NULL)
		value = json_stringn(text + 1, len - 2);
	if (value == NULL)
		value = json_loadb(text, len, JSON_DECODE_ANY, &why);
	if (value == NULL)
		value = json_loadb(text, len,
		    JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, &why);
	if (value == NULL)
		err_set(e, "data cannot be read: %s", why.text);
	return value;
}

json_t *
data_read(const struct job *job, struct err *e)
{
	json_t *data = read_value(job->data, strlen(job->data), e);

	if (data == NULL || json_is_object(data))
		return data;
	err_set(e, "data is no object");
	json_decref(data);
	return NULL;
}

json_t *
data_read_some(const struct job *job, data_wanted_fn *wanted, void *arg,
    struct err *e)
{
	const char *at = job->data;
	json_t *data = json_object();
	struct jtext_entry m;

	while (jtext_next(&at, &m)) {
		json_t *value;
		size_t len;
		char *key;

		/* A key with an escape may be any. */
		if (memchr(m.key, '\\', m.key_len) == NULL &&
		    !wanted(m.key, m.key_len, arg))
			continue;
		key = jtext_string(m.key - 1, m.key_len + 2, &len);
		value = key != NULL ? read_value(m.value, m.len, e) : NULL;
		if (key == NULL)
			err_set(e, "data cannot be read: an escape in a key");
		else if (value != NULL)
			json_object_set_new_nocheck(data, key, value);
		free(key);
		if (value == NULL) {
			json_decref(data);
			return NULL;
		}
	}
	return data;
}

int
data_is_storable(const char *text, size_t len)
{
	json_t *value = json_loadb(text, len,
	    JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);

	json_decref(value);
	return value != NULL;
}

int
data_base64(const char *text, struct buf *out)
{
	EVP_ENCODE_CTX *ctx = EVP_ENCODE_CTX_new();
	size_t len = strlen(text);
	unsigned char *bytes = xmalloc(len / 4 * 3 + 8);
	int n = 0, last = 0, rc = -1;

	EVP_DecodeInit(ctx);
	/* The library would take a hyphen for the end. */
	if (len < INT32_MAX && strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	    "abcdefghijklmnopqrstuvwxyz0123456789+/= \t\r\n") == len &&
	    EVP_DecodeUpdate(ctx, bytes, &n,
	    (const unsigned char *)text, (int)len) >= 0 &&
	    EVP_DecodeFinal(ctx, bytes + n, &last) > 0)
		rc = 0;
	if (rc == 0)
		buf_put(out, bytes, (size_t)(n + last));
	free(bytes);
	EVP_ENCODE_CTX_free(ctx);
	return rc;
}
