/*
 * A job's data for drivers: see data.h.
 */
#include "config.h"

#include <string.h>

#include "base/buf.h"
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
