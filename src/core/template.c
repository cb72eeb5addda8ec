/*
 * Replacements in texts of the configuration: see template.h.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "core/template.h"

#define INDEX_DIGITS 9

/* One step of a path: the bytes up to the next dot. */
struct key {
	const char *text;
	size_t len;
};

/*
 * The name of the replacement at open ("{{ … }}"), without blanks around it.
 * Returns what follows the closing braces, NULL with e if it is malformed.
 */
static const char *
replacement(const char *open, struct key *name, struct err *e)
{
	const char *end = strstr(open + 2, "}}");
	const char *from = open + 2, *to = end;

	if (end == NULL || (size_t)(end - from) > TEMPLATE_NAME_MAX) {
		err_set(e, "\"{{\" without \"}}\" within %d bytes",
		    TEMPLATE_NAME_MAX);
		return NULL;
	}
	while (from < to && (*from == ' ' || *from == '\t'))
		from++;
	while (to > from && (to[-1] == ' ' || to[-1] == '\t'))
		to--;
	name->text = from;
	name->len = (size_t)(to - from);
	return end + 2;
}

/* The key at the head of the path, which is left behind its dot; false after
 * the last one. */
static bool
next_key(struct key *path, struct key *key)
{
	const char *dot;

	if (path->text == NULL)
		return false;
	dot = memchr(path->text, '.', path->len);
	key->text = path->text;
	key->len = dot ? (size_t)(dot - path->text) : path->len;
	path->text = dot ? dot + 1 : NULL;
	path->len -= dot ? key->len + 1 : path->len;
	return true;
}

static int
check_name(const struct key *name, struct err *e)
{
	struct key path = *name, key;
	bool first = true;

	while (next_key(&path, &key)) {
		if (first && (key.len != 4 || memcmp(key.text, "data", 4) != 0))
			return err_set(e, "{{%.*s}}: only data and what is in "
			    "it can be put in, as {{data.name}}",
			    (int)name->len, name->text);
		if (key.len == 0)
			return err_set(e, "{{%.*s}}: an empty name beside a dot",
			    (int)name->len, name->text);
		first = false;
	}
	return 0;
}

static const json_t *
member(const json_t *value, const struct key *key)
{
	size_t index = 0;

	if (json_is_object(value))
		return json_object_getn(value, key->text, key->len);
	if (!json_is_array(value) || key->len > INDEX_DIGITS)
		return NULL;
	for (size_t i = 0; i < key->len; i++) {
		if (key->text[i] < '0' || key->text[i] > '9')
			return NULL;
		index = index * 10 + (size_t)(key->text[i] - '0');
	}
	return json_array_get(value, index);
}

static const json_t *
look_up(const struct key *name, const json_t *data)
{
	struct key path = *name, key;
	const json_t *value = data;

	next_key(&path, &key);		/* the word data itself */
	while (value != NULL && next_key(&path, &key))
		value = member(value, &key);
	return value;
}

/* As few digits as read back as the same number: 0.1, not 0.1000…0001. */
static char *
real_text(const json_t *value)
{
	char *text = NULL;

	for (size_t digits = 15; digits <= 17; digits++) {
		json_t *back;
		bool same;

		free(text);
		text = json_dumps(value,
		    JSON_ENCODE_ANY | JSON_REAL_PRECISION(digits));
		if (text == NULL)
			return NULL;
		back = json_loads(text, JSON_DECODE_ANY, NULL);
		same = json_real_value(back) == json_real_value(value);
		json_decref(back);
		if (same)
			break;
	}
	return text;
}

static int
put_bounded(struct buf *out, size_t start, const char *text, size_t len,
    struct err *e)
{
	if (len > TEMPLATE_MAX - (out->len - start))
		return err_set(e, "the text with its replacements is longer "
		    "than %u bytes", TEMPLATE_MAX);
	buf_put(out, text, len);
	return 0;
}

static int
put_value(struct buf *out, size_t start, const struct key *name,
    const json_t *value, struct err *e)
{
	char *text;
	int rc;

	if (value == NULL || json_is_null(value))
		return err_set(e, "{{%.*s}}: %s", (int)name->len, name->text,
		    value ? "is null" : "no such value in the job's data");
	if (json_is_string(value)) {
		const char *s = json_string_value(value);
		size_t len = json_string_length(value);

		if (memchr(s, '\0', len) != NULL)
			return err_set(e, "{{%.*s}}: has a NUL character",
			    (int)name->len, name->text);
		return put_bounded(out, start, s, len, e);
	}
	text = json_is_real(value) ? real_text(value) :
	    json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
	if (text == NULL)
		return err_set(e, "{{%.*s}}: cannot be written as JSON",
		    (int)name->len, name->text);
	rc = put_bounded(out, start, text, strlen(text), e);
	free(text);
	return rc;
}

/* What both checking and expanding do; out is NULL when checking. */
static int
walk(const char *text, const json_t *data, struct buf *out, struct err *e)
{
	size_t start = out ? out->len : 0;
	const char *open;

	while ((open = strstr(text, "{{")) != NULL) {
		struct key name;
		const char *after = replacement(open, &name, e);

		if (after == NULL || check_name(&name, e) != 0)
			return -1;
		if (out != NULL &&
		    (put_bounded(out, start, text, (size_t)(open - text), e) != 0 ||
		    put_value(out, start, &name, look_up(&name, data), e) != 0))
			return -1;
		text = after;
	}
	if (out == NULL)
		return 0;
	return put_bounded(out, start, text, strlen(text), e);
}

bool
template_used(const char *text)
{
	return strstr(text, "{{") != NULL;
}

bool
template_names(const char *text, const char *member, size_t len)
{
	struct key path, key;
	struct err e;

	while ((text = strstr(text, "{{")) != NULL) {
		if ((text = replacement(text, &path, &e)) == NULL)
			return false;
		next_key(&path, &key);		/* the word data itself */
		if (!next_key(&path, &key) || (key.len == len &&
		    memcmp(key.text, member, len) == 0))
			return true;
	}
	return false;
}

int
template_check(const char *text, struct err *e)
{
	return walk(text, NULL, NULL, e);
}

int
template_expand(const char *text, const json_t *data, struct buf *out,
    struct err *e)
{
	size_t start = out->len;

	if (walk(text, data, out, e) == 0)
		return 0;
	if (out->data != NULL)
		out->data[start] = '\0';
	out->len = start;
	return -1;
}
