/*
 * The HTTP request of a job: see request.h.
 */
#include "config.h"

#include <ctype.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/xalloc.h"
#include "core/jtext.h"
#include "core/sign.h"
#include "core/template.h"
#include "driver/data.h"
#include "driver/request.h"

static const char *const scheme_names[] = {
	"standard-webhooks", "timestamped-hmac", NULL
};

/* A request in the making. */
struct maker {
	struct request *request;
	const struct node *options;
	const struct job *job;
	const char *queue;
	const char *secret;		/* the handler's, or NULL */
	json_t *data;			/* the members that are looked at */
	const char *payload;		/* its very bytes, or NULL */
	size_t payload_len;
	struct buf context;		/* for templates; empty until one is filled in */
	int64_t now;
	struct err *e;
};

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

static bool
is_field_value(const char *s)
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
		    "header", is_field_value(name) ? name : "(control character)");
	if (is_ours(name))
		return err_set(e, "headers: %s is set by jobqd itself", name);
	if (!is_field_value(value))
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

static void
complain(struct conf_sink *sink, const struct node_entry *at, const char *text)
{
	conf_complain(sink, at->file, at->line, at->column, "%s", text);
}

static bool
check_scalar(const struct node_entry *entry, struct conf_sink *sink)
{
	char text[256];
	struct err e;

	if (entry->value->kind != NODE_SCALAR) {
		snprintf(text, sizeof(text), "%s: needs a single value", entry->key);
		complain(sink, entry, text);
		return false;
	}
	if (template_check(entry->value->text, &e) < 0) {
		err_prepend(&e, "%s", entry->key);
		complain(sink, entry, e.msg);
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
		complain(sink, entry, "headers: needs a map of names and values");
		return;
	}
	if (map->count > REQUEST_HEADERS_MAX)
		complain(sink, entry, "headers: too many");
	for (size_t i = 0; i < map->count; i++)
		if (check_scalar(&map->entries[i], sink) && check_header(
		    map->entries[i].key, map->entries[i].value->text, &e) < 0)
			complain(sink, &map->entries[i], e.msg);
}

static void
check_sign(const struct node_entry *entry, struct conf_sink *sink)
{
	static const char *const keys[] = {
		"scheme", "secret", "secret_file", NULL
	};
	const struct node_entry *secret;
	int scheme = 0;

	if (entry->value->kind != NODE_MAP) {
		complain(sink, entry, "sign: needs a map {scheme, secret}");
		return;
	}
	node_known_keys(entry->value, keys, sink);
	node_choice(entry->value, "scheme", scheme_names, &scheme, sink);
	if ((secret = node_entry(entry->value, "secret")) != NULL)
		check_scalar(secret, sink);
}

void
request_check(const struct node *options, struct conf_sink *sink)
{
	const struct node_entry *entry;
	struct err e;

	if ((entry = node_entry(options, "url")) != NULL &&
	    check_scalar(entry, sink) && !template_used(entry->value->text) &&
	    check_url(entry->value->text, &e) < 0)
		complain(sink, entry, e.msg);
	if ((entry = node_entry(options, "method")) != NULL &&
	    check_scalar(entry, sink) && !is_token(entry->value->text))
		complain(sink, entry, "method: needs a word such as POST");
	if ((entry = node_entry(options, "headers")) != NULL)
		check_headers(entry, sink);
	if ((entry = node_entry(options, "sign")) != NULL)
		check_sign(entry, sink);
}

/*
 * From data to request
 */

static bool
is_looked_at(const char *key, size_t len, void *arg)
{
	static const char *const ours[] = {
		"url", "method", "headers", "body", "eventType", "secret",
	};

	(void)arg;
	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		if (strlen(ours[i]) == len && memcmp(ours[i], key, len) == 0)
			return true;
	return false;
}

/* A string of the data, NULL: not there; -1 when it is no string. */
static int
get_string(struct maker *m, const char *key, const char **out)
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

static int
expand(struct maker *m, const char *text, enum template_use use, char **out)
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

static int
make_url(struct maker *m)
{
	const char *text = NULL;

	node_str(m->options, "url", &text, NULL);
	if (text != NULL) {
		if (expand(m, text, TEMPLATE_URL, &m->request->url) < 0)
			return err_prepend(m->e, "url");
	} else {
		if (get_string(m, "url", &text) < 0)
			return -1;
		if (text == NULL)
			return err_set(m->e, "url: missing in data");
		m->request->url = xstrdup(text);
	}
	return check_url(m->request->url, m->e);
}

static int
make_method(struct maker *m)
{
	const char *text = NULL;

	node_str(m->options, "method", &text, NULL);
	if (text == NULL && get_string(m, "method", &text) < 0)
		return -1;
	if (text == NULL)
		text = "POST";
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

static void
put_header(struct request *r, const char *name, const char *value)
{
	char **old = find_header(r, name);
	char *text = xasprintf("%s: %s", name, value);

	if (old == NULL) {
		strings_take(&r->headers, text);
		return;
	}
	free(*old);
	*old = text;
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
		put_header(m->request, name, text);
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

		if (expand(m, map->entries[i].value->text, TEMPLATE_LINE,
		    &value) < 0)
			return err_prepend(m->e, "headers: %s", name);
		rc = check_header(name, value, m->e);
		if (rc == 0)
			put_header(m->request, name, value);
		free(value);
		if (rc < 0)
			return -1;
	}
	return put_data_headers(m);
}

static void
set_body(struct maker *m, const char *bytes, size_t len, const char *type)
{
	m->request->body = xstrndup(bytes, len);
	m->request->body_len = len;
	if (find_header(m->request, "Content-Type") == NULL)
		put_header(m->request, "Content-Type", type);
}

static int
make_body(struct maker *m)
{
	static const char json[] = "application/json";
	const char *text;
	bool envelope = m->payload != NULL ||
	    json_object_get(m->data, "body") != NULL ||
	    json_object_get(m->data, "secret") != NULL;

	if (get_string(m, "body", &text) < 0)
		return -1;
	if (text != NULL && m->payload != NULL)
		return err_set(m->e, "payload and body: only one of them");
	if (m->payload != NULL && *m->payload != '{' && *m->payload != '[')
		return err_set(m->e, "payload: needs an object (text goes into "
		    "body)");
	if (m->payload != NULL)
		set_body(m, m->payload, m->payload_len, json);
	else if (text != NULL)
		set_body(m, text, strlen(text), "text/plain; charset=utf-8");
	else if (!envelope && node_get(m->options, "url") != NULL &&
	    strcmp(m->request->method, "GET") != 0 &&
	    strcmp(m->request->method, "HEAD") != 0)
		set_body(m, m->job->data, strlen(m->job->data), json);
	return 0;
}

/* The key to sign with: the handler's, else the data's. *key NULL: do not. */
static int
find_secret(struct maker *m, char **key)
{
	const char *text;

	*key = NULL;
	if (m->secret != NULL)
		return expand(m, m->secret, TEMPLATE_TEXT, key) < 0 ?
		    err_prepend(m->e, "sign.secret") : 0;
	if (get_string(m, "secret", &text) < 0)
		return -1;
	*key = xstrdup(text);
	if (text == NULL && node_get(m->options, "sign") != NULL)
		return err_set(m->e, "secret: missing in data, and the handler "
		    "has none to sign with");
	return 0;
}

static int
put_signature(struct maker *m, enum sign_scheme scheme, const char *key)
{
	struct request *r = m->request;
	const char *body = r->body ? r->body : "";
	char id[24], at[24];
	struct buf value = { .len = 0 };
	int rc;

	snprintf(id, sizeof(id), "%" PRId64, m->job->id);
	snprintf(at, sizeof(at), "%" PRId64, m->now);
	if (scheme == SIGN_STANDARD)
		rc = sign_standard(key, id, m->now, body, r->body_len, &value, m->e);
	else
		rc = sign_timestamped(key, m->now, body, r->body_len, &value, m->e);
	if (rc == 0 && scheme == SIGN_STANDARD) {
		put_header(r, "webhook-id", id);
		put_header(r, "webhook-timestamp", at);
		put_header(r, "webhook-signature", value.data);
	} else if (rc == 0) {
		put_header(r, "X-Webhook-Timestamp", at);
		put_header(r, "X-Webhook-Signature", value.data);
	}
	if (rc == 0)
		put_header(r, "X-Event-Id", id);
	buf_clear(&value);
	return rc;
}

static int
make_signature(struct maker *m)
{
	const struct node *sign = node_get(m->options, "sign");
	int scheme = SIGN_STANDARD, rc;
	const char *event;
	char *key;

	if (get_string(m, "eventType", &event) < 0)
		return -1;
	if (event != NULL && !is_field_value(event))
		return err_set(m->e, "eventType: has a control character");
	if (find_secret(m, &key) < 0)
		return -1;
	if (key == NULL)
		return 0;
	node_choice(sign, "scheme", scheme_names, &scheme, NULL);
	rc = put_signature(m, (enum sign_scheme)scheme, key);
	explicit_bzero(key, strlen(key));
	free(key);
	if (rc < 0)
		return -1;
	if (event == NULL && is_field_value(m->job->type))
		event = m->job->type;
	put_header(m->request, "X-Event-Type", event ? event : "");
	return 0;
}

int
request_make(struct request *r, const struct node *options, const char *secret,
    const struct job *job, const char *queue, int64_t now, struct err *e)
{
	struct maker m = {
		.request = r, .options = options, .job = job, .queue = queue,
		.secret = secret, .now = now, .e = e,
	};
	int rc;

	memset(r, 0, sizeof(*r));
	if ((m.data = data_read_some(job, is_looked_at, NULL, e)) == NULL)
		return -1;
	m.payload = jtext_member(job->data, "payload", &m.payload_len);
	rc = make_url(&m) < 0 || make_method(&m) < 0 || make_headers(&m) < 0 ||
	    make_body(&m) < 0 || make_signature(&m) < 0 ? -1 : 0;
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
