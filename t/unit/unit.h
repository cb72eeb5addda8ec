/*
 * What the unit tests share: cmocka with the headers it needs first, and
 * chance that is the same in every run.
 */
#ifndef T_UNIT_UNIT_H
#define T_UNIT_UNIT_H

#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* splitmix64; the state may begin with anything. */
static inline uint64_t
chance(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static inline int
chance_below(uint64_t *state, int bound)
{
	return (int)(chance(state) % (uint64_t)bound);
}

/*
 * One to four changes to the len bytes at text, which has room for cap:
 * another byte (one of alphabet, or any but NUL), one more, or one less.
 * Returns the new length.
 */
static inline size_t
mutate(char *text, size_t len, size_t cap, const char *alphabet, uint64_t *state)
{
	for (int n = 1 + chance_below(state, 4); n > 0; n--) {
		char byte = chance_below(state, 4) == 0 ?
		    (char)(1 + chance_below(state, 255)) :
		    alphabet[(size_t)chance_below(state, (int)strlen(alphabet))];
		size_t at = (size_t)chance_below(state, (int)len + 1);

		switch (chance_below(state, 3)) {
		case 0:
			if (at < len)
				text[at] = byte;
			break;
		case 1:
			if (len == cap)
				break;
			memmove(text + at + 1, text + at, len - at);
			text[at] = byte;
			len++;
			break;
		case 2:
			if (at == len)
				break;
			memmove(text + at, text + at + 1, len - at - 1);
			len--;
			break;
		}
	}
	return len;
}

/* The same bytes in a block of exactly their size, so that a sanitizer sees
 * a read past the end; a NUL is added for strings. */
static inline char *
exact(const void *bytes, size_t len, bool string)
{
	char *copy = malloc(len + string + (len + string == 0));

	assert_non_null(copy);
	memcpy(copy, bytes, len);
	if (string)
		copy[len] = '\0';
	return copy;
}

#endif
