/*
 * The table of keys, and what works by it: reading with defaults and ranges,
 * unknown keys, the dump, the digest's text, what needs a restart, what this
 * version does not act on yet, freeing. Inside conf/ only.
 */
#ifndef CONF_KEYS_H
#define CONF_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "conf/conf.h"
#include "conf/node.h"
#include "conf/sink.h"

/* What a key's value is, and the C type at its offset. */
enum key_type {
	KEY_TEXT,		/* char * */
	KEY_INT,		/* int, min … max */
	KEY_LONG,		/* int64_t, min … max */
	KEY_REAL,		/* double, min … max */
	KEY_BOOL,		/* bool */
	KEY_DURATION,		/* int64_t, ms, min … max */
	KEY_SIZE,		/* int64_t, bytes, min … max */
	KEY_RATE,		/* int64_t count, period_ms; "" is 0, 0: none */
	KEY_PERCENT,		/* double, 0 … 1 */
	KEY_CHOICE,		/* int or enum: index in names */
	KEY_FLAG,		/* bool: names[1] is true */
	KEY_SIGNAL,		/* int */
	KEY_INSTANT,		/* int64_t, ms since the epoch; "" is 0 */
	KEY_WORDS,		/* char **, size_t: a list of texts */
	KEY_NODE,		/* const struct node *: a map, kept as it is */
	KEY_MAP,		/* a struct, by its own table */
	KEY_NAMED,		/* T *, size_t: name → map, by T's table */
	KEY_CUSTOM,		/* read, dump and free say */
};

#define KEY_RESTART 1u		/* a reload does not take it */
#define KEY_SECRET 4u		/* the dump shows *** */
#define KEY_URL 8u		/* may hold a password before its @ */
#define KEY_QUIET 16u		/* dumped only when it is set */
#define KEY_OPEN 64u		/* KEY_NAMED: the table only frees; finish reads */
#define KEY_RESULT 32u		/* not a key: filled in from others; only freed */

struct key_reader;
struct dump;

/* A line of the table says what is not nothing; the rest is zero. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

struct key {
	const char *name;
	enum key_type type;
	size_t offset;
	const char *def;	/* as it would be written; NULL: left alone */
	int64_t min, max;	/* both 0: the type's own */
	unsigned flags;
	const char *const *names;	/* KEY_CHOICE, KEY_FLAG; NULL at the end */
	const struct key *table;	/* KEY_MAP, KEY_NAMED */
	size_t size;		/* KEY_NAMED: of one T, which begins with its name */
	/* What is wrong with a text, or NULL; for KEY_NAMED, with a name. */
	const char *(*check)(const char *text);
	/* KEY_CUSTOM: entry is NULL when the key is not there. */
	void (*read)(struct key_reader *, const struct node_entry *entry,
	    void *target);
	void (*dump)(struct dump *, const struct key *, const void *target);
	void (*free)(void *target);
	/* KEY_NAMED, KEY_MAP: after one is read; entry may be NULL. */
	void (*finish)(struct key_reader *, const struct node_entry *entry,
	    void *target);
};

struct key_reader {
	struct conf *conf;
	struct conf_sink *sink;
	const char *place;	/* "queues.email.keep": for messages */
	const char *file;	/* where that is: the key of the map being read */
	int line, column;
};

/* The whole configuration: the table of struct conf. */
extern const struct key conf_keys[];
/* What parts of it read by themselves. */
extern const struct key policy_keys[];
/* The table of a section's elements: "queues". */
const struct key *keys_of(const char *section);

/* Read a map into target; a missing or empty one gives the defaults. */
void keys_read(struct key_reader *, const struct key *,
    const struct node_entry *map, void *target);
void keys_free(const struct key *, void *target);
/* Paths of KEY_RESTART keys that differ, ", " between them. */
void keys_restart(const struct key *, const char *prefix, const void *a,
    const void *b, struct buf *out);

/* scalar.c: one single value; false: complained, *out as it was. */
bool key_read_scalar(const struct key *, const struct node_entry *, void *out,
    struct conf_sink *);
/* As it would be written; out is never left without its NUL. */
void key_format(const struct key *, const void *at, struct buf *out);

/* WHAT "typed" (did you mean "…"?), at the entry's place. */
void key_complain_name(struct conf_sink *, const struct node_entry *,
    const char *what, const char *typed, const char *const *names,
    size_t count);

/* node.c: what an unquoted scalar is in JSON if it is no string, else NULL. */
const char *node_literal(const char *text);
/* A scalar without text and quotes: "key:" with nothing behind it. */
bool node_is_empty(const struct node *);

#endif
