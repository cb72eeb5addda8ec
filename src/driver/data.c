/*
 * A job's data for drivers: see data.h.
 */
#include "config.h"

#include <string.h>

#include "base/buf.h"
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
	struct data_entry m;
	json_t *data;

	buf_char(&some, '{');
	while (data_next(&at, &m)) {
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

static const char *
skip_blanks(const char *p)
{
	return p + strspn(p, " \t\r\n");
}

/* p is at the opening quote; returns what follows the closing one. */
static const char *
skip_string(const char *p)
{
	p++;
	while (*(p += strcspn(p, "\"\\")) == '\\' && p[1] != '\0')
		p += 2;
	return *p == '"' ? p + 1 : p;
}

/* Returns what follows the value at p. */
static const char *
skip_value(const char *p)
{
	int depth = 0;

	do {
		switch (*p) {
		case '"':
			p = skip_string(p);
			break;
		case '{':
		case '[':
			depth++;
			p++;
			break;
		case '}':
		case ']':
			depth--;
			p++;
			break;
		case '\0':
			return p;
		default:
			p += depth > 0 ? 1 : strcspn(p, ",}] \t\r\n");
		}
	} while (depth > 0);
	return p;
}

/* What leads to a member is the opening brace, then a comma: *at stays there. */
bool
data_next(const char **at, struct data_entry *m)
{
	const char *p = skip_blanks(*at);

	if (*p != '{' && *p != ',')
		return false;
	p = skip_blanks(p + 1);
	if (*p != '"')
		return false;
	m->key = p + 1;
	p = skip_string(p);
	m->key_len = (size_t)(p - 1 - m->key);
	p = skip_blanks(p);
	if (*p != ':')
		return false;
	m->value = skip_blanks(p + 1);
	p = skip_value(m->value);
	m->len = (size_t)(p - m->value);
	*at = skip_blanks(p);
	return true;
}

const char *
data_member(const char *text, const char *key, size_t *len)
{
	const char *found = NULL;
	size_t key_len = strlen(key);
	struct data_entry m;

	while (data_next(&text, &m))
		if (m.key_len == key_len && memcmp(m.key, key, key_len) == 0) {
			found = m.value;
			*len = m.len;
		}
	return found;
}
