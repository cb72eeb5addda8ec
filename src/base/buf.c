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

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	buf_grow(b, (size_t)n);
	va_start(ap, fmt);
	vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)n;
}

void
buf_json(struct buf *b, const char *s, size_t len)
{
	size_t i = 0;

	buf_char(b, '"');
	while (i < len) {
		unsigned char c = (unsigned char)s[i];
		size_t n = utf8_length(s + i, len - i);

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
