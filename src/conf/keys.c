/*
 * What works by the table of keys: reading, freeing, comparing.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "conf/expand.h"
#include "conf/keys.h"
#include "core/near.h"

#define NAMED_MAX 10000		/* entries of one section */

static void read_key(struct key_reader *, const struct key *,
    const struct node_entry *, void *at, void *target);
static void read_default(const struct key *, void *at);
static void read_words(struct key_reader *, const struct key *,
    const struct node_entry *, void *at);
static void read_node(struct key_reader *, const struct key *,
    const struct node_entry *, void *at);
static void read_map(struct key_reader *, const struct key *,
    const struct node_entry *, void *at);
static void read_named(struct key_reader *, const struct key *,
    const struct node_entry *, void *at);
static void complain_unknown(struct key_reader *, const struct key *,
    const struct node *);
static void free_named(const struct key *, void *at);

static void *
member(const struct key *key, const void *target)
{
	return (char *)target + key->offset;
}

static void
complain(struct key_reader *r, const struct node_entry *entry, const char *why)
{
	conf_complain(r->sink, entry->file, entry->line, entry->column,
	    "%s: %s", entry->key, why);
}

bool
node_is_empty(const struct node *n)
{
	return n->kind == NODE_SCALAR && !n->quoted && *n->text == '\0';
}

const struct key *
keys_of(const char *section)
{
	const struct key *key = conf_keys;

	while (strcmp(key->name, section) != 0)
		key++;
	return key->table;
}

void
keys_read(struct key_reader *r, const struct key *keys,
    const struct node_entry *entry, void *target)
{
	const struct node *map = entry ? entry->value : NULL;

	if (map != NULL && map->kind != NODE_MAP) {
		if (!node_is_empty(map))
			conf_complain(r->sink, entry->file, entry->line,
			    entry->column, "%s: needs a map of keys",
			    entry->key ? entry->key : r->place);
		map = NULL;
	}
	complain_unknown(r, keys, map);
	for (const struct key *key = keys; key->name != NULL; key++)
		if (!(key->flags & KEY_RESULT))
			read_key(r, key, node_entry(map, key->name),
			    member(key, target), target);
}

static void
read_key(struct key_reader *r, const struct key *key,
    const struct node_entry *entry, void *at, void *target)
{
	switch (key->type) {
	case KEY_CUSTOM:
		key->read(r, entry, target);
		return;
	case KEY_MAP:
		read_map(r, key, entry, at);
		return;
	case KEY_NAMED:
		read_named(r, key, entry, at);
		return;
	case KEY_WORDS:
		read_words(r, key, entry, at);
		break;
	case KEY_NODE:
		read_node(r, key, entry, at);
		break;
	default:
		if (entry == NULL || !key_read_scalar(key, entry, at, r->sink))
			read_default(key, at);
	}
}

static void
read_default(const struct key *key, void *at)
{
	struct node value = { .kind = NODE_SCALAR, .file = "",
	    .text = (char *)key->def };
	struct node_entry entry = { .file = "", .value = &value };
	struct buf text = { 0 };

	if (key->def == NULL)
		return;
	if (*key->def == '$') {
		expand(&text, key->def, NULL);
		value.text = text.data;
	}
	key_read_scalar(key, &entry, at, NULL);
	buf_clear(&text);
}

static void
read_words(struct key_reader *r, const struct key *key,
    const struct node_entry *entry, void *at)
{
	const struct node *list = entry ? entry->value : NULL;
	char **words;
	size_t count = 0;

	if (list == NULL || node_is_empty(list))
		return;
	if (list->kind != NODE_LIST) {
		complain(r, entry, "needs a list, as in [one, two]");
		return;
	}
	words = xcalloc(list->count, sizeof(*words));
	for (size_t i = 0; i < list->count; i++) {
		const struct node_entry *item = &list->entries[i];
		const char *why = NULL;

		if (item->value->kind != NODE_SCALAR)
			why = "each item must be a single value";
		else if (key->check != NULL)
			why = key->check(item->value->text);
		if (why != NULL)
			conf_complain(r->sink, item->file, item->line,
			    item->column, "%s: %s", key->name, why);
		words[count++] = xstrdup(item->value->kind == NODE_SCALAR ?
		    item->value->text : "");
	}
	memcpy(at, &words, sizeof(words));
	memcpy((char *)at + sizeof(words), &count, sizeof(count));
}

static void
read_node(struct key_reader *r, const struct key *key,
    const struct node_entry *entry, void *at)
{
	const struct node *n = entry ? entry->value : NULL;

	(void)key;
	if (n == NULL || node_is_empty(n) ||
	    (n->kind == NODE_MAP && n->count == 0))
		return;
	if (n->kind != NODE_MAP)
		complain(r, entry, "needs a map");
	else
		memcpy(at, &n, sizeof(n));
}

static void
read_map(struct key_reader *r, const struct key *key,
    const struct node_entry *entry, void *at)
{
	struct key_reader sub = *r;
	char *place = xasprintf("%s%s%s", r->place, *r->place ? "." : "",
	    key->name);

	sub.place = place;
	if (entry != NULL) {
		sub.file = entry->file;
		sub.line = entry->line;
		sub.column = entry->column;
	}
	keys_read(&sub, key->table, entry, at);
	if (key->finish != NULL)
		key->finish(&sub, entry, at);
	free(place);
}

static void
read_named(struct key_reader *r, const struct key *key,
    const struct node_entry *entry, void *at)
{
	const struct node *map = entry ? entry->value : NULL;
	struct key_reader sub = *r;
	size_t count;
	char *array, *prefix;

	if (map != NULL && map->kind != NODE_MAP) {
		if (!node_is_empty(map))
			complain(r, entry, "needs a map of names");
		map = NULL;
	}
	if (map == NULL || map->count == 0)
		return;
	if (map->count > NAMED_MAX)
		complain(r, entry, "too many entries");
	count = map->count > NAMED_MAX ? NAMED_MAX : map->count;
	array = xcalloc(count, key->size);
	prefix = xasprintf("%s%s%s", r->place, *r->place ? "." : "", key->name);
	for (size_t i = 0; i < count; i++) {
		const struct node_entry *one = &map->entries[i];
		char *element = array + i * key->size, *name, *place;
		const char *why = key->check ? key->check(one->key) : NULL;

		if (why != NULL)
			conf_complain(r->sink, one->file, one->line,
			    one->column, "\"%s\": %s", one->key, why);
		name = xstrdup(one->key);
		memcpy(element, &name, sizeof(name));
		place = xasprintf("%s.%s", prefix, one->key);
		sub.place = place;
		sub.file = one->file;
		sub.line = one->line;
		sub.column = one->column;
		if (!(key->flags & KEY_OPEN))
			keys_read(&sub, key->table, one, element);
		if (key->finish != NULL)
			key->finish(&sub, one, element);
		free(place);
	}
	free(prefix);
	memcpy(at, &array, sizeof(array));
	memcpy((char *)at + sizeof(array), &count, sizeof(count));
}

static void
complain_unknown(struct key_reader *r, const struct key *keys,
    const struct node *map)
{
	const char *names[64];
	size_t count = 0;

	if (map == NULL)
		return;
	for (const struct key *key = keys; key->name != NULL; key++)
		if (!(key->flags & KEY_RESULT) &&
		    count < sizeof(names) / sizeof(*names) - 1)
			names[count++] = key->name;
	names[count] = NULL;
	node_known_keys(map, names, r->sink);
}

void
key_complain_name(struct conf_sink *sink, const struct node_entry *entry,
    const char *what, const char *typed, const char *const *names,
    size_t count)
{
	/* Of many the nearest would take long, and not be seen. */
	const char *near = sink_is_full(sink) ? NULL :
	    near_name(typed, names, count);

	if (near != NULL)
		conf_complain(sink, entry->file, entry->line, entry->column,
		    "%s \"%.100s\" (did you mean \"%s\"?)", what, typed, near);
	else
		conf_complain(sink, entry->file, entry->line, entry->column,
		    "%s \"%.100s\"", what, typed);
}

void
keys_restart(const struct key *keys, const char *prefix, const void *a,
    const void *b, struct buf *out)
{
	for (const struct key *key = keys; key->name != NULL; key++) {
		struct buf was = { 0 }, is = { 0 };

		if (key->type == KEY_MAP && *prefix == '\0')
			keys_restart(key->table, key->name, member(key, a),
			    member(key, b), out);
		if (!(key->flags & KEY_RESTART))
			continue;
		key_format(key, member(key, a), &was);
		key_format(key, member(key, b), &is);
		if (strcmp(was.data, is.data) != 0)
			buf_printf(out, "%s%s.%s", out->len ? ", " : "", prefix,
			    key->name);
		buf_clear(&was);
		buf_clear(&is);
	}
}

void
keys_free(const struct key *keys, void *target)
{
	for (const struct key *key = keys; key->name != NULL; key++) {
		void *at = member(key, target);
		char *text, **words;
		size_t count;

		if (key->type == KEY_TEXT) {
			memcpy(&text, at, sizeof(text));
			if (text != NULL && (key->flags & (KEY_SECRET | KEY_URL)))
				explicit_bzero(text, strlen(text));
			free(text);
		} else if (key->type == KEY_WORDS) {
			memcpy(&words, at, sizeof(words));
			memcpy(&count, (char *)at + sizeof(words),
			    sizeof(count));
			for (size_t i = 0; i < count; i++) {
				if (key->flags & KEY_SECRET)
					explicit_bzero(words[i],
					    strlen(words[i]));
				free(words[i]);
			}
			free(words);
		} else if (key->type == KEY_MAP)
			keys_free(key->table, at);
		else if (key->type == KEY_NAMED)
			free_named(key, at);
		else if (key->type == KEY_CUSTOM && key->free != NULL)
			key->free(target);
	}
}

static void
free_named(const struct key *key, void *at)
{
	char *array, *name;
	size_t count;

	memcpy(&array, at, sizeof(array));
	memcpy(&count, (char *)at + sizeof(array), sizeof(count));
	for (size_t i = 0; i < count; i++) {
		char *element = array + i * key->size;

		memcpy(&name, element, sizeof(name));
		free(name);
		keys_free(key->table, element);
	}
	free(array);
}
