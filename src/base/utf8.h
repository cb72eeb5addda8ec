/*
 * UTF-8 as of RFC 3629: no overlong forms, no surrogates, nothing past
 * U+10FFFF.
 */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stddef.h>

/* Bytes of the valid character at s (1..4), 0 if there is none in len bytes. */
size_t utf8_length(const char *s, size_t len);

/* Make the text storable in PostgreSQL: what is no UTF-8, and NUL, becomes '?'. */
void utf8_clean(char *s, size_t len);

/* The same, and cut to at most max bytes, never inside a character. */
void utf8_cut(char *text, size_t max);

#endif
