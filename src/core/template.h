/*
 * {{data.x.y}} in a text of the configuration, replaced by values of a job's
 * data. Pure.
 *
 * Between the braces: the word data, and keys of objects (or indices of
 * arrays, from 0) after dots; blanks just inside the braces do not count.
 * Strings stand as they are, numbers, true and false as in JSON, objects and
 * arrays as JSON text. What was put in is not looked through again, so data
 * cannot smuggle in a replacement. Nothing else is special: a single brace,
 * or "}}" by itself, stands for itself.
 */
#ifndef CORE_TEMPLATE_H
#define CORE_TEMPLATE_H

#include <stdbool.h>

#include <jansson.h>

#include "base/buf.h"
#include "base/err.h"

#define TEMPLATE_MAX (1u << 20)		/* bytes that one text may become */
#define TEMPLATE_NAME_MAX 256		/* bytes between the braces */

/* Whether the text has anything to replace. */
bool template_used(const char *text);

/* Whether the text has a replacement that is, or is in, that member of the data,
 * or is all of the data. */
bool template_names(const char *text, const char *member, size_t len);

/* Whether every replacement in it is well formed; for checking a
 * configuration, before there is data. -1 with e. */
int template_check(const char *text, struct err *e);

/*
 * Append the text to out with everything replaced from data, which is what
 * `data` names (usually an object).
 *   out	never grows by more than TEMPLATE_MAX bytes, and holds no NUL
 * Returns 0, or -1 with e, which names what is unknown, null or malformed;
 * out is then as it was.
 */
int template_expand(const char *text, const json_t *data, struct buf *out,
    struct err *e);

#endif
