/*
 * JSON as text: see jtext.h.
 */
#include "config.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "core/jtext.h"

#define INDEX_DIGITS 9

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
jtext_next(const char **at, struct jtext_entry *m)
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

char *
jtext_string(const char *text, size_t len, size_t *out_len)
{
	json_t *value;
	char *out = NULL;

	if (len < 2 || *text != '"')
		return NULL;
	if (memchr(text, '\\', len) == NULL) {
		*out_len = len - 2;
		return xstrndup(text + 1, len - 2);
	}
	value = json_loadb(text, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	if (json_is_string(value)) {
		*out_len = json_string_length(value);
		out = xmalloc(*out_len + 1);
		memcpy(out, json_string_value(value), *out_len + 1);
	}
	json_decref(value);
	return out;
}

static bool
is_key(const struct jtext_entry *m, const char *key, size_t len)
{
	size_t got_len = 0;
	char *got;
	bool same;

	if (memchr(m->key, '\\', m->key_len) == NULL)
		return m->key_len == len && memcmp(m->key, key, len) == 0;
	got = jtext_string(m->key - 1, m->key_len + 2, &got_len);
	same = got != NULL && got_len == len && memcmp(got, key, len) == 0;
	free(got);
	return same;
}

/* What leads to an element is the opening bracket, then a comma. */
const char *
jtext_element(const char **at, size_t *len)
{
	const char *p = skip_blanks(*at), *end;

	if (*p != '[' && *p != ',')
		return NULL;
	p = skip_blanks(p + 1);
	if (*p == ']' || *p == '\0')
		return NULL;
	end = skip_value(p);
	*len = (size_t)(end - p);
	*at = skip_blanks(end);
	return p;
}

static const char *
element(const char *at, size_t index, size_t *len)
{
	const char *p;

	while ((p = jtext_element(&at, len)) != NULL && index-- > 0)
		;
	return p;
}

const char *
jtext_child(const char *text, const char *key, size_t key_len, size_t *len)
{
	const char *found = NULL;
	struct jtext_entry m;
	size_t index = 0;

	text = skip_blanks(text);
	if (*text == '{') {
		while (jtext_next(&text, &m))
			if (is_key(&m, key, key_len)) {
				found = m.value;
				*len = m.len;
			}
		return found;
	}
	if (*text != '[' || key_len == 0 || key_len > INDEX_DIGITS)
		return NULL;
	for (size_t i = 0; i < key_len; i++) {
		if (key[i] < '0' || key[i] > '9')
			return NULL;
		index = index * 10 + (size_t)(key[i] - '0');
	}
	return element(text, index, len);
}

const char *
jtext_member(const char *text, const char *key, size_t *len)
{
	return jtext_child(text, key, strlen(key), len);
}
