/*
 * Is a text JSON (RFC 8259) that can be read in one way only? Pure. What is,
 * core/jtext.h looks into.
 */
#ifndef CORE_JCHECK_H
#define CORE_JCHECK_H

#include <stddef.h>

#include "base/err.h"

#define JCHECK_DEPTH_MAX 100	/* objects and arrays inside each other */

/*
 * The text is one value with blanks around: 0. Else -1 with what is wrong, and
 * at which byte from 1. Wrong are also a name that an object has twice, what is
 * no UTF-8, and what the database cannot store: a NUL, half a surrogate pair.
 * The text is followed by a NUL.
 */
int jcheck(const char *text, size_t len, struct err *e);

#endif
