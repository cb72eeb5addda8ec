/*
 * The parser: see http.h. A head is looked at byte by byte while it comes, so
 * that a bare line feed or a control character ends it at once, and is read
 * when it is complete.
 */
#include "config.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "api/http.h"
#include "base/utf8.h"
#include "base/xalloc.h"

#define SIZE_LINE_MAX 256	/* a chunk's size and extensions */
#define BLANKS " \t"

ssize_t
http_head_end(const char *data, size_t len, size_t *seen)
{
	for (size_t i = *seen; i < len; i++) {
		unsigned char c = (unsigned char)data[i];
		bool after_cr = i > 0 && data[i - 1] == '\r';

		if (c == '\n' ? !after_cr : after_cr)
			return -1;
		if (c == '\n' && i >= 3 && data[i - 2] == '\n')
			return (ssize_t)i + 1;
		if ((c < ' ' && c != '\r' && c != '\n' && c != '\t') || c == 0x7f)
			return -1;
	}
	*seen = len;
	return 0;
}

/*
 * Characters
 */

static bool
is_token_char(unsigned char c)
{
	return isalnum(c) || (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool
is_token(const char *s)
{
	const char *p = s;

	while (is_token_char((unsigned char)*p))
		p++;
	return p > s && *p == '\0';
}

int
http_hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static int
refuse(struct http_request *r, int status, const char *problem)
{
	r->problem = problem;
	return status;
}

/*
 * The request line
 */

/* In place. A slash that was encoded would be one thing to us and another to
 * a proxy before us. */
static bool
decode_path(char *path)
{
	char *to = path;

	for (const char *p = path; *p != '\0'; p++) {
		int high, low;
		unsigned char c = (unsigned char)*p;

		if (c == '%') {
			if ((high = http_hex_digit(p[1])) < 0 ||
			    (low = http_hex_digit(p[2])) < 0)
				return false;
			c = (unsigned char)(high << 4 | low);
			if (c == '/')
				return false;
			p += 2;
		}
		if (c < ' ' || c == 0x7f)
			return false;
		*to++ = (char)c;
	}
	*to = '\0';
	for (size_t n; *path != '\0'; path += n)
		if ((n = utf8_length(path, strlen(path))) == 0)
			return false;
	return true;
}

/* http://HOST/PATH to /PATH, where it is one. */
static char *
strip_authority(char *target)
{
	size_t scheme = strncasecmp(target, "http://", 7) == 0 ? 7 :
	    strncasecmp(target, "https://", 8) == 0 ? 8 : 0;
	char *path = scheme > 0 ? strchr(target + scheme, '/') : NULL;

	return path != NULL && path > target + scheme ? path : target;
}

static int
read_target(struct http_request *r, char *target)
{
	char *query;

	for (const char *p = target; *p != '\0'; p++)
		if (*p <= ' ' || *p == 0x7f || *p == '#')
			return refuse(r, 400, "a character of the target must be encoded");
	target = strip_authority(target);
	if (*target != '/' && (strcmp(target, "*") != 0 ||
	    strcmp(r->method, "OPTIONS") != 0))
		return refuse(r, 400, "the target is no path");
	if ((query = strchr(target, '?')) != NULL) {
		*query++ = '\0';
		r->query = query;
	}
	r->path = target;
	if (!decode_path(target))
		return refuse(r, 400, "the path is not encoded as it must be");
	return 0;
}

static int
read_request_line(struct http_request *r, char *line)
{
	char *target = strchr(line, ' '), *version;

	if (target == NULL || (version = strchr(target + 1, ' ')) == NULL)
		return refuse(r, 400, "the request line is not METHOD TARGET HTTP/1.1");
	*target++ = *version++ = '\0';
	if (!is_token(line) || strlen(line) > HTTP_METHOD_MAX)
		return refuse(r, 400, "the method is no word");
	strlcpy(r->method, line, sizeof(r->method));
	if (strncmp(version, "HTTP/", 5) != 0 || !isdigit((unsigned char)version[5]) ||
	    version[6] != '.' || !isdigit((unsigned char)version[7]) ||
	    version[8] != '\0')
		return refuse(r, 400, "the request line is not METHOD TARGET HTTP/1.1");
	if (strcmp(version, "HTTP/1.1") != 0 && strcmp(version, "HTTP/1.0") != 0)
		return refuse(r, 505, "HTTP/1.1 and HTTP/1.0 are what is spoken here");
	r->minor = version[7] - '0';
	return read_target(r, target);
}

/*
 * Fields
 */

static int
read_field(struct http_request *r, char *line)
{
	char *colon = strchr(line, ':'), *value, *end;

	if (strchr(BLANKS, *line) != NULL)
		return refuse(r, 400, "a field is continued on another line");
	if (colon == NULL)
		return refuse(r, 400, "a field has no colon");
	*colon = '\0';
	if (!is_token(line))
		return refuse(r, 400, "the name of a field is no word");
	if (r->nfields == HTTP_FIELDS_MAX)
		return refuse(r, 431, "there are too many fields");
	for (char *p = line; *p != '\0'; p++)
		*p = (char)tolower((unsigned char)*p);
	value = colon + 1 + strspn(colon + 1, BLANKS);
	end = value + strlen(value);
	while (end > value && strchr(BLANKS, end[-1]) != NULL)
		end--;
	*end = '\0';
	r->fields[r->nfields++] = (struct http_field){ line, value };
	return 0;
}

const char *
http_field(const struct http_request *r, const char *name)
{
	for (size_t i = 0; i < r->nfields; i++)
		if (strcmp(r->fields[i].name, name) == 0)
			return r->fields[i].value;
	return NULL;
}

static size_t
count(const struct http_request *r, const char *name)
{
	size_t n = 0;

	for (size_t i = 0; i < r->nfields; i++)
		n += strcmp(r->fields[i].name, name) == 0;
	return n;
}

static int
check_host(struct http_request *r)
{
	const char *host = http_field(r, "host");

	if (count(r, "host") > 1)
		return refuse(r, 400, "there are two Host fields");
	if (host == NULL)
		return r->minor == 0 ? 0 : refuse(r, 400, "there is no Host field");
	for (; *host != '\0'; host++)
		if (!isalnum((unsigned char)*host) && strchr("-._~%!$&'()*+;=:[]", *host) == NULL)
			return refuse(r, 400, "the Host field is none");
	return 0;
}

static int
read_length(struct http_request *r, const char *text)
{
	size_t digits = strspn(text, "0123456789");

	if (digits == 0 || digits > 18 || text[digits] != '\0')
		return refuse(r, 400, "the Content-Length is no number");
	r->length = strtoll(text, NULL, 10);
	return 0;
}

/* One way to tell where the body ends, and no more. */
static int
read_framing(struct http_request *r)
{
	const char *length = http_field(r, "content-length");
	const char *coding = http_field(r, "transfer-encoding");

	if (count(r, "content-length") + count(r, "transfer-encoding") > 1)
		return refuse(r, 400, "there is more than one Content-Length "
		    "or Transfer-Encoding");
	if (length != NULL)
		return read_length(r, length);
	if (coding == NULL)
		return 0;
	if (strcasecmp(coding, "chunked") != 0 || r->minor == 0)
		return refuse(r, 400, "the only Transfer-Encoding is chunked, of HTTP/1.1");
	r->chunked = true;
	return 0;
}

/* Whether a comma-separated list has the word. */
static bool
lists(const char *list, const char *word)
{
	size_t len = strlen(word);

	while (list != NULL && *list != '\0') {
		list += strspn(list, BLANKS ",");
		size_t n = strcspn(list, BLANKS ",");
		if (n == len && strncasecmp(list, word, n) == 0)
			return true;
		list += n;
	}
	return false;
}

static int
read_connection(struct http_request *r)
{
	r->keep_alive = r->minor > 0;
	for (size_t i = 0; i < r->nfields; i++) {
		if (strcmp(r->fields[i].name, "connection") != 0)
			continue;
		if (lists(r->fields[i].value, "close")) {
			r->keep_alive = false;
			break;
		}
		r->keep_alive |= lists(r->fields[i].value, "keep-alive");
	}
	return 0;
}

static int
read_expectation(struct http_request *r)
{
	const char *expect = http_field(r, "expect");

	if (expect == NULL || r->minor == 0)
		return 0;
	if (strcasecmp(expect, "100-continue") != 0 || count(r, "expect") > 1)
		return refuse(r, 417, "100-continue is all that can be expected");
	r->wants_continue = true;
	return 0;
}

int
http_parse(struct http_request *r, const char *head, size_t len)
{
	char *rest, *line;
	int status;

	memset(r, 0, sizeof(*r));
	/* Without the empty line, and a last line that ends like the others. */
	rest = r->text = xstrndup(head, len >= 2 ? len - 2 : 0);
	if ((line = strstr(rest, "\r\n")) == NULL)
		return refuse(r, 400, "there is no request line");
	*line = '\0';
	if ((status = read_request_line(r, rest)) != 0)
		return status;
	for (rest = line + 2; *rest != '\0'; rest = line + 2) {
		if ((line = strstr(rest, "\r\n")) == NULL)
			return refuse(r, 400, "a field does not end");
		*line = '\0';
		if ((status = read_field(r, rest)) != 0)
			return status;
	}
	if ((status = check_host(r)) != 0 || (status = read_framing(r)) != 0 ||
	    (status = read_connection(r)) != 0)
		return status;
	return read_expectation(r);
}

void
http_request_clear(struct http_request *r)
{
	free(r->text);
	memset(r, 0, sizeof(*r));
}

/*
 * Bodies
 */

void
http_body_init(struct http_body *b, const struct http_request *r, size_t max)
{
	*b = (struct http_body){ .left = r->length, .max = max };
	b->state = r->chunked ? BODY_SIZE : r->length > 0 ? BODY_PLAIN : BODY_DONE;
}

static ssize_t
malformed(struct http_body *b, const char *problem)
{
	b->problem = problem;
	return -1;
}

/* SIZE[;EXTENSIONS] CRLF; the extensions mean nothing to us. */
static ssize_t
take_size(struct http_body *b, const char *data, size_t len)
{
	size_t digits = 0, i;

	b->left = 0;
	while (digits < len && http_hex_digit(data[digits]) >= 0) {
		if (digits == 8)
			return malformed(b, "a chunk is too large");
		b->left = b->left * 16 + http_hex_digit(data[digits++]);
	}
	for (i = digits; i < len && data[i] != '\r'; i++)
		if ((i == digits && data[i] != ';') || i > SIZE_LINE_MAX ||
		    ((unsigned char)data[i] < ' ' && data[i] != '\t') ||
		    data[i] == 0x7f)
			return malformed(b, "the size of a chunk is no number");
	if (digits == 0 && len > 0)
		return malformed(b, "the size of a chunk is no number");
	if (i + 1 >= len)
		return 0;
	if (data[i + 1] != '\n')
		return malformed(b, "a line of a chunk does not end with CR LF");
	b->state = b->left > 0 ? BODY_CHUNK : BODY_END;
	return (ssize_t)i + 2;
}

/* Behind a chunk; behind the last one, which no fields may follow. */
static ssize_t
take_crlf(struct http_body *b, const char *data, size_t len)
{
	if (len > 0 && data[0] != '\r')
		return malformed(b, b->state == BODY_END ?
		    "fields behind the body are not taken" :
		    "a chunk is longer than its size");
	if (len < 2)
		return 0;
	if (data[1] != '\n')
		return malformed(b, "a line of a chunk does not end with CR LF");
	b->state = b->state == BODY_END ? BODY_DONE : BODY_SIZE;
	return 2;
}

static ssize_t
take_bytes(struct http_body *b, const char *data, size_t len, struct buf *body)
{
	size_t n = (uint64_t)b->left < len ? (size_t)b->left : len;

	if ((uint64_t)b->left > b->max - body->len)
		return -2;
	buf_put(body, data, n);
	b->left -= (int64_t)n;
	if (b->left == 0)
		b->state = b->state == BODY_PLAIN ? BODY_DONE : BODY_CRLF;
	return (ssize_t)n;
}

ssize_t
http_body_take(struct http_body *b, const char *data, size_t len, struct buf *body)
{
	size_t used = 0;
	ssize_t n = 1;

	while (b->state != BODY_DONE && n > 0) {
		if (b->state == BODY_SIZE)
			n = take_size(b, data + used, len - used);
		else if (b->state == BODY_CRLF || b->state == BODY_END)
			n = take_crlf(b, data + used, len - used);
		else
			n = take_bytes(b, data + used, len - used, body);
		if (n < 0)
			return n;
		used += (size_t)n;
	}
	return (ssize_t)used;
}

/*
 * Answers
 */

/* q=0.75 of the parameters of an entry, as 750; it is 1 where there is none. */
static int
quality(const char *parameters, size_t len)
{
	static const int units[] = { 100, 10, 1 };
	int q;

	for (size_t i = 0; i + 2 < len; i++) {
		if (parameters[i] != ';')
			continue;
		i += 1 + strspn(parameters + i + 1, BLANKS);
		if (i + 2 >= len || strncasecmp(parameters + i, "q=", 2) != 0) {
			i--;
			continue;
		}
		q = parameters[i + 2] == '1' ? 1000 : 0;
		for (size_t k = 0; k < 3 && i + 4 + k < len &&
		    isdigit((unsigned char)parameters[i + 4 + k]) && q < 1000; k++)
			q += (parameters[i + 4 + k] - '0') * units[k];
		return q;
	}
	return 1000;
}

/* How exactly the range of len bytes means the type: 0 (not at all) to 3. */
static int
match(const char *range, size_t len, const char *type)
{
	size_t main = strcspn(type, "/") + 1;

	if (len == strlen(type) && strncasecmp(range, type, len) == 0)
		return 3;
	if (len == main + 1 && range[main] == '*' &&
	    strncasecmp(range, type, main) == 0)
		return 2;
	return len == 3 && strncmp(range, "*/*", 3) == 0;
}

int
http_accepts(const char *accept, const char *type)
{
	int best = 0, q = 0;

	if (accept == NULL || *accept == '\0')
		return 1000;
	while (*accept != '\0') {
		size_t len, name;
		int how, its;

		accept += strspn(accept, BLANKS ",");
		len = strcspn(accept, ",");
		name = strcspn(accept, BLANKS ";,");
		how = match(accept, name, type);
		its = quality(accept + name, len - name);
		/* Of versions, which are parameters, the one most wanted. */
		if (how > best || (how == best && how > 0 && its > q)) {
			best = how;
			q = its;
		}
		accept += len;
	}
	return q;
}

const char *
http_reason(int status)
{
	static const struct { int status; const char *reason; } reasons[] = {
		{ 100, "Continue" }, { 200, "OK" }, { 201, "Created" },
		{ 202, "Accepted" }, { 204, "No Content" }, { 304, "Not Modified" },
		{ 400, "Bad Request" }, { 401, "Unauthorized" }, { 403, "Forbidden" },
		{ 404, "Not Found" }, { 405, "Method Not Allowed" },
		{ 408, "Request Timeout" }, { 409, "Conflict" }, { 410, "Gone" },
		{ 413, "Content Too Large" }, { 417, "Expectation Failed" },
		{ 422, "Unprocessable Content" }, { 429, "Too Many Requests" },
		{ 431, "Request Header Fields Too Large" },
		{ 500, "Internal Server Error" }, { 503, "Service Unavailable" },
		{ 505, "HTTP Version Not Supported" },
	};

	for (size_t i = 0; i < sizeof(reasons) / sizeof(*reasons); i++)
		if (reasons[i].status == status)
			return reasons[i].reason;
	return "Unknown";
}

char *
http_date(char buf[HTTP_DATE_MAX], int64_t seconds)
{
	static const char days[][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
	static const char months[][4] = { "Jan", "Feb", "Mar", "Apr", "May",
	    "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	time_t at = (time_t)seconds;
	struct tm tm;

	gmtime_r(&at, &tm);
	snprintf(buf, HTTP_DATE_MAX, "%s, %02d %s %04d %02d:%02d:%02d GMT",
	    days[tm.tm_wday % 7], tm.tm_mday % 100, months[tm.tm_mon % 12],
	    (tm.tm_year + 1900) % 10000, tm.tm_hour % 100, tm.tm_min % 100,
	    tm.tm_sec % 100);
	return buf;
}
