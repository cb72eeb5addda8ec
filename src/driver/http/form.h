/*
 * Forms as HTTP sends them, made of JSON objects: name=value&name=value, and
 * the parts of multipart/form-data, some of which may be files. Pure.
 *
 * A value is a text, a number, true or false; null leaves the name out, and an
 * array gives the name once for each of its values.
 */
#ifndef DRIVER_FORM_H
#define DRIVER_FORM_H

#include <jansson.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

/* What a body consists of, one after another: bytes, or a file's content. */
struct piece {
	struct buf bytes;
	char *path;		/* NULL: bytes */
};

struct pieces {
	struct piece *v;
	size_t n;
};

/* Append the object's members, percent-encoded. -1 with e, which names one. */
int form_encode(json_t *map, struct buf *out, struct err *e);

#define FORM_BOUNDARY_MAX 40		/* bytes of a boundary, with its NUL */

/*
 * Append the parts. A value may also be {text | content (base64) | path,
 * filename, type}. -1 with e, which names the part.
 *   boundary	in none of the values: made by form_boundary()
 */
int form_multipart(json_t *map, const char *boundary, struct pieces *out,
    struct err *e);
void form_boundary(char boundary[FORM_BOUNDARY_MAX]);

void pieces_bytes(struct pieces *, const void *data, size_t len);
void pieces_file(struct pieces *, const char *path);
void pieces_clear(struct pieces *);

#endif
