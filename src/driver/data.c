/*
 * A job's data for drivers: see data.h.
 */
#include "config.h"

#include <string.h>

#include "driver/data.h"

json_t *
data_read(const struct job *job, struct err *e)
{
	json_error_t why;
	json_t *data = json_loads(job->data, 0, &why);

	if (data == NULL)
		data = json_loads(job->data, JSON_DECODE_INT_AS_REAL, &why);
	if (data != NULL && json_is_object(data))
		return data;
	if (data == NULL)
		err_set(e, "data cannot be read: %s", why.text);
	else
		err_set(e, "data is no object");
	json_decref(data);
	return NULL;
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
	for (p++; *p != '\0' && *p != '"'; p++)
		if (*p == '\\' && p[1] != '\0')
			p++;
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

const char *
data_member(const char *text, const char *key, size_t *len)
{
	const char *p = skip_blanks(text), *found = NULL;
	size_t key_len = strlen(key);

	if (*p != '{')
		return NULL;
	p = skip_blanks(p + 1);
	while (*p == '"') {
		const char *name = p + 1, *value;

		p = skip_string(p);
		value = skip_blanks(p);
		if (*value != ':')
			break;
		value = skip_blanks(value + 1);
		if ((size_t)(p - 1 - name) == key_len &&
		    memcmp(name, key, key_len) == 0)
			found = value;
		p = skip_value(value);
		if (found == value)
			*len = (size_t)(p - value);
		p = skip_blanks(p);
		if (*p != ',')
			break;
		p = skip_blanks(p + 1);
	}
	return found;
}
