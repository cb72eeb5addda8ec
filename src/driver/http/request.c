/*
 * The HTTP request of a job: see request.h.
 */
#include "config.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/xalloc.h"
#include "core/jtext.h"
#include "driver/data.h"
#include "driver/http/maker.h"

/*
 * What may be in a header, a URL, a method
 */

static bool
is_token(const char *s)
{
	if (*s == '\0')
		return false;
	for (; *s != '\0'; s++)
		if (!isalnum((unsigned char)*s) &&
		    strchr("!#$%&'*+-.^_`|~", *s) == NULL)
			return false;
	return true;
}

bool
maker_is_field_value(const char *s)
{
	for (; *s != '\0'; s++)
		if (((unsigned char)*s < 0x20 && *s != '\t') || *s == 0x7f)
			return false;
	return true;
}

/* Those that would contradict what is really sent, or what is signed. */
static bool
is_ours(const char *name)
{
	static const char *const names[] = {
		"host", "content-length", "transfer-encoding", "connection",
		"expect", "te", "trailer", "upgrade", "webhook-id",
		"webhook-timestamp", "webhook-signature",
		"x-webhook-signature", "x-webhook-timestamp", "x-event-type",
		"x-event-id",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcasecmp(name, names[i]) == 0)
			return true;
	return false;
}

static int
check_url(const char *url, struct err *e)
{
	if (strncasecmp(url, "http://", 7) != 0 &&
	    strncasecmp(url, "https://", 8) != 0)
		return err_set(e, "url: needs http:// or https://");
	if (strchr("/?#", strchr(url, '/')[2]) != NULL)
		return err_set(e, "url: names no host");
	if (strlen(url) > REQUEST_URL_MAX)
		return err_set(e, "url: longer than %d bytes", REQUEST_URL_MAX);
	for (; *url != '\0'; url++)
		if ((unsigned char)*url <= ' ' || (unsigned char)*url >= 0x7f)
			return err_set(e, "url: has a blank, a control "
			    "character or one outside ASCII: encode it as %%%02X",
			    (unsigned char)*url);
	return 0;
}

static int
check_header(const char *name, const char *value, struct err *e)
{
	if (!is_token(name))
		return err_set(e, "headers: \"%.100s\" cannot be the name of a "
		    "header", maker_is_field_value(name) ? name : "(control character)");
	if (is_ours(name))
		return err_set(e, "headers: %s is set by jobqd itself", name);
	if (!maker_is_field_value(value))
		return err_set(e, "headers: the value of %s has a control "
		    "character", name);
	if (strlen(name) + strlen(value) > REQUEST_HEADER_MAX)
		return err_set(e, "headers: %s is longer than %d bytes", name,
		    REQUEST_HEADER_MAX);
	return 0;
}

/*
 * Options
 */

void
maker_complain(struct conf_sink *sink, const struct node_entry *at, const char *text)
{
	conf_complain(sink, at->file, at->line, at->column, "%s", text);
}

bool
maker_check_scalar(const struct node_entry *entry, struct conf_sink *sink)
{
	char text[256];
	struct err e;

	if (entry->value->kind != NODE_SCALAR) {
		snprintf(text, sizeof(text), "%s: needs a single value", entry->key);
		maker_complain(sink, entry, text);
		return false;
	}
	if (template_check(entry->value->text, &e) < 0) {
		err_prepend(&e, "%s", entry->key);
		maker_complain(sink, entry, e.msg);
		return false;
	}
	return true;
}

static void
check_headers(const struct node_entry *entry, struct conf_sink *sink)
{
	const struct node *map = entry->value;
	struct err e;

	if (map->kind != NODE_MAP) {
		maker_complain(sink, entry, "headers: needs a map of names and values");
		return;
	}
	if (map->count > REQUEST_HEADERS_MAX)
		maker_complain(sink, entry, "headers: too many");
	for (size_t i = 0; i < map->count; i++)
		if (maker_check_scalar(&map->entries[i], sink) && check_header(
		    map->entries[i].key, map->entries[i].value->text, &e) < 0)
			maker_complain(sink, &map->entries[i], e.msg);
}

void
request_check(const struct node *options, struct conf_sink *sink)
{
	const struct node_entry *entry;
	struct err e;

	if ((entry = node_entry(options, "url")) != NULL &&
	    maker_check_scalar(entry, sink) && !template_used(entry->value->text) &&
	    check_url(entry->value->text, &e) < 0)
		maker_complain(sink, entry, e.msg);
	if ((entry = node_entry(options, "method")) != NULL &&
	    maker_check_scalar(entry, sink) && !is_token(entry->value->text))
		maker_complain(sink, entry, "method: needs a word such as POST");
	if ((entry = node_entry(options, "headers")) != NULL)
		check_headers(entry, sink);
	if ((entry = node_entry(options, "sign")) != NULL)
		signing_check(entry, sink);
	content_check(options, sink);
}

/*
 * From data to request
 */

static bool
is_looked_at(const char *key, size_t len, void *arg)
{
	static const char *const ours[] = {
		"url", "method", "headers", "body", "eventType", "secret", "query",
		"form", "multipart", "upload", "save_to",
	};

	(void)arg;
	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		if (strlen(ours[i]) == len && memcmp(ours[i], key, len) == 0)
			return true;
	return false;
}

int
maker_string(struct maker *m, const char *key, const char **out)
{
	json_t *value = json_object_get(m->data, key);

	*out = NULL;
	if (value == NULL || json_is_null(value))
		return 0;
	if (!json_is_string(value))
		return err_set(m->e, "%s: needs to be text", key);
	*out = json_string_value(value);
	if (strlen(*out) != json_string_length(value))
		return err_set(m->e, "%s: has a NUL", key);
	return 0;
}

int
maker_expand(struct maker *m, const char *text, enum template_use use, char **out)
{
	struct buf b = { .len = 0 };

	if (!template_used(text)) {
		*out = xstrdup(text);
		return 0;
	}
	if (m->context.len == 0)
		template_context(&m->context, m->job, m->queue, m->now);
	if (template_expand(text, m->context.data, use, &b, m->e) < 0) {
		buf_clear(&b);
		return -1;
	}
	*out = buf_detach(&b);
	return 0;
}

int
maker_expand_map(struct maker *m, const struct node *value, char **out)
{
	char *text = node_json(value);
	struct buf b = { .len = 0 };
	int rc = 0;

	if (m->context.len == 0)
		template_context(&m->context, m->job, m->queue, m->now);
	if (template_used(text))
		rc = template_expand(text, m->context.data, TEMPLATE_JSON, &b, m->e);
	else
		buf_str(&b, text);
	free(text);
	*out = rc == 0 ? buf_detach(&b) : NULL;
	buf_clear(&b);
	return rc;
}

static int
make_url(struct maker *m)
{
	const char *text = NULL;

	node_str(m->options, "url", &text, NULL);
	if (text != NULL) {
		if (maker_expand(m, text, TEMPLATE_URL, &m->request->url) < 0)
			return err_prepend(m->e, "url");
	} else {
		if (maker_string(m, "url", &text) < 0)
			return -1;
		if (text == NULL)
			return err_set(m->e, "url: missing in data");
		m->request->url = xstrdup(text);
	}
	if (content_query(m) < 0)
		return -1;
	return check_url(m->request->url, m->e);
}

bool
maker_gives(const struct maker *m, const char *key)
{
	const json_t *value = m->envelope ? json_object_get(m->data, key) : NULL;

	return node_get(m->options, key) != NULL ||
	    (value != NULL && !json_is_null(value));
}

static int
make_method(struct maker *m)
{
	const char *text = NULL;

	node_str(m->options, "method", &text, NULL);
	if (text == NULL && maker_string(m, "method", &text) < 0)
		return -1;
	if (text == NULL)
		text = content_method(m);
	if (!is_token(text) || strlen(text) > 32)
		return err_set(m->e, "method: needs a word such as POST");
	m->request->method = xstrdup(text);
	for (char *p = m->request->method; *p != '\0'; p++)
		*p = (char)toupper((unsigned char)*p);
	return strcmp(m->request->method, "CONNECT") == 0 ?
	    err_set(m->e, "method: CONNECT is not possible") : 0;
}

/* The header of that name, or NULL. */
static char **
find_header(struct request *r, const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < r->headers.n; i++)
		if (strncasecmp(r->headers.v[i], name, len) == 0 &&
		    r->headers.v[i][len] == ':')
			return &r->headers.v[i];
	return NULL;
}

void
maker_put_header(struct maker *m, const char *name, const char *value)
{
	struct request *r = m->request;
	char **old = find_header(r, name);
	char *text = xasprintf("%s: %s", name, value);

	if (old == NULL) {
		strings_take(&r->headers, text);
		return;
	}
	free(*old);
	*old = text;
}

bool
maker_has_header(struct maker *m, const char *name)
{
	return find_header(m->request, name) != NULL;
}

static int
put_data_headers(struct maker *m)
{
	json_t *headers = json_object_get(m->data, "headers"), *value;
	const char *name;

	if (headers == NULL || json_is_null(headers))
		return 0;
	if (!json_is_object(headers) ||
	    json_object_size(headers) > REQUEST_HEADERS_MAX)
		return err_set(m->e, "headers: needs an object of at most %d "
		    "names and texts", REQUEST_HEADERS_MAX);
	json_object_foreach(headers, name, value) {
		const char *text = json_string_value(value);

		if (text == NULL || strlen(text) != json_string_length(value))
			return err_set(m->e, "headers: the value of \"%.100s\" "
			    "needs to be text", is_token(name) ? name : "?");
		if (check_header(name, text, m->e) < 0)
			return -1;
		if (strcasecmp(name, "authorization") == 0 &&
		    node_get(m->options, "auth") != NULL)
			return err_set(m->e, "headers: Authorization is the "
			    "handler's (auth)");
		maker_put_header(m, name, text);
	}
	return 0;
}

static int
make_headers(struct maker *m)
{
	const struct node *map = node_get(m->options, "headers");

	for (size_t i = 0; map != NULL && i < map->count; i++) {
		const char *name = map->entries[i].key;
		char *value;
		int rc;

		if (maker_expand(m, map->entries[i].value->text, TEMPLATE_LINE,
		    &value) < 0)
			return err_prepend(m->e, "headers: %s", name);
		rc = check_header(name, value, m->e);
		if (rc == 0)
			maker_put_header(m, name, value);
		free(value);
		if (rc < 0)
			return -1;
	}
	return put_data_headers(m);
}

static bool
is_envelope(const struct maker *m)
{
	static const char *const keys[] = {
		"body", "form", "multipart", "secret", "upload", "save_to",
	};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (json_object_get(m->data, keys[i]) != NULL)
			return true;
	return m->payload != NULL;
}

int
request_make(struct request *r, const struct node *options,
    char *const *secrets, const struct job *job, const char *queue, int64_t now,
    struct err *e)
{
	struct maker m = {
		.request = r, .options = options, .job = job, .queue = queue,
		.secrets = secrets, .now = now, .e = e,
	};
	int rc;

	memset(r, 0, sizeof(*r));
	if ((m.data = data_read_some(job, is_looked_at, NULL, e)) == NULL)
		return -1;
	m.payload = jtext_member(job->data, "payload", &m.payload_len);
	/* Where there are no files, the data's members can be of any meaning. */
	if (node_get(options, "directory") == NULL &&
	    node_get(options, "url") != NULL) {
		json_object_del(m.data, "upload");
		json_object_del(m.data, "save_to");
	}
	m.envelope = is_envelope(&m);
	rc = content_find(&m) < 0 || make_url(&m) < 0 || make_method(&m) < 0 ||
	    make_headers(&m) < 0 || content_make(&m) < 0 ||
	    signing_make(&m) < 0 ? -1 : 0;
	json_decref(m.data);
	buf_clear(&m.context);
	return rc;
}

void
request_clear(struct request *r)
{
	free(r->url);
	free(r->method);
	strings_clear(&r->headers);
	free(r->body);
	pieces_clear(&r->pieces);
	free(r->save_to);
	memset(r, 0, sizeof(*r));
}

void
request_where(const char *url, char *buf, size_t size)
{
	const char *host = strstr(url, "://");
	size_t scheme = host ? (size_t)(host - url) + 3 : 0;
	const char *rest = url + scheme;
	size_t len = strcspn(rest, "/?#");
	const char *at = memrchr(rest, '@', len);

	if (at != NULL) {
		len -= (size_t)(at + 1 - rest);
		rest = at + 1;
	}
	snprintf(buf, size, "%.*s%.*s", (int)scheme, url, (int)len, rest);
}

bool
request_destination(const char *url, char *buf, size_t size)
{
	const char *host, *port;
	char *p;

	request_where(url, buf, size);
	host = strstr(buf, "://");
	if (host == NULL || strlen(buf) + strlen(":443") >= size)
		return false;
	for (p = buf; *p != '\0'; p++)
		*p = (char)tolower((unsigned char)*p);
	port = strrchr(host + 3, ':');
	if (port != NULL && strchr(port, ']') == NULL && port[1] != '\0')
		return true;
	if (p[-1] == ':')
		p--;
	strlcpy(p, strncmp(buf, "https:", 6) == 0 ? ":443" : ":80",
	    size - (size_t)(p - buf));
	return true;
}

bool
request_fixed_destination(const struct node *options, char *buf, size_t size)
{
	const char *url = NULL;

	if (node_get(options, "url") == NULL)
		return false;
	node_str(options, "url", &url, NULL);
	/* A template behind the host does not matter. */
	return url != NULL && request_destination(url, buf, size) &&
	    strchr(buf, '{') == NULL;
}
