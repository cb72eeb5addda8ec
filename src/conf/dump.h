/*
 * Writing YAML that reads back as the same. Inside conf/ only.
 */
#ifndef CONF_DUMP_H
#define CONF_DUMP_H

#include <stdbool.h>

#include "base/buf.h"
#include "conf/keys.h"

struct dump {
	struct buf *out;
	int indent;
	bool reveal;		/* secrets as they are, for a digest */
	struct buf value;	/* one of dump_keys(), while it is written */
};

/* A string; a number or a word that is none ("{}" is one, too). */
void dump_text(struct dump *, const char *key, const char *text);
void dump_raw(struct dump *, const char *key, const char *text);
void dump_node(struct dump *, const char *key, const struct node *);
void dump_words(struct dump *, const char *key, char *const *words,
    size_t count);
/* A map begins, and ends. */
void dump_open(struct dump *, const char *key);
void dump_close(struct dump *);
/* A map by its table. */
void dump_keys(struct dump *, const struct key *, const void *target);

uint64_t dump_hash(const struct buf *);

/* Fill in the configuration's digests and its queues'. */
void conf_digests(struct conf *);

#endif
