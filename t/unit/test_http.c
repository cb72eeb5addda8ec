/*
 * The parser of requests: what is taken, what is refused (the vectors by which
 * requests are smuggled past a proxy), and a million mutations that must
 * neither crash it nor make it read in two ways.
 */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "api/http.h"

#ifndef FUZZ_ROUNDS
#define FUZZ_ROUNDS 1000000
#endif

/* As the server does: find the end, then parse. The status, 0: fine, -1: not
 * even a head. */
static int
parse(struct http_request *r, const char *text, size_t len)
{
	size_t seen = 0;
	ssize_t end = http_head_end(text, len, &seen);

	memset(r, 0, sizeof(*r));
	return end <= 0 ? -1 : http_parse(r, text, (size_t)end);
}

static void
test_http_request(void **state)
{
	static const char text[] = "GET /v1/jobs%20x?state=ready&a=%41 HTTP/1.1\r\n"
	    "Host: localhost:8787\r\nAccept:\t text/plain , */*;q=0.1 \t\r\n"
	    "X-Empty:\r\n\r\nnext";
	struct http_request r;

	(void)state;
	assert_int_equal(parse(&r, text, strlen(text)), 0);
	assert_string_equal(r.method, "GET");
	assert_string_equal(r.path, "/v1/jobs x");
	assert_string_equal(r.query, "state=ready&a=%41");
	assert_int_equal(r.minor, 1);
	assert_true(r.keep_alive);
	assert_false(r.chunked);
	assert_int_equal(r.length, 0);
	assert_string_equal(http_field(&r, "accept"), "text/plain , */*;q=0.1");
	assert_string_equal(http_field(&r, "x-empty"), "");
	assert_null(http_field(&r, "x"));
	http_request_clear(&r);
}

static const struct {
	const char *text;
	int status;
} cases[] = {
	/* taken */
	{ "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0 },
	{ "GET / HTTP/1.1\r\nHost:\r\n\r\n", 0 },
	{ "GET / HTTP/1.1\r\nhOsT: [::1]:80\r\n\r\n", 0 },
	{ "GET / HTTP/1.0\r\n\r\n", 0 },
	{ "GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n", 0 },
	{ "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 0 },
	{ "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", 0 },
	{ "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n", 0 },
	{ "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\n\r\n", 0 },
	{ "GET /%C3%A4 HTTP/1.1\r\nHost: a\r\n\r\n", 0 },
	/* the framing of bodies */
	{ "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", 400 },
	{ "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", 400 },
	{ "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n", 400 },
	{ "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n", 400 },
	{ "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n", 400 },
	{ "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\n", 400 },
	{ "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5 5\r\n\r\n", 400 },
	{ "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n", 400 },
	{ "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999999999999\r\n\r\n", 400 },
	{ "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400 },
	{ "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 400 },
	{ "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400 },
	{ "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", 400 },
	{ "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", 400 },
	{ "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 400 },
	{ "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", 400 },
	{ "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n", 400 },
	{ "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n", 400 },
	{ "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n", 400 },
	{ "POST / HTTP/1.1\r\nHost: a\r\n Transfer-Encoding: chunked\r\n\r\n", 400 },
	{ "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n", 400 },
	{ "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400 },
	{ "POST / HTTP/1.1\r\nHost: a\r\nTransfer\xa0-Encoding: chunked\r\n\r\n", 400 },
	/* fields */
	{ "GET / HTTP/1.1\r\n\r\n", 400 },
	{ "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400 },
	{ "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400 },
	{ "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400 },
	{ "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n\tfolded\r\n\r\n", 400 },
	{ "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400 },
	{ "GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", 400 },
	{ "GET / HTTP/1.1\r\nHost: a\r\n: empty\r\n\r\n", 400 },
	{ "GET / HTTP/1.1\r\nHost: a\r\nX\tY: 1\r\n\r\n", 400 },
	{ "GET / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n", 417 },
	/* request lines */
	{ "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
	{ "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400 },
	{ " GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
	{ "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
	{ "GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n", 400 },
	{ "GET /\r\nHost: a\r\n\r\n", 400 },
	{ "GET / http/1.1\r\nHost: a\r\n\r\n", 400 },
	{ "GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400 },
	{ "GET / HTTP/11\r\nHost: a\r\n\r\n", 400 },
	{ "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505 },
	{ "GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505 },
	{ "G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
	{ "GET x HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
	{ "GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
	{ "GET /#f HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
	{ "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
	{ "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
	{ "PRI * HTTP/2.0\r\n\r\n", 505 },
	{ "\r\n\r\n", 400 },
	/* paths */
	{ "GET /p%00/../etc HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
	{ "GET /q%0d%0aX: HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
	{ "GET /a%2Fb HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
	{ "GET /% HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
	{ "GET /%4 HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
	{ "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
	{ "GET /%ff HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
	{ "GET /%c0%af HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
	/* no head at all */
	{ "GET / HTTP/1.1\nHost: a\n\n", -1 },
	{ "GET / HTTP/1.1\r\nHost: a\n\r\n", -1 },
	{ "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", -1 },
	{ "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", -1 },
	{ "GET / HTTP/1.1\r\nHost: a\x01\r\n\r\n", -1 },
	{ "GET / HTTP/1.1\r\nHost: a\x7f\r\n\r\n", -1 },
	{ "\x16\x03\x01\x02\x01\x01", -1 },
};

static void
test_http_strictness(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct http_request r;
		int status = parse(&r, cases[i].text, strlen(cases[i].text));

		if (status != cases[i].status)
			fail_msg("%d, not %d: %s", status, cases[i].status,
			    cases[i].text);
		if (status > 0)
			assert_non_null(r.problem);
		http_request_clear(&r);
	}
}

static void
test_http_nul(void **state)
{
	static const char text[] = "GET / HTTP/1.1\r\nHost: a\r\nX: b\0c\r\n\r\n";
	size_t seen = 0;

	(void)state;
	assert_int_equal(http_head_end(text, sizeof(text) - 1, &seen), -1);
}

/* The end is found at the same place however the bytes come. */
static void
test_http_head_end_in_pieces(void **state)
{
	static const char text[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /";
	size_t end = strlen(text) - 5;

	(void)state;
	for (size_t cut = 0; cut < end; cut++) {
		size_t seen = 0;

		assert_int_equal(http_head_end(text, cut, &seen), 0);
		assert_int_equal(seen, cut);
		assert_int_equal(http_head_end(text, strlen(text), &seen), end);
	}
}

static void
test_http_fields_max(void **state)
{
	struct buf b = { 0 };
	struct http_request r;

	(void)state;
	buf_str(&b, "GET / HTTP/1.1\r\nHost: a\r\n");
	for (int i = 1; i < HTTP_FIELDS_MAX; i++)
		buf_printf(&b, "X-%d: 1\r\n", i);
	buf_str(&b, "\r\n");
	assert_int_equal(parse(&r, b.data, b.len), 0);
	http_request_clear(&r);
	buf_drop(&b, b.len);
	buf_str(&b, "GET / HTTP/1.1\r\nHost: a\r\n");
	for (int i = 1; i <= HTTP_FIELDS_MAX; i++)
		buf_printf(&b, "X-%d: 1\r\n", i);
	buf_str(&b, "\r\n");
	assert_int_equal(parse(&r, b.data, b.len), 431);
	http_request_clear(&r);
	buf_clear(&b);
}

static bool
keeps(const char *version, const char *connection)
{
	char text[200];
	struct http_request r;
	bool keep;

	snprintf(text, sizeof(text), "GET / HTTP/%s\r\nHost: a\r\n%s\r\n", version,
	    connection);
	assert_int_equal(parse(&r, text, strlen(text)), 0);
	keep = r.keep_alive;
	http_request_clear(&r);
	return keep;
}

static void
test_http_keep_alive(void **state)
{
	(void)state;
	assert_true(keeps("1.1", ""));
	assert_false(keeps("1.0", ""));
	assert_false(keeps("1.1", "Connection: close\r\n"));
	assert_false(keeps("1.1", "Connection: keep-alive, Close\r\n"));
	assert_false(keeps("1.1", "Connection: x\r\nConnection: close\r\n"));
	assert_true(keeps("1.0", "Connection: Keep-Alive\r\n"));
	assert_false(keeps("1.0", "Connection: keep-alive\r\nConnection: close\r\n"));
	assert_true(keeps("1.1", "Connection: closed\r\n"));
}

/*
 * Bodies
 */

/* Fed in pieces of so many bytes: 1 done, 0 not yet, -1, -2; what was read is
 * in body, *rest is what was left. */
static int
feed(const char *framing, const char *data, size_t piece, struct buf *body,
    size_t *rest)
{
	char head[200];
	struct http_request r;
	struct http_body b;
	struct buf in = { 0 };
	size_t len = strlen(data), at = 0;
	ssize_t n = 0;

	snprintf(head, sizeof(head), "POST / HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n", framing);
	assert_int_equal(parse(&r, head, strlen(head)), 0);
	http_body_init(&b, &r, 20);
	buf_reset(body);
	while (b.state != BODY_DONE && at < len && n >= 0) {
		size_t more = len - at < piece ? len - at : piece;

		buf_put(&in, data + at, more);
		at += more;
		n = http_body_take(&b, in.data, in.len, body);
		if (n > 0)
			buf_drop(&in, (size_t)n);
	}
	*rest = in.len + len - at;
	buf_clear(&in);
	http_request_clear(&r);
	return n < 0 ? (int)n : b.state == BODY_DONE;
}

static const struct {
	const char *framing, *data;
	int outcome;
	const char *body;
	size_t rest;
} bodies[] = {
#define CHUNKED "Transfer-Encoding: chunked"
	{ "Content-Length: 5", "hello", 1, "hello", 0 },
	{ "Content-Length: 5", "helloGET", 1, "hello", 3 },
	{ "Content-Length: 5", "hell", 0, "hell", 0 },
	{ "Content-Length: 21", "x", -2, "", 1 },
	{ CHUNKED, "5\r\nhello\r\n0\r\n\r\n", 1, "hello", 0 },
	{ CHUNKED, "5\r\nhello\r\n0\r\n\r\nGET", 1, "hello", 3 },
	{ CHUNKED, "2\r\nhe\r\n03\r\nllo\r\n00\r\n\r\n", 1, "hello", 0 },
	{ CHUNKED, "a;x=\"y\"\r\n0123456789\r\n0\r\n\r\n", 1, "0123456789", 0 },
	{ CHUNKED, "0\r\n\r\n", 1, "", 0 },
	{ CHUNKED, "5\r\nhello\r\n", 0, "hello", 0 },
	{ CHUNKED, "14\r\n01234567890123456789\r\n1\r\nx\r\n0\r\n\r\n", -2, NULL, 0 },
	{ CHUNKED, "ffffffff\r\n", -2, NULL, 0 },
	{ CHUNKED, "100000000\r\n", -1, NULL, 0 },
	{ CHUNKED, "0x5\r\nhello\r\n0\r\n\r\n", -1, NULL, 0 },
	{ CHUNKED, "+5\r\nhello\r\n0\r\n\r\n", -1, NULL, 0 },
	{ CHUNKED, "-1\r\n", -1, NULL, 0 },
	{ CHUNKED, " 5\r\nhello\r\n0\r\n\r\n", -1, NULL, 0 },
	{ CHUNKED, "5 \r\nhello\r\n0\r\n\r\n", -1, NULL, 0 },
	{ CHUNKED, "5\nhello\n0\n\n", -1, NULL, 0 },
	{ CHUNKED, "5;a\nhello\r\n0\r\n\r\n", -1, NULL, 0 },
	{ CHUNKED, "5\rXhello\r\n0\r\n\r\n", -1, NULL, 0 },
	{ CHUNKED, "\r\n", -1, NULL, 0 },
	{ CHUNKED, "5\r\nhelloX\r\n0\r\n\r\n", -1, NULL, 0 },
	{ CHUNKED, "5\r\nhello\n0\r\n\r\n", -1, NULL, 0 },
	{ CHUNKED, "0\r\nAuthorization: Bearer x\r\n\r\n", -1, NULL, 0 },
	{ CHUNKED, "0\r\n\n", -1, NULL, 0 },
};

static void
test_http_bodies(void **state)
{
	struct buf body = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(bodies) / sizeof(*bodies); i++)
		for (size_t piece = 1; piece <= 64; piece *= 2) {
			size_t rest;
			int outcome = feed(bodies[i].framing, bodies[i].data,
			    piece, &body, &rest);

			if (outcome != bodies[i].outcome)
				fail_msg("%d, not %d, by %zu: %s", outcome,
				    bodies[i].outcome, piece, bodies[i].data);
			if (outcome < 0)
				continue;
			buf_put(&body, "", 0);
			assert_string_equal(body.data, bodies[i].body);
			if (outcome == 1)
				assert_int_equal(rest, bodies[i].rest);
		}
	buf_clear(&body);
}

static void
test_http_chunk_line_is_bounded(void **state)
{
	struct buf data = { 0 }, body = { 0 };
	size_t rest;

	(void)state;
	buf_str(&data, "5;");
	for (int i = 0; i < 1000; i++)
		buf_char(&data, 'x');
	assert_int_equal(feed(CHUNKED, data.data, 64, &body, &rest), -1);
	buf_clear(&data);
	buf_clear(&body);
}

/*
 * Answers
 */

static void
test_http_accepts(void **state)
{
	static const char prometheus[] = "application/openmetrics-text;version=1.0.0,"
	    "application/openmetrics-text;version=0.0.1;q=0.75,"
	    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

	(void)state;
	assert_int_equal(http_accepts(NULL, "text/plain"), 1000);
	assert_int_equal(http_accepts("*/*", "text/plain"), 1000);
	assert_int_equal(http_accepts("text/*;q=0.3", "text/plain"), 300);
	assert_int_equal(http_accepts("text/html", "text/plain"), 0);
	assert_int_equal(http_accepts("text/plain;q=0", "text/plain"), 0);
	assert_int_equal(http_accepts("*/*, text/plain ; q=0.25", "text/plain"), 250);
	assert_int_equal(http_accepts("text/plain;q=1.000;x", "text/plain"), 1000);
	assert_int_equal(http_accepts("text/plain;;q=", "text/plain"), 1000);
	assert_int_equal(http_accepts(",,;q", "text/plain"), 0);
	assert_int_equal(http_accepts(prometheus, "application/openmetrics-text"), 1000);
	assert_int_equal(http_accepts(prometheus, "text/plain"), 500);
}

static void
test_http_date(void **state)
{
	char text[HTTP_DATE_MAX];

	(void)state;
	assert_string_equal(http_date(text, 784111777), "Sun, 06 Nov 1994 08:49:37 GMT");
}

/*
 * Chance
 */

/* What a head that was taken may be, whatever it was made of. */
static void
check_taken(const struct http_request *r)
{
	size_t hosts = 0;

	assert_true(r->path[0] == '/' || strcmp(r->path, "*") == 0);
	for (const char *p = r->path; *p != '\0'; p++)
		assert_true((unsigned char)*p >= ' ' && *p != 0x7f);
	assert_true(r->length >= 0 && (r->length == 0 || !r->chunked));
	assert_null(strpbrk(r->method, " \t\r\n:"));
	for (size_t i = 0; i < r->nfields; i++) {
		assert_null(strpbrk(r->fields[i].name, " \t\r\n:"));
		assert_null(strpbrk(r->fields[i].value, "\r\n"));
		hosts += strcmp(r->fields[i].name, "host") == 0;
	}
	assert_true(hosts == 1 || (hosts == 0 && r->minor == 0));
	http_accepts(http_field(r, "accept"), "text/plain");
}

static void
test_http_fuzz(void **state)
{
	static const char *const seeds[] = {
		"POST /a%20b?c HTTP/1.1\r\nHost: a:1\r\nContent-Length: 5\r\n"
		    "Accept: text/plain;q=0.5, */*\r\n\r\nhello",
		"PUT /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
		    "Connection: keep-alive, close\r\n\r\n3;a=b\r\nabc\r\n0\r\n\r\n",
		"GET http://h/%C3%A4 HTTP/1.0\r\nExpect: 100-continue\r\n\r\n",
	};
	uint64_t chances = 8787;
	size_t taken = 0;
	struct buf body = { 0 };

	(void)state;
	for (int round = 0; round < FUZZ_ROUNDS; round++) {
		char text[300];
		size_t len = strlen(seeds[round % 3]), seen = 0;
		struct http_request r;
		struct http_body b;
		ssize_t end;

		memcpy(text, seeds[round % 3], len);
		len = mutate(text, len, sizeof(text), "\r\n \t:;,/%0aF\\\"", &chances);
		if ((end = http_head_end(text, len, &seen)) <= 0)
			continue;
		if (http_parse(&r, text, (size_t)end) == 0) {
			taken++;
			check_taken(&r);
			http_body_init(&b, &r, 10);
			buf_reset(&body);
			http_body_take(&b, text + end, len - (size_t)end, &body);
			assert_true(body.len <= 10);
		}
		http_request_clear(&r);
	}
	assert_true(taken > FUZZ_ROUNDS / 100);
	assert_true(taken < FUZZ_ROUNDS);
	buf_clear(&body);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_http_request),
		cmocka_unit_test(test_http_strictness),
		cmocka_unit_test(test_http_nul),
		cmocka_unit_test(test_http_head_end_in_pieces),
		cmocka_unit_test(test_http_fields_max),
		cmocka_unit_test(test_http_keep_alive),
		cmocka_unit_test(test_http_bodies),
		cmocka_unit_test(test_http_chunk_line_is_bounded),
		cmocka_unit_test(test_http_accepts),
		cmocka_unit_test(test_http_date),
		cmocka_unit_test(test_http_fuzz),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
