/*
 * Templates: {{path}} in a text, replaced by a value. Pure.
 *
 * Between the braces, without the blanks around it, a path: keys with dots
 * between them, none empty, of at most 256 bytes; in an array a key is an
 * index from 0. Strings stand as they are, everything else as its JSON text,
 * to the byte. What was put in is not looked through again, so data cannot
 * smuggle in a replacement. Nothing else is special: a single brace, or "}}"
 * by itself, stands for itself. src/db/sql/72-template.sql knows the same.
 *
 * In the texts of a handler a path begins with data (the job's), job (id,
 * attempt, queue, type, tenant) or now, and a value that is missing or null is
 * an error: half a URL or path is worse than none.
 */
#ifndef CORE_TEMPLATE_H
#define CORE_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "core/job.h"

#define TEMPLATE_MAX (1u << 20)		/* bytes that one text may become */
#define TEMPLATE_NAME_MAX 256		/* bytes between the braces */

/* Where the text goes, which says how a value is put in. None has a NUL. */
enum template_use {
	TEMPLATE_TEXT,		/* as it is: an argument, a variable, a secret */
	TEMPLATE_LINE,		/* a header's value: no control character */
	TEMPLATE_URL,		/* percent-encoded, but for one at the very beginning,
				 * which is the URL; no path segment "." or "..",
				 * no control character */
	TEMPLATE_FILE,		/* part of a file's name: no "/", none begins with "." */
	TEMPLATE_JSON,		/* within the quotes of a JSON string */
	TEMPLATE_HTML,		/* as text in HTML, or in a quoted attribute there */
};

/* Not terminated. */
struct template_path {
	const char *text;
	size_t len;
};

/* Whether the text has anything to replace. */
bool template_used(const char *text);

/* The next path of a text, which is left behind it: 1, 0 when there is none,
 * -1 with e when "{{" has no end. */
int template_next(const char **text, struct template_path *, struct err *e);

/* The key at the head of a path, which is left behind its dot; false after
 * the last one. */
bool template_key(struct template_path *path, struct template_path *key);

/* Whether no key is empty and the first is one of these; -1 with e. */
int template_check_path(const struct template_path *,
    const char *const *roots, size_t count, struct err *e);

/* Whether every path in a handler's text is well formed; for checking a
 * configuration, before there is data. -1 with e. */
int template_check(const char *text, struct err *e);

/* Append what the paths of a handler's texts may begin with, as a JSON object.
 *   now	seconds since the epoch */
void template_context(struct buf *out, const struct job *, const char *queue,
    int64_t now);

/*
 * Append the text to out with everything replaced.
 *   context	valid JSON, an object of what paths may begin with
 *   out	never grows by more than TEMPLATE_MAX bytes, and holds no NUL
 * Returns 0, or -1 with e, which names what is unknown, null or malformed;
 * out is then as it was.
 */
int template_expand(const char *text, const char *context,
    enum template_use, struct buf *out, struct err *e);

#endif
