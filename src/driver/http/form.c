/*
 * Forms of HTTP: see form.h.
 */
#include "config.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "driver/data.h"
#include "driver/http/form.h"

/*
 * Values
 */

/* The text of a single value, appended; -1: it is none, or has a NUL. */
static int
put_scalar(struct buf *out, const json_t *value)
{
	char *text;

	if (json_is_string(value)) {
		const char *s = json_string_value(value);
		size_t len = json_string_length(value);

		if (strlen(s) != len)
			return -1;
		buf_put(out, s, len);
		return 0;
	}
	if (!json_is_number(value) && !json_is_boolean(value))
		return -1;
	text = json_dumps(value, JSON_ENCODE_ANY);
	buf_str(out, text ? text : "");
	free(text);
	return 0;
}

/* What is shown of a name must not itself do harm in a message. */
static const char *
shown(const char *name)
{
	for (const char *p = name; *p != '\0'; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return "?";
	return name;
}

static int
refuse(const char *name, const char *wants, struct err *e)
{
	return err_set(e, "\"%.100s\" needs %s", shown(name), wants);
}

typedef int value_fn(void *arg, const char *name, json_t *value, struct err *e);

/* All values that are not null, those of arrays one after another. */
static int
for_each(json_t *map, value_fn *put, void *arg, struct err *e)
{
	const char *name;
	json_t *value, *item;
	size_t i;

	json_object_foreach(map, name, value) {
		if (!json_is_array(value)) {
			if (!json_is_null(value) && put(arg, name, value, e) < 0)
				return -1;
			continue;
		}
		json_array_foreach(value, i, item)
			if (!json_is_null(item) && put(arg, name, item, e) < 0)
				return -1;
	}
	return 0;
}

/*
 * name=value
 */

static void
put_encoded(struct buf *out, const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (isalnum((unsigned char)s[i]) ||
		    (s[i] != '\0' && strchr("-._~", s[i]) != NULL))
			buf_char(out, s[i]);
		else
			buf_printf(out, "%%%02X", (unsigned char)s[i]);
}

static int
put_pair(void *arg, const char *name, json_t *value, struct err *e)
{
	struct buf text = { .len = 0 }, *out = arg;

	if (put_scalar(&text, value) < 0) {
		buf_clear(&text);
		return refuse(name, "a text, a number, true or false, or a list of "
		    "those", e);
	}
	if (out->len > 0)
		buf_char(out, '&');
	put_encoded(out, name, strlen(name));
	buf_char(out, '=');
	put_encoded(out, text.data ? text.data : "", text.len);
	buf_clear(&text);
	return 0;
}

int
form_encode(json_t *map, struct buf *out, struct err *e)
{
	return for_each(map, put_pair, out, e);
}

/*
 * Pieces
 */

static struct piece *
add_piece(struct pieces *p)
{
	p->v = xreallocarray(p->v, p->n + 1, sizeof(*p->v));
	p->v[p->n] = (struct piece){ .path = NULL };
	return &p->v[p->n++];
}

void
pieces_bytes(struct pieces *p, const void *data, size_t len)
{
	struct piece *last = p->n > 0 ? &p->v[p->n - 1] : NULL;

	if (last == NULL || last->path != NULL)
		last = add_piece(p);
	buf_put(&last->bytes, data, len);
}

void
pieces_file(struct pieces *p, const char *path)
{
	add_piece(p)->path = xstrdup(path);
}

void
pieces_clear(struct pieces *p)
{
	for (size_t i = 0; i < p->n; i++) {
		buf_clear(&p->v[i].bytes);
		free(p->v[i].path);
	}
	free(p->v);
	*p = (struct pieces){ .v = NULL };
}

static void
put_text(struct pieces *p, const char *text)
{
	pieces_bytes(p, text, strlen(text));
}

/*
 * multipart/form-data
 */

void
form_boundary(char boundary[FORM_BOUNDARY_MAX])
{
	unsigned char chance[16];
	size_t n = 0;

	arc4random_buf(chance, sizeof(chance));
	n += (size_t)snprintf(boundary, FORM_BOUNDARY_MAX, "jobqd-");
	for (size_t i = 0; i < sizeof(chance); i++)
		n += (size_t)snprintf(boundary + n, FORM_BOUNDARY_MAX - n, "%02x",
		    chance[i]);
}

/* In quotes, as browsers send names. */
static void
put_name(struct pieces *out, const char *key, const char *name)
{
	struct buf b = { .len = 0 };

	buf_printf(&b, "; %s=\"", key);
	for (const char *p = name; *p != '\0'; p++)
		if (*p == '"' || *p == '\r' || *p == '\n')
			buf_printf(&b, "%%%02X", (unsigned char)*p);
		else
			buf_char(&b, *p);
	buf_char(&b, '"');
	pieces_bytes(out, b.data, b.len);
	buf_clear(&b);
}

struct parts {
	struct pieces *out;
	const char *boundary;
};

static void
put_head(const struct parts *p, const char *name, const char *filename,
    const char *type)
{
	struct pieces *out = p->out;

	put_text(out, "--");
	put_text(out, p->boundary);
	put_text(out, "\r\nContent-Disposition: form-data");
	put_name(out, "name", name);
	if (filename != NULL)
		put_name(out, "filename", filename);
	if (type != NULL) {
		put_text(out, "\r\nContent-Type: ");
		put_text(out, type);
	}
	put_text(out, "\r\n\r\n");
}

static int
put_value(const struct parts *p, const char *name, const json_t *value,
    struct err *e)
{
	struct buf text = { .len = 0 };
	int rc = put_scalar(&text, value);

	if (rc == 0) {
		put_head(p, name, NULL, NULL);
		pieces_bytes(p->out, text.data, text.len);
		put_text(p->out, "\r\n");
	}
	buf_clear(&text);
	return rc == 0 ? 0 : refuse(name, "a text, a number, true or false, a list "
	    "of those, or {text | content | path, filename, type}", e);
}

/* A member that is text; *out NULL: not there. -1: something else, or a NUL. */
static int
get_text(const json_t *map, const char *key, const char **out)
{
	const json_t *value = json_object_get(map, key);

	*out = json_string_value(value);
	if (value == NULL || json_is_null(value))
		return 0;
	return *out != NULL && strlen(*out) == json_string_length(value) ? 0 : -1;
}

static bool
is_media_type(const char *type)
{
	for (const char *p = type; *p != '\0'; p++)
		if ((unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7f)
			return false;
	return strchr(type, '/') != NULL;
}

static int
put_file(const struct parts *p, const char *name, const json_t *part,
    struct err *e)
{
	struct pieces *out = p->out;
	const char *text, *content, *path, *filename, *type, *slash;
	struct buf bytes = { .len = 0 };

	if (get_text(part, "text", &text) < 0 ||
	    get_text(part, "content", &content) < 0 ||
	    get_text(part, "path", &path) < 0 ||
	    get_text(part, "filename", &filename) < 0 ||
	    get_text(part, "type", &type) < 0)
		return refuse(name, "texts for its members", e);
	if ((text != NULL) + (content != NULL) + (path != NULL) != 1)
		return refuse(name, "one of text, content, path", e);
	if (type != NULL && !is_media_type(type))
		return refuse(name, "a media type such as image/png for type", e);
	if (content != NULL && data_base64(content, &bytes) < 0)
		return refuse(name, "base64 for content", e);
	if (path != NULL && filename == NULL) {
		slash = strrchr(path, '/');
		filename = slash ? slash + 1 : path;
	}
	if (type == NULL && text == NULL)
		type = "application/octet-stream";
	put_head(p, name, filename, type);
	if (path != NULL)
		pieces_file(out, path);
	else if (text != NULL)
		put_text(out, text);
	else
		pieces_bytes(out, bytes.data, bytes.len);
	put_text(out, "\r\n");
	buf_clear(&bytes);
	return 0;
}

static int
put_part(void *arg, const char *name, json_t *value, struct err *e)
{
	struct parts *p = arg;

	return json_is_object(value) ? put_file(p, name, value, e) :
	    put_value(p, name, value, e);
}

int
form_multipart(json_t *map, const char *boundary, struct pieces *out,
    struct err *e)
{
	struct parts parts = { out, boundary };

	if (for_each(map, put_part, &parts, e) < 0)
		return -1;
	put_text(out, "--");
	put_text(out, boundary);
	put_text(out, "--\r\n");
	return 0;
}
