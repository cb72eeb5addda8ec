/*
 * Queues' schemas: see shape.h.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "conf/shape.h"
#include "core/jtext.h"

static const char *const types[] = { "string", "number", "integer", "boolean",
    "object", "array", "any" };
#define NTYPES (sizeof(types) / sizeof(*types))

/* "string?" → "string", true; NULL: there is no such type. */
static const char *
read_type(const char *text, bool *optional)
{
	size_t len = strlen(text);

	*optional = len > 0 && text[len - 1] == '?';
	if (*optional)
		len--;
	for (size_t n = 0; n < NTYPES; n++)
		if (strlen(types[n]) == len && strncmp(types[n], text, len) == 0)
			return types[n];
	return NULL;
}

void
shape_check(const struct node *schema, struct conf_sink *sink)
{
	bool optional;

	for (size_t i = 0; schema != NULL && i < schema->count; i++) {
		const struct node_entry *one = &schema->entries[i];
		const char *text = one->value->kind == NODE_SCALAR ?
		    one->value->text : "";

		if (read_type(text, &optional) == NULL)
			conf_complain(sink, one->file, one->line, one->column,
			    "%.100s: \"%.100s\" is not string, number, integer, "
			    "boolean, object, array or any (with ? at its end: "
			    "may be missing)", one->key, text);
	}
}

static const char *
type_of(const char *value, size_t len)
{
	switch (*value) {
	case '"':
		return "string";
	case '{':
		return "object";
	case '[':
		return "array";
	case 't':
	case 'f':
		return "boolean";
	case 'n':
		return "null";
	default:
		return memchr(value, '.', len) == NULL ? "integer" : "number";
	}
}

bool
shape_fits(const struct node *schema, const char *data, char *why, size_t size)
{
	for (size_t i = 0; schema != NULL && i < schema->count; i++) {
		const struct node_entry *one = &schema->entries[i];
		bool optional;
		const char *wanted = read_type(one->value->text, &optional);
		size_t len;
		const char *value = jtext_member(data, one->key, &len);
		const char *is = value != NULL ? type_of(value, len) : "missing";

		if (value == NULL ? optional : strcmp(wanted, is) == 0 ||
		    strcmp(wanted, "any") == 0 ||
		    (optional && strcmp(is, "null") == 0) ||
		    (strcmp(wanted, "number") == 0 && strcmp(is, "integer") == 0))
			continue;
		snprintf(why, size, "data.%.100s is %s%s; the queue's schema "
		    "asks for %s", one->key, value != NULL ? "of type " : "", is,
		    wanted);
		return false;
	}
	return true;
}
