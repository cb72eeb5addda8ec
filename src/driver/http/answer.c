/*
 * What comes back of an HTTP request: see answer.h.
 */
#include "config.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/xalloc.h"
#include "conf/conf.h"
#include "driver/data.h"
#include "driver/http/answer.h"

/*
 * Options
 */

void
answer_check(const struct node *options, struct conf_sink *sink)
{
	const struct node_entry *entry = node_entry(options, "keep_headers");
	int64_t size = 0;

	node_size(options, "keep_body", &size, sink);
	if (size > ANSWER_BODY_MAX) {
		const struct node_entry *at = node_entry(options, "keep_body");

		conf_complain(sink, at->file, at->line, at->column,
		    "keep_body: at most %uKiB", ANSWER_BODY_MAX >> 10);
	}
	if (entry == NULL)
		return;
	if (entry->value->kind != NODE_LIST ||
	    entry->value->count > ANSWER_HEADERS_MAX)
		conf_complain(sink, entry->file, entry->line, entry->column,
		    "keep_headers: needs a list of at most %d names",
		    ANSWER_HEADERS_MAX);
	for (size_t i = 0; entry->value->kind == NODE_LIST &&
	    i < entry->value->count; i++) {
		const struct node_entry *name = &entry->value->entries[i];

		if (name->value->kind != NODE_SCALAR ||
		    *name->value->text == '\0')
			conf_complain(sink, name->file, name->line, name->column,
			    "keep_headers: needs the name of a header");
	}
}

void
answer_keep_init(struct answer_keep *k, const struct node *options)
{
	const struct node *names = node_get(options, "keep_headers");
	int64_t size = ANSWER_BODY_KEPT;

	node_size(options, "keep_body", &size, NULL);
	*k = (struct answer_keep){ .body = (size_t)size };
	for (size_t i = 0; names != NULL && i < names->count; i++) {
		char *name = xstrdup(names->entries[i].value->text);

		for (char *p = name; *p != '\0'; p++)
			*p = (char)tolower((unsigned char)*p);
		strings_take(&k->headers, name);
	}
}

void
answer_keep_clear(struct answer_keep *k)
{
	strings_clear(&k->headers);
}

/*
 * While it comes
 */

void
answer_init(struct answer *a, const struct answer_keep *keep)
{
	*a = (struct answer){ .keep = keep, .retry_after_ms = -1 };
}

void
answer_clear(struct answer *a)
{
	buf_clear(&a->body);
	buf_clear(&a->headers);
}

/* The value of the header in the line, without blanks around; NULL: it is
 * another one. */
static const char *
value_of(const char *line, size_t len, const char *name, size_t *value_len)
{
	size_t skip = strlen(name);

	if (len <= skip || line[skip] != ':' || strncasecmp(line, name, skip) != 0)
		return NULL;
	skip++;
	while (skip < len && (line[skip] == ' ' || line[skip] == '\t'))
		skip++;
	while (len > skip && strchr(" \t\r\n", line[len - 1]) != NULL)
		len--;
	*value_len = len - skip;
	return line + skip;
}

static void
take_type(struct answer *a, const char *value, size_t len)
{
	size_t n = 0;

	while (n < len && n < sizeof(a->type) - 1 && value[n] != ';' &&
	    (unsigned char)value[n] > ' ' && (unsigned char)value[n] < 0x7f) {
		a->type[n] = (char)tolower((unsigned char)value[n]);
		n++;
	}
	a->type[n] = '\0';
	a->is_json = strcmp(a->type, "application/json") == 0 ||
	    (n > 5 && strcmp(a->type + n - 5, "+json") == 0);
}

int
answer_header(struct answer *a, const char *line, size_t len, int64_t now,
    struct err *e)
{
	const char *value;
	size_t n;

	a->head_seen += len;
	if (a->head_seen > ANSWER_HEAD_MAX)
		return err_set(e, "the head of the answer is longer than %u KiB",
		    ANSWER_HEAD_MAX >> 10);
	if (len > 5 && strncasecmp(line, "HTTP/", 5) == 0) {
		a->retry_after_ms = -1;
		a->is_json = false;
		a->type[0] = '\0';
		buf_reset(&a->headers);
		return 0;
	}
	if ((value = value_of(line, len, "retry-after", &n)) != NULL)
		a->retry_after_ms = answer_retry_after_ms(value, n, now);
	else if ((value = value_of(line, len, "content-type", &n)) != NULL)
		take_type(a, value, n);
	for (size_t i = 0; i < a->keep->headers.n; i++) {
		const char *name = a->keep->headers.v[i];

		if ((value = value_of(line, len, name, &n)) == NULL)
			continue;
		buf_printf(&a->headers, "%s: ", name);
		buf_put(&a->headers, value, n);
		buf_char(&a->headers, '\n');
	}
	return 0;
}

void
answer_body(struct answer *a, const char *data, size_t len)
{
	size_t room = a->keep->body - a->body.len;

	buf_put(&a->body, data, len < room ? len : room);
	a->body_seen += len;
}

/*
 * When it is there
 */

/* Those of one name are one, with commas, as RFC 9110 has it. */
static void
put_header(const struct answer *a, const char *name, struct buf *members)
{
	struct buf value = { .len = 0 };
	const char *line = a->headers.data, *end, *part;
	size_t n;

	for (; line != NULL && *line != '\0'; line = end + 1) {
		end = strchr(line, '\n');
		part = value_of(line, (size_t)(end - line), name, &n);
		if (part == NULL)
			continue;
		if (value.data != NULL)
			buf_str(&value, ", ");
		buf_put(&value, part, n);
	}
	if (value.data != NULL) {
		if (members->len > 0)
			buf_str(members, ", ");
		buf_json(members, name, strlen(name));
		buf_str(members, ": ");
		buf_json(members, value.data, value.len);
	}
	buf_clear(&value);
}

static void
put_file(const struct answer *a, struct buf *b)
{
	buf_str(b, "\"file\": ");
	buf_json(b, a->file, strlen(a->file));
	buf_printf(b, ", \"bytes\": %" PRId64 ", \"type\": ", a->file_bytes);
	buf_json(b, a->type, strlen(a->type));
}

static void
put_body(const struct answer *a, struct buf *b)
{
	const char *body = a->body.data ? a->body.data : "";
	bool truncated = a->body_seen > a->body.len;

	buf_str(b, "\"body\": ");
	if (a->is_json && !truncated && a->body.len > 0 &&
	    data_is_storable(body, a->body.len))
		buf_put(b, body, a->body.len);
	else
		buf_json(b, body, a->body.len);
	if (truncated)
		buf_str(b, ", \"truncated\": true");
}

char *
answer_result(const struct answer *a, long status)
{
	struct buf b = { .len = 0 }, members = { .len = 0 };

	buf_printf(&b, "{\"status\": %ld, ", status);
	if (a->file != NULL)
		put_file(a, &b);
	else
		put_body(a, &b);
	for (size_t i = 0; i < a->keep->headers.n; i++)
		put_header(a, a->keep->headers.v[i], &members);
	if (members.len > 0)
		buf_printf(&b, ", \"headers\": {%s}", members.data);
	buf_char(&b, '}');
	buf_clear(&members);
	return buf_detach(&b);
}

enum job_class
answer_class(long status, bool retry_after)
{
	if (status >= 200 && status <= 299)
		return CLASS_NONE;
	if (status == 429 || (status == 503 && retry_after))
		return CLASS_RATE_LIMIT;
	if (status == 401 || status == 403)
		return CLASS_AUTH;
	if (status == 408 || status == 425 || status >= 500)
		return CLASS_NETWORK;
	return CLASS_VALIDATION;
}

int64_t
answer_retry_after_ms(const char *value, size_t len, int64_t now)
{
	static const char *const formats[] = {
		"%a, %d %b %Y %H:%M:%S GMT",	/* as everybody should */
		"%A, %d-%b-%y %H:%M:%S GMT",	/* as RFC 850 did */
		"%a %b %d %H:%M:%S %Y",		/* as asctime does */
	};
	char text[64];
	size_t digits;

	while (len > 0 && (value[len - 1] == ' ' || value[len - 1] == '\t'))
		len--;
	if (len == 0 || len >= sizeof(text))
		return -1;
	memcpy(text, value, len);
	text[len] = '\0';
	digits = strspn(text, "0123456789");
	if (digits == len)
		return digits > 9 ? INT64_C(999999999) * 1000 :
		    strtoll(text, NULL, 10) * 1000;
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		struct tm tm = { 0 };
		const char *end = strptime(text, formats[i], &tm);

		if (end != NULL && *end == '\0') {
			int64_t after = (int64_t)timegm(&tm) - now;

			return after > 0 ? after * 1000 : 0;
		}
	}
	return -1;
}
