/*
 * A YAML value as it was read: text with its place. Only data; made by
 * conf/yaml.c from libyaml's events, with a cap on depth and size, no
 * aliases, no tags, duplicate keys complained about, ${NAME} and
 * ${NAME:-default} replaced in every scalar.
 */
#ifndef CONF_NODE_H
#define CONF_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum node_kind { NODE_SCALAR, NODE_LIST, NODE_MAP };

struct node {
	enum node_kind kind;
	const char *file;	/* borrowed from the tree */
	int line, column;	/* from 1; of a map's value: its key's place is in the entry */
	char *text;		/* scalar: after substitution, NUL-terminated */
	bool quoted;		/* scalar: written in quotes, so in JSON a string */
	bool broken;		/* scalar: not readable, which was complained of; text "" */
	struct node_entry *entries;	/* list and map */
	size_t count;
};

struct node_entry {
	char *key;		/* NULL in a list */
	int line, column;	/* of the key (of the item in a list) */
	const char *file;
	struct node *value;
};

/* Collects complaints: every error of a file, not just the first. */
struct conf_sink;
/* "FILE:LINE:COL: message" */
void conf_complain(struct conf_sink *, const char *file, int line, int column, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

/* NULL: not there, or no map. */
const struct node *node_get(const struct node *map, const char *key);
const struct node_entry *node_entry(const struct node *map, const char *key);

/*
 * Typed access for checking and using options. `key` in a map; each complains
 * (when sink is not NULL) with the key's place and leaves *out alone when the
 * value is of the wrong kind; leaves it alone in silence when the key is not
 * there.
 */
void node_str(const struct node *map, const char *key, const char **out,
    struct conf_sink *);		/* borrowed */
void node_int(const struct node *map, const char *key, int64_t min,
    int64_t max, int64_t *out, struct conf_sink *);
void node_bool(const struct node *map, const char *key, bool *out,
    struct conf_sink *);
void node_duration_ms(const struct node *map, const char *key, int64_t *out,
    struct conf_sink *);
void node_size(const struct node *map, const char *key, int64_t *out,
    struct conf_sink *);
/* One of names (NULL at the end): its index. */
void node_choice(const struct node *map, const char *key,
    const char *const *names, int *out, struct conf_sink *);
/* Complain of each key of the map that is not among names, with the nearest. */
void node_known_keys(const struct node *map, const char *const *names,
    struct conf_sink *);
/*
 * A secret: `key`, or the first line of the file that key_file names. New
 * string; NULL when there is neither, or when it is complained of.
 */
char *node_secret(const struct node *map, const char *key, struct conf_sink *);
/*
 * Several secrets, of which each one will do while they are changed: `key`, a
 * value or a list, and the lines of the file that key_file names. With NULL at
 * the end; NULL: none. The caller wipes and frees them.
 */
char **node_secrets(const struct node *map, const char *key);
/*
 * The node as JSON text: unquoted numbers, true, false and null as such, other
 * scalars as strings. The caller frees.
 */
char *node_json(const struct node *);

#endif
