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

static json_t *
read_object(const char *text, struct err *e)
{
	json_error_t why;
	json_t *data = json_loads(text, 0, &why);

	if (data == NULL)
		data = json_loads(text, JSON_DECODE_INT_AS_REAL, &why);
	if (data != NULL && json_is_object(data))
		return data;
	if (data == NULL)
		err_set(e, "data cannot be read: %s", why.text);
	else
		err_set(e, "data is no object");
	json_decref(data);
	return NULL;
}

json_t *
data_read(const struct job *job, struct err *e)
{
	return read_object(job->data, e);
}

json_t *
data_read_some(const struct job *job, data_wanted_fn *wanted, void *arg,
    struct err *e)
{
	const char *at = job->data;
	struct buf some = { .len = 0 };
	struct jtext_entry m;
	json_t *data;

	buf_char(&some, '{');
	while (jtext_next(&at, &m)) {
		/* A key with an escape may be any. */
		if (memchr(m.key, '\\', m.key_len) == NULL &&
		    !wanted(m.key, m.key_len, arg))
			continue;
		if (some.len > 1)
			buf_char(&some, ',');
		buf_put(&some, m.key - 1, (size_t)(m.value + m.len - m.key) + 1);
	}
	buf_char(&some, '}');
	data = read_object(some.data, e);
	buf_clear(&some);
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
