/*
 * A growing run of bytes.
 */
#include "config.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/utf8.h"
#include "base/xalloc.h"

void
buf_grow(struct buf *b, size_t more)
{
	size_t need = b->len + more + 1;
	size_t cap = b->cap ? b->cap : 64;

	if (need <= b->cap)
		return;
	while (cap < need)
		cap *= 2;
	b->data = xreallocarray(b->data, cap, 1);
	b->cap = cap;
}

void
buf_str(struct buf *b, const char *s)
{
	buf_put(b, s, strlen(s));
}

void
buf_char(struct buf *b, char c)
{
	buf_put(b, &c, 1);
}

void
buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int n;

	/* Once, if there is room for it. */
	for (;;) {
		size_t room = b->cap - b->len;

		va_start(ap, fmt);
		n = vsnprintf(room > 0 ? b->data + b->len : NULL, room, fmt, ap);
		va_end(ap);
		if (n < 0) {
			buf_put(b, "", 0);
			return;
		}
		if ((size_t)n < room)
			break;
		buf_grow(b, (size_t)n);
	}
	b->len += (size_t)n;
}

/* How many bytes at its start a JSON string has as they are. */
static size_t
plain_length(const char *s, size_t len)
{
	size_t i = 0;

	while (i < len && s[i] != '"' && s[i] != '\\' &&
	    (unsigned char)(s[i] - 0x20) < 0x7f - 0x20)
		i++;
	return i;
}

void
buf_json(struct buf *b, const char *s, size_t len)
{
	size_t i = 0;

	buf_char(b, '"');
	while (i < len) {
		size_t plain = plain_length(s + i, len - i), n;
		unsigned char c;

		buf_put(b, s + i, plain);
		i += plain;
		if (i == len)
			break;
		c = (unsigned char)s[i];
		n = utf8_length(s + i, len - i);
		if (n == 0 || c == 0) {
			buf_str(b, "\xef\xbf\xbd");
			i++;
		} else if (c == '"' || c == '\\') {
			buf_printf(b, "\\%c", c);
			i++;
		} else if (c == '\n') {
			buf_str(b, "\\n");
			i++;
		} else if (c < 0x20 || c == 0x7f) {
			buf_printf(b, "\\u%04x", c);
			i++;
		} else {
			buf_put(b, s + i, n);
			i += n;
		}
	}
	buf_char(b, '"');
}

void
buf_drop(struct buf *b, size_t len)
{
	if (len == 0)
		return;
	memmove(b->data, b->data + len, b->len - len + 1);
	b->len -= len;
}

void
buf_reset(struct buf *b)
{
	b->len = 0;
	if (b->data != NULL)
		b->data[0] = '\0';
}

void
buf_clear(struct buf *b)
{
	free(b->data);
	memset(b, 0, sizeof(*b));
}

char *
buf_detach(struct buf *b)
{
	char *s;

	buf_grow(b, 0);
	b->data[b->len] = '\0';
	s = b->data;
	memset(b, 0, sizeof(*b));
	return s;
}
