/*
 * Reading nodes: lookups, typed values, JSON.
 */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/xalloc.h"
#include "conf/keys.h"
#include "conf/node.h"
#include "conf/sink.h"
#include "core/near.h"

#define SECRET_MAX 8192		/* bytes that are read of a secret's file */

static char *secret_from_file(const struct node_entry *, struct conf_sink *);
static void put_json(struct buf *, const struct node *);

const struct node_entry *
node_entry(const struct node *map, const char *key)
{
	if (map == NULL || map->kind != NODE_MAP)
		return NULL;
	for (size_t i = 0; i < map->count; i++)
		if (strcmp(map->entries[i].key, key) == 0)
			return &map->entries[i];
	return NULL;
}

const struct node *
node_get(const struct node *map, const char *key)
{
	const struct node_entry *entry = node_entry(map, key);

	return entry ? entry->value : NULL;
}

/* Read the key's value as what `kind` says; false: not there, or complained. */
static bool
get(const struct node *map, const struct key *kind, void *out,
    struct conf_sink *sink)
{
	const struct node_entry *entry = node_entry(map, kind->name);

	return entry != NULL && key_read_scalar(kind, entry, out, sink);
}

void
node_str(const struct node *map, const char *key, const char **out,
    struct conf_sink *sink)
{
	const struct node_entry *entry = node_entry(map, key);

	if (entry == NULL)
		return;
	if (entry->value->kind == NODE_SCALAR)
		*out = entry->value->text;
	else
		conf_complain(sink, entry->file, entry->line, entry->column,
		    "%s: needs a single value", key);
}

void
node_int(const struct node *map, const char *key, int64_t min, int64_t max,
    int64_t *out, struct conf_sink *sink)
{
	struct key kind = { key, KEY_LONG, .min = min, .max = max };

	get(map, &kind, out, sink);
}

void
node_bool(const struct node *map, const char *key, bool *out,
    struct conf_sink *sink)
{
	struct key kind = { key, KEY_BOOL };

	get(map, &kind, out, sink);
}

void
node_duration_ms(const struct node *map, const char *key, int64_t *out,
    struct conf_sink *sink)
{
	struct key kind = { key, KEY_DURATION };

	get(map, &kind, out, sink);
}

void
node_size(const struct node *map, const char *key, int64_t *out,
    struct conf_sink *sink)
{
	struct key kind = { key, KEY_SIZE };

	get(map, &kind, out, sink);
}

void
node_choice(const struct node *map, const char *key,
    const char *const *names, int *out, struct conf_sink *sink)
{
	struct key kind = { key, KEY_CHOICE, .names = names };

	get(map, &kind, out, sink);
}

void
node_known_keys(const struct node *map, const char *const *names,
    struct conf_sink *sink)
{
	size_t count = 0;

	if (map == NULL || map->kind != NODE_MAP)
		return;
	while (names[count] != NULL)
		count++;
	for (size_t i = 0; i < map->count; i++) {
		const struct node_entry *entry = &map->entries[i];
		size_t n = 0;

		while (n < count && strcmp(names[n], entry->key) != 0)
			n++;
		if (n == count)
			key_complain_name(sink, entry, "unknown key", entry->key,
			    names, count);
	}
}

char *
node_secret(const struct node *map, const char *key, struct conf_sink *sink)
{
	char *file_key = xasprintf("%s_file", key), *secret = NULL;
	const struct node_entry *plain = node_entry(map, key);
	const struct node_entry *file = node_entry(map, file_key);

	free(file_key);
	if (plain != NULL && file != NULL)
		conf_complain(sink, file->file, file->line, file->column,
		    "both %s and %s: one of them is enough", key, file->key);
	else if (file != NULL)
		secret = secret_from_file(file, sink);
	else if (plain != NULL && plain->value->kind == NODE_SCALAR)
		secret = xstrdup(plain->value->text);
	else if (plain != NULL)
		conf_complain(sink, plain->file, plain->line, plain->column,
		    "%s: needs a single value", key);
	return secret;
}

/* What is in the file, at most SECRET_MAX bytes and a NUL; -1: complained of. */
static int
read_secret_file(const struct node_entry *entry, char *text,
    struct conf_sink *sink)
{
	ssize_t n;
	int fd;

	if (entry->value->kind != NODE_SCALAR) {
		conf_complain(sink, entry->file, entry->line, entry->column,
		    "%s: needs a path", entry->key);
		return -1;
	}
	/* Not to wait for a pipe's writer. */
	fd = open(entry->value->text, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	n = fd < 0 ? -1 : read(fd, text, SECRET_MAX);
	if (n < 0)
		conf_complain(sink, entry->file, entry->line, entry->column,
		    "%s: cannot read %s: %s", entry->key, entry->value->text,
		    strerror(errno));
	if (fd >= 0)
		close(fd);
	if (n < 0)
		return -1;
	text[n] = '\0';
	return 0;
}

static char *
secret_from_file(const struct node_entry *entry, struct conf_sink *sink)
{
	char text[SECRET_MAX + 1], *secret;

	if (read_secret_file(entry, text, sink) < 0)
		return NULL;
	secret = xstrndup(text, strcspn(text, "\r\n"));
	explicit_bzero(text, sizeof(text));
	if (*secret != '\0')
		return secret;
	conf_complain(sink, entry->file, entry->line, entry->column,
	    "%s: the first line of %s is empty", entry->key,
	    entry->value->text);
	free(secret);
	return NULL;
}

static void
add_secret(char ***all, size_t *n, const char *text, size_t len)
{
	if (len == 0)
		return;
	*all = xreallocarray(*all, *n + 2, sizeof(**all));
	(*all)[(*n)++] = xstrndup(text, len);
	(*all)[*n] = NULL;
}

char **
node_secrets(const struct node *map, const char *key)
{
	char *file_key = xasprintf("%s_file", key), text[SECRET_MAX + 1];
	const struct node_entry *plain = node_entry(map, key);
	const struct node_entry *file = node_entry(map, file_key);
	const struct node *value = plain != NULL ? plain->value : NULL;
	char **all = NULL;
	size_t n = 0;

	free(file_key);
	if (value != NULL && value->kind == NODE_SCALAR)
		add_secret(&all, &n, value->text, strlen(value->text));
	for (size_t i = 0; value != NULL && i < value->count; i++)
		add_secret(&all, &n, value->entries[i].value->text,
		    strlen(value->entries[i].value->text));
	if (file != NULL && read_secret_file(file, text, NULL) == 0) {
		for (char *p = text; *p != '\0'; p += strspn(p, "\r\n")) {
			add_secret(&all, &n, p, strcspn(p, "\r\n"));
			p += strcspn(p, "\r\n");
		}
		explicit_bzero(text, sizeof(text));
	}
	return all;
}

char *
node_json(const struct node *n)
{
	struct buf b = { 0 };

	put_json(&b, n);
	return buf_detach(&b);
}

static bool
is_json_number(const char *s)
{
	if (*s == '-')
		s++;
	if (!isdigit((unsigned char)*s) ||
	    (*s == '0' && isdigit((unsigned char)s[1])))
		return false;
	while (isdigit((unsigned char)*s))
		s++;
	if (*s == '.') {
		if (!isdigit((unsigned char)*++s))
			return false;
		while (isdigit((unsigned char)*s))
			s++;
	}
	if (*s == 'e' || *s == 'E') {
		s++;
		if (*s == '+' || *s == '-')
			s++;
		if (!isdigit((unsigned char)*s))
			return false;
		while (isdigit((unsigned char)*s))
			s++;
	}
	return *s == '\0';
}

const char *
node_literal(const char *text)
{
	if (strcasecmp(text, "true") == 0)
		return "true";
	if (strcasecmp(text, "false") == 0)
		return "false";
	if (*text == '\0' || strcmp(text, "~") == 0 ||
	    strcasecmp(text, "null") == 0)
		return "null";
	return is_json_number(text) ? text : NULL;
}

static void
put_json(struct buf *b, const struct node *n)
{
	const char *literal;

	if (n->kind == NODE_SCALAR) {
		literal = n->quoted ? NULL : node_literal(n->text);
		if (literal != NULL)
			buf_str(b, literal);
		else
			buf_json(b, n->text, strlen(n->text));
		return;
	}
	buf_char(b, n->kind == NODE_MAP ? '{' : '[');
	for (size_t i = 0; i < n->count; i++) {
		if (i > 0)
			buf_char(b, ',');
		if (n->kind == NODE_MAP) {
			buf_json(b, n->entries[i].key,
			    strlen(n->entries[i].key));
			buf_char(b, ':');
		}
		put_json(b, n->entries[i].value);
	}
	buf_char(b, n->kind == NODE_MAP ? '}' : ']');
}
