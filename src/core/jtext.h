/*
 * Valid JSON (what PostgreSQL prints of a jsonb) looked into as it stands:
 * where the very bytes matter, or to read all of it would take too long. Pure.
 */
#ifndef CORE_JTEXT_H
#define CORE_JTEXT_H

#include <stdbool.h>
#include <stddef.h>

/* A member of an object: its key as it is written between the quotes, and its
 * value without blanks around. Of an element of an array only the value. */
struct jtext_entry {
	const char *key, *value;
	size_t key_len, len;
};

/* The members of the object in the text, one after another: *at is the text
 * at first. */
bool jtext_next(const char **at, struct jtext_entry *);

/* The elements of the array in the text, one after another, as jtext_next()
 * does: the start of each and its *len, NULL: no more. */
const char *jtext_element(const char **at, size_t *len);

/*
 * What an object's key, or an array's index from 0, names in the value at
 * `text`: its start and *len, NULL: nothing. Of a key that is there twice the
 * last one counts.
 */
const char *jtext_child(const char *text, const char *key, size_t key_len,
    size_t *len);
const char *jtext_member(const char *text, const char *key, size_t *len);

/* The bytes that a JSON string of that length, with its quotes, stands for;
 * the caller frees them. NULL: it is none. */
char *jtext_string(const char *text, size_t len, size_t *out_len);

#endif
