/*
 * Routes: see route.h.
 */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/route.h"
#include "base/utf8.h"
#include "base/xalloc.h"
#include "conf/instant.h"
#include "core/jcheck.h"
#include "core/jtext.h"
#include "core/near.h"
#include "db/array.h"

#define TEXT_MAX 255
#define IDS_MAX 1000
#define FIELD_NAME_MAX 255

/*
 * Which route
 */

/* The length of the path's next segment, with its slash. */
static size_t
segment(const char *path)
{
	return *path == '/' ? 1 + strcspn(path + 1, "/") : 0;
}

static bool
fits(const char *pattern, const char *path)
{
	size_t want, got;

	while ((want = segment(pattern)) > 0 && (got = segment(path)) > 0) {
		if (pattern[1] == '{' ? got < 2 :
		    want != got || memcmp(pattern, path, want) != 0)
			return false;
		pattern += want;
		path += got;
	}
	return *pattern == '\0' && *path == '\0';
}

static bool
is_method(const struct route *r, const char *method)
{
	return strcmp(r->method, method) == 0 ||
	    (strcmp(r->method, "GET") == 0 && strcmp(method, "HEAD") == 0);
}

static void
allow_method(struct buf *allow, const char *method)
{
	if (allow->len > 0 && strstr(allow->data, method) != NULL)
		return;
	buf_printf(allow, "%s%s", allow->len > 0 ? ", " : "",
	    strcmp(method, "GET") == 0 ? "GET, HEAD" : method);
}

/* A path without parameters goes before one that has them. */
const struct route *
route_find(const char *method, const char *path, struct buf *allow)
{
	const struct route *found = NULL;

	for (size_t i = 0; route_tables[i] != NULL; i++)
		for (const struct route *r = route_tables[i]; r->path != NULL; r++) {
			if (!fits(r->path, path))
				continue;
			allow_method(allow, r->method);
			if (is_method(r, method) && (found == NULL ||
			    strchr(r->path, '{') == NULL))
				found = r;
		}
	return found;
}

size_t
route_params(const struct route *r)
{
	size_t n = 0;

	while (r != NULL && r->params != NULL && r->params[n].name != NULL)
		n++;
	return n;
}

const char *
route_value(const struct exchange *x, const char *name)
{
	for (size_t i = 0; i < route_params(x->route); i++)
		if (strcmp(x->route->params[i].name, name) == 0)
			return x->values[i];
	return NULL;
}

/*
 * Parameters
 */

static int problem(struct route_problem *, int status, const char *field,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));

static int
problem(struct route_problem *p, int status, const char *field,
    const char *fmt, ...)
{
	va_list ap;

	p->status = status;
	snprintf(p->field, sizeof(p->field), "%s", field);
	va_start(ap, fmt);
	vsnprintf(p->text, sizeof(p->text), fmt, ap);
	va_end(ap);
	return -1;
}

static int
refuse(const struct param *param, struct route_problem *p, const char *what)
{
	return problem(p, 422, param->name, "%s %s", param->name, what);
}

/* What is read, and what it is for. */
struct reader {
	const struct route *route;
	char **values;
	struct route_problem *problem;
};

/* An unknown name: the nearest one of those that there are. */
static int
unknown(const struct reader *r, enum param_in in, const char *typed, size_t len)
{
	const char *names[ROUTE_PARAMS_MAX], *near;
	char name[64];
	size_t n = 0;

	snprintf(name, sizeof(name), "%.*s", len > 60 ? 60 : (int)len, typed);
	for (size_t i = 0; i < route_params(r->route); i++)
		if (r->route->params[i].in == in)
			names[n++] = r->route->params[i].name;
	near = near_name(name, names, n);
	return problem(r->problem, 422, name, "there is no %s \"%s\" here%s%s%s",
	    in == IN_QUERY ? "parameter" : "member", name,
	    near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

static const struct param *
find(const struct route *route, enum param_in in, const char *name, size_t len,
    size_t *index)
{
	for (size_t i = 0; i < route_params(route); i++) {
		const struct param *p = &route->params[i];

		if (p->in == in && strlen(p->name) == len &&
		    memcmp(p->name, name, len) == 0) {
			*index = i;
			return p;
		}
	}
	return NULL;
}

static int
check_integer(const struct param *param, const char *text, struct route_problem *p)
{
	int64_t min = param->min, max = param->max;
	long long value;
	char *end;

	if (param->type == PARAM_ID) {
		min = 1;
		max = INT64_MAX;
	} else if (min == 0 && max == 0) {
		min = INT32_MIN;
		max = INT32_MAX;
	}
	errno = 0;
	value = strtoll(text, &end, 10);
	if (!(isdigit((unsigned char)*text) || (*text == '-' &&
	    isdigit((unsigned char)text[1]))) || *end != '\0')
		return refuse(param, p, "is no whole number");
	if (errno != 0 || value < min || value > max)
		return problem(p, 422, param->name, "%s is not in %lld … %lld",
		    param->name, (long long)min, (long long)max);
	return 0;
}

static bool
is_word(const char *words, const char *text)
{
	size_t len = strlen(text);

	for (; *words != '\0'; words += strspn(words, " ")) {
		size_t n = strcspn(words, " ");

		if (n == len && memcmp(words, text, n) == 0)
			return true;
		words += n;
	}
	return false;
}

/* "5m", "1 hour 30 min", "PT5M", "01:30:00": what the server takes as an
 * interval, so that it has no reason to refuse it. */
static bool
is_interval(const char *text)
{
	static const char units[] = "us microsecond microseconds ms millisecond milliseconds "
	    "s sec secs second seconds m min mins minute minutes h hr hrs hour hours "
	    "d day days w week weeks mon month months y year years";
	int h, min, sec, used = 0;
	const char *p = text;
	char unit[16];

	if (sscanf(text, "%3d:%2d:%2d%n", &h, &min, &sec, &used) == 3 &&
	    text[used] == '\0')
		return h >= 0 && min >= 0 && min < 60 && sec >= 0 && sec < 60;
	if (*p == 'P')
		return p[1] != '\0' && p[strspn(p, "PTYMWDHS0123456789.")] == '\0' &&
		    isalpha((unsigned char)p[strlen(p) - 1]) && strpbrk(p, "0123456789") != NULL &&
		    strlen(p) < 30;
	if (*p == '\0' || strlen(p) > 60)
		return false;
	while (*p != '\0') {
		size_t digits = strspn(p, "0123456789"), n;

		if (digits == 0 || digits > 9)
			return false;
		p += digits;
		if (*p == '.') {
			if ((digits = strspn(++p, "0123456789")) == 0 || digits > 6)
				return false;
			p += digits;
		}
		p += strspn(p, " ");
		n = strspn(p, "abcdefghijklmnopqrstuvwxyz");
		if (n == 0 || n >= sizeof(unit))
			return false;
		memcpy(unit, p, n);
		unit[n] = '\0';
		if (!is_word(units, unit))
			return false;
		p += n;
		p += strspn(p, " ");
	}
	return true;
}

static int
check_instant(const struct param *param, char *text, struct route_problem *p)
{
	char *blank = strrchr(text, ' ');
	int64_t ms;

	/* The + of an offset that was not encoded in a query. */
	if (param->in == IN_QUERY && blank != NULL && strlen(blank) == 6)
		*blank = '+';
	if (instant_parse(text, &ms) < 0 || instant_is_local(text))
		return refuse(param, p, "is no instant like 2026-12-01T10:00:00Z");
	return 0;
}

static int
check_length(const struct param *param, const char *text, struct route_problem *p)
{
	int64_t min = param->min, max = param->max;
	size_t len = strlen(text);

	if (min == 0 && max == 0) {
		min = 1;
		max = TEXT_MAX;
	}
	if (len < (size_t)min || len > (size_t)max)
		return problem(p, 422, param->name, "%s has %zu bytes, and is to have "
		    "%lld to %lld", param->name, len, (long long)min, (long long)max);
	return 0;
}

/* What a path, a query, or a string of a body has; text is changed. */
static int
check_text(const struct param *param, char *text, struct route_problem *p)
{
	switch (param->type) {
	case PARAM_ID:
	case PARAM_INTEGER:
		return check_integer(param, text, p);
	case PARAM_BOOLEAN:
		if (!is_word("true false yes no 1 0", text))
			return refuse(param, p, "is neither true nor false");
		return 0;
	case PARAM_WORD:
		if (!is_word(param->words, text))
			return problem(p, 422, param->name, "%s is none of: %s",
			    param->name, param->words);
		return 0;
	case PARAM_INSTANT:
		return check_instant(param, text, p);
	case PARAM_DURATION:
		if (!is_interval(text))
			return refuse(param, p, "is no duration like 30s, 5m or 1 day");
		return 0;
	default:
		return check_length(param, text, p);
	}
}

/* The path's segments that are parameters; the route fits it. */
static int
read_path(struct reader *r, const char *path)
{
	const char *pattern = r->route->path;
	size_t want, got, i = 0;

	for (; (want = segment(pattern)) > 0; pattern += want, path += got) {
		const struct param *param;

		got = segment(path);
		if (pattern[1] != '{' || (param = find(r->route, IN_PATH,
		    pattern + 2, want - 3, &i)) == NULL)
			continue;
		r->values[i] = xstrndup(path + 1, got - 1);
		if (check_text(param, r->values[i], r->problem) == 0)
			continue;
		/* What cannot be there is not there. */
		return problem(r->problem, 404, param->name, "there is no %s \"%.60s\"",
		    param->type == PARAM_ID ? "id" : param->name, r->values[i]);
	}
	return 0;
}

char *
route_decode(const char *text, size_t len)
{
	char *out = xmalloc(len + 1), *to = out;
	const char *end = text + len;
	size_t n;

	for (; text < end; text++) {
		int high, low;

		if (*text != '%') {
			*to++ = *text == '+' ? ' ' : *text;
			continue;
		}
		if (end - text < 3 || (high = http_hex_digit(text[1])) < 0 ||
		    (low = http_hex_digit(text[2])) < 0 || high + low == 0)
			break;
		*to++ = (char)(high << 4 | low);
		text += 2;
	}
	*to = '\0';
	for (const char *p = out; text == end && *p != '\0'; p += n)
		if ((n = utf8_length(p, strlen(p))) == 0)
			text = NULL;
	if (text == end)
		return out;
	free(out);
	return NULL;
}

/* A parameter PARAM_FIELDS whose name with a point begins this one's. */
static const struct param *
find_fields(const struct route *route, const char *name, size_t *index)
{
	for (size_t i = 0; i < route_params(route); i++) {
		const struct param *p = &route->params[i];
		size_t len = strlen(p->name);

		if (p->type == PARAM_FIELDS && strncmp(p->name, name, len) == 0 &&
		    name[len] == '.' && name[len + 1] != '\0') {
			*index = i;
			return p;
		}
	}
	return NULL;
}

/* One more of them: the object is written without its end. */
static void
add_field(char **value, const char *name, const char *text)
{
	struct buf b = { 0 };

	buf_str(&b, *value ? *value : "{");
	if (*value != NULL)
		buf_char(&b, ',');
	buf_json(&b, name, strlen(name));
	buf_char(&b, ':');
	buf_json(&b, text, strlen(text));
	free(*value);
	*value = buf_detach(&b);
}

static int
read_pair(struct reader *r, const char *name, char *value)
{
	struct array list = { 0 };
	const struct param *param;
	size_t i = 0;

	if ((param = find_fields(r->route, name, &i)) != NULL) {
		if (strlen(name) > FIELD_NAME_MAX || strlen(value) > TEXT_MAX)
			return problem(r->problem, 422, name, "%.60s is too long", name);
		add_field(&r->values[i], name + strlen(param->name) + 1, value);
		return 0;
	}
	param = find(r->route, IN_QUERY, name, strlen(name), &i);
	if (param == NULL || param->type == PARAM_FIELDS)
		return unknown(r, IN_QUERY, name, strlen(name));
	if (*value == '\0')
		return 0;	/* as if it were not there */
	if (r->values[i] != NULL)
		return refuse(param, r->problem, "is there twice");
	if (check_text(param, value, r->problem) < 0)
		return -1;
	if (param->type == PARAM_TEXTS) {
		array_text(&list, value);
		r->values[i] = xstrdup(array_close(&list));
		array_clear(&list);
	} else {
		r->values[i] = xstrdup(value);
	}
	return 0;
}

static int
read_query(struct reader *r, const char *query)
{
	int status = 0;

	while (status == 0 && query != NULL && *query != '\0') {
		size_t len = strcspn(query, "&"), n = strcspn(query, "=&");
		char *name = route_decode(query, n);
		char *value = n < len ? route_decode(query + n + 1, len - n - 1) :
		    xstrdup("");

		if (name == NULL || value == NULL)
			status = problem(r->problem, 400, "", "the query is malformed, "
			    "or no UTF-8");
		else if (len > 0)
			status = read_pair(r, name, value);
		free(name);
		free(value);
		query += len + (query[len] == '&');
	}
	return status;
}

/*
 * The body
 */

static char *
string_value(const char *text, size_t len)
{
	size_t n = 0;

	return jtext_string(text, len, &n);	/* has no NUL, jcheck() says */
}

/* Of texts or of ids, as an array of the database. */
static int
read_list(const struct param *param, const char *text, char **value,
    struct route_problem *p)
{
	struct param of = { .name = param->name, .type = PARAM_ID };
	struct array list = { 0 };
	const char *element, *at = text;
	int status = 0;
	size_t len;

	if (*text != '[')
		return refuse(param, p, "is no array");
	while (status == 0 && (element = jtext_element(&at, &len)) != NULL) {
		char *one = param->type == PARAM_IDS ? xstrndup(element, len) :
		    string_value(element, len);

		if (one == NULL)
			status = refuse(param, p, "has an element that is no text");
		else if (param->type == PARAM_IDS)
			status = check_integer(&of, one, p);
		else if (strlen(one) > TEXT_MAX)
			status = refuse(param, p, "has an element of more than 255 bytes");
		if (status == 0 && list.count >= IDS_MAX)
			status = refuse(param, p, "has more than 1000 elements");
		if (status == 0)
			array_text(&list, one);
		free(one);
	}
	if (status == 0)
		*value = xstrdup(array_close(&list));
	array_clear(&list);
	return status;
}

static int
check_elements(const struct param *param, const char *text, struct route_problem *p)
{
	const char *at = text;
	size_t len;
	int64_t n = 0;

	if (*text != '[')
		return refuse(param, p, "is no array");
	while (jtext_element(&at, &len) != NULL)
		n++;
	if (param->max > 0 && (n < param->min || n > param->max))
		return problem(p, 422, param->name, "%s has %lld elements, and is to have "
		    "%lld to %lld", param->name, (long long)n, (long long)param->min,
		    (long long)param->max);
	return 0;
}

static const char *
kind_of(char first)
{
	switch (first) {
	case '{': return "an object";
	case '[': return "an array";
	case '"': return "a text";
	case 't':
	case 'f': return "a boolean";
	default:  return "a number";
	}
}

/* Whether a value that begins so can be of the parameter's type. */
static int
check_kind(const struct param *param, char first, struct route_problem *p)
{
	static const struct { const char *first, *name; } kinds[] = {
		[PARAM_TEXT] = { "\"", "a text" },
		[PARAM_ID] = { "0123456789-", "a number" },
		[PARAM_INTEGER] = { "0123456789-", "a number" },
		[PARAM_BOOLEAN] = { "tf", "a boolean" },
		[PARAM_WORD] = { "\"", "a text" },
		[PARAM_INSTANT] = { "\"", "a text" },
		[PARAM_DURATION] = { "\"0123456789-", "a text or a number of seconds" },
		[PARAM_OBJECT] = { "{", "an object" },
		[PARAM_ARRAY] = { "[", "an array" },
		[PARAM_TEXTS] = { "[", "an array of texts" },
		[PARAM_IDS] = { "[", "an array of ids" },
	};

	if (kinds[param->type].first == NULL ||
	    strchr(kinds[param->type].first, first) != NULL)
		return 0;
	return problem(p, 422, param->name, "%s is %s, not %s", param->name,
	    kind_of(first), kinds[param->type].name);
}

static int
read_member(struct reader *r, const struct jtext_entry *m, size_t i)
{
	const struct param *param = &r->route->params[i];
	char *value;

	if (param->type != PARAM_JSON && *m->value == 'n')
		return 0;	/* null: as if it were not there */
	if (check_kind(param, *m->value, r->problem) < 0)
		return -1;
	if (param->type == PARAM_TEXTS || param->type == PARAM_IDS)
		return read_list(param, m->value, &r->values[i], r->problem);
	if (param->type == PARAM_ARRAY &&
	    check_elements(param, m->value, r->problem) < 0)
		return -1;
	value = *m->value == '"' && param->type != PARAM_JSON ?
	    string_value(m->value, m->len) : xstrndup(m->value, m->len);
	r->values[i] = value;
	if (param->type == PARAM_OBJECT || param->type == PARAM_ARRAY ||
	    param->type == PARAM_JSON)
		return 0;
	if (param->type != PARAM_DURATION || *m->value == '"')
		return check_text(param, value, r->problem);
	if (strspn(value, "0123456789.") != strlen(value) || strlen(value) > 15)
		return refuse(param, r->problem, "is no number of seconds");
	r->values[i] = xasprintf("%s seconds", value);
	free(value);
	return 0;
}

static int
read_body(struct reader *r, const struct buf *content)
{
	const char *at = content->data;
	struct jtext_entry m;
	struct err e;
	size_t i = 0;

	if (content->len == 0 || strcmp(r->route->method, "GET") == 0)
		return 0;
	if (jcheck(content->data, content->len, &e) < 0)
		return problem(r->problem, 400, "", "the body is no JSON that is taken: %s", e.msg);
	at += strspn(at, " \t\r\n");
	if (*at != '{')
		return problem(r->problem, 422, "", "the body is %s, not an object",
		    kind_of(*at));
	while (jtext_next(&at, &m)) {
		char *name = jtext_string(m.key - 1, m.key_len + 2, &(size_t){ 0 });
		int status = find(r->route, IN_BODY, name, strlen(name), &i) == NULL ?
		    unknown(r, IN_BODY, name, strlen(name)) : read_member(r, &m, i);

		free(name);
		if (status < 0)
			return -1;
	}
	return 0;
}

/* What is not given has its default, if it has one. */
static int
complete(struct reader *r)
{
	for (size_t i = 0; i < route_params(r->route); i++) {
		const struct param *param = &r->route->params[i];

		if (param->type == PARAM_FIELDS && r->values[i] != NULL) {
			char *open = r->values[i];

			r->values[i] = xasprintf("%s}", open);
			free(open);
		}
		if (r->values[i] == NULL && param->required)
			return refuse(param, r->problem, "is missing");
		if (r->values[i] == NULL && param->def != NULL)
			r->values[i] = xstrdup(param->def);
	}
	return 0;
}

int
route_read(const struct route *route, const struct http_request *request,
    const struct buf *content, char *values[ROUTE_PARAMS_MAX], struct route_problem *p)
{
	struct reader r = { .route = route, .values = values, .problem = p };
	size_t n = route_params(route);

	memset(values, 0, n * sizeof(*values));
	if (read_path(&r, request->path) == 0 &&
	    (route->any_query || read_query(&r, request->query) == 0) &&
	    (route->raw || read_body(&r, content) == 0) &&
	    complete(&r) == 0)
		return 0;
	for (size_t i = 0; i < n; i++) {
		free(values[i]);
		values[i] = NULL;
	}
	return -1;
}
