/*
 * HTTP/1.1 and 1.0 as of RFC 9112, the server's side, and strictly: whatever
 * is malformed, or could be read in two ways, is refused. Pure: bytes to
 * structs, no sockets.
 */
#ifndef API_HTTP_H
#define API_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"

#define HTTP_HEAD_MAX 16384	/* bytes of a request without its body */
#define HTTP_FIELDS_MAX 100
#define HTTP_METHOD_MAX 31

struct http_field {
	const char *name;	/* lower case */
	const char *value;	/* without blanks around it */
};

struct http_request {
	char method[HTTP_METHOD_MAX + 1];
	char *path;		/* decoded UTF-8 without control characters, "/…" or "*" */
	const char *query;	/* behind the ?, as it came; NULL: none */
	int minor;		/* 1 or 0, of HTTP/1.x */
	bool keep_alive;
	bool chunked;
	bool wants_continue;
	int64_t length;		/* of the body; 0: none */
	struct http_field fields[HTTP_FIELDS_MAX];
	size_t nfields;
	const char *problem;	/* why it was refused */
	char *text;		/* what the others point into */
};

/*
 * Where the head ends: bytes with its empty line, 0 when that has not come
 * yet, -1 when it cannot become one. seen: how much was looked at before, 0
 * for a new request.
 */
ssize_t http_head_end(const char *data, size_t len, size_t *seen);

/*
 * Read a whole head. 0, or the status to refuse it with, `problem` set, and
 * the connection to be closed. To be cleared in both cases.
 */
int http_parse(struct http_request *, const char *head, size_t len);
void http_request_clear(struct http_request *);

/* The value of a field by its lower-case name; NULL: it is not there. */
const char *http_field(const struct http_request *, const char *name);

/* A body, as it comes. */
struct http_body {
	enum { BODY_PLAIN, BODY_SIZE, BODY_CHUNK, BODY_CRLF, BODY_END, BODY_DONE } state;
	int64_t left;		/* of it, or of the chunk */
	size_t max;		/* bytes of it in all */
	const char *problem;
};

void http_body_init(struct http_body *, const struct http_request *, size_t max);
/*
 * Take what there is of it into `body`. Returns how much of data it used, -1
 * when it is malformed (problem says how) and -2 when it is larger than max.
 * It is complete in BODY_DONE.
 */
ssize_t http_body_take(struct http_body *, const char *data, size_t len, struct buf *body);

int http_hex_digit(char);	/* 0 … 15; -1: it is none */

/*
 * How much a client wants a media type, by its Accept: 0 (not at all) to
 * 1000. type: "text/plain". NULL stands for a client that names none.
 */
int http_accepts(const char *accept, const char *type);

const char *http_reason(int status);	/* "Not Found" */

#define HTTP_DATE_MAX 48
/* "Sun, 06 Nov 1994 08:49:37 GMT"; returns buf. */
char *http_date(char buf[HTTP_DATE_MAX], int64_t seconds);

#endif
