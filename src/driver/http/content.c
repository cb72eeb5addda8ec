/*
 * What an HTTP request brings: its query, and one of several contents; for
 * request.c, see maker.h.
 */
#include "config.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/xalloc.h"
#include "driver/below.h"
#include "driver/http/maker.h"

/* What may be sent; one of them. */
static const char *const contents[] = {
	"payload", "body", "form", "multipart", "upload",
};
#define CONTENT_UPLOAD 4

/*
 * Options
 */

/* A map whose texts may have templates. */
static void
check_map(const struct node_entry *entry, struct conf_sink *sink)
{
	char *text = node_json(entry->value);
	struct err e;

	if (entry->value->kind != NODE_MAP) {
		err_set(&e, "%s: needs a map", entry->key);
		maker_complain(sink, entry, e.msg);
	} else if (template_check(text, &e) < 0) {
		err_prepend(&e, "%s", entry->key);
		maker_complain(sink, entry, e.msg);
	}
	free(text);
}

static void
check_directory(const struct node *options, struct conf_sink *sink)
{
	const struct node_entry *entry = node_entry(options, "directory");

	if (entry != NULL && maker_check_scalar(entry, sink) &&
	    entry->value->text[0] != '/')
		maker_complain(sink, entry, "directory: needs an absolute path");
	for (size_t i = 0; i < 2; i++) {
		static const char *const keys[] = { "upload", "save_to" };
		const struct node_entry *file = node_entry(options, keys[i]);
		char text[64];

		if (file == NULL || !maker_check_scalar(file, sink) || entry != NULL)
			continue;
		snprintf(text, sizeof(text), "%s: needs directory:, below which "
		    "it is", keys[i]);
		maker_complain(sink, file, text);
	}
}

void
content_check(const struct node *options, struct conf_sink *sink)
{
	const struct node_entry *entry, *first = NULL;
	char text[128];

	check_directory(options, sink);
	for (size_t i = 0; i < sizeof(contents) / sizeof(contents[0]); i++) {
		if ((entry = node_entry(options, contents[i])) == NULL)
			continue;
		if (first != NULL) {
			snprintf(text, sizeof(text), "%s: only one of %s and %s",
			    entry->key, first->key, entry->key);
			maker_complain(sink, entry, text);
		}
		first = entry;
		if (strcmp(entry->key, "body") == 0)
			maker_check_scalar(entry, sink);
		else if (strcmp(entry->key, "upload") != 0)
			check_map(entry, sink);
	}
	if ((entry = node_entry(options, "query")) != NULL)
		check_map(entry, sink);
	if ((entry = node_entry(options, "upload")) != NULL &&
	    node_get(options, "sign") != NULL)
		maker_complain(sink, entry, "upload: what is sent from a file is not signed");
}

/*
 * Query
 */

/*
 * The object of a key: the handler's, where the data may be in place of it of
 * the same names, or the data's. *out NULL: there is none; the caller has a
 * reference.
 */
static int
get_object(struct maker *m, const char *key, json_t **out)
{
	const struct node *option = node_get(m->options, key);
	json_t *value = m->envelope || node_get(m->options, "url") == NULL ?
	    json_object_get(m->data, key) : NULL;
	char *text;

	*out = NULL;
	if (json_is_null(value))
		value = NULL;
	if (value != NULL && !json_is_object(value))
		return err_set(m->e, "%s: needs to be an object", key);
	if (option == NULL) {
		*out = json_incref(value);
		return 0;
	}
	if (maker_expand_map(m, option, &text) < 0)
		return err_prepend(m->e, "%s", key);
	*out = json_loads(text, 0, NULL);
	free(text);
	if (*out == NULL)
		return err_set(m->e, "%s: cannot be read", key);
	if (value != NULL)
		json_object_update(*out, value);
	return 0;
}

int
content_query(struct maker *m)
{
	struct buf b = { .len = 0 }, query = { .len = 0 };
	char *url = m->request->url;
	size_t len = strcspn(url, "#");
	json_t *map;
	int rc;

	if (get_object(m, "query", &map) < 0)
		return -1;
	rc = form_encode(map, &query, m->e);
	json_decref(map);
	if (rc == 0 && query.len > 0) {
		bool has_some = memchr(url, '?', len) != NULL;

		buf_put(&b, url, len);
		if (!has_some || strchr("?&", url[len - 1]) == NULL)
			buf_char(&b, has_some ? '&' : '?');
		buf_put(&b, query.data, query.len);
		free(url);
		m->request->url = buf_detach(&b);
	}
	buf_clear(&query);
	return rc < 0 ? err_prepend(m->e, "query") : 0;
}

/*
 * Contents
 */

static void
set_type(struct maker *m, const char *type)
{
	if (!maker_has_header(m, "Content-Type"))
		maker_put_header(m, "Content-Type", type);
}

static void
set_body(struct maker *m, const char *bytes, size_t len, const char *type)
{
	m->request->body = xstrndup(bytes, len);
	m->request->body_len = len;
	set_type(m, type);
}

static int
make_payload(struct maker *m)
{
	static const char json[] = "application/json";
	const struct node *option = node_get(m->options, "payload");
	char *text;

	if (option == NULL && *m->payload != '{' && *m->payload != '[')
		return err_set(m->e, "payload: needs an object (text goes into "
		    "body)");
	if (option == NULL) {
		set_body(m, m->payload, m->payload_len, json);
		return 0;
	}
	if (maker_expand_map(m, option, &text) < 0)
		return err_prepend(m->e, "payload");
	set_body(m, text, strlen(text), json);
	free(text);
	return 0;
}

/* The option with its templates filled in, else the data's text. */
static int
get_text(struct maker *m, const char *key, char **out)
{
	const struct node *option = node_get(m->options, key);
	const char *text;

	*out = NULL;
	if (option != NULL)
		return maker_expand(m, option->text, TEMPLATE_TEXT, out) < 0 ?
		    err_prepend(m->e, "%s", key) : 0;
	if (maker_string(m, key, &text) < 0)
		return -1;
	*out = xstrdup(text);
	return 0;
}

static int
make_text(struct maker *m)
{
	char *text;

	if (get_text(m, "body", &text) < 0)
		return -1;
	set_body(m, text, strlen(text), "text/plain; charset=utf-8");
	free(text);
	return 0;
}

static int
make_form(struct maker *m)
{
	struct buf b = { .len = 0 };
	json_t *map;
	int rc;

	if (get_object(m, "form", &map) < 0)
		return -1;
	rc = form_encode(map, &b, m->e);
	json_decref(map);
	if (rc == 0)
		set_body(m, b.data ? b.data : "", b.len,
		    "application/x-www-form-urlencoded");
	buf_clear(&b);
	return rc < 0 ? err_prepend(m->e, "form") : 0;
}

static bool
has_files(const struct pieces *p)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->v[i].path != NULL)
			return true;
	return false;
}

static int
need_directory(struct maker *m)
{
	return node_get(m->options, "directory") != NULL ? 0 :
	    err_set(m->e, "the handler has no directory for files");
}

static int
make_multipart(struct maker *m)
{
	struct pieces *pieces = &m->request->pieces;
	char boundary[FORM_BOUNDARY_MAX], type[80];
	json_t *map;
	int rc;

	if (get_object(m, "multipart", &map) < 0)
		return -1;
	form_boundary(boundary);
	rc = form_multipart(map, boundary, pieces, m->e);
	json_decref(map);
	if (rc == 0 && has_files(pieces))
		rc = need_directory(m);
	if (rc < 0)
		return err_prepend(m->e, "multipart");
	/* The boundary is ours, so the type is as well. */
	snprintf(type, sizeof(type), "multipart/form-data; boundary=%s", boundary);
	maker_put_header(m, "Content-Type", type);
	if (has_files(pieces))
		return 0;
	m->request->body_len = pieces->v[0].bytes.len;
	m->request->body = buf_detach(&pieces->v[0].bytes);
	pieces_clear(pieces);
	return 0;
}

static int
make_upload(struct maker *m)
{
	char *path;

	if (need_directory(m) < 0)
		return err_prepend(m->e, "upload");
	if (get_text(m, "upload", &path) < 0)
		return -1;
	pieces_file(&m->request->pieces, path);
	set_type(m, "application/octet-stream");
	free(path);
	return 0;
}

/* What to send: the handler's, else the data's. */
int
content_find(struct maker *m)
{
	int n = sizeof(contents) / sizeof(contents[0]);
	bool handlers = false;

	m->content = -1;
	for (int i = 0; i < n; i++)
		if (node_get(m->options, contents[i]) != NULL) {
			m->content = i;
			handlers = true;
		}
	for (int i = 0; i < n && !handlers && m->envelope; i++) {
		bool there = i == 0 ? m->payload != NULL : maker_gives(m, contents[i]);

		if (there && m->content >= 0)
			return err_set(m->e, "%s and %s: only one of them",
			    contents[m->content], contents[i]);
		if (there)
			m->content = i;
	}
	return 0;
}

static int
make_save_to(struct maker *m)
{
	if (!maker_gives(m, "save_to"))
		return 0;
	if (need_directory(m) < 0)
		return err_prepend(m->e, "save_to");
	if (get_text(m, "save_to", &m->request->save_to) < 0)
		return -1;
	return below_check(m->request->save_to, m->e) == 0 ? 0 :
	    err_prepend(m->e, "save_to");
}

int
content_make(struct maker *m)
{
	static int (*const make[])(struct maker *) = {
		make_payload, make_text, make_form, make_multipart, make_upload,
	};

	if (make_save_to(m) < 0)
		return -1;
	if (m->content >= 0)
		return make[m->content](m);
	if (!m->envelope && node_get(m->options, "url") != NULL &&
	    strcmp(m->request->method, "GET") != 0 &&
	    strcmp(m->request->method, "HEAD") != 0)
		set_body(m, m->job->data, strlen(m->job->data),
		    "application/json");
	return 0;
}

const char *
content_method(const struct maker *m)
{
	if (m->content == CONTENT_UPLOAD)
		return "PUT";
	return m->content < 0 && maker_gives(m, "save_to") ? "GET" : "POST";
}
